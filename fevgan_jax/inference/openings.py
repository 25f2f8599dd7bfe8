"""What lies behind the skin of a photographed face: where a mouth or an eye opens wider than in the
photograph, something has to be seen that it does not show.

Teeth, gums, a tongue and the dark behind them are drawn, in the photograph's own light, with the
measures of a usual jaw; an eyeball goes on as its visible part begins. Both have the photograph's
own resolution.

Points are (x, y) in pixels of the 64-pixel template (faces/crop.py), to the right and down.
"""

from typing import NamedTuple

import cv2
import numpy as np
from scipy.interpolate import PchipInterpolator

from fevgan_jax.faces import crop
from fevgan_jax.faces.truth import EYE_OUTLINES, LIP_LINE
from fevgan_jax.inference.motion import smoothstep

SHARP = 0.35  # pixels of the template over which an edge is smooth
NOSE, CHIN = slice(27, 36), [8, 57]
MILLIMETER = 0.27  # pixels of the template
PARTED = 1.0  # pixels between the lips, from which on a photograph shows the inside of the mouth
# Millimeters: how wide teeth look from the front, from the middle on; they get narrower on the way
# around the arch. How far the upper ones reach below the line between closed lips, and the lower
# ones begin above the edge of the upper ones; how long they are.
UPPER_TEETH = (8.5, 6.5, 6.5, 5.0, 4.5, 3.5)
LOWER_TEETH = (5.3, 5.6, 6.0, 5.0, 4.5, 3.5)
SHOWN, OVERLAP, LENGTH = 2.5, 1.5, 10.0
ARCH = 0.022  # by which edges rise towards the sides, per pixel of the template squared
# Colors, as shares of white.
TOOTH = np.array([0.93, 0.89, 0.81])
GUM = np.array([0.62, 0.33, 0.33])
TONGUE = np.array([0.55, 0.27, 0.27])
THROAT = np.array([0.13, 0.05, 0.05])
IRIS = 0.235  # its radius, in widths of the eye between its corners, as landmarks have them
WHITE = 0.65  # of an eye, in the shadow of its lid, at least; a share of white
FINE = 200  # points of a curve
RINGS = 8  # of an iris, each of one color
LASHES = 0.3, 1.0  # how much darker a white is that a lid has bared, and how far below the lid
LID = 0.2  # pixels over which the edge of a lid is smooth
RIM = 0.3  # pixels by which the skin about an eye reaches inside its outline


class Light(NamedTuple):
  """Of a photograph.

  Attributes:
    white: float [3], what something white has for a color in it.
    chroma: from 0, a grey photograph, to 1.
  """

  white: np.ndarray
  chroma: float

  @classmethod
  def of(cls, pixels: np.ndarray, landmarks: np.ndarray) -> 'Light':
    """By the nose, and by the whites of the eyes, whose light lies in a usual relation to it."""
    height, width = pixels.shape[:2]

    def read(points: np.ndarray) -> np.ndarray:
      columns, rows = points.astype(int).T
      return pixels[rows.clip(0, height - 1), columns.clip(0, width - 1)].astype(float)

    skin = read(landmarks[NOSE])
    brightest = np.percentile(skin.mean(-1), 75)
    whites = []
    for outline in EYE_OUTLINES:
      corners = landmarks[list(outline)]
      grid = np.linspace(corners.min(0), corners.max(0), 12)
      x, y = np.meshgrid(*grid.T)
      inside = crop.inside(corners, np.stack([x.ravel(), y.ravel()], -1))
      seen = read(np.stack([x.ravel(), y.ravel()], -1)[inside]) if inside.any() else skin
      whites.append(np.percentile(seen.mean(-1), 80))
    level = np.clip(np.mean(whites) * 1.1, 0.85 * brightest, max(1.35 * brightest, 110))
    tint = skin.mean(0) / skin.mean()
    chroma = np.clip((tint.max() - tint.min()) / 0.15, 0, 1)
    return cls(np.full(3, level.clip(0, 250)), float(chroma))

  def color(self, share: np.ndarray) -> np.ndarray:
    """What a share of white, [..., 3], looks like."""
    grey = share.mean(-1, keepdims=True)
    return self.white * (grey + self.chroma * (share - grey))


class Curve:
  """y over x through some points; beyond its ends it goes on at their height."""

  def __init__(self, points: np.ndarray):
    points = points[np.argsort(points[:, 0])]
    x = points[:, 0] + np.arange(len(points)) * 1e-6
    self._x = np.linspace(x[0], x[-1], FINE)
    self._y = PchipInterpolator(x, points[:, 1])(self._x)

  def __call__(self, x: np.ndarray) -> np.ndarray:
    return np.interp(x, self._x, self._y).astype(np.float32)


class Opening:
  """Two edges of skin that meet in two corners.

  Attributes:
    sharp: pixels over which an edge is smooth.
    box: opposite corners of what may open.
  """

  def __init__(self, upper: np.ndarray, lower: np.ndarray, rim: float, sharp: float, box):
    """Edges [n, 2], from corner to corner, which begin a rim inside."""
    self.upper, self.lower = Curve(upper), Curve(lower)
    self.sharp, self.box = sharp, box
    self._rim = rim
    self._corners = upper[:, 0].min(), upper[:, 0].max()

  def below_upper(self, points: np.ndarray) -> np.ndarray:
    """[..., 2] -> [...]: how far points lie below the upper edge."""
    return points[..., 1] - self.upper(points[..., 0]) - self._rim

  def above_lower(self, points: np.ndarray) -> np.ndarray:
    """How far they lie above the lower edge."""
    return self.lower(points[..., 0]) - points[..., 1] - self._rim

  def between_corners(self, points: np.ndarray) -> np.ndarray:
    """1 where edges can part, 0 beside the corners."""
    left, right = self._corners
    x = points[..., 0]
    return np.clip((np.minimum(x - left, right - x) + self.sharp) / (3 * self.sharp), 0, 1)


