"""What lids open on: a picture of a disc behind skin."""

import numpy as np

from fevgan_jax.photograph.eye import RIM, Eye

SKIN, WHITE, BROWN = (200, 150, 120), (230, 230, 225), (90, 60, 40)


def test_an_eyeball_goes_on_behind_its_lids(light, grid):
  # An iris of radius 1.4 about (5, 5), of which the upper lid covers all above y = 4.6.
  outline = np.array([(2, 4.6), (4, 4.6), (6, 4.6), (8, 4.6), (6, 6.3), (4, 6.3)], float)
  eye = Eye(outline)
  points = grid(1, 9)
  away = np.hypot(points[..., 0] - 5, points[..., 1] - 5)
  ball = np.where(away[..., None] < 1.4, BROWN, WHITE)
  seen = eye.inner(points) > -RIM
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


def test_an_eye_without_pixels_is_left_alone(light, grid):
  eye = Eye(np.zeros((6, 2)))
  pixels = np.full((10, 10, 3), SKIN, np.uint8)
  np.testing.assert_array_equal(eye.ball(grid(0, 1), pixels, light).pixels, pixels)
