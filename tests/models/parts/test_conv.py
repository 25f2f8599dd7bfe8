"""The two convolutions against XLA's own, in value and gradient, and a case worked out by hand."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fevgan_jax.models.parts import conv

# window, strides, padding, fine space: FEV-GAN's layers, then those of other systems, then uneven
# ones.
CASES = [
  ((4, 4, 4), (2, 2, 2), ((1, 1),) * 3, (8, 6, 4)),
  ((2, 1, 1), (1, 1, 1), ((0, 0),) * 3, (2, 4, 4)),
  ((2, 4, 4), (1, 1, 1), ((0, 0),) * 3, (2, 4, 4)),
  ((4, 1, 1), (2, 1, 1), ((1, 1), (0, 0), (0, 0)), (8, 3, 3)),
  ((1, 4, 4), (1, 2, 2), ((0, 0), (1, 1), (1, 1)), (3, 6, 8)),
  ((4, 4), (2, 2), ((1, 1),) * 2, (8, 6)),
  ((7, 7), (2, 2), ((0, 0),) * 2, (13, 15)),
  ((3, 3), (2, 2), ((1, 1),) * 2, (7, 8)),
  ((1, 1), (2, 2), ((0, 0),) * 2, (8, 8)),
  ((4, 1), (3, 1), ((0, 0),) * 2, (6, 3)),  # one place, behind which two are left over
]


def inputs(window, strides, padding, fine, features=3, channels=5):
  keys = jax.random.split(jax.random.key(0), 3)
  coarse = [(n + sum(p) - k) // s + 1 for n, p, k, s in zip(fine, padding, window, strides)]
  return (
    jax.random.normal(keys[0], (2, *fine, features)),
    jax.random.normal(keys[1], (2, *coarse, channels)),
    jax.random.normal(keys[2], (*window, features, channels)),
  )


def assert_close(a, b):
  """Within 1e-5 of the largest value."""
  for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
    np.testing.assert_allclose(x, y, rtol=0, atol=1e-5 * float(jnp.abs(y).max()))


# All layers in one go, and a few in chunks of one example each.
WAYS = [(case, conv.CHUNK) for case in CASES] + [(CASES[i], 1) for i in (0, 4, 5)]


def test_one_axis_by_hand():
  # x = 1 2 3 4, zero at both ends, window 1 10 100 1000 every second place:
  # y[0] = 0*1 + 1*10 + 2*100 + 3*1000 = 3210, y[1] = 2*1 + 3*10 + 4*100 + 0*1000 = 432.
  x = jnp.array([1.0, 2.0, 3.0, 4.0]).reshape(1, 4, 1)
  kernel = jnp.array([1.0, 10.0, 100.0, 1000.0]).reshape(4, 1, 1)
  y = conv.strided_conv(x, kernel, (2,), ((1, 1),))
  assert y.ravel().tolist() == [3210.0, 432.0]
  # Back: y[0] = 1 reaches x[-1..2] with the whole window, y[1] = 2 reaches x[1..4]; places -1 and
  # 4 are cut off.
  back = conv.transposed_conv(jnp.array([1.0, 2.0]).reshape(1, 2, 1), kernel, (2,), ((1, 1),))
  assert back.ravel().tolist() == [10.0, 100.0 + 2.0, 1000.0 + 20.0, 200.0]


@pytest.mark.parametrize('case, chunk', WAYS)
def test_strided_conv_equals_xla(case, chunk, monkeypatch):
  monkeypatch.setattr(conv, 'CHUNK', chunk)
  window, strides, padding, _ = case
  x, y, kernel = inputs(*case)
  ours = functools.partial(conv.strided_conv, strides=strides, padding=padding)
  xla = functools.partial(conv._down_by_xla, strides=strides, padding=padding)
  value, pull_back = jax.vjp(ours, x, kernel)
  expected, expected_pull_back = jax.vjp(xla, x, kernel)
  assert_close(value, expected)
  assert_close(pull_back(y), expected_pull_back(y))


@pytest.mark.parametrize('case, chunk', WAYS)
def test_transposed_conv_equals_xla(case, chunk, monkeypatch):
  monkeypatch.setattr(conv, 'CHUNK', chunk)
  window, strides, padding, fine = case
  x, y, kernel = inputs(*case)
  reached = tuple(
    (m - 1) * s + k - sum(p) for m, s, k, p in zip(y.shape[1:-1], strides, window, padding)
  )
  x = x[(slice(None), *map(slice, reached))]
  ours = functools.partial(conv.transposed_conv, strides=strides, padding=padding)
  xla = functools.partial(conv._up_by_xla, strides=strides, padding=padding, fine=reached)
  value, pull_back = jax.vjp(ours, y, kernel)
  expected, expected_pull_back = jax.vjp(xla, y, kernel)
  assert_close(value, expected)
  assert_close(pull_back(x), expected_pull_back(x))


def test_batch_is_cut_into_equal_chunks(monkeypatch):
  # 6 examples of 10 float32 each, 100 bytes at a time: 2 examples, 3 chunks. 30 bytes: one by one.
  x = jnp.arange(60.0).reshape(6, 10)
  for limit, chunks in ((100, 3), (30, 6), (1000, 1)):
    monkeypatch.setattr(conv, 'CHUNK', limit)
    parts = conv._in_chunks(lambda part: part, 10, x)
    assert parts.shape == (chunks, 6 // chunks, 10)
    assert (parts.reshape(6, 10) == x).all()


def test_second_derivative_is_the_derivative_of_the_first():
  x, y, kernel = inputs(*CASES[0])
  down = lambda x, kernel: jnp.sum(jnp.sin(conv.strided_conv(x, kernel, *CASES[0][1:3])))  # noqa: E731
  xla = lambda x, kernel: jnp.sum(  # noqa: E731
    jnp.sin(conv._down_by_xla(x, kernel, strides=CASES[0][1], padding=CASES[0][2]))
  )
  norm = lambda f: lambda x, kernel: jnp.sum(jax.grad(f)(x, kernel) ** 2)  # noqa: E731
  np.testing.assert_allclose(
    jax.grad(norm(down), 1)(x, kernel), jax.grad(norm(xla), 1)(x, kernel), rtol=1e-3, atol=1e-1
  )


def test_channels_that_do_not_match_are_refused():
  with pytest.raises(AssertionError):
    conv.strided_conv(jnp.zeros((1, 4, 4, 3)), jnp.zeros((4, 4, 2, 5)), (2, 2), ((1, 1),) * 2)
