"""VDSM (Vowels, Camgoz and Bowden, "VDSM: Unsupervised Video Disentanglement with State-Space
Modeling and Deep Mixtures of Experts", 2021): a variational auto-encoder that splits a clip into
who is seen, a pose per frame, and one action, from which the poses follow.

Layers and objective as in the authors' code. There is no critic. Who is seen is a mixture of 15
experts: the decoder's kernels are the mean of theirs. It knows no label: a clip of an unseen person
and a label is made of that person's mixture and of the mean action of the label's training clips.
"""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy
from einops import rearrange, repeat

from fevgan_jax.faces.labels import NUM_LABELS
from fevgan_jax.identity import IdentityEncoder
from fevgan_jax.models.parts.layers import Conv, torch_init
from fevgan_jax.models.parts.recipe import Config, Recipe
from fevgan_jax.models.parts.system import Generated, System, Term
from fevgan_jax.runtime import conv

Array = jax.Array
Normal = tuple[Array, Array]  # its mean and its standard deviation

POSE, EXPERTS, ACTION = 30, 15, 50  # numbers
LAYERS = 3  # of each LSTM
MEMORY = 0.99  # of the mean action of a label, from step to step

leaky = functools.partial(nn.leaky_relu, negative_slope=0.01)
linear = functools.partial(nn.Dense, kernel_init=torch_init)


def defaults() -> Config:
  """Its sections of the configuration: its authors' values."""
  return Config(
    {
      'model': {
        'width': 512,  # channels of the decoder's first layer: 512-256-128-64
        'hidden': 512,  # numbers of each LSTM's state
        # of the encoder's rectifiers below 0; 1 is no rectifier at all, and what their code has
        'slope': 1.0,
        'steps': 12500,  # that the weights of the divergences and the temperature change over
      },
      'loss': {
        'reconstruction': 1.0,  # of both likelihoods
        'divergence': 1.0,  # of all four divergences, beside their own weights
      },
    }
  )


def published(config: Config) -> None:
  """What its code trains with.

  Departures: both of its stages are trained in the same steps, as many of each, where its second
  has 400; the second has the first one's decoder and people as they are and moves neither, its code
  goes on with people; 10 clips and 1e-3 throughout, theirs are 6 and 8e-4 in one stage each; 32
  frames, theirs are 20 of every second; no mirroring of single frames; at the first frame the prior
  has the weight of the others; the weights of the second stage's divergences are those at its end,
  1; biases and LSTMs start as Flax has them; a label's action is the mean over its training clips
  as they come, older ones fading, of which its code has none.
  """
  config.batch_size = 10
  config.optimizer.learning_rate = 1e-3
  config.optimizer.b1 = 0.9
  config.optimizer.b2 = 0.999


def short_run(config: Config) -> None:
  """A quarter of the width, rectifiers that rectify, and everything sooner; but the learning rate
  stays, for poses are learned last."""
  config.model.width = 128
  config.model.hidden = 128
  config.model.slope = 0.01
  config.model.steps = 720
  config.optimizer.schedule = 'constant'


# Over the first stage, by share of it: of who is seen, cosine; and the temperature of the mixture.
SHARES = np.linspace(0, 1, 101)
OF_PEOPLE = 0.55 - 0.45 * np.cos(np.pi * np.minimum(SHARES / 0.336, 1))
TEMPERATURES = 5.5 - 4.5 * np.cos(np.pi * np.minimum(SHARES / 0.5, 1))


def of_poses() -> np.ndarray:
  """Likewise: the quadratic spline of their code, which falls to its floor in the middle."""
  shares, weights = (0, 125 / 250, 200 / 250, 249 / 250), (30, 0.2, 0.4, 1)
  spline = scipy.interpolate.interp1d(shares, weights, 'quadratic', fill_value='extrapolate')
  return spline(SHARES).clip(0.005, 80)


def log_density(x: Array, of: Normal) -> Array:
  """Of a normal distribution, summed over the last axis."""
  x, mean, deviation = (jnp.asarray(value, jnp.float32) for value in (x, *of))
  return jax.scipy.stats.norm.logpdf(x, mean, deviation).sum(-1)


def draw(of: Normal, noise: Array) -> Array:
  mean, deviation = of
  return mean + deviation * noise


def positive(x: Array) -> Array:
  """A standard deviation that no logarithm is infinite of."""
  return nn.softplus(x) + 1e-4


