"""Skin as a painter makes it: layers, each a function of where on the mean head a texel lies.

Every layer takes the albedo, linear RGB [rows, columns, 3], and returns it with something painted
over. Positions are in decimetres from between the eyes; but for noise and moles, skin is symmetric.
"""

import dataclasses
import functools
import itertools

import numpy as np
from scipy import ndimage

from synthetic_faces import asset
from synthetic_faces.lighting import to_linear
from synthetic_faces.look import LIPSTICKS, Look, smoothstep

FOLDS = ('forehead', 'glabella', 'nose', 'crow', 'nasolabial', 'chin', 'bag')
NOISE_CELLS = 24  # after so many the noise repeats; a head is smaller


@dataclasses.dataclass(frozen=True)
class Skin:
  """The painted skin.

  Attributes:
    albedo: float32 [rows, columns, 3], linear RGB.
    gloss: float32 [rows, columns], strength of highlights.
    roughness: their exponent.
    folding: how strongly expressions fold the skin; it grows with age.
  """

  albedo: np.ndarray
  gloss: np.ndarray
  roughness: float
  folding: float


@dataclasses.dataclass(frozen=True)
class Canvas:
  """What is the same for everybody.

  Attributes:
    position: float32 [rows, columns, 3] on the mean head.
    x, y, z, side: [rows, columns] its components, and |x|.
    upper_lid, lower_lid: [rows, columns] distances from the lids' edges, dm.
    lips: [rows, columns] in [0, 1], soft.
    folds: float32 [rows, columns, 7], where the skin creases, in the order of FOLDS.
  """

  position: np.ndarray
  x: np.ndarray
  y: np.ndarray
  z: np.ndarray
  side: np.ndarray
  upper_lid: np.ndarray
  lower_lid: np.ndarray
  lips: np.ndarray
  folds: np.ndarray


def bell(distance: np.ndarray, width: float) -> np.ndarray:
  """A Gaussian, 1 at distance 0."""
  return np.exp(-0.5 * (distance / width) ** 2)


@functools.cache
def canvas() -> Canvas:
  """Measures the mean head, once per process."""
  head = asset.head()
  position = head.texel_positions
  x, y, z = np.moveaxis(position, -1, 0)
  upper, lower = (distance(position, head.mean[lid]) for lid in head.lids)
  soft_lips = ndimage.gaussian_filter(head.lips, 1.75)
  folds = draw_folds(head, position, lower)
  return Canvas(position, x, y, z, np.abs(x), upper, lower, soft_lips, folds)


def distance(position: np.ndarray, line: np.ndarray) -> np.ndarray:
  """From a line through points [n, 3] on the face's left half, or from its mirror image."""
  mirrored = np.concatenate([np.abs(position[..., :1]), position[..., 1:]], -1)
  result = np.full(position.shape[:2], np.inf, np.float32)
  for a, b in zip(line[:-1].astype(np.float32), line[1:].astype(np.float32)):
    along = np.clip((mirrored - a) @ (b - a) / ((b - a) @ (b - a)), 0, 1)
    result = np.minimum(result, np.linalg.norm(mirrored - a - along[..., None] * (b - a), axis=-1))
  return result


