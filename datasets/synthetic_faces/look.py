"""What somebody looks like in words: age, sex, colors, beard. The skin is painted by it."""

import dataclasses

import numpy as np

from synthetic_faces.asset import ANCESTRIES

# sRGB, fair to dark; black to white with red in between.
SKINS = (
  np.array(
    [[240, 207, 186], [234, 194, 170], [216, 166, 136], [186, 130, 98], [138, 90, 64], [84, 54, 41]]
  )
  / 255
)
HAIRS = (
  np.array([[18, 14, 12], [38, 26, 20], [70, 46, 30], [110, 76, 46], [168, 128, 80], [120, 52, 26]])
  / 255
)
GREY, WHITE = np.array([122, 112, 102]) / 255, np.array([196, 188, 178]) / 255
LIPSTICKS = np.array([[170, 40, 50], [190, 70, 80], [140, 30, 50], [176, 88, 80]]) / 255
BEARDS = ('none', 'stubble', 'full', 'goatee', 'moustache')


@dataclasses.dataclass(frozen=True)
class Look:
  """A person in words.

  Attributes:
    ancestry: shares of ANCESTRIES, adding up to 1.
    male: which of MakeHuman's two macros rules.
    age: years.
    tone: of the skin, 0 fair to 1 dark.
    skin, hair: sRGB [3].
    beard: one of BEARDS.
  """

  ancestry: dict[str, float]
  male: bool
  age: float
  tone: float
  skin: np.ndarray
  hair: np.ndarray
  beard: str


def smoothstep(low: float, high: float, x: np.ndarray) -> np.ndarray:
  """0 at `low` to 1 at `high`, which may be the smaller of the two."""
  t = np.clip((x - low) / (high - low), 0, 1)
  return t * t * (3 - 2 * t)


def draw_look(rng: np.random.Generator) -> Look:
  """Draws somebody: mixed ancestry, either sex, 18 to 75 years."""
  ancestry = dict(zip(ANCESTRIES, rng.dirichlet([0.25] * 3)))
  male = bool(rng.random() < 0.5)
  age = float(np.clip(18 + rng.gamma(1.6, 14), 18, 75))
  shade = (
    ancestry['african'] * rng.uniform(0.62, 1)
    + ancestry['asian'] * rng.uniform(0.2, 0.5)
    + ancestry['caucasian'] * rng.uniform(0, 0.42)
  )
  tone = float(np.clip(shade + rng.normal(0, 0.03), 0.06, 1))
  place = np.arange(len(SKINS))
  skin = np.stack([np.interp(tone * place[-1], place, SKINS[:, c]) for c in range(3)])
  if tone > 0.5 or ancestry['asian'] > 0.6:
    hair = HAIRS[0] + rng.uniform(0, 0.6) * (HAIRS[1] - HAIRS[0])
  else:
    hair = HAIRS[rng.choice(6, p=[0.15, 0.25, 0.25, 0.15, 0.12, 0.08])]
  grey = smoothstep(38, 75, age + rng.normal(0, 8))
  hair = hair + grey * ((WHITE if grey > 0.8 else GREY) - hair)
  beard = str(rng.choice(BEARDS, p=[0.42, 0.28, 0.14, 0.09, 0.07])) if male else 'none'
  return Look(ancestry, male, age, tone, skin * (1 + rng.normal(0, 0.018, 3)), hair, beard)
