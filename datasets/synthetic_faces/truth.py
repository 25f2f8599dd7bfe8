"""The truth about a rendered clip, as `fevgan_jax.faces.truth` has it stored."""

import numpy as np
from scipy import ndimage

from fevgan_jax.faces import crop
from fevgan_jax.faces.truth import (
  DISPLACEMENT_UNIT,
  FEATURES,
  HIDDEN,
  SHADING_UNIT,
  VISIBLE,
)
from synthetic_faces.lighting import expose
from synthetic_faces.renderer import Frame, blend

BEHIND = 0.015  # dm; a point that lies so far behind all that frame 0 shows about it was hidden
DARKEST = 2e-3  # linear light; below it a ratio says nothing


def of_clip(frames: list[Frame]) -> dict[str, np.ndarray]:
  """The truth about a clip.

  Args:
    frames: all of them, from frame 0 on.

  Returns:
    'displacement' int8 [time, size, size, 2]: from a pixel's center to where its point was in
    frame 0, downwards and to the right; 'visibility' uint8 [time, size, size]; 'shading' int8
    [time, size, size]: the light that a point sends over what it sent in frame 0, as a logarithm to
    base 2. Glasses and the background are unknown.
  """
  first = frames[0]
  side = first.size * first.samples
  buffer = np.full(side * side, -np.inf, np.float32)
  buffer[first.seen.pixel] = first.seen.depth
  buffer = ndimage.minimum_filter(buffer.reshape(side, side), 3, mode='nearest').ravel()
  parts = [_of_frame(frame, first, buffer) for frame in frames]
  return {name: np.stack([part[name] for part in parts]) for name in parts[0]}


def _of_frame(frame: Frame, first: Frame, buffer: np.ndarray) -> dict[str, np.ndarray]:
  size, samples = frame.size, frame.samples
  central = _central(frame)
  pixel, triangle, weights, _ = (x[central] for x in frame.seen)
  row, column = np.divmod(pixel, size * samples)
  here = (np.stack([row, column], 1) + 0.5) / samples
  corners = frame.head.triangles[triangle]
  before = blend(first.points, corners, weights)[:, ::-1]
  depth = blend(first.depth[:, None], corners, weights)[:, 0]

  sample = np.floor(before * samples).astype(int)
  within = ((sample >= 0) & (sample < size * samples)).all(1)
  index = np.where(within, sample[:, 0] * size * samples + sample[:, 1], 0)
  front = np.where(within, buffer[index], -np.inf)  # beyond the mask nothing hides a point
  hidden = depth < front - BEHIND

  light = frame.exposed[central], expose(first.shade(triangle, weights))
  now, then = (x.mean(1).clip(DARKEST) for x in light)
  shading = np.where(hidden, 0, np.log2(now / then))
  displacement = np.where(hidden[:, None], 0, (before - here) * (crop.SIDE / size))
  place = row // samples * size + column // samples
  values = {
    'displacement': displacement / DISPLACEMENT_UNIT,
    'visibility': np.where(hidden, HIDDEN, VISIBLE),
    'shading': shading / SHADING_UNIT,
  }
  return {name: _scatter(values[name], place, size, kind) for name, kind in FEATURES.items()}


def _central(frame: Frame) -> np.ndarray:
  """Which of the samples that `frame.seen` holds show the face at the center of a pixel: bool [n];
  glasses are none."""
  middle = np.arange(frame.size * frame.samples) % frame.samples == frame.samples // 2
  central = np.logical_and.outer(middle, middle).ravel()[frame.seen.pixel]
  return central & (frame.seen.triangle < len(frame.head.triangles))


def _scatter(values: np.ndarray, place: np.ndarray, size: int, kind: type) -> np.ndarray:
  """Values [n, ...] of some pixels, rounded, as a picture of all."""
  limits = np.iinfo(kind)
  picture = np.zeros((size * size, *values.shape[1:]), kind)
  picture[place] = np.clip(np.round(values), limits.min, limits.max)
  return picture.reshape(size, size, *values.shape[1:])