def draw_folds(head: asset.Head, position: np.ndarray, lower_lid: np.ndarray) -> np.ndarray:
  """Where expressions and age crease the skin, in [0, 1]: [rows, columns, 7]."""
  x, y, z = np.moveaxis(position, -1, 0)
  side = np.abs(x)
  corner, wing, mouth = head.mean[head.landmarks[[45, 35, 54]]]
  forehead = sum(bell(y - (height + 0.03 * np.cos(5 * x)), 0.018) for height in (0.42, 0.53, 0.64))
  forehead = forehead * smoothstep(0.75, 0.35, side) * (z > -0.2)
  glabella = (
    bell(side - 0.075 - 0.1 * (y - 0.1), 0.016)
    * smoothstep(-0.02, 0.1, y)
    * smoothstep(0.36, 0.2, y)
  )
  across = (bell(y + 0.06, 0.02) + 0.8 * bell(y + 0.01, 0.02)) * smoothstep(0.16, 0.06, side)
  along = bell(side - 0.15 + 0.25 * (y + 0.15), 0.02)
  nose = across + 0.8 * along * smoothstep(-0.02, -0.1, y) * smoothstep(-0.34, -0.2, y)
  start = corner + [0.05, 0, -0.03]
  ends = [start + [0.2 * np.cos(a), 0.2 * np.sin(a), -0.12] for a in (-0.5, -0.05, 0.4)]
  crow = sum(bell(distance(position, np.array([start, end])), 0.014) for end in ends)
  smile = np.array(
    [
      wing + [0.02, 0.07, -0.03],
      wing + [0.1, -0.02, -0.07],
      (wing + mouth) / 2 + [0.13, 0.02, -0.08],
      mouth + [0.11, 0.09, -0.06],
    ]
  )
  nasolabial = 0.8 * bell(distance(position, smile), 0.024)
  chin = bell(y + 0.86, 0.03) * smoothstep(0.22, 0.1, side)
  bag = bell(lower_lid - 0.1, 0.02) * (y < 0)
  folds = np.stack([forehead, glabella, nose, crow, nasolabial, chin, bag], -1)
  return np.clip(folds, 0, 1).astype(np.float32)


def noise(rng: np.random.Generator, position: np.ndarray, frequency: float) -> np.ndarray:
  """Smooth noise [rows, columns], `frequency` bumps per dm: normal values on a lattice, blended."""
  lattice = rng.standard_normal((NOISE_CELLS,) * 3).astype(np.float32)
  place = position * np.float32(frequency) + 100 * NOISE_CELLS  # no negative cell
  cell = np.floor(place).astype(np.int32)
  part = place - cell
  part = part * part * (3 - 2 * part)
  result = np.zeros(position.shape[:2], np.float32)
  low, high = cell % NOISE_CELLS, (cell + 1) % NOISE_CELLS
  ends = [
    ((low[..., axis], 1 - part[..., axis]), (high[..., axis], part[..., axis])) for axis in range(3)
  ]
  for (i, u), (j, v), (k, w) in itertools.product(*ends):
    result += u * v * w * lattice[i, j, k]
  return result


def paint(rng: np.random.Generator, look: Look) -> Skin:
  """Paints somebody from the skin up."""
  c = canvas()
  coarse, middle, fine = (noise(rng, c.position, frequency) for frequency in (3, 9, 30))
  albedo = to_linear(look.skin) * (1 + 0.05 * coarse + 0.035 * middle + 0.03 * fine)[..., None]
  albedo = flush(albedo, rng, look, c, coarse)
  albedo = speckle(albedo, rng, look, c)
  albedo = lips(albedo, rng, look, c, fine)
  albedo = lids(albedo, rng, look, c)
  albedo, brow = brows(albedo, rng, look, c, fine)
  albedo = beard(albedo, look, c, fine)
  albedo, scalp = hair(albedo, rng, look, c, middle, fine)
  depth = np.array([0.35, 0.2, 0.05, 0.3, 0.45, 0.05, 0.35]) * smoothstep(30, 70, look.age)
  depth = depth * rng.uniform(0.5, 1.1, len(FOLDS))
  depth[FOLDS.index('bag')] += rng.uniform(0, 0.12)
  albedo = albedo * (1 - 0.5 * np.clip(c.folds @ depth, 0, 1))[..., None]
  gloss = (
    rng.uniform(0.5, 1.2)
    * (1 - 0.7 * np.clip(brow + scalp, 0, 1))
    * (1 + 0.8 * c.lips + 0.35 * bell(c.x, 0.25) * (c.y > -0.5))
  )
  return Skin(
    np.clip(albedo, 0.002, 1).astype(np.float32),
    gloss.astype(np.float32),
    roughness=rng.uniform(8, 18),
    folding=0.45 + 0.75 * float(smoothstep(25, 60, look.age)),
  )


def cover(albedo: np.ndarray, opacity: np.ndarray, color: np.ndarray) -> np.ndarray:
  """Paints linear RGB [3] over the albedo where opacity [rows, columns] says so."""
  return albedo + opacity[..., None] * (color - albedo)


def tint(
  albedo: np.ndarray,
  amount: np.ndarray,
  absorbed: tuple[float, float, float],
) -> np.ndarray:
  """Takes a share of each color away where amount [rows, columns] says so."""
  return albedo * (1 - amount[..., None] * np.array(absorbed))


