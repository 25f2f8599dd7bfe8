"""C-VGAN: VGAN's two streams behind an encoder of a picture, as in main_conditional.lua of VGAN's
authors, with the label that FEV-GAN's section 4.2 adds: "the latent code is then concatenated with
the labels and fed to the generator".

It draws no noise: one clip per picture and label.
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from einops import rearrange, repeat

from fevgan_jax.identity import IdentityEncoder
from fevgan_jax.models.parts import losses
from fevgan_jax.models.parts.layers import Conv, UpConv, batch_norm
from fevgan_jax.models.parts.recipe import Config, Recipe
from fevgan_jax.models.parts.system import Critic, Generated, System, Term
from fevgan_jax.models.vgan import CRITIC_EPSILON, Discriminator, TwoStreams

Array = jax.Array


def defaults() -> Config:
  """Its sections of the configuration: main_conditional.lua's values."""
  return Config(
    {
      'model': {
        'width': 128,  # of the encoder and both streams: 1024-512-256-128 channels
        'label_scale': 1.0,  # the one-hot label is multiplied by it where it joins the code
      },
      'critic': {
        'width': 128,  # channels of the first layer: 128-256-512-1024
        'judges_before_update': False,  # the generator is judged by the updated critic
      },
      'loss': {
        'adversarial': 1.0,  # weight of the critic's verdict
        'first_frame': 10.0,  # weight of the mean |input - first frame|
      },
    }
  )


def published(config: Config) -> None:
  """As main_conditional.lua trains it, with the label that FEV-GAN's section 4.2 gives it.

  Not as there: what is said of VGAN. That section has the code, joined by the label, "fed to the
  generator" and says nothing of the critic, which therefore does not see the label, as in
  main_conditional.lua: nothing in training checks that a clip shows what was asked for.
  """
  config.batch_size = 32
  config.optimizer.learning_rate = 2e-4
  config.optimizer.b1 = 0.5


def short_run(config: Config) -> None:
  config.model.width = config.critic.width = 32


ENCODER_EPSILON = 1e-3  # main_conditional.lua's, as the critic's


class Encoder(nn.Module):
  """A picture to a latent code, by four strided 2-D convolutions.

  Attributes:
    width: channels of the first layer; every layer after it has twice as many.
    norm: makes a batch normalization for a mode; none at the input layer.
  """

  width: int
  norm: Callable[[bool], nn.Module]

  @nn.compact
  def __call__(self, image: Array, train: bool) -> Array:
    """[batch, 64, 64, 3] in [-1, 1] -> [batch, 4, 4, 8 * width]."""
    x = nn.relu(Conv(self.width, (4, 4), (2, 2))(image))
    for multiple in (2, 4, 8):
      x = nn.relu(self.norm(train)(Conv(multiple * self.width, (4, 4), (2, 2), use_bias=False)(x)))
    return x


class Generator(nn.Module):
  """G: the latent code and the tiled label, which both streams begin with.

  Attributes:
    width: of the encoder and the streams.
    label_scale: what the one-hot label is multiplied by.
    encoder_norm: makes a batch normalization of the encoder for a mode.
    norm: the same, of the streams.
  """

  width: int
  label_scale: float
  encoder_norm: Callable[[bool], nn.Module]
  norm: Callable[[bool], nn.Module]

  @nn.compact
  def __call__(self, image: Array, label: Array, features: Array | None, train: bool) -> Generated:
    """image [batch, 64, 64, 3] in [-1, 1], label [batch, 6]."""
    del features
    latent = Encoder(self.width, self.encoder_norm, name='encoder')(image, train)
    tiled = repeat(self.label_scale * label, 'b l -> b h w l', h=4, w=4)
    still = jnp.concatenate([latent, tiled], -1)
    moving = rearrange(still, 'b h w c -> b 1 h w c')
    moving = UpConv(8 * self.width, (2, 1, 1), (1, 1, 1), padding=0, use_bias=False)(moving)
    moving = nn.relu(self.norm(train)(moving))
    return TwoStreams(self.width, self.norm, name='streams')(still, moving, train)


def build(
  config: Config,
  identity: IdentityEncoder | None,
  optimizer: optax.GradientTransformation,
  axis_name: str | None,
) -> System:
  """Assembles C-VGAN, which uses no face network. Its mask goes unpenalised."""
  del identity
  generator = Generator(
    config.model.width,
    config.model.label_scale,
    batch_norm(config.norm, axis_name, ENCODER_EPSILON),
    batch_norm(config.norm, axis_name),
  )
  critic = Discriminator(config.critic.width, batch_norm(config.norm, axis_name, CRITIC_EPSILON))
  return System(
    generator=generator,
    optimizer=optimizer,
    critics={'critic': Critic(critic, optimizer)},
    terms={
      'first_frame': Term(
        config.loss.first_frame,
        lambda example, generated, *_: losses.first_frame_loss(example.image, generated.video),
      )
    },
    adversarial_weight=config.loss.adversarial,
    judges_before_update=config.critic.judges_before_update,
  )


RECIPE = Recipe(
  title='C-VGAN',
  conditions=('image', 'label'),
  defaults=defaults,
  build=build,
  published=published,
  short_run=short_run,
  paper={'mug': {(): (22.30, 0.83, 0.09, 0.73)}, 'oulu_casia': {(): (15.98, 0.61, 0.25, 1.26)}},
)
