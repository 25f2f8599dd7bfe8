"""The weights of a generator in one file: parameters in half precision, and the config that they
were trained with. It is what `--mode export` writes, what comes with the project, and what a run
may start from."""

import json
import pathlib

import flax.traverse_util
import jax
import ml_collections
import numpy as np
import safetensors.numpy

from fevgan_jax import models
from fevgan_jax.models.parts.recipe import flatten
from fevgan_jax.runtime.errors import UserError
from fevgan_jax.training import checkpoint
from fevgan_jax.training.state import TrainState


def write(path: pathlib.Path, variables: dict, config: dict) -> None:
  """Writes a generator's {'params', 'batch_stats'}, parameters rounded to float16, statistics,
  which may be large counts, as they are, and its config, see `portable`."""
  kinds = {'params': np.float16, 'batch_stats': np.float32}
  flat = flax.traverse_util.flatten_dict(variables, sep='/')
  arrays = {
    name: np.asarray(array, kinds[name.partition('/')[0]], order='C')
    for name, array in flat.items()
  }
  path.parent.mkdir(parents=True, exist_ok=True)
  safetensors.numpy.save_file(arrays, path, metadata={'config': json.dumps(portable(config))})


def portable(config: dict) -> dict:
  """A config without the places of this machine."""
  settings = flatten(config)
  settings |= {key: '' for key in (*checkpoint.PLACES, 'start') if key in settings}
  return flax.traverse_util.unflatten_dict(settings, sep='.')


def read(path: pathlib.Path) -> tuple[dict, dict]:
  """The generator's {'params', 'batch_stats'} as float32, and its config.

  Raises:
    UserError: the file is damaged, or was not written by `write`.
  """
  try:
    with safetensors.safe_open(path, framework='numpy') as file:
      arrays = {name: file.get_tensor(name).astype(np.float32) for name in file.keys()}
      config = json.loads((file.metadata() or {})['config'])
    variables = flax.traverse_util.unflatten_dict(arrays, sep='/')
    if not all(np.isfinite(array).all() for array in arrays.values()):
      raise ValueError('numbers that are not finite')
    models.recipe(config['system'])
    return {name: variables[name] for name in ('params', 'batch_stats')}, config
  except (
    safetensors.SafetensorError,
    OSError,
    KeyError,
    TypeError,
    ValueError,
    RecursionError,
  ) as error:
    reason = f'{type(error).__name__}: {error}'.splitlines()[0]
    raise UserError(
      f'{path}: not the weights of a generator ({reason}): expected what --mode export wrote'
    ) from None


def to_start_from(config: ml_collections.ConfigDict) -> dict:
  """The generator's variables in the file that a run starts from, `config.start`.

  Raises:
    UserError: the file is missing, or none of weights; or its generator is another one.
  """
  variables, saved = read(pathlib.Path(config.start).expanduser())
  before, now = flatten(saved), flatten(config.to_dict())
  if before['system'] != config.system:
    raise UserError(
      f'config.start: {config.start}: weights of {before["system"]}, not of {config.system}: '
      f'append :{before["system"]} to the file of --config, or give weights that fit'
    )
  decided = ('identity.network', *filter(lambda key: key.startswith('model.'), now))
  if others := [key for key in decided if key in now and before.get(key) != now[key]]:
    flags = ' '.join(f'--config.{key}={before.get(key)}' for key in others)
    raise UserError(f'config.start: {config.start}: was trained with other networks: add {flags}')
  return variables


def put_into(state: TrainState, variables: dict) -> TrainState:
  """A fresh state whose generator has these variables, statistics and counts included; the critics
  stay as they are.

  Raises:
    UserError: the networks are of another size.
  """
  fresh = state.generator.variables
  if jax.tree.map(np.shape, variables) != jax.tree.map(np.shape, fresh):
    raise UserError(
      'config.start: these are weights for pictures of another size: choose another '
      '--config.dataset.config, or weights that fit'
    )
  return state.replace(generator=state.generator.replace(**variables))
