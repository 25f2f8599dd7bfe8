"""Bounds for comparing results that differ only in how float32 sums were rounded."""

import jax
import numpy as np

EPSILON = 2.0**-24  # the largest relative error of one rounded float32 operation
# How much a convolution of `conv_tiles` magnifies rounding errors along an axis, by its tile: the
# root mean square of its products over that of the terms they replace, the largest for 2 to 4 taps
# and for value and both gradients. `test_growth_of_rounding_errors` derives it.
GROWTH = {1: 1.0, 2: 1.64, 4: 3.53}


def bound(terms: int, growth: float = 1.0) -> float:
  """The error that rounding may cause in sums, as a share of the largest of them.

  n terms of size 1 and either sign add up to sqrt(n) or so, and to 4 sqrt(n) for the largest of
  many sums. On the way each of n partial sums, of size sqrt(n) at most, is rounded. These errors
  add up to sqrt(n) * sqrt(n) * EPSILON at most, and to 4 times that in the largest of many:
  sqrt(n) * EPSILON of the largest sum. The terms themselves take up to 16 roundings.

  Args:
    terms: n, of the longest sum.
    growth: how much larger the terms are than those of a plain sum.
  """
  return growth * (terms + 16) ** 0.5 * EPSILON


def assert_equal_up_to_rounding(actual, expected, *, terms: int, growth: float = 1.0) -> None:
  """Asserts that two trees are equal but for the order in which their sums were taken.

  All arrays of a tree share one scale, its largest number, since an array can be zero up to
  rounding (a bias before batch normalization has no gradient).

  Compare gradients, losses, and statistics in this way, never what Adam makes of them: its first
  steps move a parameter whose gradient is at the level of rounding by a whole learning rate.

  Args:
    actual: arrays of any shapes.
    expected: the same tree.
    terms: see `bound`.
    growth: see `bound`.
  """
  actual, expected = (
    [np.asarray(x, np.float64) for x in jax.tree.leaves(tree)] for tree in (actual, expected)
  )
  atol = bound(terms, growth) * max(np.abs(x).max() for x in expected)
  for x, y in zip(actual, expected, strict=True):
    np.testing.assert_allclose(x, y, rtol=0, atol=atol)
