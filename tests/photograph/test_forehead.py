"""The hair of a brow is moved, not stretched, and a forehead does not ripple."""

import numpy as np
import pytest

from fevgan_jax.faces import crop
from fevgan_jax.photograph import field
from fevgan_jax.photograph.forehead import HAIR, Brow, Forehead

HAIR_AT, LID_AT = 13.0, 18.0  # of a level brow and a level lid


@pytest.fixture(scope='module')
def brow() -> Brow:
  x = np.linspace(10, 26, 5)
  lid = np.stack([np.linspace(12, 24, 4), np.full(4, LID_AT)], -1)
  return Brow(np.stack([x, np.full(5, HAIR_AT)], -1), lid)


def sources(shift: np.ndarray, x: float) -> tuple[np.ndarray, np.ndarray]:
  """Heights in the column at x, from the forehead to below the lid, and where they come from."""
  rows = np.arange(0, 24, 0.1)
  at = np.stack([np.full_like(rows, x), rows], -1)
  return rows, rows + field.read(shift, at)[:, 1]


def vertical(shift_at: np.ndarray) -> np.ndarray:
  """A field of a shift of each row."""
  shift = np.zeros((field.SIDE, field.SIDE, 2), np.float32)
  shift[..., 1] = shift_at[:, None]
  return shift


def test_what_moves_as_one_stays_as_it_is(brow):
  shift = np.full((field.SIDE, field.SIDE, 2), (0.5, -1.5), np.float32)
  np.testing.assert_allclose(brow.stiffen(shift), shift, atol=1e-5)


# The brow falls and presses the skin above the lid together, or rises and stretches it; from the
# brow to the lid the movement fades.
@pytest.mark.parametrize('fall', [2.0, -3.0])
def test_hair_keeps_its_thickness_and_the_lid_its_place(brow, fall):
  rows = field.places()[:, 0, 1]
  shift = vertical(-fall * np.interp(rows, [0, HAIR_AT + fall, LID_AT], [0.5, 1, 0]))
  _, plain = sources(shift, 18)
  rows, source = sources(brow.stiffen(shift), 18)

  def thickness(source: np.ndarray) -> float:
    top, bottom = np.interp([HAIR_AT - HAIR[0] + 0.5, HAIR_AT + HAIR[1] - 0.5], source, rows)
    return bottom - top

  wanted = sum(HAIR) - 1
  assert abs(thickness(plain) - wanted) > 0.5
  assert thickness(source) == pytest.approx(wanted, abs=0.15)
  gone_to = [np.interp(HAIR_AT, where, rows) for where in (plain, source)]
  assert gone_to == pytest.approx([HAIR_AT + fall] * 2, abs=0.2)
  np.testing.assert_allclose(source[rows > LID_AT + 1], plain[rows > LID_AT + 1], atol=1e-5)
  assert (np.diff(source) > 0).all()  # nothing folds


def test_skin_beside_and_far_above_a_brow_is_left_alone(brow):
  rows = field.places()[:, 0, 1]
  shift = vertical(-2 * np.interp(rows, [0, 16, LID_AT], [0, 1, 0]).astype(np.float32))
  changed = np.abs(brow.stiffen(shift) - shift).max(-1) > 1e-5
  at = field.places()[changed]
  assert changed.any()
  assert at[:, 0].min() > 10 - 3 and at[:, 0].max() < 26 + 3
  assert at[:, 1].min() > HAIR_AT - HAIR[0] - 5 and at[:, 1].max() < LID_AT + 0.5


def test_a_forehead_does_not_ripple():
  forehead = Forehead(crop.TEMPLATE)
  x, y = np.moveaxis(field.places(), -1, 0)
  shift = np.stack([0 * x, -2 + np.cos(2 * np.pi * x / 8)], -1).astype(np.float32)
  taut = forehead.stiffen(shift)
  above = (y < crop.TEMPLATE[17:27, 1].min() - 8) & (x > 10) & (x < 54)
  np.testing.assert_allclose(taut[above][:, 1], -2, atol=0.05)
  below = y > crop.TEMPLATE[[37, 38, 43, 44], 1].max() + 1
  np.testing.assert_array_equal(taut[below], shift[below])
