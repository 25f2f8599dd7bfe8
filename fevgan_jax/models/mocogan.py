"""MoCoGAN (Tulyakov et al., 2018): a clip's content stays, its motion is drawn frame by frame, and
every frame is an image by itself. Neither sees the input image.

Layers as in the authors' code, with its two critics: of patches of a single frame, and of clips,
which tells the label too.
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from einops import rearrange, repeat

from fevgan_jax.identity import IdentityEncoder
from fevgan_jax.models.parts.layers import Conv, UpConv, batch_norm, leaky_relu, torch_init
from fevgan_jax.models.parts.recipe import Config, Recipe
from fevgan_jax.models.parts.system import Critic, Generated, System, Verdict, whole_clip
from fevgan_jax.runtime.errors import UserError

Array = jax.Array


def defaults() -> Config:
  """Its sections of the configuration: its authors' values, but for `critic.frames`."""
  return Config(
    {
      'model': {
        'width': 64,  # channels of the frame decoder's last hidden layer: 512-256-128-64
        'content': 50,  # numbers from N(0, 1) per clip
        'motion': 10,  # numbers from N(0, 1) per frame, and of the recurrent network
      },
      'critic': {
        'width': 64,  # channels of the first layer of both critics
        # of a clip, that the video critic sees: 16, every second one, as its authors train it; or
        # 32, of which it judges every 16 that follow each other
        'frames': 32,
        'judges_before_update': False,  # the generator is judged by the updated critics
      },
      'loss': {
        'adversarial': 1.0,  # weight of both critics' verdicts
        # weight of the cross-entropy of the label in the video critic's loss and the generator's
        'label': 1.0,
      },
    }
  )


def published(config: Config) -> None:
  """What its code trains with.

  Departures: batches of `batch_size` clips, the image critic on one random frame of each, where
  theirs has batches of its own (10 images, 3 videos); the labels of the batch, where theirs draws
  some; the generator is judged on the clips that the critics have just seen, where theirs generates
  anew; 32 frames, where theirs trains on 16, every second one; Algorithm 1's schedule, epochs for
  their 100,000 iterations.
  """
  config.optimizer.learning_rate = 2e-4
  config.optimizer.b1 = 0.5
  config.optimizer.b2 = 0.999
  config.optimizer.weight_decay = 1e-5


def short_run(config: Config) -> None:
  config.model.width = config.critic.width = 32
  config.critic.frames = 16  # less than half of the time


class MotionCode(nn.Module):
  """R_M: a recurrent network that turns independent noise into a path.

  Flax's cell is PyTorch's, less the second biases of two gates, which only add to the first.

  Attributes:
    size: numbers per frame, of noise and of code.
  """

  size: int

  @nn.compact
  def __call__(self, start: Array, noise: Array) -> Array:
    """start [batch, size], noise [batch, frames, size], both N(0, 1) -> [batch, frames, size]."""
    cell = nn.GRUCell(self.size, kernel_init=torch_init, recurrent_kernel_init=torch_init)
    return nn.RNN(cell)(noise, initial_carry=start)


class FrameDecoder(nn.Module):
  """G_I: one code to one frame, five transposed 2-D convolutions, DCGAN's.

  Attributes:
    width: channels of the last hidden layer; every layer before it has twice as many.
    norm: makes a batch normalization for a mode.
  """

  width: int
  norm: Callable[[bool], nn.Module]

  @nn.compact
  def __call__(self, code: Array, train: bool) -> Array:
    """[frames, numbers] -> [frames, 64, 64, 3] in (-1, 1)."""
    x = rearrange(code, 'n c -> n 1 1 c')
    x = UpConv(8 * self.width, (4, 4), (1, 1), 0, use_bias=False, kernel_init=torch_init)(x)
    x = nn.relu(self.norm(train)(x))
    for multiple in (4, 2, 1):
      x = UpConv(multiple * self.width, (4, 4), (2, 2), use_bias=False, kernel_init=torch_init)(x)
      x = nn.relu(self.norm(train)(x))
    return jnp.tanh(UpConv(3, (4, 4), (2, 2), use_bias=False, kernel_init=torch_init)(x))


class Generator(nn.Module):
  """Content of the clip, its label, and the motion of each frame to frames.

  Attributes:
    width: of the frame decoder.
    content: numbers of noise that a clip keeps.
    motion: numbers of code per frame.
    norm: makes a batch normalization for a mode.
    frames: of a clip.
  """

  width: int
  content: int
  motion: int
  norm: Callable[[bool], nn.Module]
  frames: int = 32

  @nn.compact
  def __call__(self, image: Array, label: Array, features: None, train: bool) -> Generated:
    """label [batch, 6]; the image is not looked at."""
    del image, features
    batch, kind = label.shape[0], label.dtype
    content_key, start_key, motion_key = jax.random.split(self.make_rng('noise'), 3)
    content = jax.random.normal(content_key, (batch, self.content), kind)
    motion = MotionCode(self.motion, name='motion')(
      jax.random.normal(start_key, (batch, self.motion), kind),
      jax.random.normal(motion_key, (batch, self.frames, self.motion), kind),
    )
    still = repeat(jnp.concatenate([content, label], -1), 'b c -> b t c', t=self.frames)
    code = rearrange(jnp.concatenate([still, motion], -1), 'b t c -> (b t) c')
    frames = FrameDecoder(self.width, self.norm, name='decoder')(code, train)
    return Generated(rearrange(frames, '(b t) h w c -> b t h w c', b=batch))


