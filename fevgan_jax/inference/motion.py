"""How a face moves, as a generator that moves pixels says it: fields over its 64-pixel crop.

Displacements and light are smooth, so that they can be enlarged, added, and read at another pace.
Coordinates are those of faces/crop.py; "template" is its 64-pixel frame.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from fevgan_jax.faces import crop
from fevgan_jax.faces.truth import LOWER, UPPER

# Deviations, in pixels of the template, over which a sheet goes on where it is not seen: each
# counts FARTHER times as much as the one before.
REACH = (0.5, 1.5, 4.0, 12.0)
FARTHER = 0.01
CALM = 0.4  # of a clip, in which a smile that a photograph has goes
BELOW_EYES = 24, 30  # pixels of the template, from which on it does
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
    columns, rows = (crop.TEMPLATE * (side / crop.SIDE)).astype(int).T

    def raised(x: np.ndarray) -> float:
      """How far the corners of a mouth lie above the middle of the lips."""
      return np.mean(x[[51, 57]]) - np.mean(x[[48, 54]])

    # Points go where displacements come from. The corners belong to both sheets.
    goes = -(smile.upper[-1, rows, columns, 0] + smile.lower[-1, rows, columns, 0]) / 2
    placed = crop.transform(crop.similarity(landmarks, side), landmarks)
    share = (raised(placed[:, 1]) - raised(crop.TEMPLATE[:, 1]) * side / crop.SIDE) / raised(goes)
    share = amount * np.clip(share, 0, 1) if raised(goes) > 0 else 0.0
    gone = smoothstep(0, CALM, np.linspace(0, 1, len(self.upper))).reshape(-1, 1, 1, 1)
    below = np.linspace(0, crop.SIDE, side).reshape(-1, 1, 1)
    part = share * gone * smoothstep(*BELOW_EYES, below)
    return Motion(
      self.upper - part * smile.upper[-1], self.lower - part * smile.lower[-1], self.shading
    )


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


def smoothstep(low: float, high: float, x: np.ndarray) -> np.ndarray:
  """From 0 at `low` to 1 at `high`, without a kink."""
  t = np.clip((x - low) / (high - low), 0, 1)
  return (t * t * (3 - 2 * t)).astype(np.float32)
