"""A trained generator, ready for use: of a training run, or one that comes with the project,
half-precision arrays and their config in one file.

    python -m fevgan_jax.inference.trained WORKDIR      # makes the file of its system from a run
"""

import dataclasses
import functools
import json
import pathlib
import sys
from collections.abc import Callable

import flax.traverse_util
import jax
import ml_collections
import numpy as np
import safetensors.numpy

from fevgan_jax import models
from fevgan_jax.runtime.errors import UserError
from fevgan_jax.training import checkpoint

# images uint8 [batch, height, width, 3], labels int [batch], a key for noise -> clips uint8 [batch,
# time, height, width, 3]; of a graded system also intensity=, float [batch] or one for all
Generate = Callable[..., jax.Array]
WEIGHTS = pathlib.Path(__file__).parents[1] / 'weights'


@dataclasses.dataclass(frozen=True)
class TrainedGenerator:
  """What a run has made.

  Attributes:
    config: what it was trained with, and where things lie on this machine.
    step: of its training; None for the weights that come with the project.
    generate: clips of images and labels.
    graded: whether `generate` heeds the intensity.
  """

  config: ml_collections.ConfigDict
  step: int | None
  generate: Generate
  graded: bool


def load(config: ml_collections.ConfigDict, workdir: pathlib.Path | None) -> TrainedGenerator:
  """The generator of a run's newest checkpoint, or, without a run, the project's of this system.

  Args:
    config: of which only what belongs to this machine is used, and without a run the system.
    workdir: of the run, or None.

  Raises:
    UserError: no checkpoint; no weights of this system come with the project; or the face network's
      weight file is missing.
  """
  if workdir is None:
    path = shipped(config.system)
    if not path.exists():
      raise UserError(f'{config.system}: no weights of it come with the project: name a --workdir')
    (variables, saved), step = read(path), None
  else:
    variables, saved, step = checkpoint.restore_generator(workdir)
  config = checkpoint.restored_config(config, saved)
  encoder, frozen = models.load_identity(config)
  system = models.build(config, encoder)
  generate = functools.partial(jax.jit(system.generate), variables, frozen)
  return TrainedGenerator(config, step, generate, system.graded)


def shipped(system: str, dataset: str = 'synthetic_faces') -> pathlib.Path:
  """The file of a system's weights that comes with the project, if any does."""
  return WEIGHTS / f'{system}_{dataset}.safetensors'


def write(path: pathlib.Path, variables: dict, config: dict) -> None:
  """Writes a generator's {'params', 'batch_stats'}, rounded to float16, and its config without the
  places of this machine."""
  settings = flax.traverse_util.flatten_dict(config, sep='.')
  settings |= {key: '' for key in checkpoint.PLACES if key in settings}
  config = flax.traverse_util.unflatten_dict(settings, sep='.')
  flat = flax.traverse_util.flatten_dict(variables, sep='/')
  arrays = {name: np.ascontiguousarray(array, np.float16) for name, array in flat.items()}
  path.parent.mkdir(parents=True, exist_ok=True)
  safetensors.numpy.save_file(arrays, path, metadata={'config': json.dumps(config)})


def read(path: pathlib.Path) -> tuple[dict, dict]:
  """The generator's {'params', 'batch_stats'} as float32, and its config."""
  with safetensors.safe_open(path, framework='numpy') as file:
    arrays = {name: file.get_tensor(name).astype(np.float32) for name in file.keys()}
    config = json.loads(file.metadata()['config'])
  return flax.traverse_util.unflatten_dict(arrays, sep='/'), config


if __name__ == '__main__':
  (of_run,) = sys.argv[1:]
  of_newest, its_config, _ = checkpoint.restore_generator(of_run)
  write(shipped(its_config['system'], its_config['dataset']['name']), of_newest, its_config)
