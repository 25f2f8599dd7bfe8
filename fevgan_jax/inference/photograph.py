"""A photograph at its own size: what a generator does to the 64-pixel crop of a face, done to the
photograph.

A generator that moves pixels says of every pixel of the crop where it comes from, how the light on
it changes, and where something new is seen. Displacement and light are smooth: enlarged, they move
the photograph's own pixels, and it stays sharp. Only what a mouth opens on is painted.

Coordinates are those of faces/crop.py; "template" is its 64-pixel frame.
"""

import concurrent.futures
import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import scipy.sparse
import scipy.sparse.linalg
from PIL import Image
from scipy import ndimage

from fevgan_jax.faces import crop
from fevgan_jax.runtime import workers

LARGEST = 1080  # pixels of a side of what is made
MARGIN = 32  # of the template about its 64, over which a movement fades
SIDE = crop.SIDE + 2 * MARGIN
VIEW = 14  # of the template about its 64, that 'face' shows
EDGE = 3  # pixels of the template along the mask's edge in which a movement is not believed
NOSE, LIPS = slice(27, 36), slice(48, 60)
# Half width and half height, in pixels of the template, of where paint is allowed: about the middle
# of the lips, and two pixels lower, as a mouth opens downwards.
MOUTH = np.array([11.0, 10.0])
BLUR = 0.8  # deviation, in pixels of the template, of what is painted: sharper would be made up
OPAQUE = 0.4, 0.8  # of the mask: below the first the photograph shows, above the second paint does
# Powers of the skin's color that dark and bright insides of a mouth have: gums, and teeth.
RED_DARK, RED_BRIGHT = 1.6, 0.3


class Motion(NamedTuple):
  """What happens to a crop, as `fevgan_plus.MotionDecoder` has it, of one clip.

  Attributes:
    displacement: [time, side, side, 2] in pixels, downwards and to the right.
    shading: [time, side, side, 1], the logarithm of a factor.
    mask: [time, side, side, 1] in [0, 1].
    color: [time, side, side, 3] in [-1, 1].
  """

  displacement: np.ndarray
  shading: np.ndarray
  mask: np.ndarray
  color: np.ndarray

  def along(self, curve: Sequence[float], frames: int) -> 'Motion':
    """The same movement at another pace: how far it has come, from 0, the first frame, to 1, the
    last one, over so many frames; `curve` has values at equal distances."""
    ends = np.linspace(0, 1, frames), np.linspace(0, 1, len(curve))
    place = np.interp(*ends, curve) * (len(self.mask) - 1)
    before = np.floor(place).astype(int)
    after = np.minimum(before + 1, len(self.mask) - 1)
    part = (place - before).astype(np.float32).reshape(-1, 1, 1, 1)
    return Motion(*(x[before] * (1 - part) + x[after] * part for x in self))


@dataclasses.dataclass(frozen=True)
class Scene:
  """The part of a photograph that is shown.

  Attributes:
    pixels: uint8 [height, width, 3], what is shown and what may move into it.
    landmarks: [68, 2] in its pixels.
    view: the rows and columns that are shown.
  """

  pixels: np.ndarray
  landmarks: np.ndarray
  view: tuple[slice, slice] = (slice(None), slice(None))

  @property
  def to_template(self) -> np.ndarray:
    """[2, 3] matrix, from its pixels to those of the template."""
    return crop.similarity(self.landmarks)


def scene(image: np.ndarray, landmarks: np.ndarray, frame: str, largest: int = LARGEST) -> Scene:
  """What is shown of a photograph.

  Args:
    image: uint8 [height, width, 3].
    landmarks: [68, 2] in its pixels.
    frame: 'face', the face with a margin; or 'whole'.
    largest: a longer side of what is shown is reduced to it.
  """
  view = np.array([(0, 0), image.shape[1::-1]])
  if frame == 'face':
    low, high = _around(landmarks, MARGIN, image)
    image, landmarks = image[low[1] : high[1], low[0] : high[0]], landmarks - low
    view = _around(landmarks, VIEW, image)
  scale = min(1, largest / (view[1] - view[0]).max())
  if scale < 1:
    size = [max(1, round(side * scale)) for side in image.shape[1::-1]]
    exact = np.array(size) / image.shape[1::-1]
    landmarks, view = landmarks * exact, np.round(view * exact).astype(int)
    image = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))
  (left, top), (right, bottom) = view
  return Scene(image, landmarks, (slice(top, bottom), slice(left, right)))


