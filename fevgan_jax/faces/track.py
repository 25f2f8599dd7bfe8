"""The landmarks of a clip: found frame by frame, bridged where there are none, smoothed over time.

A crop that follows every tremor of the landmarks would teach a generator to tremble. Three things
keep it still: landmarks are averaged over several boxes of the detector (detect.py), the box takes
small steps by half, and landmarks are smoothed over time.
"""

from collections.abc import Sequence

import numpy as np
import scipy

from fevgan_jax.faces import detect

# Deviation of the Gaussian over time, in frames: it halves the tremor and leaves a nod alone.
SMOOTHING = 1.0

# Frames that are searched for a small face too, which takes seconds, before only large ones count.
THOROUGH = 3

# The detector's boxes lie on a grid: a step of less than this part of the side is believed by half.
TREMOR = 0.1


class Tracker:
  """Follows the face that is largest in the first frame that shows any."""

  def __init__(self):
    self._box: detect.Box | None = None
    self._searches = detect.SEARCHES  # only the successful one, once there is any
    self._frames = 0

  def __call__(self, image: np.ndarray) -> np.ndarray | None:
    """Landmarks [68, 2] in the next frame, uint8 [height, width, 3], or None where it shows no
    face. A frame costs a search near the last place, and only without success one everywhere."""
    last = self._box
    found = (last and detect.near(image, last)) or self._choose(self._search(image))
    if not found:
      return None
    if not last:  # look in the way of all later frames, which find a slightly other box
      found = detect.near(image, found) or found
    if last and np.linalg.norm(found.middle - last.middle) < TREMOR * last.side:
      found = detect.between(last, found)
    self._box = found
    return detect.trace(image, found)

  def _search(self, image: np.ndarray) -> list[detect.Box]:
    """All faces; a clip without any must not take minutes."""
    if self._frames == THOROUGH and len(self._searches) > 1:
      self._searches = detect.SEARCHES[:1]
    self._frames += 1
    for search in self._searches:
      if boxes := detect.faces(image, [search]):
        self._searches = (search,)
        return boxes
    return []

  def _choose(self, boxes: list[detect.Box]) -> detect.Box | None:
    """The largest face, or, of a person who was seen before, the one next to the last place."""
    last = self._box
    if last is None:
      return max(boxes, key=lambda box: box.side, default=None)

    def distance(box: detect.Box) -> float:
      return float(np.linalg.norm(box.middle - last.middle))

    boxes = [box for box in boxes if distance(box) < 2 * last.side]
    return min(boxes, key=distance, default=None)


def steady(landmarks: Sequence[np.ndarray | None], times: Sequence[float]) -> np.ndarray:
  """Bridges and smooths the landmarks of a clip.

  Args:
    landmarks: [68, 2] of every frame, or None where it showed no face; at least one face.
    times: of the frames, increasing, in any unit.

  Returns:
    float64 [frames, 68, 2]. A gap is crossed in a straight line, and held at the clip's ends.
  """
  seen = [i for i, points in enumerate(landmarks) if points is not None]
  known = np.stack([landmarks[i] for i in seen]).reshape(len(seen), -1)
  known_times = np.asarray(times, float)[seen]
  bridged = np.stack([np.interp(times, known_times, column) for column in known.T], axis=1)
  smooth = scipy.ndimage.gaussian_filter1d(bridged, SMOOTHING, axis=0, mode='nearest')
  return smooth.reshape(-1, 68, 2)
