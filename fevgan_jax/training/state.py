"""What training changes: one NetworkState per network."""

from collections.abc import Mapping

import flax.struct
import jax
import jax.numpy as jnp
import optax

from fevgan_jax.models.parts.system import Example, System

PyTree = dict


@flax.struct.dataclass
class NetworkState:
  """Parameters, running batch statistics (empty without batch normalization) and the optimizer's
  moments."""

  params: PyTree
  batch_stats: PyTree
  opt_state: optax.OptState

  @property
  def variables(self) -> PyTree:
    return {'params': self.params, 'batch_stats': self.batch_stats}


@flax.struct.dataclass
class TrainState:
  """No device axis anywhere: `parallel.py` places it. step: int32 scalar, updates done so far."""

  step: jax.Array
  generator: NetworkState
  critics: Mapping[str, NetworkState]


def create(system: System, example: Example, rng: jax.Array) -> TrainState:
  """Initializes every network for examples of this shape."""
  generator_key, noise_key, critic_key, view_key = jax.random.split(rng, 4)
  generated, variables = system.generator.init_with_output(
    {'params': generator_key, 'noise': noise_key},
    example.image,
    example.label,
    example.features,
    train=False,
    **system.guidance(example),
  )
  critics = {}
  for i, (name, critic) in enumerate(system.critics.items()):
    view = critic.view(critic.pair(example, generated)[0], view_key)
    critics[name] = _network(
      critic.module.init(jax.random.fold_in(critic_key, i), view, example.label, train=False),
      critic.optimizer,
    )
  return TrainState(jnp.zeros((), jnp.int32), _network(variables, system.optimizer), critics)


def _network(variables: PyTree, optimizer: optax.GradientTransformation) -> NetworkState:
  params = variables['params']
  return NetworkState(params, variables.get('batch_stats', {}), optimizer.init(params))


def update(
  network: NetworkState,
  gradients: PyTree,
  batch_stats: PyTree,
  optimizer: optax.GradientTransformation,
) -> NetworkState:
  """One optimizer step."""
  updates, opt_state = optimizer.update(gradients, network.opt_state, network.params)
  return NetworkState(optax.apply_updates(network.params, updates), batch_stats, opt_state)
