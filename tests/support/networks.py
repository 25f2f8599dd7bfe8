"""What the tests of the systems share: shapes and sizes of their networks, without computing
anything, and networks that take the place of theirs."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from configs import base, synthetic_faces
from fevgan_jax import models
from fevgan_jax.models.parts import layers
from fevgan_jax.models.parts.system import Example, Generated, System
from fevgan_jax.training import state, step
from fevgan_jax.training.state import TrainState

norm = layers.batch_norm(base.get_config().norm, None)


class Shapes(NamedTuple):
  """Of two clips of a system.

  Attributes:
    state: before the first step.
    generated: what the generator returns.
    verdicts: what the critics say of that, by name.
  """

  state: TrainState
  generated: Generated
  verdicts: dict


def shapes_of(config, channels: int = 0, side: int = 64) -> Shapes:
  """The shapes of a system for pictures of this side; `channels` are those of a face network's
  features."""
  system = models.build(config, None)
  video = jax.ShapeDtypeStruct((2, 32, side, side, 3), jnp.float32)
  features = jax.ShapeDtypeStruct((2, 4, 4, channels), jnp.float32) if channels else None
  example = Example(video, jax.ShapeDtypeStruct((2, 6), jnp.float32), features)

  def everything(example):
    key = jax.random.key(0)
    fresh = state.create(system, example, key)
    generated = system.generator.apply(
      fresh.generator.variables,
      example.image,
      example.label,
      example.features,
      train=False,
      rngs={'noise': key},
    )
    verdicts = {
      name: critic.module.apply(
        fresh.critics[name].variables,
        critic.view(generated.video, key),
        example.label,
        train=False,
      )
      for name, critic in system.critics.items()
    }
    return Shapes(fresh, generated, verdicts)

  return jax.eval_shape(everything, example)


def count(tree) -> int:
  """Numbers in all arrays."""
  return sum(x.size for x in jax.tree.leaves(tree))


def compact(config):
  """The reading of FEV-GAN with maps of 4x4, DCGAN's and VGAN's layers; the config itself."""
  config.model.grid, config.model.spatial_growth = 4, 2
  return config


def narrow(name: str, data_dir: str = ''):
  """A system's config for the tests' data set, its networks as narrow as can be and without a face
  network."""
  config = synthetic_faces.get_config(name)
  config.dataset.config, config.dataset.data_dir = 'tiny', data_dir
  config.model.width = 1
  if 'critic' in config:
    config.critic.width = 1
  if 'hidden' in config.model:  # each layer has half of the channels of the one before
    config.model.width, config.model.hidden = 8, 4
  if 'texture_width' in config.model:  # whose others are parts of the first
    config.model.width, config.critic.width = 16, 4
    config.model.texture_width = config.critic.texture_width = 1
  if 'spatial_width' in config.model:
    config.model.spatial_width = 1
  if 'identity' in config:
    config.identity.network = ''
  return config


def filled(shapes):
  """Variables of these shapes, drawn without compiling what draws them."""
  rng = np.random.default_rng(0)
  return jax.tree.map(lambda x: np.abs(rng.normal(0.05, 0.2, x.shape)).astype(x.dtype), shapes)


class Painter(nn.Module):
  """A generator that is compiled in no time: colors the picture, another color in each frame."""

  norm: Callable[[bool], nn.Module]

  @nn.compact
  def __call__(self, image, label, features, train):
    x = self.norm(train)(nn.Dense(6)(jnp.concatenate([image.mean((1, 2)), label], -1)))
    colors = nn.Dense(32 * 3)(nn.relu(x)).reshape(-1, 32, 1, 1, 3)
    return Generated(nn.tanh(image[:, None] + colors))


class Judge(nn.Module):
  """A critic of the colors of all frames that it sees."""

  norm: Callable[[bool], nn.Module]

  @nn.compact
  def __call__(self, video, label, train):
    x = nn.Dense(6)(jnp.concatenate([video.mean((-3, -2)).reshape(len(video), -1), label], -1))
    return nn.Dense(1)(nn.relu(self.norm(train)(x)))[:, 0]


def small(system: System, config, axis_name: str | None = None) -> System:
  """The system with networks that are compiled in no time. The step knows nothing of them."""
  norm = layers.batch_norm(config.norm, axis_name)
  judged = {
    name: dataclasses.replace(critic, module=Judge(norm)) for name, critic in system.critics.items()
  }
  return dataclasses.replace(system, generator=Painter(norm), critics=judged)


def after_steps(system: System, state: TrainState, batch: dict, steps: int):
  """The state after so many steps on one batch, and the metrics of each."""
  one_step = jax.jit(lambda state: step.train_step(system, state, None, batch, jax.random.key(1)))
  metrics = []
  for _ in range(steps):
    state, values = one_step(state)
    metrics.append(jax.tree.map(float, values))
  return state, metrics


def drawn(generator, images, labels):
  """A fresh generator as (images, labels, number of the draw of noise) -> clips."""
  keys = {'params': jax.random.key(0), 'noise': jax.random.key(0)}
  variables = jax.jit(lambda *args: generator.init(keys, *args, None, train=False))(images, labels)

  @jax.jit
  def clips(images, labels, number):
    noise = {'noise': jax.random.key(number)}
    return generator.apply(variables, images, labels, None, train=False, rngs=noise).video

  return clips
