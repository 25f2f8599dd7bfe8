"""The warp: moves by hand, and its gradient by finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from fevgan_jax.models.parts.warp import warp


@pytest.fixture
def image():
  return jax.random.uniform(jax.random.key(0), (2, 7, 9, 3))


def test_nothing_moves_without_a_displacement(image):
  np.testing.assert_array_equal(warp(image, jnp.zeros((2, 3, 7, 9, 2)))[:, 1], image)


def test_pixels_come_from_where_the_displacement_points(image):
  # Two down and one to the right: the result's (1, 2) is the image's (3, 3); beyond the border the
  # last row goes on.
  moved = warp(image, jnp.broadcast_to(jnp.array([2.0, 1.0]), (2, 1, 7, 9, 2)))[:, 0]
  np.testing.assert_array_equal(moved[:, :5, :8], image[:, 2:, 1:])
  np.testing.assert_array_equal(moved[:, 6, :8], image[:, 6, 1:])
  # Half a pixel to the left: means of neighbors.
  moved = warp(image, jnp.broadcast_to(jnp.array([0.0, -0.5]), (2, 1, 7, 9, 2)))[:, 0]
  np.testing.assert_allclose(moved[:, :, 1:], (image[:, :, 1:] + image[:, :, :-1]) / 2, rtol=1e-5)


def test_as_scipy_interpolates(image):
  displacement = 3 * jax.random.normal(jax.random.key(1), (2, 4, 7, 9, 2))
  moved = warp(image, displacement)
  assert moved.shape == (2, 4, 7, 9, 3)
  grid = np.stack(np.mgrid[:7, :9], -1)
  for clip, time, channel in np.ndindex(2, 4, 3):
    position = np.moveaxis(grid + displacement[clip, time], -1, 0)
    expected = ndimage.map_coordinates(image[clip, ..., channel], position, order=1, mode='nearest')
    np.testing.assert_allclose(moved[clip, time, ..., channel], expected, atol=1e-5)


def test_gradient_is_that_of_the_interpolation(image):
  displacement = 1.5 * jax.random.normal(jax.random.key(1), (2, 1, 7, 9, 2))
  weights = jax.random.normal(jax.random.key(2), (2, 1, 7, 9, 3))
  height = jnp.arange(7.0)[:, None] + displacement[..., 0]
  width = jnp.arange(9.0) + displacement[..., 1]

  def away(x, places):  # from the grid, where there is a kink, and from the border
    return (jnp.abs(x - jnp.round(x)) > 0.01) & (x > 0.02) & (x < places - 1.02)

  smooth = away(height, 7) & away(width, 9)

  def total(displacement):
    return (weights * warp(image, displacement)).sum(-1)

  slope = jax.grad(lambda displacement: total(displacement).sum())(displacement)
  for axis in (0, 1):
    step = jnp.zeros(2).at[axis].set(5e-3)
    rise = (total(displacement + step) - total(displacement - step)) / 1e-2
    np.testing.assert_allclose(slope[..., axis][smooth], rise[smooth], atol=2e-3)
  outside = (height < -0.1) | (height > 6.1)
  assert outside.any() and (slope[..., 0][outside] == 0).all()


def test_half_precision_still_tells_pixels_apart(image):
  far = jnp.full((2, 1, 7, 9, 2), 0.25, jnp.bfloat16)
  moved = warp(image.astype(jnp.bfloat16), far)
  assert moved.dtype == jnp.bfloat16
  np.testing.assert_allclose(
    moved.astype(jnp.float32), warp(image, far.astype(jnp.float32)), atol=0.02
  )