def blur_pool(x: Array) -> Array:
  """[batch, height, width, channels], blurred by a binomial filter of four taps and halved."""
  taps = 1 / 8, 3 / 8, 3 / 8, 1 / 8
  x = jnp.pad(x, ((0, 0), (1, 2), (1, 2), (0, 0)), 'reflect')
  rows = (x.shape[1] - 4) // 2 + 1
  x = sum(tap * x[:, i : i + 2 * rows : 2][:, :rows] for i, tap in enumerate(taps))
  return sum(tap * x[:, :, i : i + 2 * rows : 2][:, :, :rows] for i, tap in enumerate(taps))


class Encoder(nn.Module):
  """Frames to their poses and to who is seen in each.

  Attributes:
    slope: of rectifiers below 0.
  """

  slope: float

  @nn.compact
  def __call__(self, frames: Array) -> tuple[Normal, Normal]:
    """[frames, 64, 64, 3] in [0, 1] -> [frames, POSE] and [frames, EXPERTS]."""
    x = frames
    rectified = functools.partial(nn.leaky_relu, negative_slope=self.slope)
    for channels in (32, 32, 64, 64):  # without strides, XLA's own convolution is fast everywhere
      x = blur_pool(rectified(nn.Conv(channels, (4, 4), padding=1, kernel_init=torch_init)(x)))
    x = rectified(Conv(256, (4, 4), padding=0, kernel_init=torch_init)(x))[:, 0, 0]
    pose = jnp.split(linear(2 * POSE)(x), 2, -1)
    who = jnp.split(linear(2 * EXPERTS)(leaky(linear(128)(x))), 2, -1)
    return (pose[0], positive(pose[1])), (who[0], positive(who[1]))


class Person(nn.Module):
  """What the frames of a clip say of who is seen, together."""

  @nn.compact
  def __call__(self, who: Normal) -> Normal:
    """[batch, time, EXPERTS] -> [batch, EXPERTS]."""
    mean, deviation = leaky(linear(EXPERTS)(who[0])), positive(linear(EXPERTS)(who[1]))
    return mean.mean(1), deviation.mean(1)


