"""Generates the test split from its first frames, measures it beside two anchors, and tabulates."""

import functools
import json
import pathlib

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from absl import logging
from tqdm import tqdm

from fevgan_jax import checkpoint, data, media, models
from fevgan_jax.expressions import EXPRESSIONS, NUM_LABELS
from fevgan_jax.metrics import image

# What is measured against the real clip: the generated one, and two anchors without which a number
# means little.
ROWS = {
  'generated': 'the generated clip',
  'still': 'the input frame, repeated',
  'other_label': 'a real clip of the same person with another label',
}
METRICS = {'psnr': 'PSNR (dB)', 'ssim': 'SSIM'}


def evaluate(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> dict:
  """Measures the newest checkpoint on every clip of the test split.

  PSNR and SSIM are means over frames 1 to the last: frame 0 is the input. Leaves evaluation.json,
  samples/test.png and samples/test.gif in `workdir`.

  Returns:
    What evaluation.json holds.
  """
  variables, saved, step = checkpoint.restore_generator(workdir)
  config = checkpoint.restored_config(config, saved)
  builder = data.prepare(config)
  source = builder.as_data_source('test')
  encoder, frozen = models.load_identity(config)
  system = models.build(config, encoder)
  generate = jax.jit(functools.partial(system.generate, variables, frozen))
  others = OtherLabel(source)

  clips = []
  for start, (batch, count) in enumerate(
    tqdm(
      data.test_batches(source, config.eval_batch_size),
      unit='batch',
      disable=None,
      total=-(-len(source) // config.eval_batch_size),
    )
  ):
    real, label = batch['video'], batch['label']
    first = start * config.eval_batch_size
    candidates = {
      'generated': generate(real[:, 0], label, jax.random.fold_in(jax.random.key(0), start)),
      'still': np.repeat(real[:, :1], real.shape[1], axis=1),
      'other_label': others.batch(first, count, len(real)),
    }
    scores = {
      row: jax.device_get(measure(real, candidate)) for row, candidate in candidates.items()
    }
    for i in range(count):
      clips.append(
        {
          'subject': batch['subject'][i].decode(),
          'take': batch['take'][i].decode(),
          'label': EXPRESSIONS[label[i]],
          **{
            row: {metric: float(score[metric][i]) for metric in METRICS}
            for row, score in scores.items()
          },
        }
      )

  result = {
    'system': config.system,
    'dataset': builder.info.full_name,
    'split': 'test',
    'step': step,
    'clips': len(clips),
    'people': len({clip['subject'] for clip in clips}),
    'protocol': 'per frame on [0, 1], mean over frames 1 to the last, then over clips; '
    'SSIM 11x11 Gaussian, sigma 1.5, valid window',
    'mean': {row: mean_scores(clips, row) for row in ROWS},
    'by_label': {
      name: {row: mean_scores([c for c in clips if c['label'] == name], row) for row in ROWS}
      for name in EXPRESSIONS
      if any(clip['label'] == name for clip in clips)
    },
    'per_clip': clips,
  }
  with media.replacing(workdir / 'evaluation.json') as temporary:
    pathlib.Path(temporary).write_text(json.dumps(result, indent=1) + '\n')
  write_samples(generate, source, workdir / 'samples')
  logging.info(
    'step %d on %d clips of %d unseen people\n%s',
    step,
    result['clips'],
    result['people'],
    table(result),
  )
  return result


@jax.jit
def measure(real: jax.Array, candidate: jax.Array) -> dict[str, jax.Array]:
  """PSNR and SSIM of clips uint8 [batch, time, height, width, 3], without the first frame: [batch]
  each."""
  real, candidate = (clip[:, 1:].astype(jnp.float32) / 255 for clip in (real, candidate))
  return {'psnr': image.clip_psnr(real, candidate), 'ssim': image.ssim(real, candidate).mean(-1)}


class OtherLabel:
  """For each clip of a split, a real clip of the same person with the next label that this person
  has."""

  def __init__(self, source):
    self._source = source
    keys = [
      (clip['subject'], int(clip['label'])) for clip in (source[i] for i in range(len(source)))
    ]
    first = {key: i for i, key in reversed(list(enumerate(keys)))}
    self._other = [
      next(
        first[subject, (label + k) % NUM_LABELS]
        for k in range(1, NUM_LABELS + 1)
        if (subject, (label + k) % NUM_LABELS) in first
      )
      for subject, label in keys
    ]

  def batch(self, start: int, count: int, size: int) -> np.ndarray:
    """uint8 [size, time, height, width, 3] for clips start to start + count, filled up as
    `data.test_batches`."""
    videos = [self._source[self._other[i]]['video'] for i in range(start, start + count)]
    return np.stack(videos + videos[:1] * (size - count))


def mean_scores(clips: list[dict], row: str) -> dict[str, float]:
  return {metric: float(np.mean([clip[row][metric] for clip in clips])) for metric in METRICS}


def table(result: dict) -> str:
  """The means as text."""
  lines = [f'{"":52}' + ''.join(f'{title:>12}' for title in METRICS.values())]
  for row, title in ROWS.items():
    scores = result['mean'][row]
    lines.append(f'{title:52}{scores["psnr"]:12.2f}{scores["ssim"]:12.3f}')
  return '\n'.join(lines)


def write_samples(generate, source, folder: pathlib.Path, people: int = 3) -> None:
  """Unseen people: test.png, each expression over time; test.gif, all of them, below the real
  clips; test_apex.png, its last frame."""
  clips = {}
  for i in range(len(source)):
    clip = source[i]
    clips.setdefault(clip['subject'].decode(), {}).setdefault(int(clip['label']), clip['video'])
  names = sorted(name for name, by_label in clips.items() if len(by_label) == NUM_LABELS)[:people]
  if not names:
    return
  real = np.stack([[clips[name][label] for label in range(NUM_LABELS)] for name in names])
  inputs = np.repeat(real[:, 0, 0], NUM_LABELS, axis=0)
  labels = np.tile(np.arange(NUM_LABELS), len(names))
  generated = np.asarray(generate(inputs, labels, jax.random.key(0)))
  rows = [f'{name}\n{expression}' for name in names for expression in EXPRESSIONS]
  media.write_png(folder / 'test.png', media.sheet(generated, rows, inputs=inputs))
  pairs = np.stack([real, generated.reshape(real.shape)], axis=1).reshape(-1, *real.shape[1:])
  rows = [f'{name}\n{kind}' for name in names for kind in ('real', 'generated')]
  grid = media.grid(pairs, rows, EXPRESSIONS)
  media.write_gif(folder / 'test.gif', grid)
  media.write_png(folder / 'test_apex.png', grid[-1])
