"""Measures a checkpoint on people that it has not seen, beside four anchors, and tabulates."""

import hashlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import ml_collections
import numpy as np
from absl import logging

from fevgan_jax import models
from fevgan_jax.data import datasets
from fevgan_jax.evaluation import evaluators, face_networks
from fevgan_jax.evaluation.measurement import (
  INTENSITIES,
  ROWS,
  Facts,
  Measured,
  end_point_error,
  generated_clips,
  measure,
  travel_by_intensity,
)
from fevgan_jax.evaluation.metrics import bootstrap, content_distance, frechet
from fevgan_jax.faces import crop, truth
from fevgan_jax.faces.labels import EXPRESSIONS, NUM_LABELS
from fevgan_jax.inference import trained
from fevgan_jax.inference.trained import TrainedGenerator
from fevgan_jax.runtime import media
from fevgan_jax.runtime.errors import UserError
from fevgan_jax.runtime.files import replacing
from fevgan_jax.runtime.wording import counted
from fevgan_jax.training import checkpoint

# What tables show of it, with the format of a number.
COLUMNS = {
  'psnr': ('PSNR (dB)', '.2f'),
  'ssim': ('SSIM', '.3f'),
  'acd': ('ACD', '.3f'),
  'acd_i': ('ACD-I', '.3f'),
  'expression': ('label seen', '.1%'),
  'motion': ('motion', '.0%'),
  'frechet': ('Fréchet', '.1f'),
}
PROTOCOL = {
  'psnr': 'dB to the real clip, pixels in [0, 1]; mean over frames 1 to the last, then over clips',
  'psnr_batch': 'as ImaGINator: of one mean squared error over all frames of a batch; mean over '
  'batches of {batch_size} clips in the order of the split',
  'ssim': 'to the real clip; 11x11 Gaussian, sigma 1.5, valid window; over frames as psnr',
  'acd': 'L2 distance of {network} features of consecutive frames; acd_all: of all pairs of '
  'frames; _squared: of squared distances',
  'acd_i': 'the same between the input image and every frame',
  'expression': 'share of clips in which a classifier, trained on the real training clips, sees '
  'the label that was asked for; probability: that it gives to this label',
  'motion': "displacement of pixels from the first frame (optical flow), over the real clips'",
  'frechet': 'between the features that the classifier has of {clips} clips and of the {train} '
  'training clips',
  'intensity': '1, of a graded system; travel, in pixels, at others: of one clip of each person, '
  'labels in turn; it grows for the share of people for whom it does so at every step',
  'end_point_error': 'of a system that moves pixels, on data that know the truth: distance of its '
  'displacement from the true one, pixels of a 64-pixel crop; mean over points that frame 0 shows',
  'noise': "where a system draws any: key 0, folded with the number of a batch's first clip",
  'interval': '{level:.0%}, percentile bootstrap over people, {draws} draws',
}
# Of clips of another size, beside these.
SIZE = 'PSNR and SSIM on {side}x{side} pixels, all else on 64x64, to which clips are brought'


def defaults() -> ml_collections.ConfigDict:
  """The section of the config that says how clips are measured."""
  return ml_collections.ConfigDict(
    {
      # which face network measures ACD and ACD-I: 'sface', 'dlib', 'openface' (the paper's, section
      # 4.3) or 'auto', SFace; never the one that training used
      'face_network': 'auto',
      'weights': '',  # the weight file of 'openface', nn4.small2.v1.t7
      'batch_size': 8,  # clips at once
    }
  )


