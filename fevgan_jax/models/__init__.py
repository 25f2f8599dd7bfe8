"""The systems, one file each, and how a config becomes one of them."""

import importlib
import pkgutil
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import optax

from fevgan_jax import identity
from fevgan_jax.identity import IdentityEncoder
from fevgan_jax.models.parts.system import System
from fevgan_jax.runtime.errors import UserError

NAMES = sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.ispkg)


def load_identity(config: ml_collections.ConfigDict) -> tuple[IdentityEncoder | None, Any]:
  """The frozen face network that a config names, and its parameters; (None, None) for the ablation
  without one.

  Raises:
    UserError: the network or its weight file does not exist, or does not fit.
  """
  if not config.identity.network:
    return None, None
  return identity.load(config.identity.network, config.identity.weights or None)


def keys(system: str) -> tuple[str, ...]:
  """What a system reads of config.identity, model, critic and loss, whose keys are those of all
  systems."""
  return importlib.import_module(f'{__name__}.{system}').KEYS


def sides(system: str) -> tuple[int, ...]:
  """Of the pictures that a system has networks for."""
  return importlib.import_module(f'{__name__}.{system}').SIDES


def check_side(system: str, side: int) -> None:
  """
  Raises:
    UserError: a system has no networks for pictures of this side.
  """
  if side not in sides(system):
    known = ', '.join(f'{known}x{known}' for known in sides(system))
    others = ''.join(f', or {name}' for name in NAMES if side in sides(name))
    raise UserError(
      f'{system}: has networks for pictures of {known} pixels, not of {side}x{side}: choose '
      f'another --config.dataset.config{others}'
    )


def build(
  config: ml_collections.ConfigDict,
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
  module = importlib.import_module(f'{__name__}.{config.system}')
  optimizer = lambda: adam(config.optimizer, steps)  # noqa: E731
  return module.system(config, encoder, optimizer, dtype(config.precision), axis_name)


def dtype(precision: str) -> jnp.dtype:
  """What the networks compute in: 'float32', 'bfloat16', or 'auto', which is bfloat16 where the
  device has units for it."""
  known = {'float32': jnp.float32, 'bfloat16': jnp.bfloat16}
  known['auto'] = jnp.float32 if jax.default_backend() == 'cpu' else jnp.bfloat16
  if precision not in known:
    raise UserError(f"config.precision: '{precision}', expected one of {', '.join(known)}")
  return known[precision]


def adam(config: ml_collections.ConfigDict, steps: int) -> optax.GradientTransformation:
  """Adam with a constant learning rate (section 4.2) or one that falls to zero along a cosine, and
  with weight decay where a system has it."""
  schedules = {
    'constant': optax.constant_schedule(config.learning_rate),
    'cosine': optax.cosine_decay_schedule(config.learning_rate, max(steps, 1)),
  }
  if config.schedule not in schedules:
    raise UserError(
      f"config.optimizer.schedule: '{config.schedule}', expected one of {', '.join(schedules)}"
    )
  optimizer = optax.adam(schedules[config.schedule], b1=config.b1, b2=config.b2)
  if config.weight_decay:  # as PyTorch's Adam has it: part of the gradient
    optimizer = optax.chain(optax.add_decayed_weights(config.weight_decay), optimizer)
  return optimizer
