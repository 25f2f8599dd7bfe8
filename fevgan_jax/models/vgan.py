"""VGAN (Vondrick, Pirsiavash and Torralba, "Generating Videos with Scene Dynamics", 2016): noise to
a clip, as a foreground that moves before a background that does not.

The layers are those of the authors' main.lua. It knows neither picture nor label; the paper's
tables have it as what identity metrics say where no identity is kept.
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from einops import rearrange

from fevgan_jax.identity import IdentityEncoder
from fevgan_jax.models.parts import losses
from fevgan_jax.models.parts.layers import Conv, UpConv, batch_norm, leaky_relu
from fevgan_jax.models.parts.recipe import Config, Recipe
from fevgan_jax.models.parts.system import Critic, Generated, System, Term

Array = jax.Array


def defaults() -> Config:
  """Its sections of the configuration: main.lua's values."""
  return Config(
    {
      'model': {
        'width': 64,  # channels of the last hidden layer of both streams: 512-256-128-64
        'noise': 100,  # numbers from N(0, 1) per clip
      },
      'critic': {
        'width': 64,  # channels of the first layer: 64-128-256-512
        'judges_before_update': False,  # the generator is judged by the updated critic
      },
      'loss': {
        'adversarial': 1.0,  # weight of the critic's verdict
        'mask': 0.1,  # weight of the mean of the mask: what rests is left to the background
      },
    }
  )


def published(config: Config) -> None:
  """As main.lua trains it.

  Not as there: 400 epochs as all systems here, for 100 of a far larger collection; the critic has
  one logit for its two, and its loss is not halved, which Adam does not notice; the generator is
  judged by the updated critic anew, where it reuses the verdict that led to the update.
  """
  config.batch_size = 64
  config.optimizer.learning_rate = 2e-4
  config.optimizer.b1 = 0.5


def short_run(config: Config) -> None:
  config.model.width = config.critic.width = 32


CRITIC_EPSILON = 1e-3  # main.lua's, of the critic's normalizations alone


def compose(foreground: Array, mask: Array, background: Array) -> Array:
  """m f + (1 - m) b.

  Args:
    foreground: [batch, time, height, width, 3].
    mask: [batch, time, height, width, 1] in [0, 1].
    background: [batch, height, width, 3], the same at all times.

  Returns:
    [batch, time, height, width, 3].
  """
  return mask * foreground + (1 - mask) * background[:, None]


class TwoStreams(nn.Module):
  """A background in 2-D and a foreground in 3-D transposed convolutions, which double space, and
  time, at every layer.

  Attributes:
    width: channels of the last hidden layer; every layer before it has twice as many.
    norm: makes a batch normalization for a mode.
  """

  width: int
  norm: Callable[[bool], nn.Module]

  @nn.compact
  def __call__(self, still: Array, moving: Array, train: bool) -> Generated:
    """still [batch, 4, 4, channels], moving [batch, 2, 4, 4, channels] -> video [batch, 32, 64, 64,
    3] in (-1, 1), with its 'mask' [batch, 32, 64, 64, 1] in (0, 1)."""
    kernel, strides = (4, 4), (2, 2)
    for multiple in (4, 2, 1):
      still = UpConv(multiple * self.width, kernel, strides, use_bias=False)(still)
      still = nn.relu(self.norm(train)(still))
    background = jnp.tanh(UpConv(3, kernel, strides)(still))
    for multiple in (4, 2, 1):
      moving = nn.relu(self.norm(train)(UpConv(multiple * self.width, use_bias=False)(moving)))
    # The two heads, of foreground and mask, in one.
    foreground, mask = jnp.split(UpConv(4)(moving), [3], -1)
    foreground, mask = jnp.tanh(foreground), nn.sigmoid(mask)
    return Generated(compose(foreground, mask, background), {'mask': mask})


class Generator(nn.Module):
  """G: one draw of noise, which both streams begin with.

  Attributes:
    width: of the streams.
    noise: numbers from N(0, 1) per clip, out of the random stream 'noise'.
    norm: makes a batch normalization for a mode.
  """

  width: int
  noise: int
  norm: Callable[[bool], nn.Module]

  @nn.compact
  def __call__(self, image: Array, label: Array, features: Array | None, train: bool) -> Generated:
    """Of image [batch, 64, 64, 3] only the batch counts, of the others nothing."""
    del label, features
    z = jax.random.normal(self.make_rng('noise'), (image.shape[0], self.noise)).astype(image.dtype)
    still = rearrange(z, 'b n -> b 1 1 n')
    still = UpConv(8 * self.width, (4, 4), (1, 1), padding=0, use_bias=False)(still)
    moving = rearrange(z, 'b n -> b 1 1 1 n')
    moving = UpConv(8 * self.width, (2, 4, 4), (1, 1, 1), padding=0, use_bias=False)(moving)
    still, moving = (nn.relu(self.norm(train)(x)) for x in (still, moving))
    return TwoStreams(self.width, self.norm, name='streams')(still, moving, train)


class Discriminator(nn.Module):
  """D: five strided 3-D convolutions over the video alone.

  The authors' two logits under a softmax are one here under a sigmoid, their difference.

  Attributes:
    width: channels of the first layer; every layer after it has twice as many.
    norm: makes a batch normalization for a mode; none at the input layer and at the logit.
  """

  width: int
  norm: Callable[[bool], nn.Module]

  @nn.compact
  def __call__(self, video: Array, label: Array, train: bool) -> Array:
    """video [batch, 32, 64, 64, 3] in [-1, 1] -> logits [batch]."""
    del label
    x = leaky_relu(Conv(self.width, (4, 4, 4), (2, 2, 2))(video))
    for multiple in (2, 4, 8):
      x = Conv(multiple * self.width, (4, 4, 4), (2, 2, 2), use_bias=False)(x)
      x = leaky_relu(self.norm(train)(x))
    x = Conv(1, x.shape[1:-1], (1, 1, 1), padding=0)(x)
    return rearrange(x, 'b 1 1 1 1 -> b')


def build(
  config: Config,
  identity: IdentityEncoder | None,
  optimizer: optax.GradientTransformation,
  axis_name: str | None,
) -> System:
  """Assembles VGAN, which uses no face network."""
  del identity
  critic = Discriminator(config.critic.width, batch_norm(config.norm, axis_name, CRITIC_EPSILON))
  return System(
    generator=Generator(config.model.width, config.model.noise, batch_norm(config.norm, axis_name)),
    optimizer=optimizer,
    critics={'critic': Critic(critic, optimizer)},
    terms={
      'mask': Term(
        config.loss.mask,
        lambda example, generated, *_: losses.mask_loss(generated.extras['mask']),
      )
    },
    adversarial_weight=config.loss.adversarial,
    judges_before_update=config.critic.judges_before_update,
  )


RECIPE = Recipe(
  title='VGAN',
  conditions=(),
  defaults=defaults,
  build=build,
  published=published,
  short_run=short_run,
  paper={'mug': {(): (16.32, 0.41, 0.14, 1.55)}, 'oulu_casia': {(): (15.09, 0.61, 0.27, 1.37)}},
)
