"""What skin does not do by itself: the hair of a brow neither stretches nor shrinks, and a forehead
is too taut to ripple.

Points are (x, y) in pixels of the 64-pixel template (faces/crop.py), to the right and down.
"""

import cv2
import numpy as np

from fevgan_jax.faces.truth import EYE_OUTLINES
from fevgan_jax.photograph import field
from fevgan_jax.photograph.motion import smoothstep
from fevgan_jax.photograph.openings import Curve

BROWS = slice(17, 22), slice(22, 27)  # landmarks
TAUT = 4.0  # deviation over which what moves a forehead is spread
BEGINS = 1.0, 5.0  # how far above the brows that begins
HAIR = 1.6, 2.0  # how far hair reaches above and below the landmarks of a brow
MOST = 0.8  # of the way from there to the lid, that it takes
ABOVE, BESIDE = 5.0, 3.0  # how far skin above it and beyond its ends yields


class Forehead:
  """What is above the eyes."""

  def __init__(self, placed: np.ndarray):
    """`placed`: landmarks [68, 2]."""
    lids = (placed[list(outline[:4])] for outline in EYE_OUTLINES)
    self._brows = [Brow(placed[brow], lid) for brow, lid in zip(BROWS, lids)]
    at = field.places()
    line = Curve(np.concatenate([placed[brow] for brow in BROWS]))
    self._taut = smoothstep(*BEGINS, line(at[..., 0]) - at[..., 1])[..., None]

  def stiffen(self, shift: np.ndarray) -> np.ndarray:
    """The shift of the skin above the eyes, float32 [SIDE, SIDE, 2], as brows and forehead let
    it."""
    shift = shift + self._taut * (cv2.GaussianBlur(shift, (0, 0), TAUT) - shift)
    for brow in self._brows:
      shift = brow.stiffen(shift)
    return shift


class Brow:
  """One of two."""

  def __init__(self, hair: np.ndarray, lid: np.ndarray):
    """`hair` [5, 2], its landmarks, and `lid` [4, 2], those of the upper lid below it."""
    self._hair, self._lid = Curve(hair), Curve(lid)
    self._ends = hair[:, 0].min(), hair[:, 0].max()

  def stiffen(self, shift: np.ndarray) -> np.ndarray:
    """The shift of the skin about it, float32 [SIDE, SIDE, 2], from where a point is to where it
    was: the same for all of the hair above and below a landmark."""
    at = field.places()
    row, of_hair = field.crossing(shift, self._hair)
    lid_row, of_lid = field.crossing(shift, self._lid)
    depth, room = at[..., 1] - row, np.maximum(lid_row - row, 1e-3)
    up, down = HAIR
    hair = np.minimum(down, MOST * room)
    between = np.clip((depth - hair) / (room - hair), 0, 1)[..., None]
    moved = of_hair + between * (of_lid - of_hair)
    left, right = self._ends
    x = (at + shift)[..., 0]
    beside = smoothstep(0, BESIDE, np.maximum(left - x, x - right))
    part = smoothstep(-up - ABOVE, -up, depth) * (depth < room) * (1 - beside)
    return shift + part[..., None] * (moved - shift)
