"""What lids open on: an eyeball that goes on as its visible part begins, at the photograph's own
resolution.

Points are (x, y) in pixels of the 64-pixel template (faces/crop.py), to the right and down.
"""

from typing import NamedTuple

import cv2
import numpy as np

from fevgan_jax.photograph.motion import smoothstep
from fevgan_jax.photograph.openings import Light, Opening, over

IRIS = 0.235  # its radius, in widths of the eye between its corners, as landmarks have them
LIMBUS = 0.35  # pixels over which its edge is smooth
RINGS = 8  # of an iris, each of one color
WHITE = 0.65  # of an eye, in the shadow of its lid, at least; a share of white
LASHES = 0.3, 1.0  # how much darker a white is that a lid has bared, and how far below the lid
LID = 0.2  # pixels over which the edge of a lid is smooth
RIM = 0.3  # pixels by which the skin about an eye reaches inside its outline


class Ball(NamedTuple):
  """An eyeball without lids.

  Attributes:
    pixels: uint8 [height, width, 3].
    bared: [height, width], what part of them the photograph does not show.
  """

  pixels: np.ndarray
  bared: np.ndarray

  def shifted(self, shift: np.ndarray) -> 'Ball':
    """What it shows where a shift, (x, y) in pixels, points to."""
    matrix = np.column_stack([np.eye(2), shift])
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    size = self.bared.shape[::-1]
    if not (shift.any() and all(size)):
      return self
    how = {'flags': flags, 'borderMode': cv2.BORDER_REPLICATE}
    return Ball(*(cv2.warpAffine(x, matrix, size, **how) for x in self))

  def under(self, depth: np.ndarray) -> np.ndarray:
    """[height, width, 3], in the shadow of a lid whose edge is so far above."""
    dark, reach = LASHES
    shadow = dark * self.bared * (1 - smoothstep(0, reach, depth))
    return self.pixels * (1 - shadow[..., None])


class Eye(Opening):
  """Where lids end, and the eyeball behind them.

  Attributes:
    center: [2], of the outline.
  """

  def __init__(self, outline: np.ndarray):
    """`outline`: [6, 2], from one corner along the upper lid to the other and back."""
    self._width = np.linalg.norm(outline[3] - outline[0])
    self.center = outline.mean(0)
    box = self.center + self._width * np.array([[-0.8, -0.8], [0.8, 0.8]])
    super().__init__(outline[:4], outline[[0, 5, 4, 3]], rim=RIM, sharp=LID, box=box)

  def inner(self, points: np.ndarray) -> np.ndarray:
    """How far points lie inside the lids' edges: [..., 2] -> [...]."""
    left, right = self._corners
    beside = np.minimum(points[..., 0] - left, right - points[..., 0])
    return np.minimum(np.minimum(self.below_upper(points), self.above_lower(points)), beside)

  def _iris(
    self, points: np.ndarray, grey: np.ndarray, inner: np.ndarray
  ) -> tuple[float, float, float]:
    """(x, y) of its center, and its radius: it is what is dark, away from the lids' shadow, and
    the lower lid touches it."""
    deep = inner > 0.4 * inner.max()
    dark = deep & (grey < np.percentile(grey[deep], (10, 85)).mean())
    x = float(np.median(points[..., 0][dark]))
    step = np.linalg.norm(points[0, 1] - points[0, 0])
    chord = step * np.percentile(dark.sum(1)[dark.any(1)], 80)
    radius = float(np.clip(chord / 2, *(IRIS * self._width * np.array([0.9, 1.15]))))
    return x, float(self.lower(x)) - 0.9 * radius, radius

  def ball(self, points: np.ndarray, pixels: np.ndarray, light: Light) -> Ball:
    """The eyeball without lids, of the pixels there, uint8 [height, width, 3]: the iris is a disc,
    and the white goes on."""
    inner = self.inner(points)
    inside = inner > 0
    if inside.sum() < 20:
      return Ball(pixels, np.zeros(pixels.shape[:2]))
    colors = pixels.astype(np.float32)
    grey = colors.mean(-1)
    x, y, radius = self._iris(points, grey, inner)
    away = np.hypot(points[..., 0] - x, points[..., 1] - y)
    white = inside & (away > 1.15 * radius)
    white &= grey >= np.percentile(grey[white], 60) if white.any() else white
    sclera = _spread(colors, white if white.any() else inside)
    sclera *= np.maximum(WHITE * light.white.mean() / (sclera.mean(-1, keepdims=True) + 1), 1)
    # The iris is what its visible part is, ring by ring.
    iris = inside & (away < radius) & (inner > RIM)
    iris &= grey < np.percentile(grey[inside], (10, 85)).mean()
    rings = np.clip(away / radius * RINGS, 0, RINGS - 1e-3)
    known = np.unique(rings[iris].astype(int))
    if not known.size:
      return Ball(pixels, np.zeros(pixels.shape[:2]))
    medians = [np.median(colors[iris & (rings.astype(int) == ring)], axis=0) for ring in known]
    disc = np.stack(
      [np.interp(rings - 0.5, known, channel) for channel in np.transpose(medians)], -1
    )
    ball = over(sclera, disc, np.clip(0.5 + (radius - away) / LIMBUS, 0, 1))
    # The photograph as far as any of it is the eyeball's.
    seen = np.clip(1.5 + inner / LID, 0, 1)
    return Ball(np.clip(over(ball, colors, seen) + 0.5, 0, 255).astype(np.uint8), 1 - seen)


def _spread(colors: np.ndarray, where: np.ndarray) -> np.ndarray:
  """Colors [height, width, 3] as they go on from where they are known."""
  weight = where[..., None].astype(np.float32)
  values = np.concatenate([colors * weight, weight + 1e-9], -1)
  size = max(values.shape[:2])
  blurred = sum(
    share * cv2.GaussianBlur(values, (0, 0), size * part)
    for share, part in ((1.0, 0.02), (0.01, 0.08), (1e-4, 0.3))
  )
  return blurred[..., :3] / blurred[..., 3:]
