import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, shift

from fevgan_jax.evaluation.metrics.motion import travel


@pytest.fixture
def face() -> np.ndarray:
  """A smooth random texture on a black ground: [64, 64, 3]."""
  texture = gaussian_filter(np.random.default_rng(0).normal(size=(64, 64)), 2)
  rows, columns = np.mgrid[:64, :64] - 31.5
  inside = rows**2 + columns**2 < 24**2
  grey = np.where(inside, 128 + 60 * texture / texture.std() / 2, 0).clip(0, 255)
  return np.repeat(grey[..., None], 3, axis=-1).astype(np.uint8)


def test_a_shift_is_as_long_as_it_is(face):
  # Shifts of 1, 2 and 3 pixels to the right, and 0.5 down: lengths 1.118, 2.062 and 3.041.
  shifts = [(0.5, 1), (0.5, 2), (0.5, 3)]
  moved = [shift(face.astype(float), (*by, 0), order=1).round().astype(np.uint8) for by in shifts]
  clip = np.stack([face, *moved])
  assert travel(clip[None]) == pytest.approx(np.hypot(*np.array(shifts).T).mean(), rel=0.05)


def test_larger_clips_travel_as_far(face):
  # Pixels of twice the side: their averages are the small clip.
  small = np.stack([face, np.roll(face, 2, axis=1)])[None]
  large = small.repeat(2, axis=2).repeat(2, axis=3)
  np.testing.assert_array_equal(travel(large), travel(small))


def test_what_stands_still_or_is_empty_does_not_travel(face):
  clips = np.stack([np.stack([face] * 4), np.zeros((4, 64, 64, 3), np.uint8)])
  np.testing.assert_allclose(travel(clips), 0, atol=1e-3)


def test_little_noise_is_little_motion(face):
  rng = np.random.default_rng(0)
  noisy = [(face + rng.normal(0, 3, face.shape)).clip(0, 255).astype(np.uint8) for _ in range(3)]
  assert travel(np.stack([face, *noisy])[None]) < 0.1


def test_it_follows_the_landmarks_of_rendered_clips(config):
  from fevgan_jax.data import datasets

  source = datasets.prepare(config).as_data_source('train')
  clips = [source[i] for i in range(12)]
  landmarks = np.stack([clip['landmarks'] for clip in clips])
  true = np.linalg.norm(landmarks - landmarks[:, :1], axis=-1).mean((1, 2))
  measured = travel(np.stack([clip['video'] for clip in clips]))
  assert np.corrcoef(true, measured)[0, 1] > 0.8
