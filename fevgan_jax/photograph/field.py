"""Fields over a face and what is about it, in pixels of the 64-pixel template: how they fade beyond
the face, and how they fit its own proportions.

Points are (x, y), to the right and down, and so are shifts.
"""

import functools
from collections.abc import Callable

import cv2
import numpy as np
import scipy

from fevgan_jax.faces import crop

MARGIN = 32  # of the template about its 64, over which a movement fades
SIDE = crop.SIDE + 2 * MARGIN
EDGE = 3  # pixels of the template along the mask's edge in which a movement is not believed
STIFF = 30.0  # of the thin plate that is bent from one face to another: landmarks tremble
# How far in front of the ends of the jaw the 68 landmarks lie, in pixels of the template: of the
# mean head of the rendered data set, whose landmarks the template has.
DEPTH = np.array(
  [
    *(0.0, 1.0, -0.4, 0.8, -0.6, 2.8, 7.8, 12.4, 14.1, 12.4, 7.8, 2.8, -0.6, 0.8, -0.4, 1.0, 0.0),
    *(11.5, 13.1, 14.7, 16.2, 16.9, 16.9, 16.2, 14.7, 13.1, 11.5),  # brows
    *(16.3, 17.6, 20.1, 21.7, 16.7, 18.2, 18.9, 18.2, 16.7),  # nose
    *(10.6, 12.6, 12.9, 12.5, 12.7, 12.3, 12.5, 12.9, 12.6, 10.6, 12.3, 12.7),  # eyes
    *(15.4, 18.5, 19.4, 19.9, 19.4, 18.5, 15.4, 17.4, 18.1, 18.3, 18.1, 17.4),  # lips
    *(14.2, 16.5, 17.1, 16.5, 14.2, 16.6, 17.4, 16.6),
  ]
)
DETAIL = 4  # pixels, per pixel of the crop, of which a face of other proportions is made


@functools.cache
def places() -> np.ndarray:
  """float32 [SIDE, SIDE, 2]: the points of a field."""
  line = np.arange(SIDE, dtype=np.float32) + 0.5 - MARGIN
  at = np.stack(np.meshgrid(line, line), -1)
  at.flags.writeable = False
  return at


def face(placed: np.ndarray) -> np.ndarray:
  """Where a face is believed, by its landmarks [68, 2]: bool [SIDE, SIDE]."""
  at = places()
  hull = crop.inside(crop.hull(placed), at.reshape(-1, 2)).reshape(SIDE, SIDE)
  hull &= ((at > 0) & (at < crop.SIDE)).all(-1)  # a long face leaves the crop
  return scipy.ndimage.binary_erosion(hull, iterations=EDGE)


def read(field: np.ndarray, points: np.ndarray) -> np.ndarray:
  """A field, float32 [SIDE, SIDE, channels], at points [..., 2]."""
  # Not by cv2, which rounds points to 32nds of a pixel: movements would tremble.
  at = np.moveaxis(points[..., ::-1] + (MARGIN - 0.5), -1, 0)
  channels = np.moveaxis(field, -1, 0)
  sample = functools.partial(scipy.ndimage.map_coordinates, coordinates=at, order=1, mode='nearest')
  return np.stack([sample(x) for x in channels], -1)


def crossing(
  shift: np.ndarray, line: Callable[[np.ndarray], np.ndarray], *, lowest: bool = False
) -> tuple[np.ndarray, np.ndarray]:
  """Where a line has gone, in each column of a field.

  Args:
    shift: [SIDE, SIDE, 2], from where a point is to where it was.
    line: y over x.
    lowest: of several places the lowest one, not the highest.

  Returns:
    heights [SIDE], and the shifts there, float32 [SIDE, 2].
  """
  source = places() + shift
  below = source[..., 1] - line(source[..., 0])
  column = np.arange(SIDE)
  after = SIDE - np.argmax(below[::-1] <= 0, axis=0) if lowest else np.argmax(below > 0, axis=0)
  after = after.clip(1, SIDE - 1)
  before = after - 1
  a, b = below[before, column], below[after, column]
  part = np.clip(-a / np.maximum(b - a, 1e-6), 0, 1).astype(np.float32)
  there = shift[before, column] + part[:, None] * (shift[after, column] - shift[before, column])
  return places()[before, 0, 1] + part, there


