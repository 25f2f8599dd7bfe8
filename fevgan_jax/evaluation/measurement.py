"""Every clip of the test split by every metric, beside four anchors."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fevgan_jax.data.batches import test_batch
from fevgan_jax.evaluation.evaluators import Evaluators, Traits, join, traits_of, watched_batches
from fevgan_jax.evaluation.metrics import content_distance, image, motion
from fevgan_jax.faces import crop, truth
from fevgan_jax.faces.labels import MAX_INTENSITY, NUM_LABELS
from fevgan_jax.inference.trained import Generate, GenerateAll

# What is measured: the generated clip, and four anchors without which a number means little.
ROWS = {
  'generated': 'generated',
  'real': 'real clip',
  'still': 'input frame, repeated',
  'other_label': 'real, same person, other label',
  'other_person': 'real, other person, same label',
}


INTENSITIES = (0.0, 0.3, 0.6, 0.9, MAX_INTENSITY)  # at which graded systems are measured


# Of a face, by landmarks: where an error of displacement is measured.
PARTS = {'all': None, 'mouth': slice(48, 68), 'lids': slice(36, 48)}
NEAR = 2.5  # pixels of a 64-pixel crop about a landmark


class Facts(NamedTuple):
  """What the split says of its clips.

  Attributes:
    people: [clips], who it is.
    takes: [clips], which recording.
    labels: int [clips].
  """

  people: np.ndarray
  takes: np.ndarray
  labels: np.ndarray

  def first(self) -> dict[tuple[str, int], int]:
    """The number of the first clip of each person and label."""
    found = {}
    for i, case in enumerate(zip(self.people, self.labels)):
      found.setdefault(case, i)
    return found


class Measured(NamedTuple):
  """A split, measured.

  Attributes:
    facts: of its clips.
    values: by row of ROWS and metric, [clips] each; NaN where a clip has no such anchor.
    traits: by row.
  """

  facts: Facts
  values: dict[str, dict[str, np.ndarray]]
  traits: dict[str, Traits]

  def there(self, row: str) -> np.ndarray:
    """Which clips have this anchor: bool [clips]."""
    return ~np.isnan(self.values[row]['acd'])


def measure(generate: Generate, source, evaluators: Evaluators, batch_size: int) -> Measured:
  """Generates every clip of a split from its first frame and label, and measures it.

  Args:
    generate: of a `TrainedGenerator`.
    source: the clips that the evaluators know as the real ones.
    evaluators: of the data set.
    batch_size: clips at once.
  """
  facts = describe(source)
  anchors = partners(facts.people, facts.labels)
  pixels, shown = {}, {'generated': [], 'still': []}
  for start, batch, count in watched_batches(source, batch_size, 'generated clips'):
    real = batch['video']
    clips = {
      'generated': generate_batch(generate, batch, start),
      'still': np.repeat(real[:, :1], real.shape[1], axis=1),
    }
    for row, parts in shown.items():
      parts.append(traits_of(clips[row], count, evaluators.network, evaluators.classifier))
    for row, partner in anchors.items():
      chosen = partner[start : start + count]
      videos = [source[i]['video'] for i in np.where(chosen < 0, start, chosen)]
      clips[row] = np.stack(videos + videos[:1] * (batch_size - count))
    for row, candidate in clips.items():
      scores = jax.device_get(compare_pixels(real, candidate))
      pixels.setdefault(row, []).append({name: x[:count] for name, x in scores.items()})

  traits = {'real': evaluators.real} | {row: join(parts) for row, parts in shown.items()}
  traits |= {
    row: Traits(*(x[partner] for x in evaluators.real)) for row, partner in anchors.items()
  }
  images = evaluators.real.embedding[:, 0]
  values = {row: score(traits[row], images, facts.labels) for row in ROWS}
  for row, parts in pixels.items():
    values[row] |= {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
  for row, partner in anchors.items():
    values[row] = {name: np.where(partner < 0, np.nan, x) for name, x in values[row].items()}
  return Measured(facts, values, traits)


def generate_batch(generate: Generate, batch: Mapping[str, np.ndarray], start: int) -> np.ndarray:
  """uint8 [batch, time, height, width, 3]. Noise, where a system draws any, comes from key 0 folded
  with the number of the batch's first clip."""
  noise = jax.random.fold_in(jax.random.key(0), start)
  return generate(batch['video'][:, 0], batch['label'], noise)


def generated_clips(
  generate: Generate, source, index: Sequence[int], batch_size: int
) -> np.ndarray:
  """Some of the clips that `measure` generates at this batch size, in the order of `index`."""
  batches = {}
  for start in sorted({i - i % batch_size for i in index}):
    batch, _ = test_batch(source, start, batch_size)
    batches[start] = generate_batch(generate, batch, start)
  return np.stack([batches[i - i % batch_size][i % batch_size] for i in index])


