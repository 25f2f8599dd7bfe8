"""Who somebody is: a seed decides head, skin, hair, glasses, light and manner of moving."""

import dataclasses
import functools

import numpy as np

from synthetic_faces import action_units, asset
from synthetic_faces.lighting import Light, draw_light, to_linear
from synthetic_faces.look import Look, draw_look
from synthetic_faces.skin import Skin, paint

# MakeHuman's macros, beside asset.ANCESTRIES.
SEXES = ('female', 'male')
AGES = ('child', 'young', 'old')
LEVELS = ('min', 'average', 'max')

# How far each region's details stray from the mean, in standard deviations of their own unit.
DETAIL = {
  'head': 0.224,
  'forehead': 0.32,
  'eyebrows': 0.36,
  'eyes': 0.304,
  'nose': 0.336,
  'mouth': 0.288,
  'chin': 0.288,
  'cheek': 0.36,
}
# Opposite displacements; '*' stands for l and r, which move together.
OPPOSITES = {
  'head': [
    'fat decr incr',
    'scale-depth decr incr',
    'scale-horiz decr incr',
    'scale-vert decr incr',
  ],
  'forehead': [
    'nubian decr incr',
    'scale-vert decr incr',
    'temple decr incr',
    'trans backward forward',
  ],
  'eyebrows': ['angle down up', 'trans backward forward', 'trans down up'],
  'eyes': [
    'bag decr incr',
    'bag-height decr incr',
    'bag in out',
    'corner1 down up',
    'corner2 down up',
    'epicanthus in out',
    'eyefold-angle down up',
    'eyefold concave convex',
    'eyefold down up',
    'height1 decr incr',
    'height2 decr incr',
    'height3 decr incr',
    'push1 in out',
    'push2 in out',
    'scale decr incr',
    'trans down up',
    'trans in out',
  ],
  'nose': [
    'base down up',
    'compression compress uncompress',
    'curve concave convex',
    'flaring decr incr',
    'greek decr incr',
    'hump decr incr',
    'nostrils-width decr incr',
    'point down up',
    'point-width decr incr',
    'scale-depth decr incr',
    'scale-horiz decr incr',
    'scale-vert decr incr',
    'septumangle decr incr',
    'trans backward forward',
    'trans down up',
    'volume decr incr',
    'width1 decr incr',
    'width2 decr incr',
    'width3 decr incr',
  ],
  'mouth': [
    'angles down up',
    'cupidsbow decr incr',
    'cupidsbow-width decr incr',
    'dimples in out',
    'laugh-lines in out',
    'lowerlip-ext down up',
    'lowerlip-height decr incr',
    'lowerlip-middle down up',
    'lowerlip-volume decr incr',
    'lowerlip-width decr incr',
    'philtrum-volume decr incr',
    'scale-depth decr incr',
    'scale-horiz decr incr',
    'scale-vert decr incr',
    'trans backward forward',
    'trans down up',
    'upperlip-ext down up',
    'upperlip-height decr incr',
    'upperlip-middle down up',
    'upperlip-volume decr incr',
    'upperlip-width decr incr',
  ],
  'chin': [
    'bones decr incr',
    'cleft decr incr',
    'height decr incr',
    'jaw-drop decr incr',
    'prognathism decr incr',
    'prominent decr incr',
    'width decr incr',
  ],
  'cheek': ['bones decr incr', 'inner decr incr', 'trans down up', 'volume decr incr'],
}
OUTLINES = ('oval', 'round', 'rectangular', 'square', 'triangular', 'invertedtriangular', 'diamond')
ASYMMETRIES = (
  'brown-1',
  'brown-2',
  'cheek-1',
  'cheek-2',
  *(f'eye-{i}' for i in range(1, 9)),
  'jaw-1',
  'jaw-2',
  'jaw-3',
  'mouth-1',
  'mouth-2',
  'nose-1',
  'nose-2',
  'nose-3',
  'nose-4',
)

# What the relaxed face does: mean intensities that look neutral, each person a little otherwise.
RESTING = {1: 0.16, 2: 0.05, 4: -0.18, 5: 0.16, 12: 0.12, 15: -0.12, 17: 0.0}
# How lopsided each person's mouth may be; tight lips, lopsided, would pass through one another.
STRAIGHTENED = {10: 0.6, 12: 0.6, 15: 0.6, 16: 0.6, 20: 0.6, 25: 0.6, 17: 0.25, 23: 0.25, 24: 0.25}

