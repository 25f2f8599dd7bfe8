"""MotionGAN and TextureGAN (Otberdout, Daoudi, Kacem, Ballihi and Berretti, "Dynamic Facial
Expression Generation on Hilbert Hypersphere with Conditional Wasserstein Generative Adversarial
Nets", 2019): a motion of landmarks first, then a picture for each of its frames.

MotionGAN's layers are those of the authors' published code of 2022, which does the same with other
landmarks. Nothing has been published of TextureGAN but that it is a conditional GAN from picture to
picture: ours is pix2pix (Isola et al., 2017). A small network finds the landmarks of the input,
where the authors have a tracker. None of the three needs another's result to learn, since each is
taught with the landmarks of real clips: they are trained in the same steps.

It learns from data sets that know landmarks; to generate, it needs a picture and a label.
"""

import functools
import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from einops import rearrange, repeat

from fevgan_jax.faces import crop
from fevgan_jax.faces.labels import NUM_LABELS
from fevgan_jax.identity import IdentityEncoder
from fevgan_jax.models.parts import hypersphere, losses
from fevgan_jax.models.parts.layers import Conv, UpConv, batch_norm, dcgan_init, leaky_relu
from fevgan_jax.models.parts.recipe import Config, Recipe
from fevgan_jax.models.parts.system import Critic, Example, Generated, System, Term

Array = jax.Array
Norm = Callable[[bool], nn.Module]

POINTS = len(crop.TEMPLATE)  # landmarks of a face
# What TextureGAN is shown one map each of: the landmarks of the jaw, the brows, the nose, both
# edges of the lids, and those of the outer and the inner outline of the lips.
PARTS = (
  range(17),
  range(17, 27),
  range(27, 36),
  (36, 37, 38, 39, 42, 43, 44, 45),
  (36, 39, 40, 41, 42, 45, 46, 47),
  range(48, 55),
  (48, 54, 55, 56, 57, 58, 59),
  range(60, 65),
  (60, 64, 65, 66, 67),
)


def defaults() -> Config:
  """Its sections of the configuration. MotionGAN's values are its authors' of 2022, TextureGAN's
  are pix2pix's."""
  return Config(
    {
      'model': {
        'width': 1024,  # channels of MotionGAN's first layer: 1024-512-256-128-64
        'texture_width': 64,  # of TextureGAN's first layer: 64-128-256-512-512-512
        'noise': 128,  # numbers from N(0, 1) per clip
        'frames': 4,  # of each clip that TextureGAN paints at a step, at random times
      },
      'critic': {
        'width': 64,  # of the critic of motions: 64-32-16
        'texture_width': 64,  # of the critic of frames: 64-128-256
        'steps': 4,  # of the critic of motions for each of the generator's
        'gradient_penalty': 10.0,
        'judges_before_update': False,
      },
      'loss': {
        'adversarial': 1.0,  # weight of both critics' verdicts
        'motion': 10.0,  # of the mean |difference| of tangent vectors
        'angle': 10.0,  # of the angle between motions, in radians
        'texture': 100.0,  # of the mean |difference| of frames
        'landmarks': 1.0,  # of the error of the input's landmarks, in pixels; ours
      },
    }
  )


def published(config: Config) -> None:
  """What the authors' code of 2022 trains with.

  Departures: 32 frames and 68 landmarks in two dimensions, as in 2019; forward differences, whose
  inverse is exact, where theirs travels 3% too far; clips keep their timing, theirs are resampled
  to a constant speed; the label is one-hot, theirs has three random numbers for each, the right
  ones positive; the critic normalizes the channels of each place, theirs over the batch, of which
  the gradient penalty knows nothing; its four steps come before the generator's and see the same
  generated motions; what the generator says is projected to the tangent space; the reference point
  is the mean of all training motions, as in 2019, but learned as they come; of pix2pix there is no
  dropout, and its critic has a layer less; a motion ends as far away as the label's training clips
  do on average, theirs have a length set by hand; one learning rate and one b2 for all networks,
  MotionGAN's are 1e-4 at most and 0.9.
  """
  config.batch_size = 64
  config.optimizer.learning_rate = 2e-4
  config.optimizer.b1 = 0.5
  config.optimizer.b2 = 0.999