def flush(
  albedo: np.ndarray, rng: np.random.Generator, look: Look, c: Canvas, coarse: np.ndarray
) -> np.ndarray:
  """Red cheeks and nose, dark rings round the eyes."""
  red = (
    0.5 * bell(np.hypot(c.side - 0.42, c.y + 0.33), 0.17)
    + 0.55 * bell(np.hypot(c.x, c.y + 0.42), 0.1)
    + 0.25 * (0.5 + 0.5 * coarse) * smoothstep(0.1, -0.3, c.y)
  )
  fair = 0.35 + 0.65 * (1 - smoothstep(0.3, 0.8, look.tone))
  red = np.clip(red * rng.uniform(0.4, 1.1) * (1.1 if look.male else 1) * fair, 0, 1)
  ring = bell(np.hypot((c.side - 0.3) / 0.2, (c.y + 0.05) / 0.15), 0.75) * rng.uniform(0.08, 0.3)
  return tint(tint(albedo, red, (0.02, 0.24, 0.22)), ring, (0.8, 1, 0.9))


def speckle(albedo: np.ndarray, rng: np.random.Generator, look: Look, c: Canvas) -> np.ndarray:
  """Freckles on some fair skins; a mole or two, brown and small."""
  if look.tone < 0.35 and rng.random() < 0.35:
    dots = smoothstep(1.1, 1.9, noise(rng, c.position, 34))
    dots = dots * bell(np.hypot(c.side / 0.6, (c.y + 0.3) / 0.3), 0.8)
    albedo = tint(albedo, dots * rng.uniform(0.4, 1), (0.3, 0.45, 0.55))
  for _ in range(rng.integers(0, 3)):
    x, y = rng.uniform(-0.6, 0.6), rng.uniform(-0.95, 0.5)
    mole = bell(np.hypot(c.x - x, c.y - y), rng.uniform(0.009, 0.017)) * (c.z > 0)
    albedo = tint(albedo, mole * rng.uniform(0.4, 0.8), (0.6, 0.75, 0.8))
  return albedo


def lips(
  albedo: np.ndarray, rng: np.random.Generator, look: Look, c: Canvas, fine: np.ndarray
) -> np.ndarray:
  """Lips of the skin's own red, or painted."""
  red = look.skin * [0.88, 0.68, 0.67] * (0.96 if look.male else 1) + [0.02, 0, 0.01]
  red = to_linear(np.clip(red, 0, 1))
  if not look.male:
    red = red * [1.04, 0.94, 0.95]
    if rng.random() < 0.45:
      strength = rng.uniform(0.3, 0.85)
      red = red + strength * (to_linear(LIPSTICKS[rng.integers(len(LIPSTICKS))]) - red)
  opacity = c.lips * (0.8 if look.male else 0.95)
  albedo = cover(albedo, opacity, red * (1 + 0.05 * fine[..., None]))
  return albedo * (1 - 0.5 * bell(c.y + 0.667, 0.014) * c.lips)[..., None]  # where they meet


def lids(albedo: np.ndarray, rng: np.random.Generator, look: Look, c: Canvas) -> np.ndarray:
  """Lashes as a dark line, and on some eye shadow."""
  above = bell(c.upper_lid, 0.02 if look.male else 0.026) * (0.8 if look.male else 0.95)
  below = bell(c.lower_lid, 0.015) * (0.3 if look.male else 0.45)
  albedo = cover(albedo, np.clip(above + below, 0, 0.95), to_linear([0.07, 0.05, 0.045]))
  if not look.male and rng.random() < 0.35:
    shadow = bell(c.upper_lid - 0.06, 0.05) * (c.y > 0) * rng.uniform(0.2, 0.5)
    albedo = tint(albedo, shadow, (0.55, 0.7, 0.5))
  return albedo


