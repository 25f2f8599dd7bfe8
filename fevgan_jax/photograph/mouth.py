"""What a mouth opens on: teeth, gums, a tongue and the dark behind them, drawn in the photograph's
own light and at its own resolution, with the measures of a usual jaw.

Points are (x, y) in pixels of the 64-pixel template (faces/crop.py), to the right and down.
"""

import numpy as np

from fevgan_jax.faces import detect
from fevgan_jax.faces.truth import LIP_LINE
from fevgan_jax.photograph import field
from fevgan_jax.photograph.motion import smoothstep
from fevgan_jax.photograph.openings import Curve, Light, Opening, over

SHARP = 0.35  # pixels over which an edge is smooth
CHIN = [8, 57]
PARTED = 1.0  # pixels between the lips, from which on a photograph shows the inside of the mouth
RISES = 0.7  # share of the way between parted lips that the lower one goes
UPPER_LIP, LOWER_LIP = 6.0, 12.0  # how far above and below lips the skin goes along
MILLIMETER = 0.27  # pixels
# Millimeters: how wide teeth look from the front, from the middle on; they get narrower on the way
# around the arch. How far the upper ones reach below the line between closed lips, and the lower
# ones begin above the edge of the upper ones; how long they are.
UPPER_TEETH = (8.5, 6.5, 6.5, 5.0, 4.5, 3.5)
LOWER_TEETH = (5.3, 5.6, 6.0, 5.0, 4.5, 3.5)
SHOWN, OVERLAP, LENGTH = 2.5, 1.5, 10.0
ARCH = 0.022  # by which edges rise towards the sides, per pixel squared
# Colors, as shares of white.
TOOTH = np.array([0.96, 0.90, 0.84])
GUM = np.array([0.62, 0.33, 0.33])
TONGUE = np.array([0.55, 0.27, 0.27])
THROAT = np.array([0.13, 0.05, 0.05])


class Mouth(Opening):
  """Where lips end, and what is seen between them.

  Attributes:
    chin: [2], a point that goes with the jaw.
  """

  def __init__(self, placed: np.ndarray, light: Light):
    """`placed`: landmarks [68, 2]."""
    self._light = light
    line = np.array([placed[list(pair)] for pair in LIP_LINE])  # [5, upper and lower, 2]
    self._parted = detect.parted(placed) > PARTED
    middle = line.mean(1)
    edges = (line[:, 0], line[:, 1]) if self._parted else (middle, middle)
    self._line = Curve(middle)
    # Lower teeth stay behind the lower lip, wherever a smile has taken it.
    self._rim_below = (edges[1][2] - middle[2])[1]
    self.center, self.chin = middle.mean(0), placed[CHIN].mean(0)
    super().__init__(*edges, rim=0, sharp=SHARP, box=self.center + [[-13, -8], [13, 16]])
    x, y = np.moveaxis(field.places(), -1, 0)
    lips = self.upper(x), self.lower(x)
    gap = np.maximum(lips[1] - lips[0], 0)
    falls = smoothstep(-UPPER_LIP, 0, y - lips[0]) * gap * (RISES - 1)
    rises = smoothstep(LOWER_LIP, 0, y - lips[1]) * gap * RISES
    self._closing = [np.stack([0 * x, shift], -1) for shift in (falls, rises)]

  def close(
    self, above: np.ndarray, below: np.ndarray, closed: float
  ) -> tuple[np.ndarray, np.ndarray]:
    """The shifts of the skin above and below, [SIDE, SIDE, 2], when parted lips come together so
    far, from 0 to 1."""
    upper, lower = (np.float32(closed) * shift for shift in self._closing)
    return above + upper, below + lower

  def height(self, points: np.ndarray) -> np.ndarray:
    """[..., 2] -> [...]: how far they lie above the line between the lips."""
    return self._line(points[..., 0]) - points[..., 1]

  def inside(
    self, points: np.ndarray, pixels: np.ndarray, drop: np.ndarray, depth: np.ndarray
  ) -> np.ndarray:
    """The inside of the mouth: uint8 [height, width, 3].

    Args:
      points: [height, width, 2], what is wanted.
      pixels: uint8 [height, width, 3], what the photograph shows there.
      drop: [2], how far the jaw has come.
      depth: [height, width], how far below the upper lip.
    """
    x = points[..., 0] - self.center[0]
    y = points[..., 1] - self._line(self.center[0])
    fallen = y - drop[1]
    edge = SHOWN * MILLIMETER
    result = np.broadcast_to(THROAT, (*x.shape, 3)).astype(np.float32)
    tongue = (x / 4.6) ** 2 + ((fallen - 0.4) / 2.4) ** 2
    lit = 0.45 + 0.35 * smoothstep(-1, 2, fallen)
    result = over(result, TONGUE * lit[..., None], smoothstep(1.2, 0.8, tongue))
    down = fallen - self._rim_below - edge + OVERLAP * MILLIMETER
    color, where = _teeth(x - drop[0], -down, LOWER_TEETH, ARCH)
    result = over(result, 0.8 * color, where)
    result = over(result, *_teeth(x, y - edge, UPPER_TEETH, -ARCH))
    shadow = 0.78 + 0.22 * smoothstep(-0.3, 1.3, depth)
    drawn = self._light.color(result * shadow[..., None])
    if self._parted:
      shown = np.minimum(self.below_upper(points), self.above_lower(points))
      drawn = over(drawn, pixels, np.clip(1.5 + shown / SHARP, 0, 1))
    return np.clip(drawn + 0.5, 0, 255).astype(np.uint8)


def _teeth(
  x: np.ndarray, y: np.ndarray, widths: tuple, arch: float
) -> tuple[np.ndarray, np.ndarray]:
  """A row of teeth whose edges lie about y = arch x^2 and which stand on the negative side, with
  their gum: shares of white [..., 3], and where they are, [...]."""
  ends = MILLIMETER * np.cumsum((0, *widths))
  away = np.abs(x)
  number = np.clip(np.searchsorted(ends, away, side='right') - 1, 0, len(widths) - 1)
  left, right = ends[number], ends[number + 1]
  across = np.abs(2 * (away - left) / (right - left) - 1).clip(0, 1)  # 1 between two teeth
  edge = arch * x**2 - 0.35 * across**4 - 0.12 * (number % 2)
  up = edge - y  # from the edge towards the gum
  length = MILLIMETER * LENGTH * (1 - 0.35 * across**3)
  round_ = 1 - 0.16 * across**2
  gap = 1 - 0.22 * smoothstep(0.8, 1.0, across)
  sides = 1 - 0.75 * smoothstep(2.0, 8.0, away)
  tooth = TOOTH * (round_ * gap * sides * (0.94 - 0.1 * smoothstep(0, 3, up)))[..., None]
  color = over(tooth, GUM * sides[..., None], np.clip((up - length) / SHARP, 0, 1))
  where = np.clip(0.5 + up / SHARP, 0, 1) * smoothstep(ends[-1], ends[-2], away)
  return color, where
