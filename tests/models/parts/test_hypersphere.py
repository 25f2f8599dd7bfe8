"""Curves and points of a sphere: by hand, against SciPy, and there and back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.spatial

from fevgan_jax.models.parts import hypersphere


def points(count: int, shape=(31, 10), seed: int = 0) -> jax.Array:
  """Of the sphere, at random, less than half a turn from each other."""
  drawn = np.random.default_rng(seed).normal(0.5, 1, (count, *shape)).astype(np.float32)
  return hypersphere.normalized(jnp.asarray(drawn))


def test_a_curve_by_hand():
  # Two steps, 3 to the right and 1 down: velocities (6, 0) and (0, 2), length 4, and the function
  # (6, 0) / sqrt(24), (0, 2) / sqrt(8).
  curve = jnp.array([[5.0, 5.0], [8.0, 5.0], [8.0, 6.0]])
  function, length = hypersphere.of_curve(curve)
  assert length == 4
  np.testing.assert_allclose(function, [[1.5**0.5, 0], [0, 0.5**0.5]], rtol=1e-6)
  assert hypersphere.norm(function) == pytest.approx(1)
  np.testing.assert_allclose(hypersphere.to_curve(function, length), curve - 5, atol=1e-6)
  # Twice as far is the same point of the sphere, and twice the length.
  again, twice = hypersphere.of_curve(2 * curve)
  np.testing.assert_allclose(again, function, rtol=1e-6)
  assert twice == 8


def test_curves_go_there_and_back():
  rng = np.random.default_rng(0)
  curves = np.cumsum(rng.normal(0, 0.01, (4, 32, 136)), 1).astype(np.float32)
  function, length = hypersphere.of_curve(curves)
  np.testing.assert_allclose(hypersphere.norm(function), 1, rtol=1e-5)
  np.testing.assert_allclose(
    hypersphere.to_curve(function, length), curves - curves[:, :1], atol=1e-6
  )


def test_a_curve_that_rests_is_no_point_and_goes_nowhere():
  curve = jnp.ones((1, 5, 4))
  function, length = hypersphere.of_curve(curve)
  assert not function.any() and not length.any()
  assert not hypersphere.to_curve(points(1, (4, 4)), length).any()


def test_a_great_circle_by_hand():
  # One place, two dimensions: an ordinary circle. A quarter of it, and a third of that quarter.
  p, q = jnp.array([[1.0, 0.0]]), jnp.array([[0.0, 1.0]])
  v = hypersphere.log(p, q)
  np.testing.assert_allclose(v, [[0, np.pi / 2]], rtol=1e-6)
  assert hypersphere.angle(p, q) == pytest.approx(np.pi / 2)
  sixth = [[np.cos(np.pi / 6), np.sin(np.pi / 6)]]
  np.testing.assert_allclose(hypersphere.exp(p, v / 3), sixth, rtol=1e-6)


def test_great_circles_are_scipys():
  p, q = points(2)
  times = np.linspace(0, 1, 5)
  ours = [hypersphere.exp(p, t * hypersphere.log(p, q)) for t in times]
  # SciPy's sphere has the plain inner product, ours the mean over moments.
  unit = [np.asarray(x, np.float64).ravel() for x in (p, q)]
  unit = [x / np.linalg.norm(x) for x in unit]
  theirs = scipy.spatial.geometric_slerp(*unit, times)
  np.testing.assert_allclose(np.reshape(ours, (5, -1)) / len(p) ** 0.5, theirs, atol=1e-6)


def test_log_is_tangent_as_long_as_the_way_and_taken_back_by_exp():
  p, *others = points(5)
  for q in others:
    v = hypersphere.log(p, q)
    assert abs(hypersphere.inner(p, v)) < 1e-6
    assert hypersphere.norm(v) == pytest.approx(float(hypersphere.angle(p, q)), rel=1e-5)
    np.testing.assert_allclose(hypersphere.exp(p, v), q, atol=1e-5)


def test_at_the_point_itself_nothing_is_infinite():
  p = points(1)[0]
  assert hypersphere.norm(hypersphere.log(p, p)) < 2e-3
  np.testing.assert_allclose(hypersphere.exp(p, jnp.zeros_like(p)), p, atol=1e-6)
  slope = jax.grad(lambda v: hypersphere.angle(p, hypersphere.exp(p, v)))(jnp.zeros_like(p))
  assert np.isfinite(slope).all()
  assert np.isfinite(jax.grad(lambda q: hypersphere.angle(p, q))(p)).all()


def mean(functions: jax.Array) -> np.ndarray:
  """The Karcher mean by SciPy's optimizer: the least sum of squared angles, in the plain angle
  between vectors of any length."""
  flat = np.asarray(functions, np.float64).reshape(len(functions), -1)
  flat /= np.linalg.norm(flat, axis=1, keepdims=True)

  def cost(x: np.ndarray) -> float:
    return (np.arccos(flat @ x / np.linalg.norm(x)) ** 2).sum()

  found = scipy.optimize.minimize(cost, flat.mean(0), tol=1e-10).x
  return found / np.linalg.norm(found)


def test_the_karcher_mean_is_where_tangent_vectors_add_up_to_nothing():
  functions = points(6, (3, 4))
  found = jnp.asarray(mean(functions).reshape(3, 4), jnp.float32) * 3**0.5
  assert hypersphere.norm(found) == pytest.approx(1)
  assert np.abs(hypersphere.log(found, functions).mean(0)).max() < 1e-4
  middle = hypersphere.exp(
    functions[0], hypersphere.log(functions[0], functions[1]) / 2
  )  # the mean of two points is their midpoint
  two = mean(functions[:2]).reshape(3, 4) * 3**0.5
  np.testing.assert_allclose(middle, two, atol=1e-4)