class Experts(nn.Module):
  """The kernels and biases of the decoder's five layers, of every expert.

  Attributes:
    width: channels of the first layer.
  """

  width: int

  @nn.compact
  def __call__(self) -> list[tuple[Array, Array]]:
    channels = [POSE + EXPERTS, *(self.width // divisor for divisor in (1, 2, 4, 8)), 3]
    layers = []
    for i, (come, gone) in enumerate(zip(channels, channels[1:])):
      bound = (come * gone * 16) ** -0.5  # PyTorch's default, as it counts in five dimensions
      init = nn.initializers.uniform(2 * bound)
      kernel = self.param(f'kernel_{i}', init, (EXPERTS, 4, 4, gone, come)) - bound
      layers.append((kernel, self.param(f'bias_{i}', nn.initializers.zeros, (EXPERTS, gone))))
    return layers


def decode(layers: list[tuple[Array, Array]], pose: Array, mixture: Array) -> Array:
  """The frames of poses [batch, time, POSE] of people, mixtures of experts [batch, EXPERTS] ->
  logits of pixels in [0, 1], [batch, time, 64, 64, 3]."""

  def of_clip(pose: Array, mixture: Array) -> Array:
    x = jnp.concatenate([pose, repeat(mixture, 'k -> t k', t=len(pose))], -1)[:, None, None]
    for i, (kernels, biases) in enumerate(layers):
      kernel, bias = (jnp.tensordot(mixture, of, 1) for of in (kernels, biases))
      strides, padding = ((2, 2), 1) if i else ((1, 1), 0)
      x = leaky(x) if i else x
      x = conv.transposed_conv(x, kernel, strides, [(padding, padding)] * 2) + bias
    return x

  return jax.vmap(of_clip)(pose, mixture)


class Action(nn.Module):
  """The poses of a clip to its action: an LSTM of three layers that reads both ways.

  Attributes:
    hidden: numbers of a state.
  """

  hidden: int

  @nn.compact
  def __call__(self, pose: Array, train: bool) -> Normal:
    """[batch, time, POSE] -> [batch, ACTION]."""
    x, ends = pose, []
    for layer in range(LAYERS):
      ways = []
      for way in ('forth', 'back'):
        begin = self.param(f'begin_{layer}_{way}', nn.initializers.zeros, (2, self.hidden))
        states = tuple(repeat(begin.astype(pose.dtype), 's h -> s b h', b=len(pose)))
        cell = nn.OptimizedLSTMCell(self.hidden, name=f'{way}_{layer}')
        reading = nn.RNN(cell, return_carry=True, reverse=way == 'back', keep_order=True)
        (_, end), said = reading(x, initial_carry=states)
        ends.append(end)
        ways.append(said)
      x = jnp.concatenate(ways, -1)
      if layer < LAYERS - 1:
        x = nn.Dropout(0.2, deterministic=not train, rng_collection='noise')(x)
    mean, deviation = jnp.split(linear(2 * ACTION)(jnp.concatenate(ends, -1)), 2, -1)
    return leaky(mean), positive(deviation)


class Moment(nn.Module):
  """One time step: the LSTM that an action starts, which hears what it said last, and the pose
  that follows from what it says and from the pose before.

  Attributes:
    hidden: numbers of a state.
  """

  hidden: int

  @nn.compact
  def __call__(self, carry: tuple, noise: Array, action: Array) -> tuple:
    """The carry is the LSTMs' states, what they said, and the pose before. noise [batch, POSE] ->
    the next carry, and the pose, its distribution and that which is expected of it."""
    states, said, before = carry
    after = []
    for i, state in enumerate(states):
      state, said = nn.OptimizedLSTMCell(self.hidden, name=f'lstm_{i}')(state, said)
      after.append(state)
    heard = leaky(linear(self.hidden)(jnp.concatenate([said, action], -1)))
    mixed = (jnp.tanh(linear(self.hidden)(before)) + heard) / 2
    pose_of = linear(POSE)(mixed), positive(linear(POSE)(mixed))
    pose = draw(pose_of, noise)

    known = jnp.concatenate([before, action], -1)
    gate = nn.sigmoid(linear(POSE)(nn.relu(linear(self.hidden)(known))))
    change = linear(POSE)(nn.relu(linear(self.hidden)(known)))
    mean = (1 - gate) * linear(POSE)(before) + gate * change
    expected = mean, positive(linear(POSE)(nn.relu(change)))
    return (tuple(after), said, pose), (pose, pose_of, expected)


class Dynamics(nn.Module):
  """The poses of an action.

  Attributes:
    hidden: numbers of a state.
  """

  hidden: int

  @nn.compact
  def __call__(self, action: Array, noise: Array) -> tuple[Array, Normal, Normal]:
    """action [batch, ACTION], noise [batch, time, POSE], 0 for the means -> poses [batch, time,
    POSE], their distributions, and those that are expected of them, N(0, 1) of the first."""
    batch, zeros = len(action), nn.initializers.zeros
    begins = [linear(LAYERS * self.hidden)(action) for _ in range(2)]
    begins = [rearrange(begin, 'b (l h) -> l b h', l=LAYERS) for begin in begins]
    said, before = (
      repeat(self.param(name, zeros, (size,)).astype(action.dtype), 'n -> b n', b=batch)
      for name, size in (('said', self.hidden), ('before', POSE))
    )
    in_time = nn.scan(
      Moment,
      variable_broadcast='params',
      split_rngs={'params': False},
      in_axes=(1, nn.broadcast),
      out_axes=1,
    )
    carry = tuple(zip(*begins)), said, before
    _, (pose, pose_of, expected) = in_time(self.hidden, name='moment')(carry, noise, action)
    first = jnp.zeros_like(pose[:, :1]), jnp.ones_like(pose[:, :1])
    return pose, pose_of, tuple(jnp.concatenate([a, b[:, 1:]], 1) for a, b in zip(first, expected))


class Generator(nn.Module):
  """The whole: from a clip to what it is made of and back, or from a picture and a label to a clip.

  Attributes:
    width: of the decoder.
    hidden: of the LSTMs.
    slope: of the encoder.
    steps: over which weights and temperature change.
    axis_name: the device axis.
    frames: of a clip.
  """

  width: int
  hidden: int
  slope: float
  steps: int
  axis_name: str | None
  frames: int = 32

  @nn.compact
  def __call__(
    self,
    image: Array,
    label: Array,
    features: Array | None,
    train: bool,
    video: Array | None = None,
  ) -> Generated:
    """image [batch, 64, 64, 3], label [batch, 6] -> a clip, all draws being means.

    With the real clips, [batch, 32, 64, 64, 3], the clips that their actions make, and as extras,
    each [batch] and per pixel of a clip: the negative logarithms of 'frames_likelihood', of frames
    from their own poses, and 'clip_likelihood', of the clip from its action; and, weighted, the
    divergences 'person', 'poses', 'action' and 'motion'.
    """
    del features
    encoder, person = Encoder(self.slope, name='encoder'), Person(name='person')
    action_of, dynamics = Action(self.hidden, name='action'), Dynamics(self.hidden, name='dynamics')
    layers = Experts(self.width, name='experts')()
    steps = self.variable('batch_stats', 'steps', jnp.zeros, ())
    actions = self.variable('batch_stats', 'actions', jnp.zeros, (NUM_LABELS, ACTION))
    counts = self.variable('batch_stats', 'counts', jnp.zeros, (NUM_LABELS,))

    def noise(*shape: int) -> Array:
      return jax.random.normal(self.make_rng('noise'), shape, image.dtype)

    share = steps.value / self.steps
    weight_of_people, weight_of_poses, temperature = (
      jnp.interp(share, SHARES, of) for of in (OF_PEOPLE, of_poses(), TEMPERATURES)
    )

    def mixed(person: Array) -> Array:
      return nn.softmax(temperature * person).astype(image.dtype)

    if video is None:
      _, who = encoder((image + 1) / 2)
      mixture = mixed(person(tuple(x[:, None] for x in who))[0])
      action = label @ (actions.value / jnp.maximum(counts.value, 1e-6)[:, None])
      still = jnp.zeros((len(image), self.frames, POSE), image.dtype)
      if self.is_initializing():
        action_of(still, train)
      pose, *_ = dynamics(action.astype(image.dtype), still)
      return Generated(2 * nn.sigmoid(decode(layers, pose, mixture)) - 1)

    batch, pixels = len(video), (video + 1) / 2
    pose_of, who = jax.tree.map(
      lambda x: rearrange(x, '(b t) n -> b t n', b=batch),
      encoder(rearrange(pixels.astype(image.dtype), 'b t ... -> (b t) ...')),
    )
    who = person(who)
    drawn = draw(who, noise(batch, EXPERTS))
    mixture = mixed(drawn)
    pose = draw(pose_of, noise(batch, self.frames, POSE))

    def likelihood(logits: Array) -> Array:
      return optax.sigmoid_binary_cross_entropy(logits.astype(jnp.float32), pixels).sum(
        (1, 2, 3, 4)
      )

    def divergence(x: Array, said: Normal, expected: Normal) -> Array:
      difference = log_density(x, said) - log_density(x, expected)
      return difference.sum(1) if difference.ndim > 1 else difference

    # The second stage: of the first it learns, and does not move it.
    action_said = action_of(jax.lax.stop_gradient(pose_of[0]), train)
    action = draw(action_said, noise(batch, ACTION))
    moved, moved_of, expected = dynamics(action, noise(batch, self.frames, POSE))
    fixed, seen = jax.lax.stop_gradient((layers, mixture))
    logits = decode(fixed, moved, seen)
    extras = {
      'frames_likelihood': likelihood(decode(layers, pose, mixture)),
      'clip_likelihood': likelihood(logits),
      'person': weight_of_people * divergence(drawn, who, (0.0, 1 / EXPERTS)),
      'poses': weight_of_poses * divergence(pose, pose_of, (0.0, 1.0)),
      'action': divergence(action, action_said, (0.0, 1 / ACTION)),
      'motion': divergence(moved, moved_of, expected),
    }
    if train and not self.is_initializing():  # older ones fade: what an action means changes
      found = label.T @ action_said[0], label.sum(0)
      if self.axis_name:
        found = jax.lax.pmean(found, self.axis_name)
      for known, new in zip((actions, counts), found):
        known.value = MEMORY * known.value + new.astype(jnp.float32)
      steps.value += 1
    extras = {name: x / pixels[0].size for name, x in extras.items()}
    return Generated(2 * nn.sigmoid(logits) - 1, extras)


def build(
  config: Config,
  identity: IdentityEncoder | None,
  optimizer: optax.GradientTransformation,
  axis_name: str | None,
) -> System:
  """Assembles VDSM, which uses no face network and has no critic."""
  del identity
  model = config.model

  def extra(name: str) -> Callable[..., Array]:
    return lambda example, generated, *_: generated.extras[name].mean()

  weights = dict.fromkeys(('frames_likelihood', 'clip_likelihood'), config.loss.reconstruction)
  weights |= dict.fromkeys(('person', 'poses', 'action', 'motion'), config.loss.divergence)
  return System(
    generator=Generator(model.width, model.hidden, model.slope, model.steps, axis_name),
    optimizer=optimizer,
    critics={},
    terms={name: Term(weight, extra(name)) for name, weight in weights.items()},
    given=('video',),
  )


RECIPE = Recipe(
  title='VDSM',
  conditions=('image', 'label'),
  defaults=defaults,
  build=build,
  published=published,
  short_run=short_run,
)
