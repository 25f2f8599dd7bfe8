"""ImaGINator: shapes, sizes, and what reaches the clip."""

import jax
import jax.numpy as jnp
import pytest
from networks import count, drawn, norm, shapes_of

from configs import base, synthetic_faces
from fevgan_jax import models
from fevgan_jax.models import imaginator


def test_shapes_and_sizes():
  fresh, generated, verdicts = shapes_of(base.get_config('imaginator'))
  assert generated.video.shape == (2, 32, 64, 64, 3)
  assert verdicts['video_critic'].shape == verdicts['image_critic'].shape == (2,)
  # Without the biases that normalization makes idle. Encoder, 3.58 M; decoder, 71.8 M: kernels in
  # time (2 and 4 places) and in space (16), and two numbers per normalized channel.
  encoder = 16 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 512 * 100) + 100 + 2 * 960
  time = 2 * 618 * 4096 + 4 * (1030 * 3072 + 518 * 1536 + 262 * 768 + 134 * 36)
  space = 16 * (4096 * 512 + 3072 * 256 + 1536 * 128 + 768 * 64 + 36 * 3) + 3
  channels = 4096 + 3072 + 1536 + 768 + 36 + 960
  assert count(fresh.generator.params['encoder']) == encoder
  assert count(fresh.generator.params['decoder']) == time + space + 2 * channels
  assert count(fresh.generator.params) == pytest.approx(75.4e6, rel=1e-3)
  # D_V, 11.09 M, and D_I, 2.76 M, with biases.
  inner = 128 * 256 + 256 * 512
  video_critic = 64 * (3 * 64 + 70 * 128 + inner) + 32 * 512 + 961
  image_critic = 16 * (3 * 64 + 64 * 128 + inner) + 16 * 512 + 961
  assert count(fresh.critics['video_critic'].params) == video_critic
  assert count(fresh.critics['image_critic'].params) == image_critic
  assert (video_critic, image_critic) == pytest.approx((11.09e6, 2.76e6), rel=2e-3)


@pytest.mark.slow
def test_what_a_clip_is_made_of():
  generator = imaginator.Generator(width=1, noise=16, norm=norm)
  images = jax.random.uniform(jax.random.key(0), (2, 64, 64, 3), minval=-1, maxval=1)
  labels = jax.nn.one_hot(jnp.array([0, 3]), 6)
  clips = drawn(generator, images, labels)

  one = clips(images, labels, 1)
  assert one.shape == (2, 32, 64, 64, 3)
  assert jnp.abs(one).max() < 1
  assert (one == clips(images, labels, 1)).all()
  for other in (
    clips(images, labels, 2),
    clips(images, labels[::-1], 1),
    clips(-images, labels, 1),
  ):
    assert (jnp.abs(one - other).max((2, 3, 4)) > 0).all()  # noise, label, image: in every frame


def test_image_and_label_join_at_every_place():
  x = jnp.zeros((1, 2, 3, 3, 1))
  image_map = jnp.arange(9.0).reshape(1, 3, 3, 1)
  fused = imaginator.fuse(x, image_map, jnp.array([[5.0, 7.0]]))
  assert fused.shape == (1, 2, 3, 3, 4)
  for time in range(2):
    assert (fused[0, time, ..., 1] == image_map[0, ..., 0]).all()
  assert (fused[..., 2:] == jnp.array([5.0, 7.0])).all()


def test_video_critic_uses_the_label_and_frame_critic_does_not():
  video = jax.random.normal(jax.random.key(0), (2, 16, 16, 16, 3))
  labels = jax.nn.one_hot(jnp.array([1, 4]), 6)
  frame = imaginator.one_frame(video, jax.random.key(0))
  for critic, view, uses in (
    (imaginator.VideoCritic(1), video, True),
    (imaginator.FrameCritic(1), frame, False),
  ):

    @jax.jit
    def verdicts(labels, critic=critic, view=view):
      variables = critic.init(jax.random.key(1), view, labels, train=False)
      return [critic.apply(variables, view, x, train=False) for x in (labels, labels[::-1])]

    one, other = verdicts(labels)
    assert (one != other).tolist() == [uses] * 2


def test_view_is_the_same_frame_of_all_clips():
  video = (100 * jnp.arange(4)[:, None] + jnp.arange(32)).reshape(4, 32, 1, 1, 1)
  numbers = set()
  for i in range(10):
    frames = imaginator.one_frame(video, jax.random.key(i)).ravel()
    assert (frames - frames[0]).tolist() == [0, 100, 200, 300]
    numbers.add(int(frames[0]))
  assert len(numbers) > 3


def test_config_is_the_published_one_within_a_short_run():
  config = synthetic_faces.get_config('imaginator')
  assert (config.model.width, config.critic.width, config.optimizer.schedule) == (32, 32, 'cosine')
  assert config.model.noise == 512
  assert (config.loss.reconstruction, config.loss.motion_weight) == (100.0, 0.0)
  assert config.optimizer.learning_rate == 2e-4
  assert models.build(config, None).judges_before_update
