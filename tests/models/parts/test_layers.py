"""Layers that systems share: what spectral normalization does."""

import functools

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fevgan_jax.models.parts import layers
from fevgan_jax.models.parts.system import cast


@pytest.fixture(scope='module')
def spectral():
  """Fresh variables of a layer of 5 channels, an input [1, 8, 8, 3], and a pass in use and one in
  training: (variables, x) -> (result, {'batch_stats': after it})."""
  layer = layers.SpectralConv(5, (4, 4), (2, 2))
  x = jax.random.normal(jax.random.key(0), (1, 8, 8, 3))
  variables = layer.init(jax.random.key(1), x, train=False)
  use, train = (
    jax.jit(functools.partial(layer.apply, train=train, mutable=['batch_stats']))
    for train in (False, True)
  )
  return variables, x, use, train


def test_trained_layer_convolves_with_a_kernel_of_largest_singular_value_1(spectral):
  variables, x, use, train = spectral
  for _ in range(200):
    variables = variables | train(variables, x)[1]
  # One dot per picture, 48 in all, at every place and channel of one window: what comes out there
  # is the kernel.
  dots = jnp.pad(jnp.eye(48).reshape(48, 4, 4, 3), ((0, 0), (1, 3), (1, 3), (0, 0)))
  normalized = use(variables, dots)[0][:, 1, 1]
  assert np.linalg.svd(normalized, compute_uv=False)[0] == pytest.approx(1, rel=1e-5)
  kernel = variables['params']['Conv_0']['kernel'].reshape(48, 5)
  largest = np.linalg.svd(kernel, compute_uv=False)[0]
  np.testing.assert_allclose(normalized, kernel / largest, rtol=1e-5, atol=1e-6)


def test_only_training_passes_iterate_and_the_scale_of_a_kernel_does_not_matter(spectral):
  variables, x, use, train = spectral
  one, after_use = use(variables, x)
  _, after_training = train(variables, x)
  chex.assert_trees_all_equal(after_use['batch_stats'], variables['batch_stats'])
  moved = jax.tree.map(lambda a, b: bool((a != b).all()), after_use, after_training)
  assert jax.tree.leaves(moved) == [True, True]  # the direction and the singular value
  larger = jax.tree.map(lambda x: 10 * x, variables['params'])
  ten, _ = use(variables | {'params': larger}, x)
  np.testing.assert_allclose(one, ten, rtol=1e-4, atol=1e-6)


def test_in_half_precision_only_the_statistics_are_float32(spectral):
  variables, x, _, train = spectral
  result, after = train(variables, x)
  params, half = cast((variables['params'], x), jnp.bfloat16)
  in_half, after_half = train(variables | {'params': params}, half)
  assert in_half.dtype == jnp.bfloat16
  chex.assert_trees_all_equal_shapes_and_dtypes(after_half, after)
  np.testing.assert_allclose(in_half.astype(float), result, atol=0.02 * float(abs(result).max()))


def test_a_transposed_layer_is_normalized_by_output_channel_as_pytorch_does():
  layer = layers.SpectralUpConv(5, (4, 4), (2, 2))
  x = jax.random.normal(jax.random.key(0), (1, 3, 3, 7))
  variables = layer.init(jax.random.key(1), x, train=False)
  train = jax.jit(functools.partial(layer.apply, train=True, mutable=['batch_stats']))
  for _ in range(200):
    variables = variables | train(variables, x)[1]
  kernel = variables['params']['UpConv_0']['kernel']
  assert kernel.shape == (4, 4, 7, 5)
  # U(-1, 1) / sqrt(16 * 5): PyTorch counts the output channels of a transposed kernel.
  drawn = layers.torch_up_init(jax.random.key(0), kernel.shape)
  assert jnp.abs(drawn).max() == pytest.approx(80**-0.5, rel=0.02)
  plain = layers.UpConv(5, (4, 4), (2, 2), use_bias=False)
  largest = np.linalg.svd(kernel.reshape(-1, 5), compute_uv=False)[0]
  expected = plain.apply({'params': {'kernel': kernel.swapaxes(-1, -2) / largest}}, x)
  result = layer.apply(variables, x, train=False)
  np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-6)


def test_leaky_relu_is_flaxs_with_its_first_and_second_derivatives():
  x = jnp.array([-3.0, -1e-3, 0.0, 1e-3, 2.0])

  def derivatives(f) -> tuple:
    def slope(x):
      return jax.grad(lambda x: (f(x) ** 3).sum())(x)

    return f(x), slope(x), jax.grad(lambda x: slope(x).sum())(x)

  theirs = functools.partial(nn.leaky_relu, negative_slope=0.2)
  chex.assert_trees_all_close(derivatives(layers.leaky_relu), derivatives(theirs), rtol=1e-6)
