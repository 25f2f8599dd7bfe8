"""A run as a comparison sees it: its generator, and what evaluation.json says of it."""

import dataclasses
import json
import pathlib

import ml_collections
import numpy as np

from fevgan_jax.inference import trained
from fevgan_jax.inference.trained import TrainedGenerator
from fevgan_jax.runtime.errors import UserError

NAMES = {
  'fevgan': 'FEV-GAN',
  'fevgan_plus': 'FEV-GAN+',
  'vgan': 'VGAN',
  'cvgan': 'C-VGAN',
  'mocogan': 'MoCoGAN',
  'imaginator': 'ImaGINator',
}


@dataclasses.dataclass(frozen=True)
class Run:
  """A trained system and how it was measured.

  Attributes:
    name: readable, as the paper has it.
    workdir: of the run.
    generator: its newest checkpoint.
    result: its evaluation.json.
  """

  name: str
  workdir: pathlib.Path
  generator: TrainedGenerator
  result: dict

  @property
  def is_ablation(self) -> bool:
    return ' w/o ' in self.name

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


def read(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> Run:
  """The run of a workdir.

  Raises:
    UserError: it has no evaluation.json of its newest checkpoint, or no checkpoint.
  """
  generator = trained.load(config, workdir)
  path = workdir / 'evaluation.json'
  again = f'measure it with --mode evaluate --workdir {workdir}'
  if not path.exists():
    raise UserError(f'{workdir}: no evaluation.json: {again}')
  try:
    result = json.loads(path.read_text())
    step, _ = result['step'], result['face_network']  # which older files do not have
  except (json.JSONDecodeError, KeyError) as error:
    raise UserError(f'{path}: not what this version writes: {again}') from error
  if step != generator.step:
    raise UserError(f'{path}: of step {step}, the checkpoint is of step {generator.step}: {again}')
  return Run(name(generator.config), workdir, generator, result)


def name(config: ml_collections.ConfigDict) -> str:
  """'FEV-GAN w/o E_s': the system as the paper calls it, and what it goes without."""
  words = [NAMES.get(config.system, config.system)]
  if config.system.startswith('fevgan'):
    words += ['w/o E_s'] * (config.model.spatial_width == 0)
    words += ['w/o E_Id'] * (not config.identity.network)
  return ' '.join(words)


def check_comparable(runs: list[Run]) -> None:
  """
  Raises:
    UserError: two runs were measured on other clips or with other judges.
  """
  first = runs[0]
  for run in runs[1:]:
    for key in ('dataset', 'split', 'face_network', 'protocol'):
      if run.result[key] != first.result[key]:
        raise UserError(
          f'{run.workdir} and {first.workdir}: measured with another {key}: measure both again '
          'with --mode evaluate and the same --config.evaluation and --config.dataset'
        )
    if run.clips != first.clips:
      raise UserError(f'{run.workdir} and {first.workdir}: measured on other clips')


def distinguish(runs: list[Run]) -> list[Run]:
  """The same runs; equal names get the workdir's behind them."""
  names = [run.name for run in runs]
  return [
    dataclasses.replace(run, name=f'{run.name} ({run.workdir.name})')
    if names.count(run.name) > 1
    else run
    for run in runs
  ]
