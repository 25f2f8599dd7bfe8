"""How far one set of features is from another: the Fréchet distance of FID and FVD."""

import numpy as np


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
  """Squared Fréchet distance of two Gaussians that have the moments of two sets of features.

      |m_a - m_b|^2 + Tr(S_a + S_b - 2 (S_a S_b)^{1/2})

  (Heusel et al. 2017, eq. 6), with unbiased covariances S. The distance itself is biased: of two
  samples of one distribution it is above 0, by (1 / n_a + 1 / n_b) Tr S for the means and by more
  for the covariances (on such bias see Binkowski et al. 2018). Compare only distances with the same
  numbers of clips, and beside that of another sample of real clips.

  Args:
    a: [n_a, d] features, one row per clip; fewer rows than d are allowed.
    b: [n_b, d], likewise.

  Returns:
    At least 0, in squared units of the features.

  Raises:
    ValueError: the widths differ, or a set has fewer than two rows, which have no covariance.
  """
  if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
    raise ValueError(f'features {a.shape} and {b.shape}: expected [n, d] twice, with one d')
  (mean_a, root_a), (mean_b, root_b) = _moments(a), _moments(b)
  # With S_a = A'A and S_b = B'B the eigenvalues of S_a S_b are the squared singular values of AB':
  # no matrix root is taken, so singular covariances do no harm.
  overlap = np.linalg.norm(root_a @ root_b.T, 'nuc')
  traces = np.square(root_a).sum() + np.square(root_b).sum()
  return max(0.0, float(np.square(mean_a - mean_b).sum() + traces - 2 * overlap))


def _moments(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """The mean [d] of features [n, d], and a root R [min(n, d), d] of their covariance R'R."""
  n = len(features)
  if n < 2:
    raise ValueError(f'{n} rows of features: expected at least 2, for a covariance')
  features = features.astype(np.float64)
  mean = features.mean(0)
  return mean, np.linalg.qr((features - mean) / np.sqrt(n - 1), mode='r')