def short_run(config: Config) -> None:
  """An eighth of MotionGAN's width and half of TextureGAN's."""
  config.model.width = 128
  config.model.texture_width = 32
  config.critic.width = 32
  config.critic.texture_width = 32


# Of MotionGAN's convolutions, and of its dense layers: N(0, (in * out)^-1/4).
small_init = nn.initializers.truncated_normal(0.02)


def dense_init(key: Array, shape: tuple[int, int], dtype=jnp.float32) -> Array:
  return (shape[0] * shape[1]) ** -0.25 * jax.random.normal(key, shape, dtype)


def shape(landmarks: Array) -> Array:
  """Landmarks [..., 68, 2] without place and size, as one vector: [..., 136] of norm 1."""
  centered = landmarks - landmarks.mean(-2, keepdims=True)
  return rearrange(centered / size(landmarks)[..., None, None], '... p c -> ... (p c)')


def size(landmarks: Array) -> Array:
  """Of landmarks [..., 68, 2]: the norm about their mean, [...]."""
  return jnp.sqrt(landmarks.var(-2).sum(-1) * landmarks.shape[-2])


def moved(landmarks: Array, motion: Array) -> Array:
  """Landmarks [batch, 68, 2] that make a motion of shapes [batch, time, 136], which begins at 0 ->
  [batch, time, 68, 2]."""
  steps = rearrange(motion, 'b t (p c) -> b t p c', c=2)
  return landmarks[:, None] + size(landmarks)[:, None, None, None] * steps


def maps(landmarks: Array, side: int) -> Array:
  """Landmarks [batch, 68, 2] as pictures that networks see, a dot of a pixel's radius for each:
  [batch, side, side, PARTS] in [0, 1]."""
  centers = jnp.arange(side) + 0.5
  across, down = jnp.moveaxis(jnp.exp(-((landmarks[..., None] - centers) ** 2) / 2), 2, 0)
  drawn = [
    jnp.einsum('bph,bpw->bhw', down[:, np.array(part)], across[:, np.array(part)]) for part in PARTS
  ]
  return jnp.minimum(jnp.stack(drawn, -1), 1)