class FrameCritic(nn.Module):
  """D_I: four strided 2-D convolutions, one logit for each of 4x4 patches.

  Attributes:
    width: channels of the first layer; every layer after it has twice as many.
    norm: makes a batch normalization for a mode; none at the first layer and at the logits.
  """

  width: int
  norm: Callable[[bool], nn.Module]

  @nn.compact
  def __call__(self, frame: Array, label: Array, train: bool) -> Array:
    """frame [batch, 64, 64, 3] in [-1, 1] -> logits [batch, 4, 4]."""
    del label
    x = leaky_relu(Conv(self.width, (4, 4), (2, 2), use_bias=False, kernel_init=torch_init)(frame))
    for multiple in (2, 4):
      x = Conv(multiple * self.width, (4, 4), (2, 2), use_bias=False, kernel_init=torch_init)(x)
      x = leaky_relu(self.norm(train)(x))
    x = Conv(1, (4, 4), (2, 2), use_bias=False, kernel_init=torch_init)(x)
    return rearrange(x, 'b h w 1 -> b h w')


class VideoCritic(nn.Module):
  """D_V: five 3-D convolutions, strided in space alone. It judges 16 frames, and a longer clip at
  every place where 16 fit.

  Attributes:
    width: channels of the first layer; every layer after it has twice as many.
    norm: makes a batch normalization for a mode; none at the first layer and at the logits.
  """

  width: int
  norm: Callable[[bool], nn.Module]

  @nn.compact
  def __call__(self, video: Array, label: Array, train: bool) -> Verdict:
    """video [batch, time, 64, 64, 3] in [-1, 1] -> logits [batch, time - 15] and label logits
    [batch, time - 15, 6]. The label only says how many there are."""

    def layer(features: int) -> nn.Module:
      return Conv(
        features, (4, 4, 4), (1, 2, 2), padding=(0, 1, 1), use_bias=False, kernel_init=torch_init
      )

    x = leaky_relu(layer(self.width)(video))
    for multiple in (2, 4, 8):
      x = leaky_relu(self.norm(train)(layer(multiple * self.width)(x)))
    logits = Conv(
      1 + label.shape[-1], (4, 4, 4), (1, 1, 1), padding=0, use_bias=False, kernel_init=torch_init
    )(x)
    logits = rearrange(logits, 'b t 1 1 c -> b t c')
    return Verdict(logits[..., 0], logits[..., 1:])


def frame_of_each(video: Array, rng: Array) -> Array:
  """One random frame of every clip: [batch, time, ...] -> [batch, ...]."""
  batch, time = video.shape[:2]
  return video[jnp.arange(batch), jax.random.randint(rng, (batch,), 0, time)]


def every_second(video: Array, rng: Array) -> Array:
  """Every second frame from a random one of the first two: [batch, time, ...] -> [batch, time / 2,
  ...]."""
  first = jax.random.randint(rng, (), 0, 2)
  return jnp.where(first == 0, video[:, ::2], video[:, 1::2])


def build(
  config: Config,
  identity: IdentityEncoder | None,
  optimizer: optax.GradientTransformation,
  axis_name: str | None,
) -> System:
  """Assembles MoCoGAN, which uses no face network."""
  del identity
  views = {32: whole_clip, 16: every_second}
  if config.critic.frames not in views:
    raise UserError(f'config.critic.frames: {config.critic.frames}, expected 32 or 16')
  norm = batch_norm(config.norm, axis_name)
  width = config.critic.width
  return System(
    generator=Generator(config.model.width, config.model.content, config.model.motion, norm),
    optimizer=optimizer,
    critics={
      'image_critic': Critic(FrameCritic(width, norm), optimizer, frame_of_each),
      'video_critic': Critic(
        VideoCritic(width, norm), optimizer, views[config.critic.frames], config.loss.label
      ),
    },
    terms={},
    adversarial_weight=config.loss.adversarial,
    judges_before_update=config.critic.judges_before_update,
  )


RECIPE = Recipe(
  title='MoCoGAN',
  conditions=('label',),
  defaults=defaults,
  build=build,
  published=published,
  short_run=short_run,
  paper={'mug': {(): (18.16, 0.58, 0.15, 0.90)}},
)
