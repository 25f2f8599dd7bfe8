"""How near generated frames are to the real ones: PSNR and SSIM.

Everywhere: frames are floats [..., height, width, 3] in [0, 1], so that the range of the data is 1.
"""

import chex
import jax.numpy as jnp
import numpy as np
from jax import Array

FRAME_AXES = (-3, -2, -1)
CLIP_AXES = (-4, -3, -2, -1)


def psnr(a: Array, b: Array, *, axis: tuple[int, ...] = FRAME_AXES) -> Array:
  """Peak signal-to-noise ratio in decibels: -10 log10 of the mean squared error.

  Args:
    a: [..., height, width, 3] in [0, 1].
    b: like `a`.
    axis: the axes with one mean squared error: FRAME_AXES for one value per frame, CLIP_AXES per
      clip.

  Returns:
    The remaining axes, at most 100 dB, which is what frames that do not differ get.
  """
  chex.assert_equal_shape([a, b])
  chex.assert_type([a, b], float)
  return -10 * jnp.log10(jnp.maximum(jnp.square(a - b).mean(axis), 1e-10))


def clip_psnr(a: Array, b: Array, *, pooled: bool = False) -> Array:
  """PSNR of clips [..., time, height, width, 3], one value each.

  Args:
    a: in [0, 1].
    b: like `a`.
    pooled: of one mean squared error over all frames, as ImaGINator's public code does for a batch;
      otherwise the mean over frames of each frame's PSNR, which is never less.

  Returns:
    [...] in decibels.
  """
  return psnr(a, b, axis=CLIP_AXES) if pooled else psnr(a, b).mean(-1)


def ssim(
  a: Array, b: Array, *, window: int = 11, sigma: float = 1.5, k1: float = 0.01, k2: float = 0.03
) -> Array:
  """Mean structural similarity of each frame (Wang et al. 2004, eq. 13 to 17), over all colours.

  Local moments are weighted by a Gaussian and count only where its window fits inside the frame.

  Args:
    a: [..., height, width, 3] in [0, 1].
    b: like `a`.
    window: side of the Gaussian's window in pixels.
    sigma: its standard deviation in pixels.
    k1: stabilises the comparison of means.
    k2: stabilises the comparison of variances.

  Returns:
    [...] in [-1, 1]; 1 where the frames are the same.

  Raises:
    ValueError: a frame is smaller than the window.
  """
  chex.assert_equal_shape([a, b])
  chex.assert_type([a, b], float)
  rows, columns = (_gaussian_band(side, window, sigma) for side in a.shape[-3:-1])
  moments = jnp.stack([a, b, a * a, b * b, a * b])
  mean_a, mean_b, aa, bb, ab = jnp.einsum(
    'ih,jw,...hwc->...ijc', rows, columns, moments, precision='highest'
  )
  c1, c2 = k1**2, k2**2
  means = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
  covariance = ab - mean_a * mean_b
  variances = aa - mean_a**2 + bb - mean_b**2
  return (means * (2 * covariance + c2) / (variances + c2)).mean(FRAME_AXES)


def _gaussian_band(side: int, window: int, sigma: float) -> np.ndarray:
  """[side - window + 1, side]: row i holds a normalised Gaussian over pixels i to i + window - 1.

  As a matrix product the filter is fast on every device; a depthwise convolution is slow on a CPU.
  """
  if side < window:
    raise ValueError(f'a frame of {side} pixels is smaller than the window of SSIM, {window}')
  weights = np.exp(-0.5 * ((np.arange(window) - (window - 1) / 2) / sigma) ** 2)
  band = [
    np.roll(np.pad(weights / weights.sum(), (0, side - window)), i)
    for i in range(side - window + 1)
  ]
  return np.stack(band).astype(np.float32)
