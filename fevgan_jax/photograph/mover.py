"""A photograph at its own size: what a generator does to the 64-pixel crop of a face, done to the
photograph.

A generator that moves pixels says of every pixel of the crop where it comes from, how the light on
it changes, and which sheet of the face it shows. The sheets' displacements and the light are
smooth: enlarged, they move the photograph's own pixels, and it stays sharp. Where one sheet ends,
at lips and lids, the landmarks say at the photograph's own size; what lies behind, in a mouth and
under a lid, is in mouth.py and eye.py.

Coordinates are those of faces/crop.py; "template" is its 64-pixel frame.
"""

import concurrent.futures
import dataclasses
from collections.abc import Callable

import cv2
import numpy as np
from PIL import Image

from fevgan_jax.faces import crop
from fevgan_jax.faces.truth import BROW, CHEEK, EYE_LINE, EYE_OUTLINES, EYES, JAW, SHEETS
from fevgan_jax.photograph import field, glasses
from fevgan_jax.photograph.eye import Eye
from fevgan_jax.photograph.field import MARGIN
from fevgan_jax.photograph.forehead import Forehead
from fevgan_jax.photograph.motion import Motion, smoothstep
from fevgan_jax.photograph.mouth import Mouth
from fevgan_jax.photograph.openings import Curve, Light, Opening, over
from fevgan_jax.runtime import workers

