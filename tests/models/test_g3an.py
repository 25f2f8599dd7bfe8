"""G3AN: shapes, sizes, and what its three streams know of each other."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import count, filled, narrow, norm, shapes_of

from configs import base
from fevgan_jax import models
from fevgan_jax.models import g3an


def test_shapes_and_sizes_as_published():
  config = base.get_config('g3an')
  assert (config.batch_size, config.optimizer.learning_rate, config.optimizer.b1) == (96, 2e-4, 0.5)
  fresh, generated, verdicts = shapes_of(config)
  assert generated.video.shape == (2, 32, 64, 64, 3)
  assert verdicts['video_critic'].shape == (2, 17)
  assert verdicts['image_critic'].shape == (2,)
  # 22.93 M, with the biases that normalization makes idle. Each block has kernels in space and in
  # time for its own stream and for the video's, whose second one is from as many to as many
  # channels, and two numbers for each of four normalized maps.
  blocks = (  # channels that come in, of appearance, motion and video, and out; the kernels' sizes
    (128, 10, 138, 512, 16, 4),
    (512, 512, 1024, 512, 16, 4),
    (512, 512, 1024, 256, 16, 4),
    (256, 256, 512, 128, 16, 1),
    (128, 128, 256, 64, 16, 1),
  )
  generator = 9 * 128 * 3 + 3
  for still, moving, video, out, space, time in blocks:
    generator += out * (space * (still + out) + time * (moving + video) + 8)
  assert count(fresh.generator.params) == generator
  assert generator + 4 * (512 + 512 + 256 + 128 + 64) == pytest.approx(22.93e6, rel=1e-3)
  # D_V, 8.35 M: the first of two layers has 16 taps, the second one 4; and biases.
  widths = (64, 128, 256, 512)
  critic = 16 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512) + sum(4 * w * w for w in widths)
  critic += 16 * 512 * 512 + 4 * 512 + 2 * sum(widths) + 512 + 1
  assert count(fresh.critics['video_critic'].params) == critic == pytest.approx(8.35e6, rel=1e-3)
  assert count(fresh.critics['image_critic'].params) == pytest.approx(2.76e6, rel=2e-3)


@pytest.fixture(scope='module')
def block():
  """(still, moving, video) -> the three streams after one random block of two channels."""
  block = g3an.Block(2, (4, 2, 1), (4, 2, 1), norm)
  shapes = [(1, 1, 4, 4, 3), (1, 2, 1, 1, 4), (1, 2, 4, 4, 5)]
  zeros = [jnp.zeros(shape) for shape in shapes]
  variables = block.init(jax.random.key(0), *zeros, train=False)
  rng = np.random.default_rng(0)
  inputs = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
  return jax.jit(functools.partial(block.apply, variables, train=False)), inputs


def test_a_block_doubles_each_stream_and_joins_them(block):
  block, (still, moving, video) = block
  a, b, c = block(still, moving, video)
  assert (a.shape, b.shape, c.shape) == ((1, 1, 8, 8, 2), (1, 4, 1, 1, 2), (1, 4, 8, 8, 4))
  # The first half of the video's channels is the appearance; the motion is added to the others.
  np.testing.assert_array_equal(c[..., :2], np.broadcast_to(a, (1, 4, 8, 8, 2)))
  without_motion = block(still, -moving, video)
  np.testing.assert_allclose(
    c[..., 2:] - without_motion[2][..., 2:],
    np.broadcast_to(b - without_motion[1], (1, 4, 8, 8, 2)),
    atol=1e-6,
  )
  # Neither appearance nor motion learns of the others.
  other = block(still, moving + 1, video - 1)
  np.testing.assert_array_equal(other[0], a)
  np.testing.assert_array_equal(block(still + 1, moving, video - 1)[1], b)


@pytest.mark.slow
def test_a_clip_is_drawn_from_noise_alone():
  generator = models.build(narrow('g3an'), None).generator
  images, labels = jnp.zeros((2, 64, 64, 3)), jnp.zeros((2, 6))
  keys = {'params': jax.random.key(0), 'noise': jax.random.key(0)}
  fresh = functools.partial(generator.init, keys, images, labels, None, train=False)
  variables = filled(jax.eval_shape(fresh))

  @jax.jit
  def clips(images, labels, number):
    noise = {'noise': jax.random.key(number)}
    return generator.apply(variables, images, labels, None, train=False, rngs=noise).video

  one = clips(images, labels, 1)
  assert one.shape == (2, 32, 64, 64, 3)
  assert (one == clips(images + 1, labels + 1, 1)).all()
  assert jnp.abs(one[0] - one[1]).max() > 0  # two draws
  assert jnp.abs(one - clips(images, labels, 2)).max() > 0
  assert jnp.abs(one[:, 1:] - one[:, :-1]).max() > 0  # it moves


@pytest.mark.slow
def test_longer_clips_are_judged_wherever_16_frames_fit():
  critic = g3an.VideoCritic(1)
  video = jax.random.normal(jax.random.key(0), (1, 17, 64, 64, 3))
  label = jnp.zeros((1, 6))
  variables = critic.init(jax.random.key(1), video, label, train=False)
  judge = jax.jit(lambda video: critic.apply(variables, video, label, train=False))
  both, parts = judge(video), [judge(video[:, i : i + 16]) for i in (0, 1)]
  np.testing.assert_allclose(both, np.concatenate(parts, 1), rtol=1e-4, atol=1e-7)
