"""Fields of a generator as movements: where a sheet is not seen, mirrored, and without a smile."""

import numpy as np
import pytest
import skimage.data

from fevgan_jax.faces import crop, detect
from fevgan_jax.photograph.motion import Motion, go_on, mirrored, sway


def still(frames: int = 1) -> Motion:
  moves = np.zeros((frames, 64, 64, 4, 2), np.float32)
  return Motion(moves, np.zeros((frames, 64, 64, 1)), np.zeros(frames))


def test_a_sheet_is_read_where_it_is_seen():
  sheets = np.zeros((1, 64, 64, 5))
  sheets[:, :30, :, 1] = sheets[:, 40:, :, 2] = 1  # a cheek, and a jaw below a mouth
  sheets[:, 30:40, :, 4] = 1
  extras = {**still()._asdict(), 'sheets': sheets}
  extras['moves'][..., 1, 0] = 2.0
  extras['moves'][:, 40:, :, 2] = -5.0
  extras['shading'][:, 30:40] = 9.0
  moving = Motion.of(extras)
  # The jaw goes on above its edge in row 40 as it begins there.
  np.testing.assert_allclose(moving.moves[0, 32:, :, 2], -5, atol=0.1)
  np.testing.assert_allclose(moving.moves[0, :40, :, 1, 0], 2, atol=0.01)
  np.testing.assert_allclose(moving.shading, 0, atol=0.1)


def test_a_field_goes_on_where_it_is_not_seen():
  ramp = np.tile(np.arange(64.0)[None, :, None], (64, 1, 2))
  seen = np.ones((64, 64))
  seen[20:30, 20:30] = 0
  changed = np.where(seen[..., None] > 0, ramp, -1e3)
  filled = go_on(changed, seen)
  np.testing.assert_allclose(filled[24:26, 20:30], ramp[24:26, 20:30], atol=3.5)
  np.testing.assert_allclose(filled[5:15, 5:-5], ramp[5:15, 5:-5], atol=0.2)
  # Nor does it say much where it is hardly seen.
  seen[20:30, 20:30] = 1
  seen[20:24, 20:30] = 0.03
  hardly = go_on(np.where(seen[..., None] == 1, 2.0, 10.0), seen)
  np.testing.assert_allclose(hardly, 2, atol=3)


def test_another_pace_is_read_between_the_frames():
  moving = Motion(
    np.arange(3, dtype=np.float32).reshape(3, 1, 1, 1, 1),
    np.zeros((3, 1, 1, 1), np.float32),
    np.linspace(0, 1, 3),
  )
  there_and_back = moving.along((0, 1, 0), 5)
  np.testing.assert_allclose(there_and_back.moves.ravel(), [0, 1, 2, 1, 0])
  np.testing.assert_allclose(there_and_back.closed, [0, 0.5, 1, 0.5, 0])
  np.testing.assert_allclose(moving.along((0, 0.25), 2).moves.ravel(), [0, 0.5])


def test_a_mirrored_movement_goes_the_other_way():
  moving = still()
  moving.moves[0, 5, 10, 1] = 2.0, 3.0
  moving.shading[0, 5, 10] = 4.0
  other = mirrored({'moves': moving.moves[None], 'shading': moving.shading[None]})
  np.testing.assert_array_equal(other['moves'][0, 0, 5, 53, 1], [2, -3])
  assert other['shading'][0, 0, 5, 53] == 4 and np.abs(other['moves']).sum() == 5


def test_a_head_drifts_smoothly_from_where_it_is():
  turns = sway(32, 0)
  assert turns.shape == (32, 2) and not turns[0].any()
  assert 0.005 < np.abs(turns).max() < 0.2 and np.abs(np.diff(turns, axis=0)).max() < 0.02
  assert not np.allclose(turns, sway(32, 1))
  # With more frames it is the same drift.
  np.testing.assert_allclose(sway(63, 0)[::2], turns, atol=1e-12)


def test_a_smile_goes_before_another_expression_comes():
  points = detect.landmarks(skimage.data.astronaut())  # who smiles
  smile = still(32)
  # A smile takes what is beside the middle of the face up by six pixels.
  beside = np.abs(np.arange(64) - 32) > 4
  smile.moves[-1, :, beside, :, 0] = 6.0
  calm = still(32).without_smile(smile, points, 1.0, 0.0)
  assert not calm.moves[0].any() and not calm.moves[:, :24].any()
  corner = calm.moves[:, 42, 20, 1, 0]
  assert (np.diff(corner) <= 0).all() and np.ptp(corner[13:]) == 0
  # The corners go down by what they are higher than those of a neutral face.
  neutral = np.mean(crop.TEMPLATE[[51, 57], 1]) - np.mean(crop.TEMPLATE[[48, 54], 1])
  assert corner[-1] == pytest.approx(-(detect.smile(points) - neutral), rel=0.02)
  half = still(32).without_smile(smile, points, 0.5, 0.0)
  np.testing.assert_allclose(half.moves, calm.moves / 2)
  # Parted lips close meanwhile, but not before another smile.
  assert calm.closed[0] == 0 and calm.closed[-1] == pytest.approx(-corner[-1] / 6, rel=0.02)
  assert not still(32).without_smile(smile, points, 1.0, 1.0).closed.any()
  # A smile may be known by its width: its corners go apart by two pixels each, and this face's are
  # wider than the template's by what is two thirds of that.
  smile.moves[-1, :, beside, :, 0] = 0
  smile.moves[-1, :, :32, :, 1], smile.moves[-1, :, 32:, :, 1] = 2.0, -2.0
  wider = crop.TEMPLATE.copy()
  wider[[48, 54], 0] += -4 / 3, 4 / 3
  gone = still(32).without_smile(smile, wider, 1.0, 0.0)
  assert gone.closed[-1] == pytest.approx(2 / 3, rel=1e-3)
  # It is not the smile's opposite where a face does not smile.
  assert not still(32).without_smile(smile, crop.TEMPLATE, 1.0, 0.0).moves.any()
