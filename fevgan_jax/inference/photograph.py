"""A photograph at its own size: what a generator does to the 64-pixel crop of a face, done to the
photograph.

A generator that moves pixels says of every pixel of the crop where it comes from, how the light on
it changes, and which sheet of the face it shows. The sheets' displacements and the light are
smooth: enlarged, they move the photograph's own pixels, and it stays sharp. Where one sheet ends,
at lips and lids, the landmarks say at the photograph's own size; what lies behind, in a mouth and
under a lid, is in `openings`.

Coordinates are those of faces/crop.py; "template" is its 64-pixel frame.
"""

import concurrent.futures
import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import scipy.sparse
import scipy.sparse.linalg
from PIL import Image
from scipy import ndimage

from fevgan_jax.faces import crop
from fevgan_jax.faces.truth import EYE_OUTLINES, LOWER, UPPER
from fevgan_jax.inference import openings
from fevgan_jax.inference.openings import SHARP
from fevgan_jax.runtime import workers

LARGEST = 1080  # pixels of a side of what is made
MARGIN = 32  # of the template about its 64, over which a movement fades
SIDE = crop.SIDE + 2 * MARGIN
VIEW = 14  # of the template about its 64, that 'face' shows
EDGE = 3  # pixels of the template along the mask's edge in which a movement is not believed
# Deviations, in pixels of the template, over which a sheet goes on where it is not seen: each
# counts FARTHER times as much as the one before.
REACH = (0.5, 1.5, 4.0, 12.0)
FARTHER = 0.01
CALM = 0.4  # of a clip, in which a smile that a photograph has goes
BELOW_EYES = 24, 30  # pixels of the template, from which on it does
SOFT = 3.0  # pixels of the template over which one sheet becomes the other beside the mouth


READ = 'upper', 'lower', 'shading', 'sheets'  # of what a generator says of a clip


