"""Tint, a toy: every label has a color, which fades in over the picture. All of a system in one
file, as a new one would be written."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from fevgan_jax.models.parts import losses
from fevgan_jax.models.parts.layers import batch_norm
from fevgan_jax.models.parts.recipe import Config, Recipe
from fevgan_jax.models.parts.system import Critic, Generated, System, Term


def defaults() -> Config:
  return Config(
    {
      'model': {
        'strength': 0.5,  # of the color in the last frame
        'width': 8,  # channels of the hidden layer
      },
      'critic': {'judges_before_update': False},
      'loss': {'adversarial': 1.0, 'reconstruction': 10.0},
    }
  )


class Generator(nn.Module):
  strength: float
  width: int
  norm: Callable[[bool], nn.Module]

  @nn.compact
  def __call__(self, image, label, features, train):
    x = jnp.concatenate([image.mean((1, 2)), label], -1)
    x = nn.relu(self.norm(train)(nn.Dense(self.width)(x)))
    noise = 0.1 * jax.random.normal(self.make_rng('noise'), x.shape, x.dtype)
    color = jnp.tanh(nn.Dense(3)(jnp.concatenate([x + noise, label], -1)))[:, None, None, None]
    amount = self.strength * jnp.linspace(0, 1, 32)[:, None, None, None]
    return Generated((1 - amount) * image[:, None] + amount * color)


class Discriminator(nn.Module):
  @nn.compact
  def __call__(self, video, label, train):
    seen = jnp.concatenate([video.mean((1, 2, 3)), video[:, -1].mean((1, 2)), label], -1)
    return nn.Dense(1)(seen)[:, 0]


def build(config, identity, optimizer, axis_name) -> System:
  reconstruction = Term(
    config.loss.reconstruction,
    lambda example, generated, *_: losses.reconstruction_loss(example.video, generated.video),
  )
  return System(
    generator=Generator(
      config.model.strength, config.model.width, batch_norm(config.norm, axis_name)
    ),
    optimizer=optimizer,
    critics={'critic': Critic(Discriminator(), optimizer)},
    terms={'reconstruction': reconstruction},
    adversarial_weight=config.loss.adversarial,
    judges_before_update=config.critic.judges_before_update,
  )


RECIPE = Recipe(title='Tint', conditions=('image', 'label'), defaults=defaults, build=build)