class Mouth(Opening):
  """Where lips end, and what is seen between them.

  Attributes:
    chin: [2], a point that goes with the jaw.
  """

  def __init__(self, placed: np.ndarray, light: Light):
    """`placed`: landmarks [68, 2]."""
    self._light = light
    line = np.array([placed[list(pair)] for pair in LIP_LINE])  # [5, upper and lower, 2]
    gap = np.maximum(line[1:4, 1, 1] - line[1:4, 0, 1], 0).mean()
    self._parted = gap > PARTED
    middle = line.mean(1)
    edges = (line[:, 0], line[:, 1]) if self._parted else (middle, middle)
    self._line = Curve(middle)
    self.center, self.chin = middle.mean(0), placed[CHIN].mean(0)
    super().__init__(*edges, rim=0, sharp=SHARP, box=self.center + [[-13, -8], [13, 16]])

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
    result = _over(result, TONGUE * lit[..., None], smoothstep(1.2, 0.8, tongue))
    down = fallen - edge + OVERLAP * MILLIMETER
    lower = _teeth(x - drop[0], -down, LOWER_TEETH, ARCH)
    result = _over(result, *lower, times=0.8)
    result = _over(result, *_teeth(x, y - edge, UPPER_TEETH, -ARCH))
    shadow = 0.5 + 0.5 * smoothstep(-0.3, 1.3, depth)
    drawn = self._light.color(result * shadow[..., None])
    if self._parted:
      shown = np.minimum(self.below_upper(points), self.above_lower(points))
      drawn = _over(drawn, pixels, np.clip(1.5 + shown / SHARP, 0, 1))
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
  gap = 1 - 0.45 * smoothstep(0.86, 1.0, across)
  sides = 1 - 0.75 * smoothstep(2.0, 8.0, away)
  tooth = TOOTH * (round_ * gap * sides * (0.94 - 0.1 * smoothstep(0, 3, up)))[..., None]
  color = _over(tooth, GUM * sides[..., None], np.clip((up - length) / SHARP, 0, 1))
  where = np.clip(0.5 + up / SHARP, 0, 1) * smoothstep(ends[-1], ends[-2], away)
  return color, where


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

  def _iris(self, points: np.ndarray, grey: np.ndarray) -> tuple[float, float, float]:
    """(x, y) of its center, and its radius: it is what is dark, away from the lids' shadow, and
    the lower lid touches it."""
    deep = self.inner(points)
    deep = deep > 0.4 * deep.max()
    dark = deep & (grey < np.percentile(grey[deep], (10, 85)).mean())
    x = float(np.median(points[..., 0][dark]))
    step = np.linalg.norm(points[0, 1] - points[0, 0])
    chord = step * np.percentile(dark.sum(1)[dark.any(1)], 80)
    radius = float(np.clip(chord / 2, *(IRIS * self._width * np.array([0.9, 1.15]))))
    return x, float(self.lower(x)) - 0.9 * radius, radius

  def ball(self, points: np.ndarray, pixels: np.ndarray, light: Light) -> 'Ball':
    """The eyeball without lids, of the pixels there, uint8 [height, width, 3]: the iris is a disc,
    and the white goes on."""
    inside = self.inner(points) > 0
    if inside.sum() < 20:
      return Ball(pixels, np.zeros(pixels.shape[:2]))
    colors = pixels.astype(np.float32)
    grey = colors.mean(-1)
    x, y, radius = self._iris(points, grey)
    away = np.hypot(points[..., 0] - x, points[..., 1] - y)
    white = inside & (away > 1.15 * radius)
    white &= grey >= np.percentile(grey[white], 60) if white.any() else white
    sclera = _spread(colors, white if white.any() else inside)
    sclera *= np.maximum(WHITE * light.white.mean() / (sclera.mean(-1, keepdims=True) + 1), 1)
    # The iris is what its visible part is, ring by ring.
    iris = inside & (away < radius) & (self.inner(points) > RIM)
    iris &= grey < np.percentile(grey[inside], (10, 85)).mean()
    rings = np.clip(away / radius * RINGS, 0, RINGS - 1e-3)
    known = [ring for ring in range(RINGS) if (iris & (rings.astype(int) == ring)).any()]
    medians = [np.median(colors[iris & (rings.astype(int) == ring)], axis=0) for ring in known]
    if not known:
      return Ball(pixels, np.zeros(pixels.shape[:2]))
    disc = np.stack(
      [np.interp(rings - 0.5, known, channel) for channel in np.transpose(medians)], -1
    )
    ball = _over(sclera, disc, np.clip(0.5 + (radius - away) / SHARP, 0, 1))
    # The photograph as far as any of it is the eyeball's.
    seen = np.clip(1.5 + self.inner(points) / LID, 0, 1)
    return Ball(np.clip(_over(ball, colors, seen) + 0.5, 0, 255).astype(np.uint8), 1 - seen)


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


def _over(below: np.ndarray, above: np.ndarray, part: np.ndarray, times: float = 1.0) -> np.ndarray:
  return below + part[..., None] * (times * above - below)
