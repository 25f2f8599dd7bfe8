"""A recorded expression, as its owner has it on disk, to a clip: 32 aligned, masked frames."""

import dataclasses
import itertools
import pathlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from fevgan_jax.runtime import media
from fevgan_jax.runtime.errors import UserError

# Changes with whatever changes a clip: finished clips of another version are not taken up again.
VERSION = 2

FEWEST = 5  # frames: fewer show no movement
READABLE = 3 / 4  # of all frames, at least
SEEN = 1 / 2  # of the readable frames must show a face


@dataclasses.dataclass(frozen=True)
class Recording:
  """One person making one expression, once.

  Attributes:
    subject, label, take: its name; together they are unique in a data set.
    files: pictures in the order of time, or one video.
    first_half: the face goes from neutral to the apex and back; only the way there is used.
    unwanted: why it is left out, where its place on disk says so already.
    grey: whether pictures without color are taken (infrared).
  """

  subject: str
  label: str
  take: str
  files: tuple[str, ...]
  first_half: bool = False
  unwanted: str = ''
  grey: bool = False

  def __str__(self) -> str:
    return f'{self.subject}/{self.label}/{self.take}'


class Clip(NamedTuple):
  """What becomes of a recording.

  Attributes:
    video: uint8 [frames, size, size, 3], from the first recorded frame to the last, or to the
      middle one.
    landmarks: float32 [frames, 68, 2], in pixels of these, to the right and down: those that the
      faces were aligned by.
  """

  video: np.ndarray
  landmarks: np.ndarray


class Refused(Exception):
  """A recording cannot become a clip, and why."""


def clip(recording: Recording, frames: int = 32, size: int = 64) -> Clip:
  """Crops every frame to the one template, then takes `frames` equally spaced moments.

  Between two recorded frames lies their weighted mean: the paper brings clips to one length by
  Karcher means (section 4.2), and that of two pictures in pixel space is the linear interpolation.
  Frames that cannot be read are bridged in the same way.

  Raises:
    Refused: too few frames can be read or show a face, or the face is too small.
  """
  # Needs OpenCV and dlib, which a project that only reads the clips need not have.
  from fevgan_jax.faces import crop, detect, track

  if recording.unwanted:
    raise Refused(recording.unwanted)
  times, landmarks, errors = _follow(recording)
  count = len(times) + len(errors)
  if count < FEWEST:
    raise Refused(f'{count} frames, expected at least {FEWEST}')
  if len(times) < READABLE * count:
    raise Refused(f'{len(errors)} of {count} frames cannot be read, such as {errors[0]}')
  seen = sum(points is not None for points in landmarks)
  if seen < SEEN * len(times):
    raise Refused(f'a face in {seen} of {len(times)} frames, expected at least half of them')
  landmarks = track.steady(landmarks, times)
  enlargement = detect.enlargement(landmarks[0], size)
  if enlargement > detect.ENLARGED:
    raise Refused(
      f'the face is too small: enlarged {enlargement:.1f} times to fill {size} pixels, expected '
      f'{detect.ENLARGED} at most'
    )

  places = np.interp(np.linspace(times[0], times[-1], frames), times, np.arange(len(times)))
  before = np.minimum(places.astype(int), len(times) - 2)
  points_of = {times[i]: landmarks[i] for i in {*before, *(before + 1)}}
  crops = {
    time: crop.crop(picture, points_of[time], size).astype(np.float32)
    for time, picture in enumerate(pictures(recording))
    if time in points_of
  }
  aligned = {
    time: crop.transform(crop.similarity(points, size), points)
    for time, points in points_of.items()
  }

  def between(of: dict[int, np.ndarray]) -> np.ndarray:
    weights = zip(before, places - before)
    return np.stack([(1 - w) * of[times[i]] + w * of[times[i + 1]] for i, w in weights])

  return Clip(between(crops).round().astype(np.uint8), between(aligned).astype(np.float32))


def pictures(recording: Recording) -> Iterator[np.ndarray | UserError]:
  """The frames that are used, uint8 [height, width, 3], or why one cannot be read."""
  used = None
  if len(recording.files) == 1 and pathlib.Path(recording.files[0]).suffix.lower() in media.VIDEOS:
    (video,) = recording.files
    if recording.first_half:
      used = half(sum(1 for _ in media.read_video(video)))
    yield from itertools.islice(media.read_video(video), used)
    return
  if recording.first_half:
    used = half(len(recording.files))
  for path in recording.files[:used]:
    try:
      yield media.read_image(path, grey=recording.grey)
    except UserError as error:
      yield error


def half(count: int) -> int:
  """How many of `count` frames lead up to the middle one, which is among them."""
  return (count + 1) // 2


def _follow(
  recording: Recording,
) -> tuple[list[int], list[np.ndarray | None], list[UserError]]:
  """The numbers of the frames that can be read, their landmarks, and what is wrong with others."""
  from fevgan_jax.faces import track

  tracker = track.Tracker()
  times, landmarks, errors = [], [], []
  try:
    for time, picture in enumerate(pictures(recording)):
      if isinstance(picture, UserError):
        errors.append(picture)
        continue
      times.append(time)
      landmarks.append(tracker(picture))
  except UserError as error:  # a video that breaks off
    raise Refused(str(error)) from error
  return times, landmarks, errors