def evaluate(workdir: pathlib.Path, overrides: Mapping[str, Any] | None = None) -> dict:
  """Measures the newest checkpoint on every clip of the test split.

  Leaves evaluation.json, samples/test.png, test.gif and test_apex.png in `workdir`: a function of
  checkpoint, data and config.

  Args:
    workdir: of the run.
    overrides: of the config that it was trained with, see `trained.load`.

  Returns:
    What evaluation.json holds.

  Raises:
    UserError: no checkpoint, an override that does not fit, or a missing weight file.
  """
  generator = trained.load(workdir, overrides)
  config, settings = generator.config, defaults()
  settings.update(config.get('evaluation', {}))
  batch_size = settings.batch_size
  training_network = models.identity_network(config)
  network = face_networks.load(
    face_networks.choose(settings.face_network, training_network), settings.weights
  )
  if (shape := datasets.clip_shape(config)) != generator.clip_shape:
    raise UserError(
      f'{workdir}: makes clips of {generator.clip_shape}, those of {config.dataset.name}/'
      f'{config.dataset.config} are {shape}: choose another --config.dataset.config'
    )
  builder = datasets.prepare(config)
  source = datasets.Clips(builder, 'test')
  tested, trained_on = source.summary(), checkpoint.saved_clips(workdir)
  if trained_on:
    check_unseen(workdir, tested, trained_on)
  evaluated_by = evaluators.of_dataset(builder, network, batch_size)
  measured = measure(generator.generate, source, evaluated_by, batch_size)
  facts, traits = measured.facts, measured.traits
  every = np.ones(len(facts.labels), bool)
  mean = summary(measured, every, batch_size)
  reference = evaluated_by.training_features
  for row in mean:
    features = traits[row].features[measured.there(row)]
    if min(len(features), len(reference)) > 1:
      distance = frechet.frechet_distance(features, reference)
      mean[row]['frechet'] = {'value': distance, 'interval': None}
  words = {'network': network.name, 'batch_size': batch_size, 'train': len(reference)}
  words |= {'clips': len(every), 'level': bootstrap.LEVEL, 'draws': bootstrap.DRAWS}
  rules, side = dict(PROTOCOL), shape[1]
  if side != crop.SIDE:
    rules['size'] = SIZE.format(side=side)
  result = {
    'system': config.system,
    'config_hash': hashlib.sha256(checkpoint.without_places(config).encode()).hexdigest()[:12],
    'step': generator.step,
    'precision': jnp.dtype(models.dtype(config.precision)).name,
    'dataset': builder.info.full_name,
    'split': 'test',
    'clips': len(every),
    'people': len(tested['people']),
    'clips_digest': tested['digest'],
    'trained_on': trained_on and trained_on['digest'],  # None where that is not known
    'batch_size': batch_size,
    'face_network': network.name,
    'face_network_auc': content_distance.same_person_auc(
      traits['real'].embedding, traits['real'].embedding[:, 0], facts.people
    ),
    'protocol': {name: text.format(**words) for name, text in rules.items()},
    'mean': mean,
    'by_label': {
      name: summary(measured, facts.labels == i, batch_size)
      for i, name in enumerate(EXPRESSIONS)
      if i in facts.labels
    },
    'per_clip': clip_by_clip(measured),
  }
  if generator.graded:
    travels = travel_by_intensity(generator.generate, source, facts, batch_size)
    travels = np.stack([*travels.values()])
    result['intensity'] = {
      'asked': INTENSITIES,
      'travel': travels.mean(0).tolist(),
      'grows': float((np.diff(travels) > 0).all(1).mean()),
    }
  known = truth.KNOWN.keys() <= source[0].keys()
  if models.recipe(config.system).moves_pixels and known:
    result['end_point_error'] = end_point_error(generator.generate_all, source, batch_size)
  with replacing(workdir / 'evaluation.json') as temporary:
    pathlib.Path(temporary).write_text(json.dumps(result, indent=1, allow_nan=False) + '\n')
  write_samples(generator, source, facts, batch_size, workdir / 'samples')
  logging.info('%s', report(result))
  return result


def check_unseen(workdir: pathlib.Path, tested: dict, trained_on: dict) -> None:
  """Refuses to test a run on people whom it was trained on.

  Args:
    workdir: of the run.
    tested: the `Clips.summary` of the test split.
    trained_on: that of the clips that the run was trained on.

  Raises:
    UserError: names the people.
  """
  seen = sorted({*tested['people']} & {*trained_on['people']})
  if seen and tested['dataset'] == trained_on['dataset']:
    raise UserError(
      f'{workdir}: was trained on {", ".join(seen)}, who are in the test split of the prepared '
      'data: train again in another --workdir, or prepare the data of the run again'
    )


def summary(measured: Measured, chosen: np.ndarray, batch_size: int) -> dict:
  """Means by row and metric, {'value', 'interval'}, of the chosen clips, bool [clips]; without rows
  that have no clip."""
  result = {}
  for row, metrics in measured.values.items():
    of_row = chosen & measured.there(row)
    if not of_row.any():
      continue
    people = measured.facts.people[of_row]
    result[row] = {
      name: mean_of(x[of_row], people)
      for name, x in metrics.items()
      if name not in ('mse', 'travel')
    }
    real_travel = measured.values['real']['travel'][of_row].clip(min=1e-6)
    result[row]['motion'] = mean_of(metrics['travel'][of_row], people, real_travel)
    if 'mse' in metrics:
      mse = metrics['mse'][of_row]
      batches = np.split(mse, range(batch_size, len(mse), batch_size))
      psnr = np.mean([-10 * np.log10(max(batch.mean(), 1e-10)) for batch in batches])
      result[row]['psnr_batch'] = {'value': float(psnr), 'interval': None}
  return result


