"""A trained generator, ready for use: of a training run, or one that comes with the project.

`python -m fevgan_jax.inference.trained WORKDIR` makes the project's file of a system from a run.
"""

import dataclasses
import functools
import pathlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from fevgan_jax import models
from fevgan_jax.data import datasets
from fevgan_jax.models.parts.recipe import flatten
from fevgan_jax.models.parts.system import Generated, System, to_uint8
from fevgan_jax.runtime.errors import UserError
from fevgan_jax.training import checkpoint, weights_file

# images uint8 [batch, height, width, 3], labels int [batch], a key for noise -> clips uint8 [batch,
# time, height, width, 3]; of a graded system also intensity=, float [batch] or one for all
Generate = Callable[..., np.ndarray]
# The same -> what the generator itself returns, float
GenerateAll = Callable[..., Generated]
WEIGHTS = pathlib.Path(__file__).parents[1] / 'weights'
WEIGHTS_FILE = 'model.safetensors'  # of a folder that `export` wrote
BEST = 'fevgan_plus'  # whose weights animate a photograph where nobody says otherwise


@dataclasses.dataclass(frozen=True)
class TrainedGenerator:
  """What a run has made.

  Attributes:
    config: what it was trained with, but for what was overridden.
    step: of its training; None for the weights that come with the project.
    clip_shape: (time, height, width, 3) of what it generates.
    variables: the generator's {'params', 'batch_stats'}.
    generate_all: clips of images and labels, and all that the generator says of them. Compiled
      once per number of images.
    graded: whether it uses the intensity.
  """

  config: ml_collections.ConfigDict
  step: int | None
  clip_shape: tuple[int, int, int, int]
  variables: dict
  generate_all: GenerateAll
  graded: bool

  def generate(self, *args, **options) -> np.ndarray:
    """The clips alone: uint8 [batch, time, height, width, 3]."""
    return np.asarray(self.generate_traced(*args, **options))

  def generate_traced(self, *args, **options) -> jax.Array:
    """The same, as a part of a larger program."""
    return to_uint8(self.generate_all(*args, **options).video)


def load(
  workdir: pathlib.Path | None = None,
  overrides: Mapping[str, Any] | None = None,
  *,
  system: str = BEST,
) -> TrainedGenerator:
  """The generator of a run's newest checkpoint, or, without a run, the project's of a system.

  Args:
    workdir: of the run, or a folder that `export` wrote, or None.
    overrides: values of the config's keys, 'dataset.config' and so on, other than in training.
    system: whose weights; only read without a workdir.

  Raises:
    UserError: no checkpoint; no weights of this system come with the project; an override that
      `restored_config` refuses; or the face network's weight file is missing.
  """
  if workdir is None:
    path = shipped(system)
    if not path.exists():
      raise UserError(
        f'{system}: no weights of it come with the project: expected one of '
        f'{", ".join(filter(has_weights, models.names()))}, or the workdir of a run'
      )
    (variables, saved), step = weights_file.read(path), None
  else:
    variables, saved, step = kept(workdir)
  config = restored_config(saved, overrides or {}, workdir or path.name)
  encoder, frozen = models.load_identity(config)
  built = models.build(config, encoder)
  shape = clip_shape(config, built, frozen, variables)
  # An accelerator would be sent NumPy's arrays again at every call.
  variables, frozen = jax.device_put((variables, frozen))
  generate_all = functools.partial(jax.jit(built.generated), variables, frozen)
  return TrainedGenerator(config, step, shape, variables, generate_all, built.graded)


def kept(workdir: pathlib.Path) -> tuple[dict, dict, int | None]:
  """The variables, config and step of the generator in a workdir; no step where `export` wrote it.

  Raises:
    UserError: there is none that can be read.
  """
  if (workdir / WEIGHTS_FILE).exists():
    return *weights_file.read(workdir / WEIGHTS_FILE), None
  return checkpoint.restore_generator(workdir)


def restored_config(
  saved: dict, overrides: Mapping[str, Any], name: object
) -> ml_collections.ConfigDict:
  """The config that a run was trained with, but for the overrides.

  Networks, optimizer and data have the keys that they have today: those younger than the run their
  defaults.

  Args:
    saved: the run's config.
    overrides: values by key.
    name: of the run, for the error.

  Raises:
    UserError: an override of what training has decided, or a value of another type than the key's.
  """
  own = flatten(models.defaults(saved['system']))
  own |= flatten({'dataset': datasets.defaults().to_dict()})
  saved = flatten(saved)
  sections = {key.partition('.')[0] for key in own if '.' in key} | {'identity'}
  for key, value in saved.items():
    if key in sections or not _is_like(value, own.get(key)):
      raise UserError(f'{name}: config.{key} = {value!r}, which no training writes: use another')
  config = {key: value for key, value in saved.items() if key.partition('.')[0] not in sections}
  config |= {key: saved.get(key, default) for key, default in own.items()}
  for key, value in overrides.items():
    if checkpoint.may_differ(key) and (key in config or key.startswith('evaluation.')):
      config[key] = value
    elif config.get(key) != value:
      raise UserError(
        f'{name}: was trained with config.{key} = {config.get(key)!r}, not {value!r}: give the '
        'same value, or train again in another --workdir'
      )
  return ml_collections.ConfigDict(flax.traverse_util.unflatten_dict(config, sep='.'))


def _is_like(value: object, default: object) -> bool:
  """Whether a value can be one of a key with this default; None says nothing."""
  if value is None or default is None:
    return True
  return isinstance(value, (int, float) if isinstance(default, float) else type(default))


def clip_shape(
  config: ml_collections.ConfigDict, system: System, frozen, variables: dict
) -> tuple[int, int, int, int]:
  """(time, height, width, 3) of the clips that a generator with these variables makes: the networks
  of every size have parameters of their own shapes.

  Raises:
    UserError: the variables are of none of the system's networks.
  """
  shapes_of = functools.partial(jax.tree.map, lambda x: x.shape)

  def parameters(side: int) -> dict:
    images = jnp.zeros((1, side, side, 3))
    inputs = images, system.condition(jnp.zeros(1, int), 1.0), system.encode(frozen, images)
    keys = {'params': jax.random.key(0), 'noise': jax.random.key(0)}
    return system.generator.init(keys, *inputs, train=False)['params']

  recipe, found = models.recipe(config.system), shapes_of(variables['params'])
  for side in recipe.sides:
    if shapes_of(jax.eval_shape(functools.partial(parameters, side))) == found:
      return (recipe.frames, side, side, 3)
  raise UserError(f'{config.system}: these weights are not those of its networks')


def shipped(system: str, dataset: str = 'synthetic_faces') -> pathlib.Path:
  """The file of a system's weights that comes with the project, if any does."""
  return WEIGHTS / f'{system}_{dataset}.safetensors'


def has_weights(system: str) -> bool:
  """Whether weights of it come with the project."""
  return shipped(system).exists()


if __name__ == '__main__':
  (of_run,) = sys.argv[1:]
  of_newest, its_config, _ = checkpoint.restore_generator(of_run)
  place = shipped(its_config['system'], its_config['dataset']['name'])
  weights_file.write(place, of_newest, its_config)
