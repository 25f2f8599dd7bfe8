"""ImaGINator (Wang et al., 2020): an encoder of the image, whose maps are fused with a decoder that
takes time and space in turns, and two spectrally normalized critics, of clips and of single frames.

Layers as in the authors' code.
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from einops import rearrange, repeat

from fevgan_jax.identity import IdentityEncoder
from fevgan_jax.models.parts import losses
from fevgan_jax.models.parts.layers import (
  Conv,
  SpectralConv,
  UpConv,
  batch_norm,
  dcgan_init,
  leaky_relu,
  torch_init,
)
from fevgan_jax.models.parts.recipe import Config, Recipe
from fevgan_jax.models.parts.system import Critic, Generated, System, Term

Array = jax.Array


def defaults() -> Config:
  """Its sections of the configuration: its authors' values."""
  return Config(
    {
      'model': {
        'width': 64,  # channels of the encoder's first layer and the decoder's last block
        'noise': 512,  # numbers from N(0, 1) per clip
      },
      'critic': {
        'width': 64,  # channels of the first layer of both critics
        'judges_before_update': True,  # the generator's update comes first
      },
      'loss': {
        'adversarial': 1.0,  # weight of both critics' verdicts
        'reconstruction': 100.0,  # weight of the mean |real - generated|
        'motion_weight': 0.0,  # of moving pixels in it, see parts/losses.py; theirs has none
      },
    }
  )


def published(config: Config) -> None:
  """What its code trains with.

  Departures: the input is the clip's first frame, the neutral face, where theirs is the first of a
  random window; the image critic sees the same frame of real and generated clips, where theirs
  draws two; `epochs` are those of all systems, theirs are 5,001.
  """
  config.batch_size = 64
  config.optimizer.learning_rate = 2e-4
  config.optimizer.b1 = 0.5
  config.optimizer.b2 = 0.999


def short_run(config: Config) -> None:
  config.model.width = config.critic.width = 32


class Encoder(nn.Module):
  """Five 2-D convolutions, and what each of them sees.

  Attributes:
    width: channels of the first layer; every layer after it has twice as many.
    norm: makes a batch normalization for a mode.
    code: numbers of the last layer.
  """

  width: int
  norm: Callable[[bool], nn.Module]
  code: int = 100

  @nn.compact
  def __call__(self, image: Array, train: bool) -> tuple[list[Array], Array]:
    """[batch, 64, 64, 3] in [-1, 1] -> maps [batch, 32, 32, width], [batch, 16, 16, 2 * width],
    [batch, 8, 8, 4 * width], [batch, 4, 4, 8 * width], and the code [batch, 100]."""
    maps, x = [], image
    for multiple in (1, 2, 4, 8):
      x = Conv(multiple * self.width, (4, 4), (2, 2), use_bias=False, kernel_init=dcgan_init)(x)
      x = leaky_relu(self.norm(train)(x))
      maps.append(x)
    code = Conv(self.code, (4, 4), (1, 1), padding=0, kernel_init=dcgan_init)(x)
    return maps, rearrange(code, 'b 1 1 c -> b c')


class UpBlock(nn.Module):
  """(2+1)-D: a transposed convolution of time, then one of space, whose normalization is the
  caller's.

  Attributes:
    features: channels of the result.
    hidden: channels between the two.
    norm: makes a batch normalization for a mode.
    first: makes 2x4x4 of one place; otherwise time and space are doubled.
    bias: of the second.
  """

  features: int
  hidden: int
  norm: Callable[[bool], nn.Module]
  first: bool = False
  bias: bool = False

  @nn.compact
  def __call__(self, x: Array, train: bool) -> Array:
    """[batch, time, height, width, channels] -> [batch, 2 time, 2 height, 2 width, features]."""
    taps, stride, padding = (2, 1, 0) if self.first else (4, 2, 1)
    in_time = UpConv(
      self.hidden,
      (taps, 1, 1),
      (stride, 1, 1),
      (padding, 0, 0),
      use_bias=False,
      kernel_init=torch_init,
    )
    in_space = UpConv(
      self.features,
      (1, 4, 4),
      (1, stride, stride),
      (0, padding, padding),
      use_bias=self.bias,
      kernel_init=torch_init,
    )
    return in_space(leaky_relu(self.norm(train)(in_time(x))))


class Decoder(nn.Module):
  """Noise, label and code to a clip; after every block the image's map of that size, the same at
  all times, and the label join in.

  Attributes:
    width: channels of the last block; every block before it has twice as many.
    norm: makes a batch normalization for a mode.
  """

  width: int
  norm: Callable[[bool], nn.Module]

  @nn.compact
  def __call__(self, code: Array, label: Array, maps: list[Array], train: bool) -> Array:
    """code [batch, numbers], label [batch, 6], maps of `Encoder` -> [batch, 32, 64, 64, 3] in
    (-1, 1)."""
    x = rearrange(code, 'b c -> b 1 1 1 c')
    for multiple, image_map in zip((8, 4, 2, 1), reversed(maps)):
      first = multiple == 8
      features = multiple * self.width
      x = UpBlock(features, (8 if first else 12) * features, self.norm, first)(x, train)
      x = fuse(leaky_relu(self.norm(train)(x)), image_map, label)
    return jnp.tanh(UpBlock(3, 12 * 3, self.norm, bias=True)(x, train))