def _around(landmarks: np.ndarray, margin: float, image: np.ndarray) -> np.ndarray:
  """The box about a crop with so many of the template's pixels beside it, as far as the image goes:
  int [[left, top], [right, bottom]]."""
  inverse = crop.inverse(crop.similarity(landmarks))
  half = (crop.SIDE / 2 + margin) * np.linalg.norm(inverse[:, 0])
  middle = crop.transform(inverse, np.array([crop.SIDE / 2, crop.SIDE / 2]))
  box = np.stack([np.floor(middle - half), np.ceil(middle + half)])
  return np.clip(box, 0, image.shape[1::-1]).astype(int)


class Patch:
  """A part of the scene onto which fields are enlarged.

  Attributes:
    at: its rows and columns.
  """

  def __init__(self, to_field: np.ndarray, where: np.ndarray, size: tuple[int, int]):
    """`to_field` takes pixels of the scene, which is `size` wide and high, to those of the field;
    the patch covers the box around `where`, bool [SIDE, SIDE], and a pixel more."""
    low, high = (
      np.array([edge(np.flatnonzero(where.any(axis))) for axis in (0, 1)])
      for edge in (np.min, np.max)
    )
    corners = np.array(
      [(x, y) for x in (low[0] - 1, high[0] + 1) for y in (low[1] - 1, high[1] + 1)], float
    )
    corners = crop.transform(crop.inverse(to_field), corners)
    left, top = np.clip(np.floor(corners.min(0)), 0, size).astype(int)
    right, bottom = np.clip(np.ceil(corners.max(0)), 0, size).astype(int)
    self.at = slice(top, bottom), slice(left, right)
    self._matrix = to_field.copy()
    self._matrix[:, 2] += to_field[:, :2] @ [left, top]
    self._size = right - left, bottom - top

  def enlarge(self, field: np.ndarray) -> np.ndarray:
    """float32 [SIDE, SIDE, channels] -> [height, width, channels] of the patch."""
    if not all(self._size):  # it lies beyond the photograph
      return np.zeros((*self._size[::-1], field.shape[-1]), np.float32)
    enlarged = cv2.warpAffine(
      field, self._matrix, self._size, flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    )
    return enlarged.reshape(*self._size[::-1], -1)


