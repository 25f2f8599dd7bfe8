"""How near generated frames are to the real ones: PSNR and SSIM.

Everywhere: frames are floats [..., height, width, 3] in [0, 1], so that the range of the data is 1.
"""

import chex
import jax.numpy as jnp
import numpy as np
from jax import Array

FRAME_AXES = (-3, -2, -1)

# Of SSIM (Wang et al. 2004): side of the Gaussian's window and its standard deviation in pixels;
# what stabilizes the comparison of means and that of variances.
WINDOW, SIGMA = 11, 1.5
K1, K2 = 0.01, 0.03


def psnr(a: Array, b: Array) -> Array:
  """Peak signal-to-noise ratio of each frame in decibels: -10 log10 of its mean squared error.

  Args:
    a: [..., height, width, 3] in [0, 1].
    b: like `a`.

  Returns:
    [...], at most 100 dB, which is what frames that do not differ get.
  """
  chex.assert_equal_shape([a, b])
  chex.assert_type([a, b], float)
  return -10 * jnp.log10(jnp.maximum(jnp.square(a - b).mean(FRAME_AXES), 1e-10))


def ssim(a: Array, b: Array) -> Array:
  """Mean structural similarity of each frame (Wang et al. 2004, eq. 13 to 17), over all colors.

  Local moments are weighted by a Gaussian and count only where its window fits inside the frame.

  Args:
    a: [..., height, width, 3] in [0, 1].
    b: like `a`.

  Returns:
    [...] in [-1, 1]; 1 where the frames are the same.

  Raises:
    ValueError: a frame is smaller than the window.
  """
  chex.assert_equal_shape([a, b])
  chex.assert_type([a, b], float)
  rows, columns = map(_gaussian_band, a.shape[-3:-1])
  moments = jnp.stack([a, b, a * a, b * b, a * b])
  mean_a, mean_b, aa, bb, ab = jnp.einsum(
    'ih,jw,...hwc->...ijc', rows, columns, moments, precision='highest'
  )
  c1, c2 = K1**2, K2**2
  means = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
  covariance = ab - mean_a * mean_b
  variances = aa - mean_a**2 + bb - mean_b**2
  return (means * (2 * covariance + c2) / (variances + c2)).mean(FRAME_AXES)


def _gaussian_band(side: int) -> np.ndarray:
  """[side - WINDOW + 1, side]: row i holds a normalized Gaussian over pixels i to i + WINDOW - 1.

  As a matrix product the filter is fast on every device; a depthwise convolution is slow on a CPU.
  """
  if side < WINDOW:
    raise ValueError(f'a frame of {side} pixels is smaller than the window of SSIM, {WINDOW}')
  weights = np.exp(-0.5 * ((np.arange(WINDOW) - (WINDOW - 1) / 2) / SIGMA) ** 2)
  band = [
    np.roll(np.pad(weights / weights.sum(), (0, side - WINDOW)), i)
    for i in range(side - WINDOW + 1)
  ]
  return np.stack(band).astype(np.float32)
