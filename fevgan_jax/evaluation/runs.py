"""A run as a comparison sees it: its generator, and what evaluation.json says of it."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import ml_collections
import numpy as np

from fevgan_jax import models
from fevgan_jax.evaluation import face_networks
from fevgan_jax.inference import trained
from fevgan_jax.inference.trained import TrainedGenerator
from fevgan_jax.runtime.errors import UserError


@dataclasses.dataclass(frozen=True)
class Run:
  """A trained system and how it was measured.

  Attributes:
    name: readable, as the paper has it; see `models.title`.
    workdir: of the run.
    config: of its training.
    result: its evaluation.json.
    generator: its newest checkpoint, on the data set and with the precision of `result`; None
      where nothing is to be generated.
  """

  name: str
  workdir: pathlib.Path
  config: ml_collections.ConfigDict
  result: dict
  generator: TrainedGenerator | None = None

  @property
  def is_ablation(self) -> bool:
    return bool(self.without)

  @property
  def system(self) -> str:
    return self.config.system

  @property
  def knows_picture(self) -> bool:
    return 'image' in models.recipe(self.system).conditions

  @property
  def without(self) -> tuple[str, ...]:
    """The parts that an ablation leaves out."""
    return models.recipe(self.system).without(self.config)

  def paper(self, dataset: str) -> tuple[float, ...]:
    """PSNR, SSIM, ACD and ACD-I that FEV-GAN's paper reports of it on a data set, NaN where it has
    none; () of none."""
    reported = models.recipe(self.system).paper.get(dataset, {})
    return reported.get(self.without, ())

  def values(self, metric: str, row: str = 'generated') -> np.ndarray:
    """A metric of every clip, [clips]; NaN where the clip has no such row."""
    return np.array([clip.get(row, {}).get(metric, np.nan) for clip in self.result['per_clip']])

  @property
  def clips(self) -> list[tuple[str, str, str]]:
    """Who, which take and which label each clip is."""
    return [(clip['subject'], clip['take'], clip['label']) for clip in self.result['per_clip']]

  @property
  def people(self) -> np.ndarray:
    """[clips], who it is."""
    return np.array([clip['subject'] for clip in self.result['per_clip']])


def read(workdir: pathlib.Path, overrides: Mapping[str, Any]) -> Run:
  """The run of a workdir.

  Args:
    workdir: of the run.
    overrides: of the config that it was trained with, see `trained.load`.

  Raises:
    UserError: it has no evaluation.json of its newest checkpoint, or no checkpoint.
  """
  path = workdir / 'evaluation.json'
  again = f'measure it with --mode evaluate --workdir {workdir}'
  if not path.exists():
    raise UserError(f'{workdir}: no evaluation.json: {again}')
  try:
    result = json.loads(path.read_text())
    measured = {
      'dataset.name': result['dataset'].split('/')[0],
      'dataset.config': result['dataset'].split('/')[1],
      'evaluation.face_network': result['face_network'],
      'precision': result['precision'],  # which older files do not have
    }
    step = result['step']
  except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
    raise UserError(f'{path}: not what this version writes: {again}') from error
  for key, value in measured.items():
    if overrides.get(key, value) not in (value, 'auto'):
      raise UserError(
        f'{path}: measured with config.{key} = {value!r}, not {overrides[key]!r}: {again} '
        f'--config.{key}={overrides[key]}'
      )
  generator = trained.load(workdir, {**overrides, **measured})
  if step != generator.step:
    raise UserError(f'{path}: of step {step}, the checkpoint is of step {generator.step}: {again}')
  return Run(models.title(generator.config), workdir, generator.config, result, generator)


def whole_systems(runs: list[Run], ablations: list[Run]) -> list[Run]:
  """Those of the runs that the ablations take something away from."""
  systems = {run.system for run in ablations}
  return [run for run in runs if run.system in systems and not run.is_ablation]


def check_comparable(runs: list[Run]) -> None:
  """Refuses runs that cannot stand in one table.

  Raises:
    UserError: two runs were measured on other clips or by other evaluators; names the commands that
      measure them alike.
  """
  first = runs[0]
  for run in runs[1:]:
    for key in ('dataset', 'split', 'precision', 'face_network', 'protocol'):
      if run.result[key] != first.result[key]:
        commands = '; '.join(commands_to_measure_alike(runs))
        raise UserError(
          f'{run.workdir} and {first.workdir}: measured with another {key}: run {commands}'
        )
    if run.clips != first.clips:
      raise UserError(f'{run.workdir} and {first.workdir}: measured on other clips')


def commands_to_measure_alike(runs: list[Run]) -> list[str]:
  """Commands that measure runs as the first one was, but for a face network that any of them
  trained with; none for runs that were measured so already."""
  first = runs[0].result
  network = face_networks.shared(
    first['face_network'], [models.identity_network(run.config) for run in runs]
  )
  name, config = first['dataset'].split('/')[:2]
  target = {
    'dataset.name': name,
    'dataset.config': config,
    'precision': first['precision'],
    'evaluation.batch_size': first['batch_size'],
    'evaluation.face_network': network,
  }
  expected = {**first['protocol'], 'acd': ''}  # names the network
  commands = []
  for run in runs:
    name, config = run.result['dataset'].split('/')[:2]
    measured = {
      'dataset.name': name,
      'dataset.config': config,
      'precision': run.result['precision'],
      'evaluation.batch_size': run.result['batch_size'],
      'evaluation.face_network': run.result['face_network'],
    }
    changes = [f'--config.{key}={value}' for key, value in target.items() if measured[key] != value]
    same_rules = {**run.result['protocol'], 'acd': ''} == expected
    if changes or not same_rules or run.result['dataset'] != first['dataset']:
      command = f'python main.py --mode evaluate --workdir {run.workdir}'
      commands.append(' '.join([command, *changes]))
  return commands


def distinguish(runs: list[Run]) -> list[Run]:
  """The same runs; equal names get the workdir's behind them."""
  names = [run.name for run in runs]
  return [
    dataclasses.replace(run, name=f'{run.name} ({run.workdir.name})')
    if names.count(run.name) > 1
    else run
    for run in runs
  ]
