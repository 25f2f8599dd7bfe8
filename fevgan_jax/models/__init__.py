"""The systems, one file each, and how a config becomes one of them."""

import importlib
import pkgutil
from typing import Any

import ml_collections
import optax

from fevgan_jax import identity
from fevgan_jax.errors import UserError
from fevgan_jax.system import System

NAMES = sorted(module.name for module in pkgutil.iter_modules(__path__))


def build(config: ml_collections.ConfigDict, *, steps: int = 1, axis_name: str | None = None) -> tuple[System, Any]:
  """The system that a config names, and the parameters of its frozen face network (None without one).

  Args:
    config: as configs/base.py.
    steps: length of the run, for a learning rate that falls over it.
    axis_name: device axis of a parallel step.

  Raises:
    UserError: the system, the face network or its weight file does not exist.
  """
  if config.system not in NAMES:
    raise UserError(f"config.system: no system '{config.system}': expected one of {', '.join(NAMES)}")
  network, frozen = config.identity.network, None
  if network:
    network, frozen = identity.load(network, config.identity.weights or None)
  module = importlib.import_module(f'{__name__}.{config.system}')
  return module.system(config, network or None, lambda: adam(config.optimizer, steps), axis_name), frozen


def adam(config: ml_collections.ConfigDict, steps: int) -> optax.GradientTransformation:
  """Adam with a constant learning rate (section 4.2) or one that falls to zero along a cosine."""
  schedules = {
      'constant': optax.constant_schedule(config.learning_rate),
      'cosine': optax.cosine_decay_schedule(config.learning_rate, max(steps, 1)),
  }
  if config.schedule not in schedules:
    raise UserError(f"config.optimizer.schedule: '{config.schedule}', expected one of {', '.join(schedules)}")
  return optax.adam(schedules[config.schedule], b1=config.b1, b2=config.b2)
