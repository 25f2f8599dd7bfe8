"""Action units (Facial Action Coding System): how each displaces the mesh and folds the skin."""

import numpy as np

from synthetic_faces.asset import ANCESTRIES, Head

ACTION_UNITS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 15, 16, 17, 20, 23, 24, 25, 26, 43)

# Each action unit as a blend of displacements. `arkit/` are the Face Units; `unit/` MakeHuman's, in
# one version per ancestry. A star stands for both sides.
BLENDS = {
  1: {'arkit/browInnerUp': 1, 'unit/eyebrows-*-inner-up': 0.75},
  2: {
    'arkit/browOuterUp*': 0.75,
    'unit/eyebrows-*-extern-up': 0.3,
    'unit/eyebrows-*-up': 0.6,
    'arkit/browInnerUp': 0.25,
  },
  4: {'arkit/browDown*': 0.8, 'unit/eyebrows-*-down': 0.75},
  5: {'arkit/eyeWide*': 0.9, 'unit/eye-*-opened-up': 0.55},
  6: {'arkit/cheekSquint*': 0.8, 'arkit/eyeSquint*': 0.5},
  7: {'arkit/eyeSquint*': 0.9, 'unit/eye-*-slit': 0.22},
  9: {'arkit/noseSneer*': 1, 'unit/nose-*-elevation': 0.8, 'unit/nose-compression': 0.6},
  10: {'arkit/mouthUpperUp*': 0.8, 'unit/mouth-elevation': 0.3},
  12: {'arkit/mouthSmile*': 0.85, 'unit/mouth-corner-puller': 0.25},
  15: {'arkit/mouthFrown*': 1, 'unit/mouth-depression': 0.6},
  16: {'arkit/mouthLowerDown*': 0.9},
  17: {'arkit/mouthShrugLower': 1, 'arkit/mouthShrugUpper': 0.35},
  20: {'arkit/mouthStretch*': 0.9, 'unit/mouth-retraction': 0.6, 'unit/neck-platysma': 0.3},
  23: {
    'arkit/mouthPress*': 0.3,
    'arkit/mouthRollLower': 0.6,
    'arkit/mouthRollUpper': 0.6,
    'unit/mouth-compression': 0.25,
    'unit/mouth-pursing': 0.15,
  },
  24: {'arkit/mouthPress*': 0.8, 'arkit/mouthRollLower': 0.4},
  25: {'arkit/mouthLowerDown*': 0.45, 'arkit/mouthUpperUp*': 0.3, 'unit/mouth-parling': 0.35},
  26: {'arkit/jawOpen': 1},
  43: {'arkit/eyeBlink*': 1},
}


def displacements() -> list[str]:
  """Names of every displacement that an action unit can use."""
  return sorted(
    {
      name
      for blend in BLENDS.values()
      for ancestry in ANCESTRIES
      for name in _expanded(blend, {ancestry: 1.0})
    }
  )


def basis(head: Head, ancestry: dict[str, float]) -> np.ndarray:
  """The displacement of every action unit at intensity 1: [18, vertices, 3]."""
  result = np.zeros((len(ACTION_UNITS), *head.mean.shape))
  for row, unit in zip(result, ACTION_UNITS):
    for name, weight in _expanded(BLENDS[unit], ancestry).items():
      head.displace(row, name, weight)
  return result


def _expanded(blend: dict[str, float], ancestry: dict[str, float]) -> dict[str, float]:
  """A blend with both sides for every star and a weight per ancestry for MakeHuman's own units."""
  result = {}
  for name, weight in blend.items():
    folder, rest = name.split('/')
    sides = ('Left', 'Right') if folder == 'arkit' else ('left', 'right')
    for both in [rest.replace('*', side) for side in sides] if '*' in rest else [rest]:
      if folder == 'arkit':
        result[f'arkit/{both}'] = weight
      else:
        result |= {
          f'unit/{who}/{both}': weight * share for who, share in ancestry.items() if share > 0.02
        }
  return result


def wrinkling(units: np.ndarray) -> np.ndarray:
  """How deep the seven folds of `skin.FOLDS` are when the face does `units` [18]."""
  u = dict(zip(ACTION_UNITS, units))
  return np.array(
    [
      0.24 * u[1] + 0.32 * u[2],
      0.6 * u[4],
      0.55 * u[9],
      0.45 * u[6] + 0.12 * u[12],
      0.22 * u[12] + 0.2 * u[6] + 0.45 * u[9] + 0.3 * u[10] + 0.12 * u[20],
      0.5 * u[17],
      0.3 * u[6] + 0.15 * u[7],
    ]
  )