class Motion(NamedTuple):
  """What happens to a crop, of one clip. Both sheets go on beyond where they are seen.

  Attributes:
    upper, lower: [time, side, side, 2], displacements of the two sheets of skin, in pixels,
      downwards and to the right.
    shading: [time, side, side, 1], the logarithm of a factor.
  """

  upper: np.ndarray
  lower: np.ndarray
  shading: np.ndarray

  @classmethod
  def of(cls, extras: Mapping[str, np.ndarray]) -> 'Motion':
    """Of what `fevgan_plus.MotionDecoder` says of one clip: extras [time, side, side, channels]."""
    sheets = np.asarray(extras['sheets'])
    seen = {'upper': sheets[..., UPPER], 'lower': sheets[..., LOWER], 'shading': 1 - sheets[..., 3]}
    return cls(
      *(
        np.stack([go_on(*of_frame) for of_frame in zip(np.asarray(extras[name]), seen[name])])
        for name in cls._fields
      )
    )

  def along(self, curve: Sequence[float], frames: int) -> 'Motion':
    """The same movement at another pace: how far it has come, from 0, the first frame, to 1, the
    last one, over so many frames; `curve` has values at equal distances."""
    ends = np.linspace(0, 1, frames), np.linspace(0, 1, len(curve))
    place = np.interp(*ends, curve) * (len(self.upper) - 1)
    before = np.floor(place).astype(int)
    after = np.minimum(before + 1, len(self.upper) - 1)
    part = (place - before).astype(np.float32).reshape(-1, 1, 1, 1)
    return Motion(*(x[before] * (1 - part) + x[after] * part for x in self))

  def mirrored(self) -> 'Motion':
    """Of the mirror image."""
    left_right = np.array([1, -1], np.float32)
    upper, lower, shading = (field[:, :, ::-1] for field in self)
    return Motion(upper * left_right, lower * left_right, shading)

  def without_smile(self, smile: 'Motion', landmarks: np.ndarray, amount: float) -> 'Motion':
    """From a face that smiles already: in the first CALM of the clip the smile goes, below the
    eyes.

    Args:
      smile: how this face would begin to smile.
      landmarks: [68, 2] of the photograph, in any pixels.
      amount: how much of the smile goes, from 0 to 1.
    """
    side = self.upper.shape[1]
    placed = crop.transform(crop.similarity(landmarks, side), landmarks)
    rows, columns = placed.astype(int).clip(0, side - 1).T[::-1]

    def raised(x: np.ndarray) -> float:
      """How far the corners of a mouth lie above the middle of the lips."""
      return np.mean(x[[51, 57]]) - np.mean(x[[48, 54]])

    # Points go where displacements come from. The corners belong to both sheets.
    goes = -(smile.upper[-1, rows, columns, 0] + smile.lower[-1, rows, columns, 0]) / 2
    share = (raised(placed[:, 1]) - raised(crop.TEMPLATE[:, 1]) * side / crop.SIDE) / raised(goes)
    share = amount * np.clip(share, 0, 1) if raised(goes) > 0 else 0.0
    gone = _smoothstep(0, CALM, np.linspace(0, 1, len(self.upper))).reshape(-1, 1, 1, 1)
    below = np.linspace(0, crop.SIDE, side).reshape(-1, 1, 1)
    part = share * gone * _smoothstep(*BELOW_EYES, below)
    return Motion(
      self.upper - part * smile.upper[-1], self.lower - part * smile.lower[-1], self.shading
    )


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
    size: (width, height).
    template: float32 [height, width, 2], where its pixels' centers lie in the template: to the
      right and down.
  """

  def __init__(self, shown: Scene, low: np.ndarray, high: np.ndarray):
    """`low` and `high`: (x, y) of opposite corners, in the template."""
    to_template = shown.to_template
    corners = np.array([(x, y) for x in (low[0], high[0]) for y in (low[1], high[1])], float)
    corners = crop.transform(crop.inverse(to_template), corners)
    most = shown.pixels.shape[1::-1]
    left, top = np.clip(np.floor(corners.min(0)), 0, most).astype(int)
    right, bottom = np.clip(np.ceil(corners.max(0)), 0, most).astype(int)
    self.at = slice(top, bottom), slice(left, right)
    self.size = right - left, bottom - top
    x, y = np.arange(left, right) + 0.5, np.arange(top, bottom) + 0.5
    self._scene = np.stack(np.meshgrid(x, y), -1).astype(np.float32)
    self.template = crop.transform(to_template, self._scene).astype(np.float32)
    # cv2 counts pixels from their centers, and the fields begin MARGIN before the template.
    self._to_field = to_template.copy()
    self._to_field[:, 2] += MARGIN + to_template[:, :2] @ [left + 0.5, top + 0.5] - 0.5
    self._to_scene = crop.inverse(to_template)[:, :2].astype(np.float32)

  def enlarge(self, field: np.ndarray) -> np.ndarray:
    """float32 [SIDE, SIDE, channels] -> [height, width, channels] of the patch."""
    if not all(self.size):  # it lies beyond the photograph
      return np.zeros((*self.size[::-1], field.shape[-1]), np.float32)
    enlarged = cv2.warpAffine(
      field, self._to_field, self.size, flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    )
    return enlarged.reshape(*self.size[::-1], -1)

  def move(self, pixels: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """What the scene's pixels show where a shift, float32 [height, width, 2] in pixels of the
    template, points to: uint8 [height, width, 3]."""
    if not all(self.size):
      return np.zeros((*self.size[::-1], 3), np.uint8)
    place = self._scene - 0.5 + shift @ self._to_scene.T
    return cv2.remap(pixels, place, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


class Mover:
  """Moves a photograph; what is the same for all frames and clips is computed once."""

  def __init__(self, shown: Scene, side: int):
    """`side` is that of the crop that the generator saw."""
    self._pixels, self._view = shown.pixels, shown.view
    self._scale = crop.SIDE / side
    placed = crop.transform(shown.to_template, shown.landmarks)
    places = np.stack(np.meshgrid(*[np.arange(SIDE) + 0.5 - MARGIN] * 2), -1)
    hull = crop.inside(crop.hull(placed), places.reshape(-1, 2)).reshape(SIDE, SIDE)
    hull &= ((places > 0) & (places < crop.SIDE)).all(-1)  # a long face leaves the crop
    self._fade = Fade(ndimage.binary_erosion(hull, iterations=EDGE))
    self._moving = Patch(shown, np.full(2, -MARGIN), np.full(2, crop.SIDE + MARGIN))
    light = openings.Light.of(shown.pixels, shown.landmarks)
    self._mouth = openings.Mouth(placed, light)
    self._at_mouth = Patch(shown, *self._mouth.box)
    self._eyes = []
    for outline in EYE_OUTLINES:
      eye = openings.Eye(placed[list(outline)])
      patch = Patch(shown, *eye.box)
      self._eyes.append((eye, patch, eye.complete(patch.template, self._pixels[patch.at], light)))

  def animate(self, motion: Motion) -> np.ndarray:
    """What is shown, moving: uint8 [time, height, width, 3]."""
    with concurrent.futures.ThreadPoolExecutor(workers.available_cores()) as pool:
      return np.stack([*pool.map(self._frame, *motion)])

  def _frame(self, upper: np.ndarray, lower: np.ndarray, shading: np.ndarray) -> np.ndarray:
    # A displacement is (down, right) in pixels of the crop; a shift is (x, y) in the template.
    upper, lower = (field[..., ::-1] * self._scale for field in (upper, lower))
    upper, lower, shading = (self._fade(self._on_field(x)) for x in (upper, lower, shading))
    result = self._pixels.copy()
    result[self._moving.at] = self._skin(self._moving, upper, lower, shading)
    mouth = self._at_mouth
    result[mouth.at] = self._open_mouth(result[mouth.at], upper, lower, shading)
    for eye, patch, ball in self._eyes:
      hole = eye.opening(patch.template + patch.enlarge(upper))
      result[patch.at] = _blend(result[patch.at], ball, hole)
    return result[self._view]

  def _skin(self, patch: Patch, upper, lower, shading) -> np.ndarray:
    """Both sheets as one, uint8: beside the mouth one becomes the other."""
    above, below = patch.enlarge(upper), patch.enlarge(lower)
    height = self._mouth.height(patch.template + (above + below) / 2)
    shift = below + _smoothstep(-SOFT, SOFT, height)[..., None] * (above - below)
    return self._lit(patch, patch.move(self._pixels, shift), shading)

  def _open_mouth(self, skin: np.ndarray, upper, lower, shading) -> np.ndarray:
    """The part around the mouth, uint8, with what it opens on between the lips."""
    patch, mouth = self._at_mouth, self._mouth
    shifts = above, below = patch.enlarge(upper), patch.enlarge(lower)
    lips = [self._lit(patch, patch.move(self._pixels, shift), shading) for shift in shifts]
    column, row = np.round(mouth.chin + MARGIN).astype(int)
    depth = mouth.below_upper_lip(patch.template + above)
    opened = mouth.inside(patch.template, self._pixels[patch.at], -lower[row, column], depth)
    # Where lips overlap the upper one is seen; where they meet, nothing is between them.
    part = np.clip(0.5 - depth / SHARP, 0, 1)
    under = np.clip(0.5 - mouth.above_lower_lip(patch.template + below) / SHARP, 0, 1 - part)
    opened = sum(
      picture * share[..., None]
      for picture, share in zip((*lips, opened), (part, under, 1 - part - under))
    )
    return _blend(skin, opened, mouth.between_corners(patch.template + (above + below) / 2))

  def _lit(self, patch: Patch, moved: np.ndarray, shading: np.ndarray) -> np.ndarray:
    return _to_bytes(moved * np.exp(patch.enlarge(shading))) if shading.any() else moved

  def _on_field(self, values: np.ndarray) -> np.ndarray:
    """Values of the crop, [side, side, channels], on the field, float32 [SIDE, SIDE, channels]."""
    values = np.asarray(values, np.float32)
    if self._scale != 1:
      values = cv2.resize(values, (crop.SIDE, crop.SIDE), interpolation=cv2.INTER_AREA)
      values = values.reshape(crop.SIDE, crop.SIDE, -1)
    return np.pad(values, [(MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0)])


def go_on(field: np.ndarray, seen: np.ndarray) -> np.ndarray:
  """A smooth field, [side, side, channels], as it goes on where it is not seen: the mean of what is
  seen about a place, the nearest first (normalized convolution: Knutsson and Westin, 1993). `seen`:
  [side, side] in [0, 1]."""
  seen = seen[..., None]
  values = np.concatenate([field * seen, seen + 1e-9], -1).astype(np.float32)
  result = sum(
    FARTHER**step * cv2.GaussianBlur(values, (0, 0), deviation, borderType=cv2.BORDER_REPLICATE)
    for step, deviation in enumerate(np.array(REACH) * (len(field) / crop.SIDE))
  )
  return result[..., :-1] / result[..., -1:]


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


def _blend(below: np.ndarray, above: np.ndarray, part: np.ndarray) -> np.ndarray:
  """Pictures, [height, width, 3], the second over the first in part, [height, width]: uint8."""
  return _to_bytes(below + part[..., None] * (np.float32(above) - below))


def _to_bytes(values: np.ndarray) -> np.ndarray:
  return np.clip(values + 0.5, 0, 255).astype(np.uint8)


def _smoothstep(low: float, high: float, x: np.ndarray) -> np.ndarray:
  t = np.clip((x - low) / (high - low), 0, 1)
  return t * t * (3 - 2 * t)
