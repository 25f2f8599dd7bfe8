"""VGAN (Vondrick, Pirsiavash and Torralba, "Generating Videos with Scene Dynamics", 2016): noise to
a clip, as a foreground that moves before a background that does not.

The layers are those of the authors' main.lua. It knows neither picture nor label; the paper's
tables have it as what identity metrics say where no identity is kept.
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
import optax
from einops import rearrange

from fevgan_jax.identity import IdentityEncoder
from fevgan_jax.models.parts import losses
from fevgan_jax.models.parts.layers import Conv, UpConv, batch_norm, leaky_relu
from fevgan_jax.models.parts.system import Critic, Generated, System, Term

Array = jax.Array

SIDES = (64,)  # of pictures
# What it reads of config.identity, model, critic and loss.
KEYS = (
  'model.width',
  'model.noise',
  'critic.width',
  'critic.judges_before_update',
  'loss.adversarial',
  'loss.mask',
)
CRITIC_EPSILON = 1e-3  # main.lua's, of the critic's normalisations alone


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
    norm: makes a batch normalisation for a mode.
  """

  width: int
  norm: Callable[[bool], nn.Module]

  @nn.compact
  def __call__(self, still: Array, moving: Array, train: bool) -> Generated:
    """still [batch, 4, 4, channels], moving [batch, 2, 4, 4, channels] -> video [batch, 32, 64, 64,
    3] in (-1, 1), with its 'mask' [batch, 32, 64, 64, 1] in (0, 1)."""
    kernel, strides = (4, 4), (2, 2)
    for multiple in (4, 2, 1):
      still = UpConv(multiple * self.width, kernel, strides, bias=False)(still)
      still = nn.relu(self.norm(train)(still))
    background = jnp.tanh(UpConv(3, kernel, strides)(still))
    for multiple in (4, 2, 1):
      moving = nn.relu(self.norm(train)(UpConv(multiple * self.width, bias=False)(moving)))
    # The two heads, of foreground and mask, in one.
    foreground, mask = jnp.split(UpConv(4)(moving), [3], -1)
    foreground, mask = jnp.tanh(foreground), nn.sigmoid(mask)
    return Generated(compose(foreground, mask, background), {'mask': mask})


class Generator(nn.Module):
  """G: one draw of noise, which both streams begin with.

  Attributes:
    width: of the streams.
    noise: numbers from N(0, 1) per clip, out of the random stream 'noise'.
    norm: makes a batch normalisation for a mode.
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
    still = UpConv(8 * self.width, (4, 4), (1, 1), padding=0, bias=False)(still)
    moving = rearrange(z, 'b n -> b 1 1 1 n')
    moving = UpConv(8 * self.width, (2, 4, 4), (1, 1, 1), padding=0, bias=False)(moving)
    still, moving = (nn.relu(self.norm(train)(x)) for x in (still, moving))
    return TwoStreams(self.width, self.norm, name='streams')(still, moving, train)


class Discriminator(nn.Module):
  """D: five strided 3-D convolutions over the video alone.

  The authors' two logits under a softmax are one here under a sigmoid, their difference.

  Attributes:
    width: channels of the first layer; every layer after it has twice as many.
    norm: makes a batch normalisation for a mode; none at the input layer and at the logit.
  """

  width: int
  norm: Callable[[bool], nn.Module]

  @nn.compact
  def __call__(self, video: Array, label: Array, train: bool) -> Array:
    """video [batch, 32, 64, 64, 3] in [-1, 1] -> logits [batch]."""
    del label
    x = leaky_relu(Conv(self.width, (4, 4, 4), (2, 2, 2))(video))
    for multiple in (2, 4, 8):
      x = Conv(multiple * self.width, (4, 4, 4), (2, 2, 2), bias=False)(x)
      x = leaky_relu(self.norm(train)(x))
    x = Conv(1, x.shape[1:-1], (1, 1, 1), padding=0)(x)
    return rearrange(x, 'b 1 1 1 1 -> b')


def system(
  config: ml_collections.ConfigDict,
  identity: IdentityEncoder | None,
  optimizer: Callable[[], optax.GradientTransformation],
  dtype: jnp.dtype,
  axis_name: str | None,
) -> System:
  """Assembles VGAN, which has no use for a face network."""
  del identity
  critic = Discriminator(config.critic.width, batch_norm(config.norm, axis_name, CRITIC_EPSILON))
  return System(
    generator=Generator(config.model.width, config.model.noise, batch_norm(config.norm, axis_name)),
    optimizer=optimizer(),
    critics={'critic': Critic(critic, optimizer())},
    terms={
      'mask': Term(
        config.loss.mask,
        lambda example, generated, *_: losses.mask_loss(generated.extras['mask']),
      )
    },
    adversarial_weight=config.loss.adversarial,
    judges_before_update=config.critic.judges_before_update,
    dtype=dtype,
    axis_name=axis_name,
  )
