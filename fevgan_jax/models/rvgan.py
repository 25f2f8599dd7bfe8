"""RV-GAN (Gupta, Keshari and Das, "RV-GAN: Recurrent GAN for Unconditional Video Generation",
2022): a stack of recurrent cells that make a clip frame by frame out of one draw of noise, each
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
  """A quarter of the width: whole, a clip costs 143 billion products and sums."""
  config.model.width = 16
  config.critic.width = 32


class Cell(nn.Module):
  """A TC-LSTM: a long short-term memory of maps, whose input comes through a transposed convolution
  and whose own past through a plain one, both normalized over all of a map.

  Attributes:
    features: channels of what it keeps and says.
    side: of its maps.
  """

  features: int
  side: int

  @nn.compact
  def __call__(self, state: State, x: Array) -> State:
    """state [batch, side, side, features] twice, x [batch, side / 2, side / 2, channels], or
    [batch, 1, 1, channels] of a side of 4 -> the next state."""
    kept, said = state
    gates = 4 * self.features
    strides, padding = ((1, 1), 0) if x.shape[1] == 1 else ((2, 2), 1)
    normed = functools.partial(
      nn.LayerNorm, epsilon=1e-5, reduction_axes=(-3, -2, -1), feature_axes=(-3, -2, -1)
    )
    come = UpConv(gates, (4, 4), strides, padding, use_bias=False, kernel_init=torch_init)(x)
    gone = Conv(gates, (3, 3), use_bias=False, kernel_init=torch_init)(said)
    admit, keep, new, say = jnp.split(normed()(come) + normed()(gone), 4, -1)
    kept = nn.sigmoid(keep + 1) * kept + nn.sigmoid(admit) * jnp.tanh(new)
    return kept, nn.sigmoid(say) * jnp.tanh(kept)


class Frame(nn.Module):
  """One time step of all cells, the first on the noise and each after it on the one before.

  Attributes:
    width: channels of the last cell.
  """

  width: int

  @nn.compact
  def __call__(self, states: tuple[State, ...], noise: Array) -> tuple[tuple[State, ...], Array]:
    """states of the cells, noise [batch, 1, 1, numbers] -> the next states, and a frame [batch, 64,
    64, 3] in (-1, 1)."""
    x, after = noise, []
    for (multiple, side), state in zip(CELLS, states):
      after.append(Cell(multiple * self.width, side)(state, x))
      x = after[-1][1]
    colors = Conv(3, (3, 3), use_bias=False, kernel_init=torch_init)(x)
    return tuple(after), jnp.tanh(colors)


class Generator(nn.Module):
  """One draw of noise to a clip, frame by frame.

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
    batch = len(image)
    noise = jax.random.normal(self.make_rng('noise'), (batch, 1, 1, self.noise), image.dtype)
    empty = (jnp.zeros((batch, side, side, many * self.width), image.dtype) for many, side in CELLS)
    states = tuple((zeros, zeros) for zeros in empty)
    in_time = nn.scan(
      Frame,
      variable_broadcast='params',
      split_rngs={'params': False},
      in_axes=nn.broadcast,
      length=self.frames,
    )
    _, frames = in_time(self.width, name='frame')(states, noise)
    return Generated(rearrange(frames, 't b h w c -> b t h w c'))


def build(
  config: Config,
  identity: IdentityEncoder | None,
  optimizer: optax.GradientTransformation,
  axis_name: str | None,
) -> System:
  """Assembles RV-GAN, which uses no face network and no batch statistics."""
  del identity, axis_name
  return System(
    generator=Generator(config.model.width, config.model.noise),
    optimizer=optimizer,
    critics=g3an.critics(config, optimizer),
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