class Mover:
  """Moves a photograph; what is the same for all frames and clips is computed once."""

  def __init__(self, shown: Scene, side: int):
    """`side` is that of the crop that the generator saw."""
    self._pixels, self._view = shown.pixels, shown.view
    self._scale = crop.SIDE / side
    matrix = shown.to_template
    self._to_scene = crop.inverse(matrix)[:, :2].astype(np.float32)
    # cv2 counts pixels from their centers, and the fields begin MARGIN before the template.
    to_field = matrix.copy()
    to_field[:, 2] += MARGIN + matrix[:, :2] @ [0.5, 0.5] - 0.5
    placed = crop.transform(matrix, shown.landmarks)
    places = np.stack(np.meshgrid(*[np.arange(SIDE) + 0.5 - MARGIN] * 2), -1)
    hull = crop.inside(crop.hull(placed), places.reshape(-1, 2)).reshape(SIDE, SIDE)
    hull &= ((places > 0) & (places < crop.SIDE)).all(-1)  # a long face leaves the crop
    self._fade = Fade(ndimage.binary_erosion(hull, iterations=EDGE))
    away = (places - placed[LIPS].mean(0) - [0, 2]) / MOUTH
    self._near_mouth = np.exp(-((away**2).sum(-1) ** 3))[..., None].astype(np.float32)
    columns, rows = shown.landmarks[NOSE].astype(int).T
    rows, columns = (at.clip(0, of - 1) for at, of in zip((rows, columns), shown.pixels.shape))
    skin = shown.pixels[rows, columns].mean(0) + 1
    self._skin = (skin / skin.mean()).astype(np.float32)
    size = shown.pixels.shape[1::-1]
    self._moving = Patch(to_field, np.ones((SIDE, SIDE), bool), size)
    self._painted = Patch(to_field, self._near_mouth[..., 0] > 1e-3, size)

  def animate(self, motion: Motion) -> np.ndarray:
    """What is shown, moving: uint8 [time, height, width, 3]."""
    with concurrent.futures.ThreadPoolExecutor(workers.available_cores()) as pool:
      return np.stack([*pool.map(self._frame, *motion)])

  def _frame(
    self, displacement: np.ndarray, shading: np.ndarray, mask: np.ndarray, color: np.ndarray
  ) -> np.ndarray:
    result = self._pixels.copy()
    result[self._moving.at] = self._move(displacement, shading)
    result[self._painted.at] = self._paint(result[self._painted.at], mask, color)
    return result[self._view]

  def _move(self, displacement: np.ndarray, shading: np.ndarray) -> np.ndarray:
    """The part that moves, uint8: read off the scene, and lighter or darker."""
    # A displacement is (down, right) in the template; a shift is (x, y) in the scene.
    shift = (displacement[..., ::-1] * self._scale) @ self._to_scene.T
    field = self._fade(self._on_field(np.concatenate([shift, shading], -1)))
    moves = self._moving.enlarge(field)
    rows, columns = (np.arange(of.start, of.stop, dtype=np.float32) for of in self._moving.at)
    x, y = moves[..., 0] + columns, moves[..., 1] + rows[:, None]
    moved = cv2.remap(self._pixels, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    if not shading.any():
      return moved
    return _to_bytes(moved * np.exp(moves[..., 2:]))

  def _paint(self, moved: np.ndarray, mask: np.ndarray, color: np.ndarray) -> np.ndarray:
    """The part around the mouth, uint8, with what the mouth opens on."""
    mask = self._on_field(mask) * self._near_mouth
    # Colors mean something only where they are painted: outside they have no weight. Of these, how
    # light they are is believed; the hue is the person's own, in this photograph's light.
    lightness = (self._on_field(color).mean(-1, keepdims=True).clip(-1, 1) + 1) / 2
    weight = np.concatenate([lightness * mask, mask], -1)
    lightness, mask = np.split(cv2.GaussianBlur(weight, (0, 0), BLUR), 2, axis=-1)
    enlarged = self._painted.enlarge(np.concatenate([lightness / (mask + 1e-3), mask], -1))
    lightness, mask = enlarged[..., :1].clip(0, 1), enlarged[..., 1:]
    redness = RED_DARK + (RED_BRIGHT - RED_DARK) * _smoothstep(0.2, 0.6, lightness)
    color = 255 * lightness * self._skin**redness
    return _to_bytes(moved + _smoothstep(*OPAQUE, mask) * (color - moved))

  def _on_field(self, values: np.ndarray) -> np.ndarray:
    """Values of the crop, [side, side, channels], on the field, float32 [SIDE, SIDE, channels]."""
    values = np.asarray(values, np.float32)
    if self._scale != 1:
      values = cv2.resize(values, (crop.SIDE, crop.SIDE), interpolation=cv2.INTER_AREA)
      values = values.reshape(crop.SIDE, crop.SIDE, -1)
    return np.pad(values, [(MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0)])


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


def _to_bytes(values: np.ndarray) -> np.ndarray:
  return np.clip(values + 0.5, 0, 255).astype(np.uint8)


def _smoothstep(low: float, high: float, x: np.ndarray) -> np.ndarray:
  t = np.clip((x - low) / (high - low), 0, 1)
  return t * t * (3 - 2 * t)
