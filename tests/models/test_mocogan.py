"""MoCoGAN: shapes, sizes, what its codes and critics look at, and how a critic classifies."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from networks import count, drawn, norm, shapes_of

from configs import base, synthetic_faces
from fevgan_jax import models
from fevgan_jax.models import mocogan
from fevgan_jax.models.parts import layers, losses
from fevgan_jax.models.parts.system import Critic, Generated, System, Verdict
from fevgan_jax.runtime.errors import UserError
from fevgan_jax.training import state, step


def test_shapes_and_sizes():
  fresh, generated, verdicts = shapes_of(base.get_config('mocogan'))
  assert generated.video.shape == (2, 32, 64, 64, 3)
  assert verdicts['image_critic'].shape == (2, 4, 4)
  assert verdicts['video_critic'].logits.shape == (2, 17)
  assert verdicts['video_critic'].label_logits.shape == (2, 17, 6)
  # G_I, 3.30 M: kernels of 16, and two numbers per channel for the norms; R_M: 6 matrices of 10x10
  # and 4 biases.
  decoder = 16 * (66 * 512 + 512 * 256 + 256 * 128 + 128 * 64 + 64 * 3) + 2 * 960
  assert count(fresh.generator.params) == decoder + 640 == pytest.approx(3.30e6, rel=1e-3)
  # D_I, 0.66 M, and D_V, 11.25 M, without biases; all but the first and the last are normalized.
  image_critic = 16 * (3 * 64 + 64 * 128 + 128 * 256 + 256) + 2 * 384
  assert count(fresh.critics['image_critic'].params) == image_critic
  video_critic = 64 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 512 * 7) + 2 * 896
  assert count(fresh.critics['video_critic'].params) == video_critic
  assert (image_critic, video_critic) == pytest.approx((0.66e6, 11.25e6), rel=6e-3)


def test_what_a_clip_is_drawn_from():
  generator = mocogan.Generator(width=1, content=50, motion=10, norm=norm, frames=4)
  images = jnp.zeros((2, 64, 64, 3))
  labels = jax.nn.one_hot(jnp.array([0, 3]), 6)
  clips = drawn(generator, images, labels)

  one = clips(images, labels, 1)
  assert one.shape == (2, 4, 64, 64, 3)
  assert jnp.abs(one).max() < 1
  assert (one == clips(images + 1, labels, 1)).all()  # the image is not looked at
  frames = (1, 2, 3, 4)
  assert (jnp.abs(one[:, 1:] - one[:, :-1]).max(frames[1:]) > 0).all()  # it moves
  assert (jnp.abs(one - clips(images, labels, 2)).max(frames) > 0).all()  # other noise
  other_label = jnp.abs(one - clips(images, labels[::-1], 1))
  assert (other_label.max(frames[1:]) > 0).all()  # used in every frame


def test_motion_code_is_a_path():
  # Each code depends on the noise up to its frame, and on none after it.
  code = mocogan.MotionCode(size=3)
  start, noise = jnp.ones((1, 3)), jax.random.normal(jax.random.key(0), (1, 4, 3))
  variables = code.init(jax.random.key(1), start, noise)
  path = code.apply(variables, start, noise)
  other = code.apply(variables, start, noise.at[:, 2].add(1.0))
  assert path.shape == (1, 4, 3)
  assert (jnp.abs(path - other).max((0, 2)) > 0).tolist() == [False, False, True, True]


def test_longer_clips_are_judged_wherever_16_frames_fit():
  critic = mocogan.VideoCritic(1, norm)
  video = jax.random.normal(jax.random.key(0), (1, 17, 64, 64, 3))
  label = jnp.zeros((1, 6))
  variables = jax.jit(lambda video: critic.init(jax.random.key(1), video, label, train=False))(
    video
  )
  judge = jax.jit(lambda video: critic.apply(variables, video, label, train=False))
  both, parts = judge(video), [judge(video[:, i : i + 16]) for i in (0, 1)]
  assert both.logits.shape == (1, 2)
  for i, part in enumerate(parts):
    np.testing.assert_allclose(both.logits[:, i], part.logits[:, 0], rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(
      both.label_logits[:, i], part.label_logits[:, 0], rtol=1e-3, atol=1e-7
    )


def test_views():
  # Clips whose numbers say which clip and which frame it is.
  video = (100 * jnp.arange(8)[:, None] + jnp.arange(32)).reshape(8, 32, 1, 1, 1)
  frames = mocogan.frame_of_each(video, jax.random.key(0))
  assert frames.shape == (8, 1, 1, 1)
  assert (frames.ravel() // 100).tolist() == list(range(8))
  assert len(set((frames.ravel() % 100).tolist())) > 3
  seen = [mocogan.every_second(video, jax.random.key(i)) for i in range(8)]
  assert {tuple(part[0].ravel().tolist()) for part in seen} == {
    tuple(range(0, 32, 2)),
    tuple(range(1, 32, 2)),
  }


def test_weights_start_as_pytorchs():
  # U(-1, 1) / sqrt(fan in) has a standard deviation of 1 / sqrt(3 fan in); fan in is 4 * 4 * 8.
  kernel = layers.torch_init(jax.random.key(0), (4, 4, 8, 100))
  assert jnp.abs(kernel).max() == pytest.approx(128**-0.5, rel=1e-3)
  assert kernel.std() == pytest.approx(384**-0.5, rel=0.02)


def test_config_is_the_published_one_within_a_short_run():
  config = synthetic_faces.get_config('mocogan')
  assert (config.model.width, config.critic.width, config.optimizer.schedule) == (32, 32, 'cosine')
  assert (config.model.content, config.model.motion) == (50, 10)
  assert (config.optimizer.learning_rate, config.optimizer.weight_decay) == (2e-4, 1e-5)
  config.critic.frames = 16
  assert models.build(config, None).critics['video_critic'].view is mocogan.every_second
  config.critic.frames = 8
  with pytest.raises(UserError, match='config.critic.frames: 8, expected 32 or 16'):
    models.build(config, None)


def test_weight_decay_is_part_of_the_gradient():
  # Adam's first step has the size of the learning rate, whatever the gradient: here only that of
  # the decay.
  config = base.get_config('mocogan').optimizer
  weight = jnp.array(2.0)
  for decay, expected in ((1e-5, -2e-4), (0.0, 0.0)):
    config.weight_decay = decay
    adam = models.adam(config, 1)
    moved, _ = adam.update(jnp.array(0.0), adam.init(weight), weight)
    assert moved == pytest.approx(expected, rel=1e-2)


def test_label_loss():
  # One clip of two parts: softmax of (log 3, 0, 0, 0, 0, 0) is (3, 1, 1, 1, 1, 1) / 8; then equal
  # logits, 1/6 each.
  logits = jnp.zeros((1, 2, 6)).at[0, 0, 0].set(jnp.log(3.0))
  for label, probabilities in ((0, (3 / 8, 1 / 6)), (4, (1 / 8, 1 / 6))):
    value = losses.label_loss(logits, jax.nn.one_hot(jnp.array([label]), 6))
    assert value == pytest.approx(-np.log(probabilities).mean())


class Painter(nn.Module):
  """A generator: two frames of the label's colors."""

  @nn.compact
  def __call__(self, image, label, features, train):
    colors = nn.Dense(3)(label)
    return Generated(jnp.broadcast_to(colors[:, None, None, None], (len(label), 2, 64, 64, 3)))


