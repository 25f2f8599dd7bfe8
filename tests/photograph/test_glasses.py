"""Glasses: of two photographs that packages ship, one shows a pair."""

import pathlib

import matplotlib
import numpy as np
import pytest
import skimage.data

from fevgan_jax.faces import crop, detect
from fevgan_jax.photograph import field, glasses
from fevgan_jax.runtime import media

HOPPER = pathlib.Path(matplotlib.get_data_path()) / 'sample_data' / 'grace_hopper.jpg'


@pytest.fixture(scope='module')
def hopper() -> tuple[np.ndarray, np.ndarray]:
  """Pixels and landmarks of somebody with glasses."""
  pixels = media.pixels(HOPPER)
  return pixels, detect.checked(pixels, crop.SIDE, name=HOPPER.name)


def test_a_frame_holds_what_is_under_it_and_lids_move_behind_it(hopper):
  pixels, landmarks = hopper
  placed = crop.transform(crop.similarity(landmarks), landmarks)

  def held(points: np.ndarray) -> np.ndarray:
    return field.read(glasses.frame(pixels, landmarks), points.astype(float))[..., 0]

  assert (held(placed[[27, 28]]) > 0.95).all()  # the bridge of the nose
  eyes = [placed[list(outline)] for outline in glasses.EYE_OUTLINES]
  rims = np.array([eye.mean(0) + (0, 6) for eye in eyes])
  assert (held(rims) > 0.95).all()
  assert (held(np.array([eye.mean(0) for eye in eyes])) < 0.05).all()
  assert (held(placed[[8, 33, 48, 54, 57]]) < 0.05).all()  # chin, nose, mouth
  assert (held(placed[[0, 16]] + np.array([(-12, 0), (12, 0)])) < 0.05).all()  # hair


def test_faces_without_glasses_have_no_frame():
  pixels = skimage.data.astronaut()
  landmarks = detect.checked(pixels, crop.SIDE, name='astronaut', loses_smile=True)
  assert not glasses.frame(pixels, landmarks).any()


def test_it_does_not_matter_how_large_a_photograph_is(hopper):
  pixels, landmarks = hopper
  half = media.fit(pixels[None], max(pixels.shape) // 2)[0]
  small = glasses.frame(half, landmarks / 2)
  assert np.abs(small - glasses.frame(pixels, landmarks)).mean() < 0.02
