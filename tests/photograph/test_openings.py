"""Edges of skin, and the light of a photograph."""

import numpy as np
import pytest

from fevgan_jax.faces import crop
from fevgan_jax.faces.truth import EYE_OUTLINES
from fevgan_jax.photograph import field
from fevgan_jax.photograph.openings import Curve, Light, Opening

SKIN = (200, 150, 120)


def test_white_is_that_of_the_eyes_and_grey_photographs_have_no_chroma():
  landmarks = 10 * crop.TEMPLATE
  pixels = np.full((640, 640, 3), SKIN, np.uint8)
  for outline in EYE_OUTLINES:
    (left, top), (right, bottom) = (
      f(landmarks[list(outline)], axis=0).astype(int) for f in (np.min, np.max)
    )
    pixels[top : bottom + 1, left : right + 1] = 180
  seen = Light.of(pixels, landmarks)
  assert seen.white.mean() == pytest.approx(1.1 * 180)
  # The skin is a quarter redder than grey, and 30% of that is the light's.
  assert seen.white[0] / seen.white.mean() == pytest.approx(1 + 0.3 * (200 / 156.67 - 1), rel=1e-3)
  assert seen.chroma == 1
  grey = Light.of(pixels.mean(-1, keepdims=True).repeat(3, -1).astype(np.uint8), landmarks)
  assert grey.chroma == 0
  color = grey.color(np.array([[0.6, 0.3, 0.3]]))
  np.testing.assert_allclose(color, 0.4 * grey.white[None])


def test_where_teeth_are_seen_they_say_what_is_white():
  landmarks = 10 * crop.TEMPLATE
  landmarks[[61, 62, 63]] -= (0, 15)
  landmarks[[65, 66, 67]] += (0, 15)
  pixels = np.full((640, 640, 3), SKIN, np.uint8)
  (left, top), (right, bottom) = (f(landmarks[60:], axis=0).astype(int) for f in (np.min, np.max))

  def white(inside: int) -> float:
    pixels[top : bottom + 1, left : right + 1] = inside
    return Light.of(pixels, landmarks).white.mean()

  assert white(216) == pytest.approx(216 / 0.9)
  assert white(20) == white(40)  # a dark throat says nothing


def test_a_curve_goes_through_its_points_and_on_at_their_height():
  curve = Curve(np.array([(4.0, 1.0), (2.0, 3.0), (3.0, 1.5)]))
  np.testing.assert_allclose(curve(np.array([0, 2, 3, 4, 9])), [3, 3, 1.5, 1, 1], atol=1e-4)


def test_edges_go_where_their_skin_goes():
  upper, lower = (np.array([(20, y), (30, y), (40, y)], float) for y in (30, 32))
  opening = Opening(upper, lower, rim=0.3, sharp=0.2, box=np.zeros((2, 2)))
  above, below = (
    np.broadcast_to(np.float32((0, -shift)), (field.SIDE, field.SIDE, 2)) for shift in (-1, 4)
  )
  edges = opening.edges(above, below, np.array([[25.0, 30.3]]))
  # The upper edge, a rim below 30, rises by 1; the lower one, a rim above 32, falls by 4.
  np.testing.assert_allclose(edges, [[[29.3, 29.3]], [[35.7, 35.7]]], atol=1e-4)
  # One column that goes elsewhere is not believed.
  torn = below.copy()
  torn[:, field.MARGIN + 30] = 0, 3
  np.testing.assert_allclose(opening.edges(above, torn, np.array([30.5]))[1], 35.7, atol=1e-4)
