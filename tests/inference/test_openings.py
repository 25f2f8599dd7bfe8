"""What is seen where a mouth or an eye opens: on pictures of squares and discs."""

import numpy as np
import pytest

from fevgan_jax.faces import crop
from fevgan_jax.inference import openings

SKIN, WHITE, BROWN = (200, 150, 120), (230, 230, 225), (90, 60, 40)


def grid(low: float, high: float, step: float = 0.1) -> np.ndarray:
  line = np.arange(low, high, step, dtype=np.float32)
  return np.stack(np.meshgrid(line, line), -1)


@pytest.fixture
def light() -> openings.Light:
  return openings.Light(np.full(3, 200.0), 1.0)


def test_white_is_that_of_the_eyes_and_grey_photographs_have_no_chroma():
  landmarks = 10 * crop.TEMPLATE
  pixels = np.full((640, 640, 3), SKIN, np.uint8)
  for outline in openings.EYE_OUTLINES:
    (left, top), (right, bottom) = (
      f(landmarks[list(outline)], axis=0).astype(int) for f in (np.min, np.max)
    )
    pixels[top : bottom + 1, left : right + 1] = 180
  seen = openings.Light.of(pixels, landmarks)
  np.testing.assert_allclose(seen.white, 1.1 * 180)
  assert seen.chroma == 1
  grey = openings.Light.of(pixels.mean(-1, keepdims=True).repeat(3, -1).astype(np.uint8), landmarks)
  assert grey.chroma == 0
  color = grey.color(np.array([[0.6, 0.3, 0.3]]))
  np.testing.assert_allclose(color, 0.4 * grey.white[None])


def test_a_curve_goes_through_its_points_and_on_at_their_height():
  curve = openings.Curve(np.array([(4.0, 1.0), (2.0, 3.0), (3.0, 1.5)]))
  np.testing.assert_allclose(curve(np.array([0, 2, 3, 4, 9])), [3, 3, 1.5, 1, 1], atol=1e-4)


def test_lips_end_at_the_line_between_them(light):
  mouth = openings.Mouth(crop.TEMPLATE, light)
  x, y = crop.TEMPLATE[[62, 66]].mean(0)
  above = np.array([x, y - 2])
  assert mouth.height(above) == pytest.approx(2, abs=1e-3)
  # Closed lips have one edge; the template's are 0.4 pixels apart, which landmarks often are.
  assert mouth.below_upper(above) == pytest.approx(-2, abs=1e-3)
  assert mouth.above_lower(above) == pytest.approx(2, abs=1e-3)
  corners = crop.TEMPLATE[[60, 64]]
  inside = mouth.between_corners(np.array([above, corners[0] - 1, corners[1] + 1]))
  np.testing.assert_array_equal(inside, [1, 0, 0])


def test_parted_lips_have_an_edge_each_and_the_photograph_between_them(light):
  placed = crop.TEMPLATE.copy()
  placed[[61, 62, 63]] -= (0, 2)
  placed[[65, 66, 67]] += (0, 2)
  mouth = openings.Mouth(placed, light)
  x, y = placed[[62, 66]].mean(0)
  assert mouth.below_upper(np.array([x, y])) == pytest.approx(2, abs=0.3)
  points = grid(y - 1, y + 1) - (y - x, 0)
  pixels = np.full((*points.shape[:2], 3), BROWN, np.uint8)
  depth = mouth.below_upper(points)
  seen = mouth.inside(points, pixels, np.zeros(2), depth)
  np.testing.assert_array_equal(seen, pixels)


def test_upper_teeth_stay_and_lower_ones_go_with_the_jaw(light):
  mouth = openings.Mouth(crop.TEMPLATE, light)
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


def test_an_eyeball_goes_on_behind_its_lids(light):
  # An iris of radius 1.4 about (5, 5), of which the upper lid covers all above y = 4.6.
  outline = np.array([(2, 4.6), (4, 4.6), (6, 4.6), (8, 4.6), (6, 6.3), (4, 6.3)], float)
  eye = openings.Eye(outline)
  points = grid(1, 9)
  away = np.hypot(points[..., 0] - 5, points[..., 1] - 5)
  ball = np.where(away[..., None] < 1.4, BROWN, WHITE)
  seen = eye.inner(points) > -openings.RIM
  pixels = np.where(seen[..., None], ball, SKIN).astype(np.uint8)
  found = eye.ball(points, pixels, light)
  whole = found.pixels
  np.testing.assert_array_equal(whole[eye.inner(points) > -0.1], pixels[eye.inner(points) > -0.1])
  hidden = (points[..., 1] < 4.1) & (points[..., 1] > 3)
  iris = whole[hidden & (away < 1.1)]
  np.testing.assert_allclose(iris, np.broadcast_to(BROWN, iris.shape), atol=12)
  white = whole[hidden & (away > 1.9) & (np.abs(points[..., 0] - 5) < 2)]
  assert (white.mean(-1) > 150).all()
  # What the photograph shows stays as it is below a lid, what is bared there is darker.
  shaded = found.under(np.zeros(points.shape[:2]))
  np.testing.assert_array_equal(shaded[eye.inner(points) > 0], pixels[eye.inner(points) > 0])
  np.testing.assert_allclose(shaded[10, 10], 0.7 * whole[10, 10])


def test_an_eye_without_pixels_is_left_alone(light):
  eye = openings.Eye(np.zeros((6, 2)))
  pixels = np.full((10, 10, 3), SKIN, np.uint8)
  np.testing.assert_array_equal(eye.ball(grid(0, 1), pixels, light).pixels, pixels)