LARGEST = 1080  # pixels of a side of what is made
VIEW = 14  # of the template about its 64, that 'face' shows
SOFT = 3.0  # pixels of the template over which one sheet becomes the other beside eyes and mouth
NEAR = -5.0, -3.0  # pixels between the lids or lips, over which their own sheets count


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

  def enlarge(self, values: np.ndarray) -> np.ndarray:
    """float32 [SIDE, SIDE, channels] -> [height, width, channels] of the patch."""
    if not all(self.size):  # it lies beyond the photograph
      return np.zeros((*self.size[::-1], values.shape[-1]), np.float32)
    enlarged = cv2.warpAffine(
      values, self._to_field, self.size, flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    )
    return enlarged.reshape(*self.size[::-1], -1)

  def in_scene(self, shift: np.ndarray) -> np.ndarray:
    """A shift, [..., 2] in pixels of the template, in those of the scene."""
    return shift @ self._to_scene.T

  def move(self, pixels: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """What the scene's pixels show where a shift, float32 [height, width, 2] in pixels of the
    template, points to: uint8 [height, width, 3]."""
    if not all(self.size):
      return np.zeros((*self.size[::-1], 3), np.uint8)
    place = self._scene - 0.5 + self.in_scene(shift)
    return cv2.remap(pixels, place, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


class Mover:
  """Moves a photograph; what is the same for all frames and clips is computed once.

  Attributes:
    proportions: of its face.
  """

  def __init__(self, shown: Scene, side: int):
    """`side` is that of the crop that the generator saw."""
    self._pixels, self._view = shown.pixels, shown.view
    self._scale = crop.SIDE / side
    placed = crop.transform(shown.to_template, shown.landmarks)
    self._fade = field.Fade(field.face(placed))
    self.proportions = field.Proportions(placed, self._fade)
    self._depth = field.depth(placed, self._fade)
    self._moving = Patch(shown, np.full(2, -MARGIN), np.full(2, crop.SIDE + MARGIN))
    light = Light.of(shown.pixels, shown.landmarks)
    self._mouth = Mouth(placed, light)
    self._eye_line = Curve(placed[list(EYE_LINE)])
    self._forehead = Forehead(placed)
    self._glasses = glasses.frame(shown.pixels, shown.landmarks)
    self._at_mouth = Patch(shown, *self._mouth.box)
    self._eyes = []
    for outline in EYE_OUTLINES:
      eye = Eye(placed[list(outline)])
      patch = Patch(shown, *eye.box)
      self._eyes.append((eye, patch, eye.ball(patch.template, self._pixels[patch.at], light)))

  def animate(self, motion: Motion, turns: np.ndarray | None = None) -> np.ndarray:
    """What is shown, moving: uint8 [time, height, width, 3].

    Args:
      motion: of the expression.
      turns: [time, 2] of the head, to the right and down, in radians.
    """
    turns = np.zeros((len(motion.moves), 2)) if turns is None else turns
    with concurrent.futures.ThreadPoolExecutor(workers.available_cores()) as pool:
      return np.stack([*pool.map(self._frame, *motion, turns)])

  def _frame(
    self, moves: np.ndarray, shading: np.ndarray, closed: np.ndarray, turn: np.ndarray
  ) -> np.ndarray:
    # A displacement is (down, right) in pixels of the crop; a shift is (x, y) in the template.
    shifts = (self._on_field(moves[..., sheet, ::-1] * self._scale) for sheet in SHEETS)
    shifts = [self.proportions.own_shift(shift) for shift in shifts]
    shifts[BROW] = self._forehead.stiffen(shifts[BROW])
    shifts[CHEEK], shifts[JAW] = self._mouth.close(shifts[CHEEK], shifts[JAW], closed)
    shading = self._fade(self.proportions.own_value(self._on_field(shading)))
    # Eyeballs, upper teeth and glasses go with the skull.
    centers = np.stack([eye.center for eye, *_ in self._eyes])
    skull = field.read(shifts[EYES], centers).mean(0)
    for sheet in (BROW, CHEEK):
      shifts[sheet] = shifts[sheet] + self._glasses * (skull - shifts[sheet])
    as_one = self._fade(self._as_one(*shifts[:EYES]))
    result = self._pixels.copy()
    result[self._moving.at] = self._moved(self._moving, as_one, shading)
    for eye, patch, ball in self._eyes:
      lids = shifts[BROW], shifts[CHEEK], shading
      behind = ball.shifted(patch.in_scene(skull)).under
      result[patch.at] = self._open(eye, patch, result[patch.at], *lids, behind)
    mouth, patch = self._mouth, self._at_mouth
    drop = skull - field.read(shifts[JAW], mouth.chin[None])[0]

    def inside(depth: np.ndarray) -> np.ndarray:
      return mouth.inside(patch.template + skull, self._pixels[patch.at], drop, depth)

    lips = shifts[CHEEK], shifts[JAW], shading
    result[patch.at] = self._open(mouth, patch, result[patch.at], *lips, inside)
    if turn.any():
      shift = self._moving.enlarge(self._depth * np.float32(-turn))
      result[self._moving.at] = self._moving.move(result, shift)
    return result[self._view]

  def _as_one(self, brow: np.ndarray, cheek: np.ndarray, jaw: np.ndarray) -> np.ndarray:
    """The shifts of the sheets of skin without an edge between them, as they are beside eyes and
    mouth: float32 [SIDE, SIDE, 2]."""
    at = field.places() + cheek
    up = self._eye_line(at[..., 0]) - at[..., 1]
    down = -self._mouth.height(at)
    above, below = (smoothstep(-SOFT, SOFT, x)[..., None] for x in (up, down))
    return cheek + above * (brow - cheek) + below * (jaw - cheek)

  def _open(
    self,
    opening: Opening,
    patch: Patch,
    skin: np.ndarray,
    above: np.ndarray,
    below: np.ndarray,
    shading: np.ndarray,
    inside: Callable[[np.ndarray], np.ndarray],
  ) -> np.ndarray:
    """The part around eye or mouth, uint8: the sheets above and below it as far as they go, and
    what is between them, of which `inside` is told how far it lies below the edge of the upper
    one."""
    parts = [self._moved(patch, shift, shading) for shift in (above, below)]
    x, y = np.moveaxis(patch.template, -1, 0)
    upper, lower = opening.edges(above, below, x)
    depth, rise = y - upper, lower - y
    # Where they overlap the upper one is seen; where they meet, nothing is between them.
    part = np.clip(0.5 - depth / opening.sharp, 0, 1)
    under = np.clip(0.5 - rise / opening.sharp, 0, 1 - part)
    gap = 1 - part - under
    opened = sum(x * share[..., None] for x, share in zip(parts, (part, under)))
    if gap.any():
      opened = opened + inside(depth) * gap[..., None]
    near = smoothstep(*NEAR, depth) * smoothstep(*NEAR, rise)
    beside = opening.between_corners(patch.template + patch.enlarge((above + below) / 2))
    return _to_bytes(over(skin, opened, near * beside))

  def _moved(self, patch: Patch, shift: np.ndarray, shading: np.ndarray) -> np.ndarray:
    """A part of the photograph, uint8: read where a shift points to, and lighter or darker."""
    moved = patch.move(self._pixels, patch.enlarge(shift))
    return _to_bytes(moved * np.exp(patch.enlarge(shading))) if shading.any() else moved

  def _on_field(self, values: np.ndarray) -> np.ndarray:
    """Values of the crop, [side, side, channels], on the field, float32 [SIDE, SIDE, channels]."""
    values = np.asarray(values, np.float32)
    if self._scale != 1:
      values = cv2.resize(values, (crop.SIDE, crop.SIDE), interpolation=cv2.INTER_AREA)
      values = values.reshape(crop.SIDE, crop.SIDE, -1)
    return field.beyond(values)


def _to_bytes(values: np.ndarray) -> np.ndarray:
  return np.clip(values + 0.5, 0, 255).astype(np.uint8)
