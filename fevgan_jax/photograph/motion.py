"""How a face moves, as a generator that moves pixels says it: fields over its 64-pixel crop.

Displacements and light are smooth, so that they can be enlarged, added, and read at another pace.
Coordinates are those of faces/crop.py; "template" is its 64-pixel frame.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from fevgan_jax.faces import crop, detect
from fevgan_jax.faces.truth import CHEEK, JAW, SHEETS

# Deviations, in pixels of the template, over which a sheet goes on where it is not seen: each
# counts FARTHER times as much as the one before.
REACH = (0.5, 1.5, 4.0, 12.0)
FARTHER = 0.01
SURE = 2  # power of what is seen by which it counts: what is hardly seen says hardly anything
DRIFT = 0.035, 0.025  # radians to the side, and up or down
CALM = 0.4  # of a clip, in which a smile that a photograph has goes
BROADEST = 1.4  # times a usual smile, at most, that goes
BELOW_EYES = 24, 30  # pixels of the template, from which on it does
NOSE_ENDS, NOSE_SIDES = (42.0, 32.0), (12.0, 5.0)  # pixels of it where the nose does not go along
READ = 'moves', 'shading', 'sheets'  # of what a generator says of a clip


class Motion(NamedTuple):
  """What happens to a crop, of one clip. Every sheet goes on beyond where it is seen.

  Attributes:
    moves: [time, side, side, 4, 2], displacements of the sheets, `truth.SHEETS`, in pixels,
      downwards and to the right.
    shading: [time, side, side, 1], the logarithm of a factor.
    closed: [time] in [0, 1], how far lips that a smile has parted have come together.
  """

  moves: np.ndarray
  shading: np.ndarray
  closed: np.ndarray

  @classmethod
  def of(cls, extras: Mapping[str, np.ndarray]) -> 'Motion':
    """Of what `fevgan_plus.MotionDecoder` says of one clip: extras [time, side, side, ...]."""
    moves, shading, sheets = (np.asarray(extras[name]) for name in READ)
    fields = [
      [
        go_on(light, 1 - shown[..., -1]),
        *(go_on(of_frame[..., sheet, :], shown[..., sheet]) for sheet in SHEETS),
      ]
      for of_frame, light, shown in zip(moves, shading, sheets)
    ]
    light, *moves = (np.stack(of_all) for of_all in zip(*fields))
    return cls(np.stack(moves, -2), light, np.zeros(len(light), np.float32))

  def along(self, curve: Sequence[float], frames: int) -> 'Motion':
    """The same movement at another pace: how far it has come, from 0, the first frame, to 1, the
    last one, over so many frames; `curve` has values at equal distances."""
    ends = np.linspace(0, 1, frames), np.linspace(0, 1, len(curve))
    place = np.interp(*ends, curve) * (len(self.moves) - 1)
    before = np.floor(place).astype(int)
    after = np.minimum(before + 1, len(self.moves) - 1)
    part = (place - before).astype(np.float32)

    def between(x: np.ndarray) -> np.ndarray:
      return x[before] + part.reshape(-1, *(1,) * (x.ndim - 1)) * (x[after] - x[before])

    return Motion(*map(between, self))

  def without_smile(
    self, smile: 'Motion', landmarks: np.ndarray, amount: float, stays: float
  ) -> 'Motion':
    """From a face that smiles already: in the first CALM of the clip the smile goes, below the
    eyes.

    Args:
      smile: how this face would begin to smile.
      landmarks: [68, 2] of the photograph, in any pixels.
      amount: how much of the smile goes, from 0 to 1.
      stays: what part of the expression that comes is a smile, whose lips need not close before.
    """
    side = self.moves.shape[1]
    scale = side / crop.SIDE
    columns, rows = (crop.TEMPLATE * scale).astype(int).T
    # Points go where displacements come from, here in pixels of the template.
    goes = -smile.moves[-1, rows, columns] / scale  # [68, 4, 2]
    share = amount * breadth(landmarks, goes[:, [CHEEK, JAW]].mean(1))  # corners belong to both
    gone = share * smoothstep(0, CALM, np.linspace(0, 1, len(self.moves)))
    line = np.linspace(0, crop.SIDE, side)
    sides = smoothstep(*NOSE_SIDES, abs(line - crop.SIDE / 2))
    nose = smoothstep(*NOSE_ENDS, line)[:, None] * sides
    where = smoothstep(*BELOW_EYES, line)[:, None] * (1 - nose)
    part = gone.reshape(-1, 1, 1, 1, 1) * where[..., None, None]
    moves = (self.moves - part * smile.moves[-1]).astype(np.float32)
    # With a usual smile goes what it parts lips by; lips that are parted farther close.
    parted, parts = detect.parted(landmarks), goes[66, JAW, 0] - goes[62, CHEEK, 0]
    left = np.clip(1 - share * parts / parted, 0, 1) if parted > 0 else 0.0
    closed = np.minimum(gone, 1) * (1 - stays) * left
    return Motion(moves, self.shading, closed.astype(np.float32))


def breadth(landmarks: np.ndarray, goes: np.ndarray) -> float:
  """How broadly a face smiles: 0 of a neutral one, 1 of a usual smile, and BROADEST at most.

  Args:
    landmarks: [68, 2] of the photograph, in any pixels.
    goes: [68, 2], how far a usual smile would take them, downwards and to the right, in pixels of
      the template.
  """
  down, right = goes.T
  is_raised = detect.smile(landmarks) - detect.raised(crop.TEMPLATE[:, 1])
  is_wider = detect.width(landmarks) - detect.width(crop.TEMPLATE)
  usual = detect.raised(down), right[54] - right[48]
  shares = [more / most for more, most in zip((is_raised, is_wider), usual) if most > 0]
  return float(np.clip(max(shares, default=0), 0, BROADEST))


def mirrored(extras: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  """What is said of clips of the mirror image, [clips, time, side, side, ...], of the image."""
  extras = {name: x[:, :, :, ::-1] for name, x in extras.items()}
  return {**extras, 'moves': extras['moves'] * np.array([1, -1], np.float32)}


def sway(frames: int, seed: int) -> np.ndarray:
  """How a head drifts that nobody holds: [frames, 2], smooth angles to the right and down in
  radians, 0 at first; as those of the rendered people."""
  rng = np.random.default_rng(seed)
  time = np.linspace(0, 1, frames)[:, None]
  turns = []
  for deviation in DRIFT:
    cycles, phases = rng.uniform(0.3, 1.5, 3), rng.uniform(0, 2 * np.pi, 3)
    waves = np.sin(2 * np.pi * cycles * time + phases) - np.sin(phases)
    turns.append(deviation * (waves @ rng.normal(0, 0.6, 3)))
  return np.stack(turns, 1)


def go_on(field: np.ndarray, seen: np.ndarray) -> np.ndarray:
  """A smooth field, [side, side, channels], as it goes on where it is not seen: the mean of what is
  seen about a place, the nearest first (normalized convolution: Knutsson and Westin, 1993). `seen`:
  [side, side] in [0, 1]."""
  seen = seen[..., None] ** SURE
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