def brows(
  albedo: np.ndarray, rng: np.random.Generator, look: Look, c: Canvas, fine: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Brows, and where they are."""
  inner, outer = 0.14 + rng.normal(0, 0.015), 0.6 + rng.normal(0, 0.02)
  along = (c.side - inner) / (outer - inner)
  t = np.clip(along, 0, 1)
  slope, arch = rng.uniform(-0.06, 0.015), rng.uniform(0.02, 0.09)
  height = 0.165 + rng.normal(0, 0.012)
  middle = height + slope * along + arch * np.sin(np.pi * t**1.4) - 0.06 * t**3
  thickness = (0.052 if look.male else 0.034) * rng.uniform(0.75, 1.35) * (1 - 0.55 * t**1.5)
  brow = (
    smoothstep(1.25, 0.55, np.abs(c.y - middle) / thickness)
    * smoothstep(-0.08, 0.08, along)
    * smoothstep(1.06, 0.86, along)
    * (c.z > -0.2)
  )
  brow = np.clip(brow * rng.uniform(0.7, 1) * (1 + 0.22 * fine), 0, 0.97)
  color = to_linear(0.85 * look.hair)
  contrast = color.mean() / to_linear(look.skin).mean()
  if 0.3 < contrast < 1.5:  # grey brows on fair skin would vanish: they stay darker than the hair
    color = color * (0.3 / contrast)
  return cover(albedo, brow, color), brow


def beard(albedo: np.ndarray, look: Look, c: Canvas, fine: np.ndarray) -> np.ndarray:
  """Stubble, full beard, goatee or moustache."""
  if look.beard == 'none':
    return albedo
  low = smoothstep(0.05, -0.06, c.y + 0.42 + 0.3 * smoothstep(0.65, 0.15, c.side))
  off_mouth = 1 - np.clip(1.5 * bell(np.hypot(c.x / 0.27, (c.y + 0.67) / 0.085), 0.62), 0, 1)
  moustache = bell((c.y + 0.545 - 0.03 * np.cos(6 * c.x)) / 0.055, 0.75)
  moustache = moustache * smoothstep(0.3, 0.2, c.side)
  chin = smoothstep(0.36, 0.22, c.side) * smoothstep(-0.72, -0.8, c.y)
  if look.beard == 'stubble':
    opacity = 0.3 * np.clip(low * off_mouth + moustache, 0, 1)
  elif look.beard == 'full':
    cheeks = np.clip(low * smoothstep(0.2, 0.34, c.side) + low * (c.y < -0.78), 0, 1)
    opacity = 0.9 * np.clip(cheeks * off_mouth + moustache + chin, 0, 1)
  elif look.beard == 'goatee':
    frame = (
      smoothstep(0.06, 0, np.abs(c.side - 0.3))
      * smoothstep(-0.55, -0.62, c.y)
      * smoothstep(-1, -0.9, c.y)
    )
    opacity = 0.88 * np.clip(0.9 * moustache + chin + frame, 0, 1) * off_mouth
  else:
    opacity = 0.9 * moustache
  color = to_linear(0.8 * look.hair)
  if look.beard == 'stubble':
    color = 0.5 * color + 0.25 * to_linear(look.skin)
  opacity = np.clip(opacity * (1 + 0.25 * fine), 0, 0.95)
  return cover(albedo, opacity * (1 - c.lips) * (c.z > -0.5), color)


def hair(
  albedo: np.ndarray,
  rng: np.random.Generator,
  look: Look,
  c: Canvas,
  middle: np.ndarray,
  fine: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
  """The scalp from the hairline on and sideburns, and where they are; the mask hides most of it."""
  recede = (rng.random() < 0.35) * look.male * smoothstep(28, 60, look.age)
  fringe = 0.25 if rng.random() < 0.16 and not look.male else 0
  line = (
    0.72
    + 0.12 * recede
    + rng.normal(0, 0.03)
    - fringe
    - 0.55 * smoothstep(0.35, 0.85, c.side) * (1 - 0.5 * recede)
    + 0.25 * recede * bell(c.side - 0.35, 0.15)
    + 0.02 * middle
  )
  sideburns = (
    smoothstep(0.62, 0.72, c.side)
    * smoothstep(-0.15, -0.02, c.y)
    * smoothstep(0.02, -0.08, c.z + 0.28)
  )
  scalp = np.clip(smoothstep(-0.03, 0.03, c.y - line) + sideburns, 0, 1)
  if rng.random() < 0.12 and look.male and look.age > 32:
    scalp = np.zeros_like(scalp)
  return cover(albedo, scalp, to_linear(look.hair) * (1 + 0.25 * fine[..., None])), scalp