class Proportions:
  """How a face differs from the template, where no face differs from another: a bent thin plate
  (Bookstein, 1989) takes its landmarks there, and another one back."""

  def __init__(self, placed: np.ndarray, fade: 'Fade'):
    """`placed`: landmarks [68, 2], aligned as a crop is; `fade`: of this face."""
    at = places()
    usual = at + fade(_bend(placed, crop.TEMPLATE, at))  # where places of this face lie
    self._own = at + fade(_bend(crop.TEMPLATE, placed, at))  # and back
    self._usual = usual[MARGIN:-MARGIN, MARGIN:-MARGIN]
    self._rest = read(self._own, self._usual)

  def usual(self, large: np.ndarray) -> np.ndarray:
    """A crop, uint8 [side * DETAIL, side * DETAIL, 3], with the template's proportions: uint8
    [side, side, 3]."""
    side = len(large)
    line = (np.arange(side) + 0.5) * (crop.SIDE / side)
    at = read(self._own, np.stack(np.meshgrid(line, line), -1)) * (side / crop.SIDE) - 0.5
    bent = cv2.remap(large, at, None, cv2.INTER_LINEAR)
    return cv2.resize(bent, (side // DETAIL, side // DETAIL), interpolation=cv2.INTER_AREA)

  def own_shift(self, shift: np.ndarray) -> np.ndarray:
    """A shift, [SIDE, SIDE, 2], of a face with the template's proportions, as one of this face; 0
    beyond the crop."""
    return beyond(read(self._own, self._usual + read(shift, self._usual)) - self._rest)

  def own_value(self, values: np.ndarray) -> np.ndarray:
    """The same of what is no shift."""
    return beyond(read(values, self._usual))


def depth(placed: np.ndarray, fade: 'Fade') -> np.ndarray:
  """How far a face, by its landmarks [68, 2], stands out from where it ends: float32 [SIDE, SIDE,
  1]. A head that turns by an angle to the right and down moves each point by so many times it."""
  return fade(_bend(placed, placed + DEPTH[:, None], places())[..., :1])


def beyond(values: np.ndarray) -> np.ndarray:
  """Of a crop, [64, 64, channels], with 0 about it: [SIDE, SIDE, channels]."""
  return np.pad(values, [(MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0)])


def _bend(sources: np.ndarray, targets: np.ndarray, at: np.ndarray) -> np.ndarray:
  """How far points, [..., 2], are from where a thin plate takes them that takes sources [n, 2] to
  targets, nearly: float32 [..., 2]."""
  plate = scipy.interpolate.RBFInterpolator(
    sources, targets - sources, kernel='thin_plate_spline', smoothing=STIFF
  )
  return plate(at.reshape(-1, 2)).reshape(at.shape).astype(np.float32)


class Fade:
  """Continues what is known inside a face to zero at the field's border: Laplace's equation, as a
  soap film is stretched."""

  def __init__(self, known: np.ndarray):
    """`known`: bool [SIDE, SIDE]."""
    line = scipy.sparse.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(SIDE, SIDE))
    same = scipy.sparse.eye_array(SIDE)
    laplace = (scipy.sparse.kron(line, same) + scipy.sparse.kron(same, line)).tocsr()
    self._known = known.ravel()
    of_free = laplace[~self._known]
    self._of_known = of_free[:, self._known]
    self._solve = scipy.sparse.linalg.splu(of_free[:, ~self._known].tocsc()).solve

  def __call__(self, values: np.ndarray) -> np.ndarray:
    """[SIDE, SIDE, channels], read where they are known -> float32, alike, everywhere."""
    film = values.reshape(SIDE * SIDE, -1).astype(np.float32)
    film[~self._known] = self._solve(-(self._of_known @ film[self._known].astype(float)))
    return film.reshape(values.shape)
