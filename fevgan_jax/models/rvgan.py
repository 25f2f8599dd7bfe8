"""RV-GAN (Gupta, Keshari and Das, "RV-GAN: Recurrent GAN for Unconditional Video Generation",
2022): a stack of recurrent cells that make a clip out of one draw of noise, each frame by frame and
with maps of twice the side of those before it.

Layers as in the authors' code. It knows neither picture nor label. Its critics are G3AN's.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from einops import rearrange

from fevgan_jax.identity import IdentityEncoder
from fevgan_jax.models import g3an
from fevgan_jax.models.parts.layers import Conv, UpConv, torch_init
from fevgan_jax.models.parts.recipe import Config, Recipe
from fevgan_jax.models.parts.system import Generated, System

Array = jax.Array
State = tuple[Array, Array]  # of a cell: what it keeps and what it said last

# Of each cell: channels, in widths, and the side of its maps.
CELLS = (8, 4), (8, 8), (4, 16), (2, 32), (1, 64)


def defaults() -> Config:
  """Its sections of the configuration: its authors' values."""
  return Config(
    {
      'model': {
        'width': 64,  # channels of the last cell: 512-512-256-128-64
        'noise': 128,  # numbers from N(0, 1) per clip, the same at every frame
      },
      'critic': {
        'width': 64,  # channels of the first layer of both critics
        'judges_before_update': False,  # the generator is judged by the updated critics
        'relative_learning_rate': 1.0,  # of both critics, in that of the generator
      },
      'loss': {
        'adversarial': 1.0,  # weight of both critics' verdicts
      },
    }
  )


def published(config: Config) -> None:
  """What its code trains with.

  Departures: 32 frames, where theirs trains on 16; those of G3AN's critics; `epochs` are those of
  all systems, theirs are 10,001.
  """
  config.batch_size = 8
  config.optimizer.learning_rate = 2e-4
  config.optimizer.b1 = 0.5
  config.optimizer.b2 = 0.999


def short_run(config: Config) -> None:
  """An eighth of the width: whole, a clip costs 143 billion products and sums. And a generator that
  learns faster than its critics: what all clips have in common is in the scale and the bias of each
  place, which Adam moves by one learning rate per step at most."""
  config.model.width = 8
  config.critic.width = 16
  config.optimizer.learning_rate = 3e-3
  config.critic.relative_learning_rate = 0.1


# Over all of a map, with a scale and a bias for each of its numbers.
whole_norm = functools.partial(
  nn.LayerNorm, epsilon=1e-5, reduction_axes=(-3, -2, -1), feature_axes=(-3, -2, -1)
)


class Moment(nn.Module):
  """One time step of a TC-LSTM, a long short-term memory of maps.

  Attributes:
    features: channels of what it keeps and says.
  """

  features: int

  @nn.compact
  def __call__(self, state: State, come: Array) -> tuple[State, Array]:
    """state [batch, side, side, features] twice, come [batch, side, side, 4 features], the input's
    part in the four gates -> the next state, and what it says."""
    kept, said = state
    gone = Conv(4 * self.features, (3, 3), use_bias=False, kernel_init=torch_init)(said)
    admit, keep, new, say = jnp.split(come + whole_norm()(gone), 4, -1)
    kept = nn.sigmoid(keep + 1) * kept + nn.sigmoid(admit) * jnp.tanh(new)
    said = nn.sigmoid(say) * jnp.tanh(kept)
    return (kept, said), said


class Cell(nn.Module):
  """A TC-LSTM, whose input comes through a transposed convolution: of all frames at once, for it
  does not depend on the cell's own past.

  Attributes:
    features: channels of what it keeps and says.
    side: of its maps.
    frames: of a clip.
  """

  features: int
  side: int
  frames: int

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """x [batch, time, side / 2, side / 2, channels], or [batch, 1, 1, 1, channels] of a side of 4,
    the same at every frame -> [batch, frames, side, side, features]."""
    batch, time, below, *_ = x.shape
    strides, padding = ((1, 1), 0) if below == 1 else ((2, 2), 1)
    grown = functools.partial(UpConv, use_bias=False, kernel_init=torch_init)
    come = grown(4 * self.features, (4, 4), strides, padding)(rearrange(x, 'b t ... -> (b t) ...'))
    come = rearrange(whole_norm()(come), '(b t) ... -> b t ...', t=time)
    come = jnp.broadcast_to(come, (batch, self.frames, *come.shape[2:]))
    nothing = jnp.zeros((batch, self.side, self.side, self.features), x.dtype)
    in_time = nn.scan(
      Moment,
      variable_broadcast='params',
      split_rngs={'params': False},
      in_axes=1,
      out_axes=1,
    )
    return in_time(self.features, name='moment')((nothing, nothing), come)[1]


class Generator(nn.Module):
  """One draw of noise to a clip, cell by cell, each of which hears all frames of the one before.

  Attributes:
    width: channels of the last cell.
    noise: numbers from N(0, 1) per clip, out of the random stream 'noise'.
    frames: of a clip.
  """

  width: int
  noise: int
  frames: int = 32

  @nn.compact
  def __call__(self, image: Array, label: Array, features: Array | None, train: bool) -> Generated:
    """Of image [batch, 64, 64, 3] only the batch counts, of the others nothing."""
    del label, features, train
    x = jax.random.normal(self.make_rng('noise'), (len(image), 1, 1, 1, self.noise), image.dtype)
    for multiple, side in CELLS:
      x = Cell(multiple * self.width, side, self.frames)(x)
    to_colors = Conv(3, (1, 3, 3), padding=(0, 1, 1), use_bias=False, kernel_init=torch_init)
    return Generated(jnp.tanh(to_colors(x)))


def build(
  config: Config,
  identity: IdentityEncoder | None,
  optimizer: optax.GradientTransformation,
  axis_name: str | None,
) -> System:
  """Assembles RV-GAN, which uses no face network and no batch statistics."""
  del identity, axis_name
  of_critics = optax.chain(optimizer, optax.scale(config.critic.relative_learning_rate))
  return System(
    generator=Generator(config.model.width, config.model.noise),
    optimizer=optimizer,
    critics=g3an.critics(config, of_critics),
    terms={},
    adversarial_weight=config.loss.adversarial,
    judges_before_update=config.critic.judges_before_update,
  )


RECIPE = Recipe(
  title='RV-GAN',
  conditions=(),
  defaults=defaults,
  build=build,
  published=published,
  short_run=short_run,
)