def clip_by_clip(measured: Measured) -> list[dict]:
  """Who, which take, which label, and every metric of every row."""
  facts, values, traits = measured
  return [
    {'subject': facts.people[i], 'take': facts.takes[i], 'label': EXPRESSIONS[facts.labels[i]]}
    | {
      row: {metric: float(x[i]) for metric, x in values[row].items()}
      | {'label_seen': EXPRESSIONS[traits[row].probabilities[i].argmax()]}
      for row in ROWS
      if measured.there(row)[i]
    }
    for i in range(len(facts.labels))
  ]


def mean_of(values: np.ndarray, people: np.ndarray, weights: np.ndarray | None = None) -> dict:
  """The mean of clips, or the ratio of two, and how far it can be trusted."""
  total = len(values) if weights is None else weights.sum()
  return {
    'value': float(values.sum() / total),
    'interval': bootstrap.interval(values, people, weights),
  }


def report(result: dict) -> str:
  """The table as text, and what is known of the evaluators."""
  width = max(map(len, ROWS.values())) + 2
  lines = [
    f'step {result["step"]} on {counted(result["clips"], "clip")} of '
    f'{counted(result["people"], "unseen person", "unseen people")}',
    ' ' * width + ''.join(f'{title:>16}' for title, _ in COLUMNS.values()),
  ]
  for row in result['mean']:
    cells = [cell(result['mean'][row].get(metric), style) for metric, (_, style) in COLUMNS.items()]
    lines.append(f'{ROWS[row]:{width}}' + ''.join(f'{text:>16}' for text in cells))
  auc = result['face_network_auc']
  lines.append(
    f'± is half of the {bootstrap.LEVEL:.0%} interval over people. ACD, ACD-I: '
    + result['face_network']
    + ('' if auc is None else f', which tells these people apart with an AUC of {auc:.3f}')
  )
  if 'intensity' in result:
    of = result['intensity']
    travels = ', '.join(f'{a:g}: {t:.2f}' for a, t in zip(of['asked'], of['travel']))
    lines.append(
      f'travel by intensity, pixels: {travels}; it grows for {of["grows"]:.1%} of people'
    )
  if 'end_point_error' in result:
    parts = [
      f'{part} {of["generated"]:.2f} (no movement: {of["still"]:.2f})'
      for part, of in result['end_point_error'].items()
    ]
    lines.append(f'end-point error of displacements, pixels: {", ".join(parts)}')
  return '\n'.join(lines)


def cell(entry: dict | None, style: str) -> str:
  """'25.43 ±0.31' of {'value', 'interval'}; '-' of nothing."""
  if entry is None:
    return '-'
  text = format(entry['value'], style)
  if entry['interval'] is None:
    return text
  low, high = entry['interval']
  return f'{text} ±{format((high - low) / 2, style)}'


def write_samples(
  generator: TrainedGenerator,
  source,
  facts: Facts,
  batch_size: int,
  folder: pathlib.Path,
  people: int = 3,
) -> None:
  """Unseen people, as they were measured: test.png, each expression over time; test.gif, all of
  them, below the real clips; test_apex.png, its last frame."""
  first, every = facts.first(), range(NUM_LABELS)
  names = sorted(set(facts.people))
  names = [name for name in names if all((name, label) in first for label in every)][:people]
  if not names:
    return
  index = [first[name, label] for name in names for label in every]
  real = np.stack([source[i]['video'] for i in index])
  generated = generated_clips(generator.generate, source, index, batch_size)
  rows = [f'{name}\n{label}' for name in names for label in EXPRESSIONS]
  media.write_png(folder / 'test.png', media.sheet(generated, rows, inputs=real[:, 0]))
  pairs = np.stack([x.reshape(len(names), NUM_LABELS, *x.shape[1:]) for x in (real, generated)], 1)
  rows = [f'{name}\n{kind}' for name in names for kind in ('real', 'generated')]
  grid = media.grid(pairs.reshape(-1, *pairs.shape[2:]), rows, EXPRESSIONS)
  media.write_gif(folder / 'test.gif', grid)
  media.write_png(folder / 'test_apex.png', grid[-1])