def fuse(x: Array, image_map: Array, label: Array) -> Array:
  """The channels of x [batch, time, height, width, channels], of a map [batch, height, width,
  channels], repeated over time, and of the label [batch, 6], tiled."""
  time, height, width = x.shape[1:-1]
  repeated = repeat(image_map, 'b h w c -> b t h w c', t=time)
  tiled = repeat(label, 'b l -> b t h w l', t=time, h=height, w=width)
  return jnp.concatenate([x, repeated, tiled], -1)


class Generator(nn.Module):
  """G: encoder, noise, decoder.

  Attributes:
    width: of the encoder and of the decoder.
    noise: how many numbers N(0, 1).
    norm: makes a batch normalization for a mode.
  """

  width: int
  noise: int
  norm: Callable[[bool], nn.Module]

  @nn.compact
  def __call__(self, image: Array, label: Array, features: None, train: bool) -> Generated:
    """image [batch, 64, 64, 3] in [-1, 1], label [batch, 6]."""
    del features
    maps, code = Encoder(self.width, self.norm, name='encoder')(image, train)
    noise = jax.random.normal(self.make_rng('noise'), (len(label), self.noise), label.dtype)
    code = jnp.concatenate([noise, label, code], -1)
    return Generated(Decoder(self.width, self.norm, name='decoder')(code, label, maps, train))


class VideoCritic(nn.Module):
  """D_V: five strided 3-D convolutions; the label joins in after the first.

  Attributes:
    width: channels of the first layer; every layer after it has twice as many.
  """

  width: int

  @nn.compact
  def __call__(self, video: Array, label: Array, train: bool) -> Array:
    """video [batch, 32, 64, 64, 3] in [-1, 1], label [batch, 6] -> logits [batch]."""
    x = leaky_relu(SpectralConv(self.width, (4, 4, 4), (2, 2, 2))(video, train))
    time, height, width = x.shape[1:-1]
    tiled = repeat(label, 'b l -> b t h w l', t=time, h=height, w=width)
    x = jnp.concatenate([x, tiled], -1)
    for multiple in (2, 4, 8):
      x = leaky_relu(SpectralConv(multiple * self.width, (4, 4, 4), (2, 2, 2))(x, train))
    x = SpectralConv(1, x.shape[1:-1], (1, 1, 1), 0)(x, train)
    return rearrange(x, 'b 1 1 1 1 -> b')


class FrameCritic(nn.Module):
  """D_I: five strided 2-D convolutions, without the label.

  Attributes:
    width: channels of the first layer; every layer after it has twice as many.
  """

  width: int

  @nn.compact
  def __call__(self, frame: Array, label: Array, train: bool) -> Array:
    """frame [batch, 64, 64, 3] in [-1, 1] -> logits [batch]."""
    del label
    x = frame
    for multiple in (1, 2, 4, 8):
      x = leaky_relu(SpectralConv(multiple * self.width, (4, 4), (2, 2))(x, train))
    x = SpectralConv(1, x.shape[1:-1], (1, 1), 0)(x, train)
    return rearrange(x, 'b 1 1 1 -> b')


def one_frame(video: Array, rng: Array) -> Array:
  """A random frame, the same of all clips: [batch, time, ...] -> [batch, ...]."""
  return video[:, jax.random.randint(rng, (), 0, video.shape[1])]


def build(
  config: Config,
  identity: IdentityEncoder | None,
  optimizer: optax.GradientTransformation,
  axis_name: str | None,
) -> System:
  """Assembles ImaGINator, which uses no face network."""
  del identity
  width = config.critic.width
  reconstruction = Term(
    config.loss.reconstruction,
    lambda example, generated, *_: losses.reconstruction_loss(
      example.video, generated.video, motion_weight=config.loss.motion_weight
    ),
  )
  return System(
    generator=Generator(config.model.width, config.model.noise, batch_norm(config.norm, axis_name)),
    optimizer=optimizer,
    critics={
      'video_critic': Critic(VideoCritic(width), optimizer),
      'image_critic': Critic(FrameCritic(width), optimizer, one_frame),
    },
    terms={'reconstruction': reconstruction},
    adversarial_weight=config.loss.adversarial,
    judges_before_update=config.critic.judges_before_update,
  )


RECIPE = Recipe(
  title='ImaGINator',
  conditions=('image', 'label'),
  defaults=defaults,
  build=build,
  published=published,
  short_run=short_run,
  paper={'mug': {(): (20.29, 0.85, 0.08, 0.29)}, 'oulu_casia': {(): (22.98, 0.84, 0.07, 0.16)}},
)