class Classifier(nn.Module):
  """A critic that looks at the clip's mean color."""

  @nn.compact
  def __call__(self, video, label, train):
    color = video.mean((1, 2, 3))
    return Verdict(nn.Dense(1, name='real')(color), nn.Dense(6, name='label')(color)[:, None])


@pytest.mark.slow
def test_critic_classifies_real_clips_and_the_generator_wants_its_own_recognized(batch):
  weight = 0.5
  critic = Critic(Classifier(), optax.sgd(0.1), label_weight=weight)
  system = System(Painter(), optax.sgd(0.1), {'critic': critic}, {}, judges_before_update=True)
  batch['video'] = batch['video'][:, :2]
  example = system.example(None, batch)
  before = state.create(system, example, jax.random.key(0))
  train_step = jax.jit(lambda state: step.train_step(system, state, None, batch, jax.random.key(1)))
  after, metrics = train_step(before)

  def judge(params, video):
    return critic.module.apply({'params': params}, video, example.label, train=True)

  def clip(params):
    return system.generator.apply({'params': params}, None, example.label, None, train=True).video

  params, fake = before.critics['critic'].params, clip(before.generator.params)

  def critic_loss(params):
    of_real, of_fake = judge(params, example.video), judge(params, fake)
    label = losses.label_loss(of_real.label_logits, example.label)
    return losses.critic_loss(of_real.logits, of_fake.logits) + weight * label, label

  def generator_loss(generator_params):
    verdict = judge(params, clip(generator_params))
    label = losses.label_loss(verdict.label_logits, example.label)
    return losses.adversarial_loss(verdict.logits) + weight * label, label

  for loss, network, moved, name, label_name in (
    (critic_loss, params, after.critics['critic'].params, 'critic/loss', 'critic/label'),
    (
      generator_loss,
      before.generator.params,
      after.generator.params,
      'generator/loss',
      'generator/critic_label',
    ),
  ):
    (value, label), slope = jax.value_and_grad(loss, has_aux=True)(network)
    assert metrics[name] == pytest.approx(float(value), rel=1e-5)
    assert metrics[label_name] == pytest.approx(float(label), rel=1e-5)
    expected = jax.tree.map(lambda x, g: x - 0.1 * g, network, slope)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), moved, expected)
  silent = dataclasses.replace(
    system, critics={'critic': dataclasses.replace(critic, label_weight=0.0)}
  )
  run = lambda state: step.train_step(silent, state, None, batch, jax.random.key(1))  # noqa: E731
  _, metrics = jax.eval_shape(run, before)
  assert set(metrics) == {'critic/loss', 'generator/critic', 'generator/loss'}