def travel_by_intensity(
  generate: Generate, source, facts: Facts, batch_size: int
) -> dict[str, np.ndarray]:
  """How far a graded system's clips move at each of INTENSITIES: by person, [intensities] in
  pixels, of one of the person's clips, so chosen that labels take turns."""
  clip_of = {}
  for turn, person in enumerate(dict.fromkeys(facts.people)):
    mine = np.flatnonzero(facts.people == person)
    clip_of[person] = min(mine, key=lambda i: ((facts.labels[i] - turn) % NUM_LABELS, i))
  cases = [(i, intensity) for i in clip_of.values() for intensity in INTENSITIES]
  travels = []
  for start in range(0, len(cases), batch_size):
    chosen = cases[start : start + batch_size]
    index, intensities = zip(*chosen, *chosen[:1] * (batch_size - len(chosen)))
    images = np.stack([source[i]['video'][0] for i in index])
    asked = {'intensity': np.array(intensities, np.float32)}
    clips = generate(images, facts.labels[list(index)], jax.random.key(0), **asked)
    travels.append(motion.travel(clips[: len(chosen)]))
  return dict(zip(clip_of, np.concatenate(travels).reshape(-1, len(INTENSITIES))))


def end_point_error(generate_all: GenerateAll, source, batch_size: int) -> dict[str, dict]:
  """How far predicted displacements are from the true ones: the mean distance over the
  points that frame 0 shows, and over those of them near the mouth and near the lids, in pixels of a
  64-pixel crop; and the same of no movement at all.

  Args:
    generate_all: of a `TrainedGenerator` that moves pixels.
    source: clips that know the truth, see `faces/truth.py`, and their landmarks.
    batch_size: clips at once.

  Returns:
    By part of the face, {'generated', 'still'}.
  """
  sums = {part: np.zeros(3) for part in PARTS}
  for start, batch, count in watched_batches(source, batch_size, 'displacements'):
    noise = jax.random.fold_in(jax.random.key(0), start)
    extras = generate_all(batch['video'][:, 0], batch['label'], noise).extras
    side = batch['video'].shape[-2]
    said = np.asarray(extras['displacement']) * (crop.SIDE / side)
    true = batch['displacement'] * np.float32(truth.DISPLACEMENT_UNIT)
    errors = [np.linalg.norm(x, axis=-1)[:count, 1:] for x in (said - true, true)]
    visible = (batch['visibility'] == truth.VISIBLE)[:count, 1:]
    for part, points in PARTS.items():
      near = visible
      if points is not None:
        near = visible & _near(batch['landmarks'][:count, 1:, points] * (crop.SIDE / side), side)
      sums[part] += *(error[near].sum() for error in errors), near.sum()
  return {
    part: {'generated': float(ours / points), 'still': float(still / points)}
    for part, (ours, still, points) in sums.items()
    if points
  }


def _near(landmarks: np.ndarray, side: int) -> np.ndarray:
  """Which pixels lie within NEAR of one of the points [clips, time, points, 2]: bool [clips, time,
  side, side]."""
  line = (np.arange(side) + 0.5) * (crop.SIDE / side)
  near = np.zeros((*landmarks.shape[:2], side, side), bool)
  for x, y in np.moveaxis(landmarks, (2, 3), (0, 1)):
    column, row = (line - at[..., None] for at in (x, y))
    near |= row[..., :, None] ** 2 + column[..., None, :] ** 2 < NEAR**2
  return near


def describe(source) -> Facts:
  """Returns the subject, take and label of each clip of a split, `datasets.Clips`."""
  return Facts(*map(np.array, zip(*source.names())))


def partners(people: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
  """For each clip, the number of a real one that only differs in one thing; -1 where none does.

  'other_label' is of the same person, with the next label that this person has; 'other_person' is
  the next clip with the same label and of somebody else.
  """
  numbers = np.arange(len(labels))
  other_label, other_person = np.full((2, len(labels)), -1)
  for i in numbers:
    later = (numbers - i) % len(labels)  # how many clips after this one
    distance = (labels - labels[i]) % NUM_LABELS
    mine = numbers[(people == people[i]) & (distance > 0)]
    if len(mine):
      other_label[i] = min(mine, key=lambda j: (distance[j], j))
    theirs = numbers[(people != people[i]) & (distance == 0)]
    if len(theirs):
      other_person[i] = min(theirs, key=lambda j: later[j])
  return {'other_label': other_label, 'other_person': other_person}


@jax.jit
def compare_pixels(real: jax.Array, candidate: jax.Array) -> dict[str, jax.Array]:
  """What compares pixels, of clips uint8 [batch, time, height, width, 3]: [batch] each. 'mse' is
  over all frames, the others leave out the first."""
  real, candidate = (clip.astype(jnp.float32) / 255 for clip in (real, candidate))
  return {
    'psnr': image.psnr(real[:, 1:], candidate[:, 1:]).mean(-1),
    'ssim': image.ssim(real[:, 1:], candidate[:, 1:]).mean(-1),
    'mse': jnp.square(real - candidate).mean((1, 2, 3, 4)),
  }


def score(traits: Traits, images: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
  """What needs no pixels: [clips] each. `images` are embeddings [clips, channels] of the inputs,
  `labels` what was asked for."""
  scores = {}
  for suffix, squared in (('', False), ('_squared', True)):
    scores |= {
      f'acd{suffix}': content_distance.acd(traits.embedding, squared=squared),
      f'acd_all{suffix}': content_distance.acd(traits.embedding, pairs='all', squared=squared),
      f'acd_i{suffix}': content_distance.acd_i(traits.embedding, images, squared=squared),
    }
  scores |= {
    'expression': traits.probabilities.argmax(-1) == labels,
    'probability': traits.probabilities[np.arange(len(labels)), labels],
    'travel': traits.travel,
  }
  return {name: x.astype(float) for name, x in scores.items()}
