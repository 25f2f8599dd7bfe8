"""VGAN: shapes, sizes, the mask, and what it does not look at."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import count, filled, narrow, shapes_of

from configs import base
from fevgan_jax import models
from fevgan_jax.models import vgan
from fevgan_jax.models.parts import losses

IMAGES = jax.ShapeDtypeStruct((2, 64, 64, 3), jnp.float32)
LABELS = jax.ShapeDtypeStruct((2, 6), jnp.float32)


def test_shapes_and_sizes_as_published():
  config = base.get_config('vgan')
  assert (config.batch_size, config.optimizer.learning_rate, config.optimizer.b1) == (64, 2e-4, 0.5)
  fresh, generated, verdicts = shapes_of(config)
  generator, critic = fresh.generator.params, fresh.critics['critic'].params
  assert generated.video.shape == (2, 32, 64, 64, 3)
  assert generated.extras['mask'].shape == (2, 32, 64, 64, 1)
  assert verdicts['critic'].shape == (2,)
  # 2-D stream: 16 * (100 * 512 + 512 * 256 + 256 * 128 + 128 * 64 + 64 * 3); 3-D stream: 32 * 100 *
  # 512 for the first layer, 64 * (...) for the middle ones and 64 * 64 * (3 + 1) for the heads. One
  # bias for each of the 3 + 3 + 1 channels that come out, and two numbers for each that is
  # normalized.
  middle = 512 * 256 + 256 * 128 + 128 * 64
  still = 16 * (100 * 512 + middle + 64 * 3) + 3 + 2 * 960
  moving = 32 * 100 * 512 + 64 * middle + 64 * 64 * 4 + 4 + 2 * 960
  # 16.25 M with the biases that normalization makes idle.
  assert count(generator) == still + moving == pytest.approx(16.25e6, rel=1e-3)
  # 11.06 M with two logits: the second one's 32 * 512 + 1 and the idle biases, 896, are not here.
  discriminator = 64 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512) + 64 + 2 * 896 + 32 * 512 + 1
  assert count(critic) == discriminator
  assert discriminator + 32 * 512 + 1 + 896 == pytest.approx(11.06e6, rel=1e-3)


def test_clip_is_foreground_where_the_mask_is_one_and_background_where_it_is_none():
  # A foreground of 1, 2, 3 over time before a background of 8; the mask is 1, 0 and 1/4:
  # 1, 8, 3 / 4 + 8 * 3 / 4 = 6.75.
  foreground = jnp.array([1.0, 2.0, 3.0]).reshape(1, 3, 1, 1, 1)
  mask = jnp.array([1.0, 0.0, 0.25]).reshape(1, 3, 1, 1, 1)
  clip = vgan.compose(foreground, mask, jnp.full((1, 1, 1, 1), 8.0))
  np.testing.assert_allclose(clip.ravel(), [1, 8, 6.75])


def test_mask_loss_by_hand():
  mask = jnp.zeros((1, 2, 2, 2, 1)).at[0, 0, 0].set(0.5)  # 2 of 8 places
  assert losses.mask_loss(mask) == pytest.approx(0.125)


@pytest.fixture(scope='module')
def generate():
  """(mask's bias, images, labels, key) -> clips [batch, 32, 64, 64, 3] of one random generator."""
  generator = models.build(narrow('vgan'), None).generator
  keys = {'params': jax.random.key(0), 'noise': jax.random.key(1)}
  init = functools.partial(generator.init, train=False)
  variables = filled(jax.eval_shape(init, keys, IMAGES, LABELS, None))

  @jax.jit
  def call(mask_bias, images, labels, key):
    head = variables['params']['streams']['UpConv_7']
    streams = variables['params']['streams'] | {
      'UpConv_7': {'kernel': 0.1 * head['kernel'], 'bias': jnp.zeros(4).at[3].set(mask_bias)}
    }
    params = variables['params'] | {'streams': streams}
    return generator.apply(
      variables | {'params': params}, images, labels, None, train=False, rngs={'noise': key}
    )

  return call


def test_mask_chooses_the_stream(generate):
  inputs = jnp.zeros((2, 64, 64, 3)), jnp.zeros((2, 6)), jax.random.key(0)
  still, between, moving = (generate(bias, *inputs) for bias in (-1e4, 0.0, 1e4))
  assert still.extras['mask'].max() == 0 and moving.extras['mask'].min() == 1
  video = still.video
  np.testing.assert_array_equal(video, jnp.broadcast_to(video[:, :1], video.shape))
  assert video.std((2, 3)).min() > 0  # a picture, though
  assert moving.video.std(1).max() > 0
  mask = between.extras['mask']
  np.testing.assert_allclose(
    between.video, mask * moving.video + (1 - mask) * still.video, atol=1e-5
  )
  assert jnp.abs(between.video).max() <= 1


def test_same_noise_same_clip_whatever_the_picture(generate):
  images = jax.random.uniform(jax.random.key(2), (2, 2, 64, 64, 3))
  labels = jnp.eye(6)[jnp.array([[0, 0], [1, 2]])]
  ours = generate(0.0, images[0], labels[0], jax.random.key(0)).video
  again = generate(0.0, images[1], labels[1], jax.random.key(0)).video
  np.testing.assert_array_equal(ours, again)
  others = generate(0.0, images[0], labels[0], jax.random.key(1)).video
  assert (jnp.abs(ours - others).max((1, 2, 3, 4)) > 0).all()
  assert jnp.abs(ours[0] - ours[1]).max() > 0  # and within a batch
