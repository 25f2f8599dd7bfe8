"""What a face does in a take: which action units an expression has, and how they unfold."""

import dataclasses

import numpy as np

from fevgan_jax.faces.labels import EXPRESSIONS
from synthetic_faces.action_units import ACTION_UNITS
from synthetic_faces.lighting import Light
from synthetic_faces.person import Person

# Mean intensity and standard deviation at the apex, 1 being the whole displacement.
APEX = {
  'anger': {
    4: (1.25, 0.1),
    5: (0.5, 0.12),
    7: (0.65, 0.15),
    23: (0.7, 0.12),
    24: (0.45, 0.12),
    9: (0.2, 0.1),
    17: (0.45, 0.12),
    15: (0.4, 0.1),
  },
  'disgust': {
    9: (1.2, 0.12),
    10: (1.0, 0.15),
    4: (0.3, 0.12),
    7: (0.6, 0.12),
    6: (0.6, 0.1),
    15: (0.3, 0.1),
    16: (0.4, 0.15),
    17: (0.3, 0.1),
    25: (0.3, 0.1),
  },
  'fear': {
    1: (1.3, 0.1),
    2: (0.45, 0.1),
    4: (0.6, 0.1),
    5: (1.1, 0.1),
    7: (0.1, 0.1),
    20: (1.15, 0.12),
    25: (0.75, 0.12),
    26: (0.18, 0.06),
    15: (0.2, 0.1),
  },
  'happiness': {6: (0.9, 0.1), 12: (1.1, 0.12), 25: (0.9, 0.2), 26: (0.10, 0.04), 7: (0.2, 0.1)},
  'sadness': {
    1: (1.35, 0.1),
    4: (0.4, 0.1),
    15: (1.1, 0.12),
    17: (0.6, 0.12),
    43: (0.22, 0.06),
    7: (0.1, 0.1),
  },
  'surprise': {1: (1.1, 0.1), 2: (1.25, 0.1), 5: (1.1, 0.12), 25: (0.2, 0.1), 26: (0.72, 0.08)},
}
# How far the head bows, in radians.
NOD = {
  'anger': 0.04,
  'disgust': 0.02,
  'fear': -0.03,
  'happiness': -0.02,
  'sadness': 0.07,
  'surprise': -0.05,
}
BLINKS = ('anger', 'disgust', 'happiness', 'sadness')  # wide eyes do not blink
LARGEST_JAW_DROP = 0.85  # of action unit 26: more would leave the crop

# How strong takes are, as shares of APEX; the middle of the usual range is intensity 1.
STRENGTHS = (0.75, 1.12)
TYPICAL = sum(STRENGTHS) / 2

TAKE_STREAM = 2  # sets a take's random numbers apart from the person's


@dataclasses.dataclass(frozen=True)
class Take:
  """One performance.

  Attributes:
    label: one of EXPRESSIONS.
    action_units: [frames, 18] in the order of ACTION_UNITS; zero in frame 0.
    lopsided: [frames, 18] what the left side does more and the right side less.
    pose: [frames, 3] yaw, pitch and roll in radians.
    light: the same throughout.
    intensity: how strong it is, 1 being usual.
  """

  label: str
  action_units: np.ndarray
  lopsided: np.ndarray
  pose: np.ndarray
  light: Light
  intensity: float = 1.0


def perform(
  person: Person, label: str, number: int, frames: int, strengths: tuple[float, float] = STRENGTHS
) -> Take:
  """Draws take `number` of an expression, from neutral in the first frame to the apex in the last.

  Functions of time are drawn before they are sampled: with more frames a take is the same movement.

  Args:
    person: who makes it.
    label: one of EXPRESSIONS.
    number: of the take.
    frames: how many, at least 2.
    strengths: least and greatest, of which one is drawn.
  """
  rng = np.random.default_rng((TAKE_STREAM, person.seed, EXPRESSIONS.index(label), number))
  time = np.linspace(0, 1, frames)
  # What frame 0 shows is drawn first and in the same way for every label.
  light = person.light.jittered(rng)
  pose = rng.normal(0, (0.07, 0.05, 0.03))
  pose = pose + [0.035, 0.025, 0.02] * np.stack([drift(rng, time) for _ in range(3)], 1)

  strength = rng.uniform(*strengths)
  onset, rise = rng.uniform(0.02, 0.15), rng.uniform(0.5, 0.8)
  units = np.zeros((frames, len(ACTION_UNITS)))
  for unit, (mean, deviation) in APEX[label].items():
    i = ACTION_UNITS.index(unit)
    apex = max(0, rng.normal(mean, deviation)) * strength * person.expressiveness[i]
    start = max(0, onset + rng.normal(0, 0.04))
    envelope = minimum_jerk((time - start) / min(rise * rng.uniform(0.85, 1.15), 1 - start))
    units[:, i] = apex * envelope * (1 + 0.03 * drift(rng, time, 2, 4))
  lopsided = units * person.lopsidedness * rng.uniform(0.5, 1.5)
  pose[:, 1] += NOD[label] * rng.uniform(0.3, 1) * minimum_jerk((time - onset) / rise)

  jaw, lids = ACTION_UNITS.index(26), ACTION_UNITS.index(43)
  units[:, jaw] = np.minimum(units[:, jaw], LARGEST_JAW_DROP)
  if label in BLINKS and rng.random() < 0.25:
    blink = np.exp(-0.5 * ((time - rng.uniform(0.2, 0.7)) / 0.042) ** 2)
    units[:, lids] = np.maximum(units[:, lids], blink * (blink > 1e-3))
  return Take(label, units, lopsided, pose, light, strength / TYPICAL)


def minimum_jerk(q: np.ndarray) -> np.ndarray:
  """From 0 at q <= 0 to 1 at q >= 1 by q^3 (10 - 15 q + 6 q^2) (Flash and Hogan, 1985)."""
  q = np.clip(q, 0, 1)
  return q**3 * (10 - 15 * q + 6 * q * q)


def drift(
  rng: np.random.Generator,
  time: np.ndarray,
  slowest: float = 0.3,
  fastest: float = 1.5,
) -> np.ndarray:
  """A smooth random function of time, 0 at 0 and of deviation about 1 later.

  Args:
    rng: of the take.
    time: [frames] in [0, 1].
    slowest: cycles per clip of the three sines that it adds up, at least.
    fastest: the same, at most.
  """
  cycles, phases = rng.uniform(slowest, fastest, 3), rng.uniform(0, 2 * np.pi, 3)
  amplitudes = rng.normal(0, 0.6, 3)
  waves = np.sin(2 * np.pi * cycles * time[:, None] + phases) - np.sin(phases)
  return waves @ amplitudes
