"""C-VGAN: shapes, sizes, and that picture and label are used."""

import functools

import jax
import jax.numpy as jnp
import pytest
from networks import count, filled, narrow, shapes_of

from configs import base
from fevgan_jax import models
from fevgan_jax.models.parts import losses
from fevgan_jax.models.parts.system import Example, Generated


def test_shapes_and_sizes_as_published():
  config = base.get_config('cvgan')
  assert (config.batch_size, config.optimizer.learning_rate, config.optimizer.b1) == (32, 2e-4, 0.5)
  fresh, generated, verdicts = shapes_of(config)
  generator, critic = fresh.generator.params, fresh.critics['critic'].params
  assert generated.video.shape == (2, 32, 64, 64, 3)
  assert verdicts['critic'].shape == (2,)
  # Encoder: 16 * (3 * 128 + ...) and 128 for the only bias.
  middle = 1024 * 512 + 512 * 256 + 256 * 128
  encoder = 16 * (3 * 128 + middle) + 128 + 2 * (256 + 512 + 1024)
  assert count(generator['encoder']) == encoder
  # Both streams take the label's 6 channels: 16 * 6 * 512 and 2 * 6 * 1024 numbers more.
  still = 16 * (middle + 6 * 512 + 128 * 3) + 3 + 2 * 896
  moving = 2 * (1024 + 6) * 1024 + 2 * 1024 + 64 * middle + 64 * 128 * 4 + 4 + 2 * 896
  assert count(generator) == encoder + still + moving
  label = 16 * 6 * 512 + 2 * 6 * 1024
  assert count(generator) - label == pytest.approx(68.2e6, rel=1e-3)
  # 44.1 M with two logits: a second one has 32 * 1024 + 1.
  discriminator = 64 * (3 * 128 + middle) + 128 + 2 * 1792 + 32 * 1024 + 1
  assert count(critic) == discriminator
  assert discriminator + 32 * 1024 + 1 == pytest.approx(44.1e6, rel=1e-3)


def test_label_and_picture_reach_every_frame_and_no_noise_does():
  system = models.build(narrow('cvgan'), None)
  images = jax.random.uniform(jax.random.key(0), (3, 64, 64, 3), minval=-1, maxval=1).at[2].set(0.0)
  images = images.at[1].set(images[0])
  labels = jax.nn.one_hot(jnp.array([0, 3, 0]), 6)
  init = functools.partial(system.generator.init, train=False)
  variables = filled(jax.eval_shape(init, jax.random.key(0), images, labels, None))
  apply = jax.jit(functools.partial(system.generator.apply, train=False))
  video = apply(variables, images, labels, None).video  # without a stream 'noise': none is drawn
  assert (jnp.abs(video[0] - video[1]).max((1, 2, 3)) > 0).all()  # another label
  assert (jnp.abs(video[0] - video[2]).max((1, 2, 3)) > 0).all()  # another person
  assert jnp.abs(video).max() <= 1


def test_first_frame_loss_by_hand():
  # The picture is 1 everywhere, the first frame 0.5 in one of two places and 0 in the other: off by
  # 0.5 and 1, a mean of 0.75. Later frames do not count.
  image = jnp.ones((1, 1, 2, 3))
  fake = jnp.zeros((1, 2, 1, 2, 3)).at[0, 0, 0, 0].set(0.5).at[0, 1].set(7.0)
  assert losses.first_frame_loss(image, fake) == pytest.approx(0.75)
  term = models.build(narrow('cvgan'), None).terms['first_frame']
  example = Example(jnp.stack([image, 5 * image], 1), jnp.zeros((1, 6)), None)
  assert term.loss(example, Generated(fake), None, None) == pytest.approx(0.75)
  assert term.weight == 10
