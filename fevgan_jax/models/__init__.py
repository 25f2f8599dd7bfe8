"""The systems, one file each, and how a config becomes one of them."""

import dataclasses
import importlib
import pkgutil
from typing import Any

import jax
import jax.numpy as jnp
import optax

from fevgan_jax import identity
from fevgan_jax.identity import IdentityEncoder
from fevgan_jax.models.parts.recipe import Config, Recipe
from fevgan_jax.models.parts.system import System
from fevgan_jax.runtime.errors import UserError


def names() -> list[str]:
  """Of the systems: every module of this folder is one."""
  return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.ispkg)


def recipe(system: str) -> Recipe:
  """What the file of a system says of it.

  Raises:
    UserError: there is no such file.
  """
  if system not in names():
    raise UserError(f"no system '{system}': expected one of {', '.join(names())}")
  return importlib.import_module(f'{__name__}.{system}').RECIPE


def defaults(system: str) -> Config:
  """The sections of the config that networks and optimizer are made from: those of all systems, and
  the system's own."""
  config = Config(
    {
      'system': system,  # a file of this folder
      # what the networks compute in: 'float32', 'bfloat16', or 'auto': bfloat16 on GPU and TPU.
      # Parameters, optimizer, statistics and losses are always float32. Not in the paper
      'precision': 'auto',
      'norm': {  # batch normalization
        'momentum': 0.9,  # of the running statistics; not in the paper
        'epsilon': 1e-5,  # not in the paper; VGAN's decoder
      },
      'optimizer': {
        'learning_rate': 2e-5,  # section 4.2; of Adam, for every network
        'b1': 0.5,  # the "momentum" of section 4.2
        'b2': 0.999,  # not in the paper; Adam's default
        'weight_decay': 0.0,  # not in the paper
        'schedule': 'constant',  # 'cosine' falls to zero over the run, for short ones
      },
    }
  )
  config.update(recipe(system).defaults())
  return config


def title(config: Config) -> str:
  """'FEV-GAN w/o E_s': a system's name in tables, and what the config leaves out of it."""
  of_system = recipe(config.system)
  return ' '.join([of_system.title, *(f'w/o {part}' for part in of_system.without(config))])


def check_clips(system: str, shape: tuple[int, ...]) -> None:
  """Whether a system has networks for clips of this shape, [time, height, width, 3].

  Raises:
    UserError: it has none.
  """
  time, side = shape[:2]
  made_for = recipe(system)
  if side not in made_for.sides:
    known = ', '.join(f'{known}x{known}' for known in made_for.sides)
    others = ', '.join(name for name in names() if side in recipe(name).sides) or 'there is none'
    raise UserError(
      f'{system}: has networks for pictures of {known} pixels, not of {side}x{side}: choose '
      f'another --config.dataset.config, or a system that has: {others}'
    )
  if time != made_for.frames:
    raise UserError(f'{system}: has networks for clips of {made_for.frames} frames, not of {time}')


def identity_network(config: Config) -> str:
  """The face network that a system is given; '' for none."""
  return config.identity.network if 'identity' in config else ''


def load_identity(config: Config) -> tuple[IdentityEncoder | None, Any]:
  """The frozen face network that a config names, and its parameters; (None, None) without one.

  Raises:
    UserError: the network or its weight file does not exist, or does not fit.
  """
  network = identity_network(config)
  return identity.load(network, config.identity.weights or None) if network else (None, None)


def build(
  config: Config,
  encoder: IdentityEncoder | None,
  *,
  steps: int = 1,
  axis_name: str | None = None,
) -> System:
  """The system that a config names.

  Args:
    config: as configs/base.py.
    encoder: of `load_identity`.
    steps: length of the run, for a learning rate that falls over it.
    axis_name: device axis of a parallel step.

  Raises:
    UserError: a key has a value that does not exist.
  """
  chosen = recipe(config.system)
  optimizer = adam(config.optimizer, steps)
  return dataclasses.replace(
    chosen.build(config, encoder, optimizer, axis_name),
    graded='intensity' in chosen.conditions,
    dtype=dtype(config.precision),
    axis_name=axis_name,
  )


def dtype(precision: str) -> jnp.dtype:
  """What the networks compute in: 'float32', 'bfloat16', or 'auto', which is bfloat16 where the
  device has units for it."""
  known = {'float32': jnp.float32, 'bfloat16': jnp.bfloat16}
  known['auto'] = jnp.float32 if jax.default_backend() == 'cpu' else jnp.bfloat16
  if precision not in known:
    raise UserError(f"config.precision: '{precision}', expected one of {', '.join(known)}")
  return known[precision]


def adam(config: Config, steps: int) -> optax.GradientTransformation:
  """Adam (section 4.2), with weight decay where a system has it."""
  optimizer = optax.adam(learning_rate(config, steps), b1=config.b1, b2=config.b2)
  if config.weight_decay:  # as PyTorch's Adam has it: part of the gradient
    optimizer = optax.chain(optax.add_decayed_weights(config.weight_decay), optimizer)
  return optimizer


def learning_rate(config: Config, steps: int) -> optax.Schedule:
  """Constant (section 4.2), or falling to zero along a cosine over the run.

  Args:
    config: config.optimizer.
    steps: of the run.
  """
  schedules = {
    'constant': optax.constant_schedule(config.learning_rate),
    'cosine': optax.cosine_decay_schedule(config.learning_rate, max(steps, 1)),
  }
  if config.schedule not in schedules:
    raise UserError(
      f"config.optimizer.schedule: '{config.schedule}', expected one of {', '.join(schedules)}"
    )
  return schedules[config.schedule]
