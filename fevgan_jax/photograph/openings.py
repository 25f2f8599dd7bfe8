"""Where the skin of a photographed face opens, at eyes and mouth, and in what light.

Points are (x, y) in pixels of the 64-pixel template (faces/crop.py), to the right and down.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy

from fevgan_jax.faces import crop, detect
from fevgan_jax.faces.truth import EYE_OUTLINES
from fevgan_jax.photograph import field

NOSE = slice(27, 36)
LIPS = [61, 62, 63, 65, 66, 67]  # the middle of their inner outline
TEETH = 0.9  # how light teeth are, as a share of white
FINE = 200  # points of a curve
STEPS = 8  # points of an edge, per pixel
OUTLIERS, EVEN = 5, 0.7  # columns over which edges move alike: of a median, and a deviation
WARMTH = 0.3  # share of the skin's tint that is the light's


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
    """By the nose, and by the whites of the eyes, whose light lies in a usual relation to it, or by
    teeth where it shows them."""
    height, width = pixels.shape[:2]

    def read(points: np.ndarray) -> np.ndarray:
      columns, rows = points.astype(int).T
      return pixels[rows.clip(0, height - 1), columns.clip(0, width - 1)].astype(float)

    skin = read(landmarks[NOSE])
    brightest = np.percentile(skin.mean(-1), 75)

    def bright(outline: np.ndarray) -> float:
      x, y = np.meshgrid(*np.linspace(outline.min(0), outline.max(0), 12).T)
      points = np.stack([x.ravel(), y.ravel()], -1)
      inside = crop.inside(outline, points)
      return np.percentile((read(points[inside]) if inside.any() else skin).mean(-1), 80)

    whites = np.mean([bright(landmarks[list(outline)]) for outline in EYE_OUTLINES])
    level = np.clip(whites * 1.1, 1.05 * brightest, max(1.35 * brightest, 110))
    if detect.parted(landmarks) > detect.OPEN:
      level = max(level, bright(landmarks[LIPS]) / TEETH)
    tint = skin.mean(0) / skin.mean()
    chroma = np.clip((tint.max() - tint.min()) / 0.15, 0, 1)
    # What is white takes on a part of the light's color, and the skin tells of that.
    return cls(min(level, 250) * (1 + WARMTH * (tint - 1)), float(chroma))

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
    self._y = scipy.interpolate.PchipInterpolator(x, points[:, 1])(self._x)

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

  def edges(
    self, above: np.ndarray, below: np.ndarray, x: np.ndarray
  ) -> tuple[np.ndarray, np.ndarray]:
    """Where the two edges have gone, at x [...], by the shifts of the skin above and below, fields:
    heights [...]. A sheet that is stretched to nothing has one edge all the same."""
    columns = field.places()[0, :, 0]
    seen = (columns > self._corners[0]) & (columns < self._corners[1])
    fine = np.arange(columns[0], columns[-1], 1 / STEPS)

    def edge(shift: np.ndarray, line: Callable, lowest: bool) -> np.ndarray:
      if not seen.any():
        return line(x)
      gone = field.crossing(shift, line, lowest=lowest)[0] - line(columns)
      gone = np.interp(columns, columns[seen], gone[seen])
      gone = scipy.ndimage.gaussian_filter1d(scipy.ndimage.median_filter(gone, OUTLIERS), EVEN)
      gone = scipy.interpolate.PchipInterpolator(columns, gone)(fine)
      return (line(x) + np.interp(x, fine, gone)).astype(np.float32)

    upper = edge(above, lambda at: self.upper(at) + self._rim, False)
    return upper, edge(below, lambda at: self.lower(at) - self._rim, True)

  def between_corners(self, points: np.ndarray) -> np.ndarray:
    """1 where edges can part, 0 beside the corners."""
    left, right = self._corners
    x = points[..., 0]
    return np.clip((np.minimum(x - left, right - x) + self.sharp) / (3 * self.sharp), 0, 1)


def over(below: np.ndarray, above: np.ndarray, part: np.ndarray) -> np.ndarray:
  """Pictures [..., 3], the second over the first in part, [...]: float."""
  return below + part[..., None] * (np.float32(above) - below)