FRAMES = np.array([[20, 18, 18], [60, 36, 22], [90, 90, 95], [30, 40, 80]]) / 255  # sRGB of glasses
IRISES = (
  np.array(
    [[46, 28, 18], [76, 48, 28], [104, 80, 44], [84, 96, 66], [92, 122, 146], [120, 140, 150]]
  )
  / 255
)  # sRGB

PERSON_STREAM = 1


@dataclasses.dataclass(frozen=True)
class Person:
  """Somebody.

  Attributes:
    seed: everything below follows from it.
    look: what skin and hair are painted by.
    vertices: float32 [vertices, 3] of the neutral face, origin between the eyes.
    basis: float32 [18, vertices * 3], displacement by each action unit.
    skin: texture.
    iris: linear RGB [3].
    glasses: vertices [n, 3] and triangles [m, 3] of a frame, or None.
    glasses_color: linear RGB [3].
    light: of the person's studio.
    expressiveness: [18] gain of each action unit.
    lopsidedness: [18] how much more the left side does.
  """

  seed: int
  look: Look
  vertices: np.ndarray
  basis: np.ndarray
  skin: Skin
  iris: np.ndarray
  glasses: tuple[np.ndarray, np.ndarray] | None
  glasses_color: np.ndarray
  light: Light
  expressiveness: np.ndarray
  lopsidedness: np.ndarray


@functools.cache
def details() -> tuple[tuple[str, str, str], ...]:
  """(region, displacement one way, displacement the other way), '*' for l and r."""
  result = []
  for region, lines in OPPOSITES.items():
    prefix = {'eyes': '*-eye', 'cheek': '*-cheek'}.get(region, region)
    for line in lines:
      what, one, other = line.split()
      stem = f'{region}/{prefix}-{what}'
      result.append((region, f'{stem}-{one}', f'{stem}-{other}'))
  return tuple(result)


def displacements() -> list[str]:
  """Names of every displacement that a person can be made of."""
  macros = [f'macro/{a}-{s}-{age}' for a in asset.ANCESTRIES for s in SEXES for age in AGES]
  macros += [
    f'macro/universal-{s}-{age}-{m}muscle-{w}weight'
    for s in SEXES
    for age in AGES
    for m in LEVELS
    for w in LEVELS
  ]
  both_ways = [name for _, *pair in details() for name in pair]
  sided = [name.replace('*', side) for name in both_ways for side in ('l', 'r')]
  outlines = [f'head/head-{outline}' for outline in OUTLINES]
  asymmetries = [f'asym/asym-{name}-{side}' for name in ASYMMETRIES for side in 'lr']
  return sorted({*macros, *sided, *outlines, *asymmetries})


def draw(seed: int) -> Person:
  """The person of a seed, always the same."""
  rng = np.random.default_rng((PERSON_STREAM, seed))
  head = asset.head()
  look = draw_look(rng)
  basis = action_units.basis(head, look.ancestry)
  vertices = neutral_face(rng, head, look, basis)
  if look.tone < 0.45 and look.ancestry['asian'] < 0.6:
    iris = IRISES[rng.choice(6, p=[0.2, 0.25, 0.15, 0.12, 0.16, 0.12])]
  else:
    iris = IRISES[rng.integers(2)]
  lopsidedness = np.clip(rng.normal(0, 0.07, len(action_units.ACTION_UNITS)), -0.14, 0.14)
  lopsidedness *= [STRAIGHTENED.get(unit, 1) for unit in action_units.ACTION_UNITS]
  return Person(
    seed=seed,
    look=look,
    vertices=vertices.astype(np.float32),
    basis=basis.reshape(len(basis), -1).astype(np.float32),
    iris=to_linear(iris).astype(np.float32),
    expressiveness=rng.uniform(0.85, 1.15, len(action_units.ACTION_UNITS)),
    lopsidedness=lopsidedness,
    light=draw_light(rng),
    glasses_color=to_linear(FRAMES[rng.integers(len(FRAMES))]).astype(np.float32),
    glasses=draw_glasses(rng, head, vertices) if rng.random() < 0.14 else None,
    skin=paint(rng, look),
  )


