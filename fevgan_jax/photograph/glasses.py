"""Glasses, whose frame does not bend as the skin behind it moves.

Points are (x, y) in pixels of the 64-pixel template (faces/crop.py), to the right and down.
"""

import cv2
import numpy as np

from fevgan_jax.faces import crop
from fevgan_jax.faces.truth import EYE_OUTLINES
from fevgan_jax.photograph import field
from fevgan_jax.photograph.motion import smoothstep
from fevgan_jax.photograph.openings import Curve

INNER_CORNERS, BROWS = [39, 42], slice(17, 27)  # landmarks
DETAIL, BLUR = 8, 0.35  # pixels per pixel of the template, and what is smaller than an edge in it
# How much CIELAB colors change, per pixel downwards, where a frame crosses the nose. Of 25 rendered
# people with glasses 23 have more, of 40 without nobody more than 22; a frown on photographs, 30.
EDGE = 36.0
BRIDGE = 0.35, 0.65  # of the way between the eyes, across which it does
LENS = 2.0, 9.0  # how far below an eye its lower rim is looked for
BESIDE, ABOVE, BELOW = 6.0, 9.0, 5.0  # how far skin beside, above and below a frame yields
LIDS = 0.6, 0.32  # of an eye's width: half of the width and height in which lids move behind it


def frame(pixels: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
  """Where a frame holds the skin of a photograph, uint8 [height, width, 3], by its landmarks [68,
  2]: float32 [SIDE, SIDE, 1] in [0, 1]; nowhere in a face without glasses, or with a frame too thin
  to be seen."""
  to_template = crop.similarity(landmarks)
  placed = crop.transform(to_template, landmarks)
  size = (DETAIL * crop.SIDE,) * 2
  aligned = cv2.warpAffine(pixels, to_template * DETAIL, size, flags=cv2.INTER_AREA)
  colors = cv2.cvtColor(aligned, cv2.COLOR_RGB2LAB).astype(np.float32)
  colors = cv2.GaussianBlur(colors, (0, 0), BLUR * DETAIL)
  edges = DETAIL * np.linalg.norm(np.gradient(colors, axis=0), axis=-1)

  def part(*corners: tuple[float, float]) -> np.ndarray:
    (left, top), (right, bottom) = (DETAIL * np.array(corners)).astype(int)
    return edges[top:bottom, left:right]

  (left, _), (right, _) = placed[INNER_CORNERS]
  sides = left + np.array(BRIDGE) * (right - left)
  rows = placed[[21, 22], 1].min() + 1, placed[28, 1] + 2
  bridge = part(*zip(sides, rows))
  if not bridge.size or np.median(bridge, axis=1).max() < EDGE:
    return np.zeros((field.SIDE, field.SIDE, 1), np.float32)
  at = field.places()
  x, y = at[..., 0], at[..., 1]
  lids, rims = np.zeros_like(x), []
  for outline in EYE_OUTLINES:
    eye = placed[list(outline)]
    (first, _), (last, bottom) = eye.min(0), eye.max(0)
    low, high = bottom + np.array(LENS)
    rims.append(low + np.median(part((first, low), (last, high)).argmax(0)) / DETAIL)
    away = np.abs(at - eye.mean(0)) / (np.array(LIDS) * (last - first))
    lids = np.maximum(lids, smoothstep(1.3, 0.9, np.hypot(*np.moveaxis(away, -1, 0))))
  top = Curve(placed[BROWS])(x) - 1
  below = smoothstep(max(rims) + BELOW, max(rims) + 1, y)
  above = smoothstep(-ABOVE, 0, y - top)
  outer = placed[36, 0], placed[45, 0]
  beside = smoothstep(2 * BESIDE, BESIDE, np.maximum(outer[0] - x, x - outer[1]))
  return (above * below * beside * (1 - lids))[..., None]
