"""Fields about a face: how they fade, and how they fit its proportions."""

import numpy as np
import pytest

from fevgan_jax.faces import crop
from fevgan_jax.photograph import field
from fevgan_jax.photograph.field import MARGIN, SIDE, Fade


def test_a_movement_fades_like_a_soap_film():
  known = np.zeros((SIDE, SIDE), bool)
  known[MARGIN:-MARGIN, MARGIN:-MARGIN] = True
  rng = np.random.default_rng(0)
  values = rng.normal(size=(SIDE, SIDE, 2))
  film = Fade(known)(values)
  np.testing.assert_allclose(film[known], values[known], rtol=1e-6)
  # Every free value is the mean of its four neighbors, which are zero beyond the border.
  padded = np.pad(film, [(1, 1), (1, 1), (0, 0)])
  mean = (padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]) / 4
  np.testing.assert_allclose(film[~known], mean[~known], atol=1e-5)


def proportions(placed: np.ndarray) -> field.Proportions:
  return field.Proportions(placed, Fade(field.face(placed)))


@pytest.fixture(scope='module')
def longer() -> np.ndarray:
  """Landmarks of a face whose mouth and chin lie lower than the template's."""
  y = crop.TEMPLATE[:, 1]
  return crop.TEMPLATE + np.stack([0 * y, 0.2 * np.maximum(y - 30, 0)], 1)


def test_the_template_has_its_own_proportions():
  same = proportions(crop.TEMPLATE)
  rng = np.random.default_rng(0)
  large = rng.integers(0, 256, (256, 256, 3), np.uint8)
  means = large.reshape(64, 4, 64, 4, 3).mean((1, 3))
  np.testing.assert_allclose(same.usual(large), means, atol=1)
  shift = rng.normal(size=(SIDE, SIDE, 2)).astype(np.float32)
  inside = slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN)
  np.testing.assert_allclose(same.own_shift(shift)[inside], shift[inside], atol=1e-3)


def test_a_face_is_bent_to_the_templates_proportions(longer):
  own = proportions(longer)
  # A bright spot on the lower lip is where the template has its lower lip.
  large = np.zeros((256, 256, 3), np.uint8)
  x, y = (4 * longer[57]).astype(int)
  large[y - 4 : y + 4, x - 4 : x + 4] = 255
  usual = own.usual(large)[..., 0].astype(float)
  rows, columns = np.indices(usual.shape) + 0.5
  middle = [(usual * at).sum() / usual.sum() for at in (columns, rows)]
  np.testing.assert_allclose(middle, crop.TEMPLATE[57], atol=0.5)


def test_a_movement_is_found_where_this_face_has_the_part_that_moves(longer):
  own = proportions(longer)
  shift = np.zeros((SIDE, SIDE, 2), np.float32)
  x, y = (crop.TEMPLATE[57] + MARGIN).astype(int)
  shift[y - 2 : y + 3, x - 2 : x + 3] = 1.0, 0.0
  moved = own.own_shift(shift)
  rows, columns = np.indices(moved.shape[:2]) + 0.5 - MARGIN
  middle = [(moved[..., 0] * at).sum() / moved[..., 0].sum() for at in (columns, rows)]
  np.testing.assert_allclose(middle, longer[57], atol=0.8)
  assert not own.own_shift(0 * shift).any()
  value = own.own_value(shift[..., :1])
  assert value[tuple((longer[57] + MARGIN).astype(int)[::-1])] == pytest.approx(1, abs=0.1)


def test_the_nose_stands_out_and_the_outline_does_not(longer):
  depth = field.depth(longer, Fade(field.face(longer)))[..., 0]
  nose, ear, cheek = (tuple((longer[i] + MARGIN).astype(int)[::-1]) for i in (30, 2, 4))
  assert depth[nose] == pytest.approx(field.DEPTH[30], abs=2)
  assert abs(depth[ear]) < 6 and abs(depth[cheek]) < 6
  assert abs(depth[0, 0]) < 0.5


def test_where_a_line_has_gone():
  # A line at y = 20 that falls by 2 on the left, and by 3 on the right.
  x = field.places()[..., 0]
  shift = np.stack([0 * x, np.where(x < 30, -2, -3)], -1).astype(np.float32)
  rows, there = field.crossing(shift, lambda x: np.full_like(x, 20))
  columns = field.places()[0, :, 0]
  np.testing.assert_allclose(rows, np.where(columns < 30, 22, 23), atol=1e-5)
  np.testing.assert_allclose(there[:, 1], np.where(columns < 30, -2, -3))


def test_a_line_in_what_is_stretched_to_nothing_is_its_upper_or_its_lower_end():
  # From y = 20 to 26 all points are from y = 20.
  y = field.places()[..., 1]
  shift = np.stack([0 * y, -np.clip(y - 20, 0, 6)], -1).astype(np.float32)
  rng = np.random.default_rng(0)
  shift[..., 1] += rng.uniform(-1e-3, 1e-3, y.shape)
  shift[..., 1][y < 20], shift[..., 1][y > 26] = 0, -6
  (upper, _), (lower, _) = (
    field.crossing(shift, lambda x: np.full_like(x, 20), lowest=lowest) for lowest in (False, True)
  )
  assert (lower >= upper).all() and (lower > upper).mean() > 0.8
  assert upper.mean() < 22 and lower.mean() > 24
