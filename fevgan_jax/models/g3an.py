"""G3AN (Wang et al., "G3AN: Disentangling Appearance and Motion for Video Generation", 2020): three
streams that grow side by side, of appearance, of motion and of the video, which takes in the other
two at every block.

Layers as in the authors' code, as its train.py builds them: without attention. It knows neither
picture nor label. Of t steps of motion noise it makes 4 (t + 3) frames: 32 of five, where its
authors trained one step and 16 frames.
"""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from einops import rearrange

from fevgan_jax.identity import IdentityEncoder
from fevgan_jax.models.imaginator import FrameCritic, one_frame
from fevgan_jax.models.parts.layers import (
  Conv,
  SpectralConv,
  SpectralUpConv,
  batch_norm,
  dcgan_init,
  leaky_relu,
)
from fevgan_jax.models.parts.recipe import Config, Recipe
from fevgan_jax.models.parts.system import Critic, Generated, System

Array = jax.Array

# Of each block: channels, in widths; kernel, stride and padding in space; the same in time.
BLOCKS = (
  (8, (4, 1, 0), (4, 1, 0)),
  (8, (4, 2, 1), (4, 2, 1)),
  (4, (4, 2, 1), (4, 2, 1)),
  (2, (4, 2, 1), (1, 1, 0)),
  (1, (4, 2, 1), (1, 1, 0)),
)


def defaults() -> Config:
  """Its sections of the configuration: its authors' values, but for `model.steps`."""
  return Config(
    {
      'model': {
        'width': 64,  # channels of the last block: 512-512-256-128-64
        'appearance': 128,  # numbers from N(0, 1) per clip
        'motion': 10,  # numbers from N(0, 1) per step
        'steps': 5,  # of motion noise: 32 frames
      },
      'critic': {
        'width': 64,  # channels of the first layer of both critics
        'judges_before_update': False,  # the generator is judged by the updated critics
      },
      'loss': {
        'adversarial': 1.0,  # weight of both critics' verdicts
      },
    }
  )


def published(config: Config) -> None:
  """What its code trains with.

  Departures: 32 frames, where theirs trains on 16, so that the video critic has 17 logits, of all
  places where its 16 frames fit; the image critic sees the same frame of real and generated clips,
  where theirs draws two; the generator is judged on clips that it makes anew; `epochs` are those
  of all systems, theirs are 5,001. Biases before a batch normalization, which undoes them, are
  left out.
  """
  config.batch_size = 96
  config.optimizer.learning_rate = 2e-4
  config.optimizer.b1 = 0.5
  config.optimizer.b2 = 0.999


def short_run(config: Config) -> None:
  """A quarter of the width."""
  config.model.width = config.critic.width = 16


class Block(nn.Module):
  """G3: one block of the three streams.

  Attributes:
    features: channels of each stream; the video's have twice as many, the first half of them the
      appearance's.
    space: kernel, stride and padding.
    time: the same.
    norm: makes a batch normalization for a mode.
  """

  features: int
  space: tuple[int, int, int]
  time: tuple[int, int, int]
  norm: Callable[[bool], nn.Module]

  @nn.compact
  def __call__(self, still: Array, moving: Array, video: Array, train: bool) -> tuple[Array, ...]:
    """still [batch, 1, height, width, channels], moving [batch, time, 1, 1, channels] and video
    [batch, time, height, width, channels] -> the same, larger."""
    (kernel, stride, padding), (steps, pace, before) = self.space, self.time

    def grown(x: Array, *layer: tuple[int, ...]) -> Array:
      x = SpectralUpConv(self.features, *layer)(x, train)
      return nn.relu(self.norm(train)(x))

    in_space = (1, kernel, kernel), (1, stride, stride), (0, padding, padding)
    in_time = (steps, 1, 1), (pace, 1, 1), (before, 0, 0)
    still, moving = grown(still, *in_space), grown(moving, *in_time)
    video = grown(grown(video, *in_time), *in_space) + moving
    return still, moving, jnp.concatenate([jnp.broadcast_to(still, video.shape), video], -1)


class Generator(nn.Module):
  """Noise of the appearance and of each step of the motion to a clip.

  Attributes:
    width: channels of the last block.
    appearance: numbers of noise that a clip keeps.
    motion: numbers of noise per step.
    steps: of motion.
    norm: makes a batch normalization for a mode.
  """

  width: int
  appearance: int
  motion: int
  steps: int
  norm: Callable[[bool], nn.Module]

  @nn.compact
  def __call__(self, image: Array, label: Array, features: Array | None, train: bool) -> Generated:
    """Of image [batch, 64, 64, 3] only the batch counts, of the others nothing."""
    del label, features
    keys = jax.random.split(self.make_rng('noise'))
    draw = functools.partial(jax.random.normal, dtype=image.dtype)
    still = draw(keys[0], (len(image), 1, 1, 1, self.appearance))
    moving = draw(keys[1], (len(image), self.steps, 1, 1, self.motion))
    repeated = jnp.broadcast_to(still, (*moving.shape[:-1], self.appearance))
    video = jnp.concatenate([repeated, moving], -1)
    for multiple, space, time in BLOCKS:
      block = Block(multiple * self.width, space, time, self.norm)
      still, moving, video = block(still, moving, video, train)
    to_colors = Conv(3, (1, 3, 3), padding=(0, 1, 1), kernel_init=dcgan_init)
    return Generated(jnp.tanh(to_colors(video)))


class VideoCritic(nn.Module):
  """D_V: ten convolutions, in space and in time by turns. It judges 16 frames, and a longer clip at
  every place where 16 fit.

  Attributes:
    width: channels of the first layer; every second layer after it has twice as many.
  """

  width: int

  @nn.compact
  def __call__(self, video: Array, label: Array, train: bool) -> Array:
    """video [batch, time, 64, 64, 3] in [-1, 1] -> logits [batch, time - 15]."""
    del label
    in_space, in_time = ((1, 4, 4), (1, 2, 2), (0, 1, 1)), ((4, 1, 1), (1, 1, 1), 0)
    x = video
    for multiple in (1, 2, 4, 8):
      for layer in (in_space, in_time):
        x = leaky_relu(SpectralConv(multiple * self.width, *layer)(x, train))
    x = leaky_relu(SpectralConv(8 * self.width, (1, 4, 4), (1, 1, 1), 0)(x, train))
    return rearrange(SpectralConv(1, *in_time)(x, train), 'b t 1 1 1 -> b t')


def critics(config: Config, optimizer: optax.GradientTransformation) -> dict[str, Critic]:
  """Of clips, and of single frames, ImaGINator's."""
  return {
    'video_critic': Critic(VideoCritic(config.critic.width), optimizer),
    'image_critic': Critic(FrameCritic(config.critic.width), optimizer, one_frame),
  }


def build(
  config: Config,
  identity: IdentityEncoder | None,
  optimizer: optax.GradientTransformation,
  axis_name: str | None,
) -> System:
  """Assembles G3AN, which uses no face network."""
  del identity
  sizes = config.model.width, config.model.appearance, config.model.motion, config.model.steps
  return System(
    generator=Generator(*sizes, batch_norm(config.norm, axis_name)),
    optimizer=optimizer,
    critics=critics(config, optimizer),
    terms={},
    adversarial_weight=config.loss.adversarial,
    judges_before_update=config.critic.judges_before_update,
  )


RECIPE = Recipe(
  title='G3AN',
  conditions=(),
  defaults=defaults,
  build=build,
  published=published,
  short_run=short_run,
)
