import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from fevgan_jax.evaluation.metrics import image


@pytest.fixture
def clips() -> tuple[np.ndarray, np.ndarray]:
  """Two clips, one the other with noise: [2, 3, 20, 24, 3]."""
  rng = np.random.default_rng(0)
  real = rng.random([2, 3, 20, 24, 3], np.float32)
  noise = rng.normal(size=real.shape) * np.array([0.02, 0.1, 0.3])[:, None, None, None]
  return real, np.clip(real + noise, 0, 1).astype(np.float32)


def test_psnr_by_hand():
  # An error of 0.1 everywhere: mse 0.01, 20 dB; of 1 everywhere: 0 dB; of 0.1 in one of four
  # pixels: mse 0.0025, 10 log10(400) = 26.0206 dB.
  black = jnp.zeros([3, 2, 2, 3])
  other = black.at[0].set(0.1).at[1].set(1.0).at[2, 0, 0].set(0.1)
  np.testing.assert_allclose(image.psnr(black, other), [20, 0, 26.0206], atol=1e-4)


def test_frames_that_do_not_differ(clips):
  real, _ = clips
  np.testing.assert_allclose(image.psnr(real, real), 100)
  np.testing.assert_allclose(image.ssim(real, real), 1, atol=1e-6)


def test_both_are_symmetric(clips):
  for metric in (image.psnr, image.ssim):
    np.testing.assert_allclose(metric(*clips), metric(*clips[::-1]), rtol=1e-5)


def test_psnr_is_that_of_scikit_image(clips):
  expected = [
    [peak_signal_noise_ratio(*frames, data_range=1) for frames in zip(*clip)]
    for clip in zip(*clips)
  ]
  np.testing.assert_allclose(image.psnr(*clips), expected, rtol=1e-5)


def test_ssim_is_that_of_scikit_image_inside_the_border(clips):
  def reference(a, b):
    _, local = structural_similarity(
      a,
      b,
      gaussian_weights=True,
      sigma=1.5,
      use_sample_covariance=False,
      data_range=1,
      channel_axis=-1,
      full=True,
    )
    return local[5:-5, 5:-5].mean()

  expected = [[reference(*frames) for frames in zip(*clip)] for clip in zip(*clips)]
  np.testing.assert_allclose(jax.jit(image.ssim)(*clips), expected, atol=1e-5)


def test_ssim_of_constant_frames_by_hand():
  # No variance: only the means count. (2 * 0.5 * 0.25 + 0.0001) / (0.25 + 0.0625 + 0.0001).
  a, b = jnp.full([11, 11, 3], 0.5), jnp.full([11, 11, 3], 0.25)
  assert image.ssim(a, b) == pytest.approx(0.2501 / 0.3126, abs=1e-5)


def test_ssim_of_inverted_contrast_is_negative():
  stripes = jnp.tile(jnp.array([0.0, 1.0])[:, None], [12, 24, 3]).reshape(24, 24, 3)
  assert image.ssim(stripes, 1 - stripes) < -0.9


def test_the_gaussian_is_a_mean():
  band = image._gaussian_band(20)
  assert band.shape == (10, 20)
  np.testing.assert_allclose(band.sum(1), 1, rtol=1e-6)
  np.testing.assert_allclose(band[3] @ np.arange(20), 8, rtol=1e-6)  # the middle of pixels 3 to 13


def test_what_cannot_be_compared():
  with pytest.raises(AssertionError, match='shape'):
    image.psnr(jnp.zeros([8, 8, 3]), jnp.zeros([8, 9, 3]))
  with pytest.raises(AssertionError, match='float'):
    image.ssim(jnp.zeros([16, 16, 3], jnp.uint8), jnp.zeros([16, 16, 3], jnp.uint8))
  with pytest.raises(ValueError, match='10 pixels is smaller than the window of SSIM, 11'):
    image.ssim(jnp.zeros([10, 16, 3]), jnp.zeros([10, 16, 3]))
