"""What a mouth opens on, and where its lips end."""

import numpy as np
import pytest

from fevgan_jax.faces import crop
from fevgan_jax.photograph import field
from fevgan_jax.photograph.mouth import Mouth

BROWN = (90, 60, 40)


def test_lips_end_at_the_line_between_them(light):
  mouth = Mouth(crop.TEMPLATE, light)
  x, y = crop.TEMPLATE[[62, 66]].mean(0)
  above = np.array([x, y - 2])
  assert mouth.height(above) == pytest.approx(2, abs=1e-3)
  # Closed lips have one edge; the template's are 0.4 pixels apart, which landmarks often are.
  assert mouth.below_upper(above) == pytest.approx(-2, abs=1e-3)
  assert mouth.above_lower(above) == pytest.approx(2, abs=1e-3)
  corners = crop.TEMPLATE[[60, 64]]
  inside = mouth.between_corners(np.array([above, corners[0] - 1, corners[1] + 1]))
  np.testing.assert_array_equal(inside, [1, 0, 0])


def test_parted_lips_have_an_edge_each_and_the_photograph_between_them(light, grid):
  placed = crop.TEMPLATE.copy()
  placed[[61, 62, 63]] -= (0, 2)
  placed[[65, 66, 67]] += (0, 2)
  mouth = Mouth(placed, light)
  x, y = placed[[62, 66]].mean(0)
  assert mouth.below_upper(np.array([x, y])) == pytest.approx(2, abs=0.3)
  points = grid(y - 1, y + 1) - (y - x, 0)
  pixels = np.full((*points.shape[:2], 3), BROWN, np.uint8)
  depth = mouth.below_upper(points)
  seen = mouth.inside(points, pixels, np.zeros(2), depth)
  np.testing.assert_array_equal(seen, pixels)


def test_lower_teeth_are_behind_the_lower_lip_of_a_smile(light):
  placed = crop.TEMPLATE.copy()
  placed[[65, 66, 67]] += (0, 3)
  mouth = Mouth(placed, light)
  x, rim = placed[66]
  column = np.stack([np.full(100, x + 1), rim + np.linspace(-4, 4, 100)], -1)[:, None]
  # A jaw that falls by 6 takes lip and teeth along.
  pixels, depth = np.zeros((100, 1, 3), np.uint8), np.full((100, 1), 5.0)
  points = (column + (0, 6)).astype(np.float32)
  seen = mouth.inside(points, pixels, np.array([0.0, 6.0]), depth)[:, 0].astype(int).sum(-1) > 330
  below = column[:, 0, 1] - rim
  assert not seen[below < 0].any()
  assert seen[(below > 1) & (below < 2.5)].all()


def test_parted_lips_come_together(light):
  placed = crop.TEMPLATE.copy()
  placed[[61, 62, 63]] -= (0, 1)
  placed[[65, 66, 67]] += (0, 3)
  mouth = Mouth(placed, light)
  zero = np.zeros((field.SIDE, field.SIDE, 2), np.float32)
  above, below = mouth.close(zero, zero, 1.0)
  (x, top), bottom = placed[62], placed[66, 1]
  column = np.stack([np.full(400, x), np.linspace(top - 3, bottom + 3, 400)], -1)
  # Seven tenths of the way are the lower lip's.
  meet = top + 0.3 * (bottom - top)
  for shift, lip in ((above, top), (below, bottom)):
    source = column[:, 1] + field.read(shift, column)[:, 1]
    assert np.interp(lip, source, column[:, 1]) == pytest.approx(meet, abs=0.2)
  assert 0 < field.read(below, placed[[8]])[0, 1] < 1  # the chin goes along a little
  assert -0.2 < field.read(above, placed[[33]])[0, 1] < 0.05  # the nose hardly does
  assert not mouth.close(zero, zero, 0.0)[0].any()


def test_upper_teeth_stay_and_lower_ones_go_with_the_jaw(light):
  mouth = Mouth(crop.TEMPLATE, light)
  x, y = mouth.center
  column = np.stack([np.full(120, x + 1), y + np.linspace(-1, 11, 120)], -1)[:, None]
  pixels, depth = np.zeros((120, 1, 3), np.uint8), np.full((120, 1), 5.0)

  def bright(drop: float) -> np.ndarray:
    inside = mouth.inside(column.astype(np.float32), pixels, np.array([0, drop]), depth)
    return inside[:, 0].astype(int).sum(-1) > 330

  closed, open_ = bright(0.0), bright(8.0)
  upper = column[:, 0, 1] < y + 0.8
  np.testing.assert_array_equal(closed[upper], open_[upper])
  assert closed[upper].mean() > 0.7
  lower = column[:, 0, 1][open_ & ~upper]
  assert lower.min() == pytest.approx(y + 8.1, abs=0.4)  # 8 lower than behind closed lips
  assert not open_[(column[:, 0, 1] > y + 2) & (column[:, 0, 1] < y + 6)].any()  # dark, or tongue