class Motion(nn.Module):
  """MotionGAN's generator: noise and label to a map of 136 numbers by 32 moments.

  Attributes:
    width: channels of the first layer.
  """

  width: int

  @nn.compact
  def __call__(self, noise: Array, label: Array) -> Array:
    """noise [batch, numbers], label [batch, 6] -> [batch, 31, 136] in (-1, 1)."""
    rows, columns, width = 2 * POINTS // 8, 4, self.width
    conv = functools.partial(nn.Conv, kernel_size=(3, 3), kernel_init=small_init)
    x = nn.relu(nn.Dense(rows * columns * width, kernel_init=dense_init)(joined(noise, label)))
    x = rearrange(x, 'b (h w c) -> b h w c', h=rows, w=columns)
    for _ in range(3):
      width //= 2
      x = repeat(joined(x, label), 'b h w c -> b (h 2) (w 2) c')
      x = nn.relu(conv(width, use_bias=False)(x))
    x = nn.relu(conv(width // 2)(joined(x, label)))
    x = conv(1)(joined(x, label))[:, :, :-1, 0]
    return jnp.tanh(x.swapaxes(1, 2))


class MotionCritic(nn.Module):
  """MotionGAN's critic: a tangent vector and its label to one number.

  Attributes:
    width: channels of the first layer.
  """

  width: int

  @nn.compact
  def __call__(self, motion: Array, label: Array, train: bool) -> Array:
    """motion [batch, 31, 136], label [batch, 6] -> [batch]."""
    del train
    label = one_hot(label)
    x = rearrange(motion, 'b t n -> b n t 1')
    for divisor in (1, 2, 4):
      x = nn.Conv(self.width // divisor, (5, 5), (2, 2), kernel_init=small_init)(joined(x, label))
      x = nn.relu(nn.LayerNorm()(x))
    x = rearrange(joined(x, label), 'b ... -> b (...)')
    x = nn.Dense(16 * self.width, kernel_init=dense_init)(x)
    x = leaky_relu(nn.LayerNorm()(x))
    return nn.Dense(1, kernel_init=dense_init)(joined(x, label))[:, 0]


class Texture(nn.Module):
  """TextureGAN's generator, a U-Net: a neutral face and where its landmarks are and shall be, to a
  frame.

  Attributes:
    width: channels of the first layer.
    norm: makes a batch normalization for a mode.
  """

  width: int
  norm: Norm

  @nn.compact
  def __call__(self, condition: Array, train: bool) -> Array:
    """[batch, 64, 64, 3 + 2 PARTS] -> [batch, 64, 64, 3] in (-1, 1)."""
    halves = {'kernel_size': (4, 4), 'strides': (2, 2), 'kernel_init': dcgan_init}
    down, up = functools.partial(Conv, **halves), functools.partial(UpConv, **halves)
    x = down(self.width)(condition)
    passed = [x]
    for multiple in (2, 4, 8, 8):
      x = self.norm(train)(down(multiple * self.width)(leaky_relu(x)))
      passed.append(x)
    x = down(8 * self.width)(leaky_relu(x))
    for multiple in (8, 8, 4, 2, 1):
      x = self.norm(train)(up(multiple * self.width)(nn.relu(x)))
      x = jnp.concatenate([x, passed.pop()], -1)
    return jnp.tanh(up(3)(nn.relu(x)))


class TextureCritic(nn.Module):
  """TextureGAN's critic: a frame and what it was painted from, patch by patch.

  Attributes:
    width: channels of the first layer.
    norm: makes a batch normalization for a mode.
  """

  width: int
  norm: Norm

  @nn.compact
  def __call__(self, seen: Array, label: Array, train: bool) -> Array:
    """seen [batch, 64, 64, channels] -> logits [batch, 14, 14]."""
    del label
    conv = functools.partial(Conv, kernel_size=(4, 4), kernel_init=dcgan_init)
    x = leaky_relu(conv(self.width, strides=(2, 2))(seen))
    x = leaky_relu(self.norm(train)(conv(2 * self.width, strides=(2, 2))(x)))
    x = leaky_relu(self.norm(train)(conv(4 * self.width)(x)))
    return conv(1)(x)[..., 0]


class Finder(nn.Module):
  """Where the landmarks of an aligned face are. Ours.

  Attributes:
    norm: makes a batch normalization for a mode.
  """

  norm: Norm

  @nn.compact
  def __call__(self, image: Array, train: bool) -> Array:
    """[batch, 64, 64, 3] in [-1, 1] -> [batch, 68, 2] in pixels, to the right and down."""
    x = image
    for width in (32, 64, 128, 128):
      x = Conv(width, (4, 4), (2, 2), use_bias=False, kernel_init=dcgan_init)(x)
      x = leaky_relu(self.norm(train)(x))
    x = nn.Dense(2 * POINTS)(rearrange(x, 'b h w c -> b (h w c)'))
    return crop.TEMPLATE.astype(np.float32) + rearrange(x, 'b (p c) -> b p c', c=2)


class Known(nn.Module):
  """What is known of the motions of the training clips, and better with every batch: their mean on
  the sphere, by the inductive rule (each batch moves it towards its own mean by its share of all
  that was seen), and how far those of each label end from where they begin. Their mean length would
  be too long: it has all of a head's trembling in it, and what is generated does not tremble.

  Attributes:
    axis_name: the device axis.
  """

  axis_name: str | None

  @nn.compact
  def __call__(
    self, label: Array, functions: Array | None = None, ways: Array | None = None
  ) -> tuple[Array, Array]:
    """label [batch, 6], and to learn from real clips their functions [batch, 31, 136] and how far
    they go, [batch] -> the mean [31, 136], and how far each label goes at intensity 1, [6]."""
    somewhere = jnp.full((31, 2 * POINTS), (2 * POINTS) ** -0.5)
    steps = self.variable('batch_stats', 'steps', jnp.zeros, ())
    mean = self.variable('batch_stats', 'mean', lambda: somewhere)
    travelled = self.variable('batch_stats', 'travelled', jnp.zeros, NUM_LABELS)
    intensities = self.variable('batch_stats', 'intensities', jnp.zeros, NUM_LABELS)
    if functions is not None and not self.is_initializing():
      name = self.axis_name
      over_devices = (lambda x: jax.lax.pmean(x, name)) if name else (lambda x: x)
      first = hypersphere.normalized(over_devices(functions.mean(0)))
      start = jnp.where(steps.value == 0, first, mean.value)
      way = over_devices(hypersphere.log(start, functions).mean(0)) / (steps.value + 1)
      mean.value = hypersphere.normalized(hypersphere.exp(start, way))
      travelled.value += over_devices((one_hot(label) * ways[:, None]).sum(0))
      intensities.value += over_devices(label.sum(0))
      steps.value += 1
    seen = jnp.maximum(intensities.value, 1e-6)
    return mean.value, travelled.value / seen


class Generator(nn.Module):
  """A motion, the landmarks that make it, and their pictures.

  Attributes:
    width: of MotionGAN.
    texture_width: of TextureGAN.
    noise: numbers from N(0, 1) per clip, out of the random stream 'noise'.
    frames: that are painted of a clip in training.
    norm: makes a batch normalization for a mode.
    axis_name: the device axis.
    clip_frames: of a clip.
  """

  width: int
  texture_width: int
  noise: int
  frames: int
  norm: Norm
  axis_name: str | None
  clip_frames: int = 32

  @nn.compact
  def __call__(
    self,
    image: Array,
    label: Array,
    features: Array | None,
    train: bool,
    landmarks: Array | None = None,
  ) -> Generated:
    """image [batch, 64, 64, 3], label [batch, 6]. Without landmarks a clip: those of the input, as
    they are found, make a motion that goes as far as the label's do, times the intensity. They are
    its extra 'landmarks', [batch, 32, 68, 2] in pixels.

    With those of real clips, [batch, 32, 68, 2], some of their frames, painted from these, and as
    extras what the losses compare: 'chosen' [batch, frames, 32], one-hot; 'condition', what they
    were painted from; 'found', the input's landmarks; 'motion' and 'real_motion' [batch, 31, 136],
    tangent vectors at the mean motion, and the 'angle' between them, [batch].
    """
    del features
    batch, which = len(image), one_hot(label)
    known = Known(self.axis_name, name='known')
    texture = Texture(self.texture_width, self.norm, name='texture')
    found = Finder(self.norm, name='finder')(image, train).astype(jnp.float32)
    noise = jax.random.normal(self.make_rng('noise'), (batch, self.noise), image.dtype)
    said = Motion(self.width, name='motion')(noise, which).astype(jnp.float32)

    def paint(neutral: Array, wanted: Array) -> tuple[Array, Array]:
      """Landmarks [batch, 68, 2] and [batch, frames, 68, 2] -> frames, and what they are of."""
      side, many = image.shape[1], wanted.shape[1]
      still = jnp.concatenate([image, maps(neutral, side).astype(image.dtype)], -1)
      still = repeat(still, 'b ... -> (b t) ...', t=many)
      drawn = maps(rearrange(wanted, 'b t ... -> (b t) ...'), side).astype(image.dtype)
      condition = jnp.concatenate([still, drawn], -1)
      return rearrange(texture(condition, train), '(b t) ... -> b t ...', t=many), condition

    if landmarks is None:
      mean, ways = known(label)
      function = hypersphere.exp(mean, hypersphere.tangent(mean, said))
      motion = hypersphere.to_curve(function, jnp.ones(batch))
      way = (label.astype(jnp.float32) * ways).sum(-1)
      way /= jnp.linalg.norm(motion[:, -1], axis=-1) + 1e-6
      asked = moved(found, way[:, None, None] * motion)
      return Generated(paint(found, asked)[0], {'landmarks': asked})

    shapes = shape(landmarks)
    functions, _ = hypersphere.of_curve(shapes)
    ways = jnp.linalg.norm(shapes[:, -1] - shapes[:, 0], axis=-1)
    mean, _ = known(label, functions, ways)
    function = hypersphere.exp(mean, hypersphere.tangent(mean, said))
    times = jax.random.randint(self.make_rng('noise'), (batch, self.frames), 0, self.clip_frames)
    chosen = jax.nn.one_hot(times, self.clip_frames)
    wanted = jnp.einsum('bkt,btpc->bkpc', chosen, landmarks, precision='highest')
    frames, condition = paint(landmarks[:, 0], wanted)
    extras = {
      'chosen': chosen,
      'condition': condition,
      'found': found,
      'motion': hypersphere.log(mean, function),
      'real_motion': hypersphere.log(mean, functions),
      'angle': hypersphere.angle(functions, function),
    }
    return Generated(frames, extras)


def joined(x: Array, label: Array) -> Array:
  """x [batch, ..., channels] with the label [batch, 6] behind the channels, at every place."""
  tiled = label.reshape(len(label), *(1,) * (x.ndim - 2), -1).astype(x.dtype)
  return jnp.concatenate([x, jnp.broadcast_to(tiled, (*x.shape[:-1], label.shape[-1]))], -1)


def one_hot(label: Array) -> Array:
  """A label times its intensity -> the label alone."""
  return label / jnp.maximum(label.sum(-1, keepdims=True), 1e-6)


def painted(example: Example, generated: Generated) -> tuple[Array, Array]:
  """The real frames that correspond to the generated ones, both [batch, frames, 64, 64, 3]."""
  chosen = generated.extras['chosen']
  real = jnp.einsum('bkt,bthwc->bkhwc', chosen, example.video, precision='highest')
  return real, generated.video


def conditions_and_frames(example: Example, generated: Generated) -> tuple[Array, ...]:
  """What TextureGAN's critic sees."""
  pair = (rearrange(frames, 'b t ... -> (b t) ...') for frames in painted(example, generated))
  return tuple(jnp.concatenate([generated.extras['condition'], frames], -1) for frames in pair)


def motions(example: Example, generated: Generated) -> tuple[Array, Array]:
  """What MotionGAN's critic sees."""
  del example
  return generated.extras['real_motion'], generated.extras['motion']


def build(
  config: Config,
  identity: IdentityEncoder | None,
  optimizer: optax.GradientTransformation,
  axis_name: str | None,
) -> System:
  """Assembles the system, which uses no face network."""
  del identity
  norm = batch_norm(config.norm, axis_name)
  model, critic = config.model, config.critic

  def difference(pair: Callable[[Example, Generated], tuple[Array, Array]]) -> Callable[..., Array]:
    def loss(example: Example, generated: Generated, *_) -> Array:
      real, fake = pair(example, generated)
      return jnp.abs(real - fake).mean()

    return loss

  return System(
    generator=Generator(
      model.width, model.texture_width, model.noise, model.frames, norm, axis_name
    ),
    optimizer=optimizer,
    critics={
      'motion_critic': Critic(
        MotionCritic(critic.width),
        optimizer,
        pair=motions,
        game=losses.WASSERSTEIN,
        gradient_penalty=critic.gradient_penalty,
        steps=critic.steps,
      ),
      'texture_critic': Critic(
        TextureCritic(critic.texture_width, norm), optimizer, pair=conditions_and_frames
      ),
    },
    terms={
      'motion': Term(config.loss.motion, difference(motions)),
      'angle': Term(config.loss.angle, lambda _, generated, *__: generated.extras['angle'].mean()),
      'texture': Term(config.loss.texture, difference(painted)),
      'landmarks': Term(
        config.loss.landmarks,
        difference(lambda example, generated: (example.landmarks[:, 0], generated.extras['found'])),
      ),
    },
    adversarial_weight=config.loss.adversarial,
    judges_before_update=critic.judges_before_update,
    given=('landmarks',),
  )


RECIPE = Recipe(
  title='MotionGAN',
  conditions=('image', 'label', 'intensity'),
  needs=('landmarks',),
  defaults=defaults,
  build=build,
  published=published,
  short_run=short_run,
  # ACD "computed differently"
  paper={
    'mug': {(): (25.9, 0.90, math.nan, math.nan)},
    'oulu_casia': {(): (24.44, 0.89, math.nan, math.nan)},
  },
)
