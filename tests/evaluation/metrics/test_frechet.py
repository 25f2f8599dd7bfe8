import numpy as np
import pytest
import scipy.linalg

from fevgan_jax.evaluation.metrics.frechet import frechet_distance


def two_sets(n_a: int, n_b: int, d: int) -> tuple[np.ndarray, np.ndarray]:
  """Correlated features with different moments: [n_a, d] and [n_b, d]."""
  rng = np.random.default_rng(0)
  return (
    rng.normal(size=[n_a, d]) @ rng.normal(size=[d, d]),
    rng.normal(size=[n_b, d]) @ rng.normal(size=[d, d]) + 0.5,
  )


def test_one_dimension_by_hand():
  # Means 1 and 6, deviations sqrt(2) and sqrt(18) = 3 sqrt(2): 5^2 + (2 sqrt(2))^2 = 33.
  a, b = np.array([[0.0], [2.0]]), np.array([[3.0], [9.0]])
  assert frechet_distance(a, b) == pytest.approx(33)


def test_diagonal_covariances_by_hand():
  # On the axes at +-1 and +-2, and at +-3 and +-5: sums of squares (2, 8) and (18, 50) over n - 1
  # = 3. The means agree: (sqrt(18/3) - sqrt(2/3))^2 + (sqrt(50/3) - sqrt(8/3))^2 = 8/3 + 18/3.
  axes = np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
  assert frechet_distance(axes * [1, 2], axes * [3, 5]) == pytest.approx(26 / 3)


def test_covariances_that_share_no_direction():
  # Means agree; along x a variance of 2, along y one of 8, and nothing in common: 2 + 8. Both
  # covariances are singular.
  a, b = np.array([[1.0, 0], [-1, 0]]), np.array([[0, 2.0], [0, -2]])
  assert frechet_distance(a, b) == pytest.approx(10)


def test_it_is_that_of_a_matrix_root():
  a, b = two_sets(50, 70, 8)
  cov_a, cov_b = np.cov(a.T), np.cov(b.T)
  root = scipy.linalg.sqrtm(cov_a @ cov_b).real
  expected = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(cov_a + cov_b - 2 * root)
  assert frechet_distance(a, b) == pytest.approx(expected)


@pytest.mark.parametrize('n', [5, 100])  # fewer rows than columns, and more
def test_invariances(n):
  a, b = two_sets(n, n + 3, 16)
  distance = frechet_distance(a, b)
  turn = np.linalg.qr(np.random.default_rng(1).normal(size=[16, 16]))[0]
  assert frechet_distance(b, a) == pytest.approx(distance)
  assert frechet_distance(a[::-1], b) == pytest.approx(distance)
  assert frechet_distance(a @ turn + 3, b @ turn + 3) == pytest.approx(distance)
  assert frechet_distance(2 * a, 2 * b) == pytest.approx(4 * distance)


@pytest.mark.parametrize('n', [5, 100])
def test_a_set_and_itself(n):
  # Only the means differ once it is moved, by 0.5 in each of 16 directions: 16 / 4.
  a, _ = two_sets(n, n, 16)
  assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
  assert frechet_distance(a, a + 0.5) == pytest.approx(4)


def test_what_has_no_distance():
  with pytest.raises(ValueError, match='1 rows of features: expected at least 2'):
    frechet_distance(np.zeros([1, 3]), np.zeros([4, 3]))
  with pytest.raises(ValueError, match=r'features \(4, 3\) and \(4, 2\)'):
    frechet_distance(np.zeros([4, 3]), np.zeros([4, 2]))