def neutral_face(
  rng: np.random.Generator,
  head: asset.Head,
  look: Look,
  basis: np.ndarray,
) -> np.ndarray:
  """[vertices, 3]: macros, then details, outline, asymmetries and what relaxed muscles do."""
  vertices = head.base.copy()
  old = np.clip((look.age - 25) / 55, 0, 0.9)
  child = np.clip((25 - look.age) / 15, 0, 0.35)
  masculine = np.clip((0.92 if look.male else 0.08) + rng.normal(0, 0.06), 0, 1)
  muscle, weight = (_levels(np.clip(rng.normal(0.5, s), 0, 1)) for s in (0.2, 0.25))
  for sex, by_sex in zip(SEXES, (1 - masculine, masculine)):
    for age, by_age in zip(AGES, (child, 1 - old - child, old)):
      for ancestry, share in look.ancestry.items():
        head.displace(vertices, f'macro/{ancestry}-{sex}-{age}', by_sex * by_age * share)
      for m, by_muscle in muscle.items():
        for w, by_weight in weight.items():
          name = f'macro/universal-{sex}-{age}-{m}muscle-{w}weight'
          head.displace(vertices, name, by_sex * by_age * by_muscle * by_weight)

  for region, one, other in details():
    amount = np.clip(rng.normal(), -2, 2) * DETAIL[region]
    for side in 'lr' if '*' in one else 'l':
      head.displace(vertices, (one if amount < 0 else other).replace('*', side), abs(amount))
  head.displace(vertices, f'head/head-{rng.choice(OUTLINES)}', rng.uniform(0, 0.7))
  for name in ASYMMETRIES:
    amount = rng.normal(0, 0.08 if name.startswith(('mouth', 'jaw')) else 0.12)
    head.displace(vertices, f'asym/asym-{name}-{"l" if amount > 0 else "r"}', abs(amount))
  for unit, mean in RESTING.items():
    amount = np.clip(rng.normal(mean, 0.1), -0.3, 0.35)
    vertices += amount * basis[action_units.ACTION_UNITS.index(unit)]
  return vertices - vertices[np.concatenate(head.eyes)].mean(0)


def _levels(x: float) -> dict[str, float]:
  """Weights of MakeHuman's three levels for x in [0, 1]; they add up to 1."""
  return dict(zip(LEVELS, (max(0, 1 - 2 * x), 1 - abs(2 * x - 1), max(0, 2 * x - 1))))


def draw_glasses(
  rng: np.random.Generator,
  head: asset.Head,
  vertices: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
  """Two flat rims between an ellipse and a rectangle, and a bridge; seen from both sides."""
  angle = np.linspace(0, 2 * np.pi, 41)[:-1]
  squareness = 2 / rng.uniform(2.2, 5)
  across, along = (np.sign(f(angle)) * np.abs(f(angle)) ** squareness for f in (np.cos, np.sin))
  front = vertices[head.landmarks[[27, 28]], 2].max() + 0.05
  points, triangles = [], []
  for eye in head.eyes:
    x, y, _ = vertices[eye].mean(0)
    ring = np.arange(40) + 40 * len(points)
    after = np.roll(ring, -1)
    triangles += [
      np.stack([ring, ring + 40, after], 1),
      np.stack([ring + 40, after + 40, after], 1),
    ]
    for rim in (0, 0.028):
      bow = front - 0.25 * (1.12 * x + 0.25 * across) ** 2  # the frame bends with the face
      outline = 1.12 * x + (0.25 + rim) * across, y - 0.04 + (0.19 + rim) * along
      points.append(np.stack([*outline, bow], 1))
  bridge = [(-0.12, -0.02), (0.12, -0.02), (-0.12, -0.05), (0.12, -0.05)]
  points.append(np.array([(x, y, front + 0.01) for x, y in bridge]))
  triangles.append(np.array([[160, 161, 162], [161, 163, 162]]))
  triangles = np.concatenate(triangles)
  return np.concatenate(points).astype(np.float32), np.concatenate([triangles, triangles[:, ::-1]])
