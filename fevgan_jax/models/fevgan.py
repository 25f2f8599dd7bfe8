"""FEV-GAN (Bouzid and Ballihi, 2022): the networks of section 3, top to bottom, and how they are
trained.

The paper leaves the layers open; these follow from what it fixes (64x64 in, 32x64x64 out, a
five-layer critic that almost inverts the decoder, VGAN's kernels). The decoder has five layers: 1
-> 2 -> 4 -> 8 -> 16 -> 32 in time, and in space from G, the side of the maps that join, to 64.

The paper prints G = 14, which 64 pixels do not halve to and which does not double to 64. The
nearest that fits is 16, where an unseen person has room: the decoder doubles space twice and time
alone three times. G = 4 is the side that VGG-Face's maps have at 64 pixels; there both double
together.

The paper's pictures have S = 64 pixels a side. Each doubling of S makes decoder and critic one
layer deeper, and E_s where four strided layers do not reach GxG. The additional layer of decoder
and critic leaves time as it is, next to the one that touches the pixels, where 3-D convolutions are
cheapest.
"""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from einops import rearrange, repeat

from fevgan_jax.identity import IdentityEncoder
from fevgan_jax.models.parts import losses
from fevgan_jax.models.parts.layers import Conv, UpConv, batch_norm, leaky_relu, normal_init
from fevgan_jax.models.parts.recipe import Config, Recipe
from fevgan_jax.models.parts.system import Critic, Example, Generated, System, Term
from fevgan_jax.runtime import conv
from fevgan_jax.runtime.errors import UserError

Array = jax.Array

GRIDS = 4, 8, 16  # the sides of maps that there are layers for
ORDERS = 'space', 'time'  # which of them a decoder may double first


def defaults() -> Config:
  """Its sections of the configuration, and where in the paper each key comes from."""
  return Config(
    {
      'identity': {
        # E_Id, section 3.1: 'vgg_face', the paper's; 'dlib' needs no file; '' is the ablation
        'network': 'vgg_face',
        'weights': '',  # its weight file; only 'dlib' has one of its own
      },
      'model': {
        # of the decoder: 512-256-128-64 channels; 128 is the wide reading. Not in the paper
        'width': 64,
        # of E_s, 64 to 512 channels ("512 maps", section 3.1); 0 is the ablation
        'spatial_width': 64,
        # how many times as many channels each layer of E_s has as the one before; not in the paper
        'spatial_growth': 4,
        # G, the side of the maps of E_s and E_Id where they join: 4, 8 or 16; 14 in section 3.1
        'grid': 16,
        # what the decoder doubles first where G > 4: 'space', few frames in full detail, which it
        # then spreads over time; or 'time', all frames on the coarse grid. Not in the paper
        'first': 'space',
        # the one-hot label is multiplied by it where it joins the features, section 3.1
        'label_scale': 1.0,
        # the decoder sees its first and last frame repeated beyond the clip, not zeros
        'repeat_edges': False,
      },
      'critic': {
        'width': 64,  # 64-128-256-512 channels. Not in the paper: "almost inverts" the decoder
        # where the label joins: 'input', tiled beside the video, or 'hidden', after the first layer
        'label': 'input',
        # the generator is judged by the critic before its update (line 14 as printed) or after it
        'judges_before_update': False,
      },
      'loss': {
        'adversarial': 1.0,  # of eq. (3) in eq. (1)
        # lambda_1 of eq. (1) on the mean of eq. (4); no value in the paper, ImaGINator's here
        'reconstruction': 100.0,
        'motion_weight': 0.0,  # of moving pixels in eq. (4), see parts/losses.py; not in the paper
        # lambda_2 of eq. (1) on the mean of eq. (5), features at unit scale; no value in the paper
        'identity': 5.0,
        'identity_frames': 4,  # of the clip's 32, section 3.3
        'identity_choice': 'even',  # which: evenly spaced, or 'random' ones at each step
        # what they are compared with: 'image' (eq. 5) or 'video' (Algorithm 1, line 13)
        'identity_target': 'image',
      },
    }
  )


def short_run(config: Config) -> None:
  """A larger learning rate, and a label that is used early, by its scale and by the weight of
  moving pixels."""
  config.identity.network = 'dlib'
  config.model.width = config.model.spatial_width = config.critic.width = 32
  config.model.label_scale = 20.0
  config.model.repeat_edges = True
  config.loss.motion_weight = 2.0
  config.loss.identity_frames = 2
  config.loss.identity_choice = 'random'
  config.optimizer.learning_rate = 5e-4


def long_run(config: Config) -> None:
  """With more clips expressions need less weight, people more."""
  config.loss.motion_weight = 0.5
  config.loss.identity = 10.0


def no_spatial(config: Config) -> None:
  """The ablation "w/o E_s" of Table 3."""
  config.model.spatial_width = 0


def no_identity(config: Config) -> None:
  """The ablation "w/o E_Id" of Table 3."""
  config.identity.network = ''
  config.loss.identity = 0.0


def without(config: Config) -> tuple[str, ...]:
  """Which of the paper's encoders a config leaves out."""
  missing = {'E_s': not config.model.spatial_width, 'E_Id': not config.identity.network}
  return tuple(part for part, is_missing in missing.items() if is_missing)


class SpatialEncoder(nn.Module):
  """E_s: the trained encoder of section 3.1, 2-D convolutions, strided down to GxG; for G = 4 and
  channels that double it is DCGAN's mirror image.

  Attributes:
    width: channels of the first layer, which grow to 8 times as many; 64 gives the paper's 512 at
      the end.
    growth: from layer to layer.
    grid: G.
    norm: makes a batch normalization for a mode.
  """

  width: int
  growth: int
  grid: int
  norm: Callable[[bool], nn.Module]

  @nn.compact
  def __call__(self, image: Array, train: bool) -> Array:
    """[batch, S, S, 3] in [-1, 1] -> [batch, G, G, 8 * width]."""
    x = leaky_relu(Conv(self.width, (4, 4), (2, 2))(image))
    while x.shape[1] > self.grid or x.shape[-1] < 8 * self.width:
      channels = min(self.growth * x.shape[-1], 8 * self.width)
      kernel, strides = ((4, 4), (2, 2)) if x.shape[1] > self.grid else ((3, 3), (1, 1))
      x = leaky_relu(self.norm(train)(Conv(channels, kernel, strides, use_bias=False)(x)))
    return x


def grow(
  features: Array,
  side: int,
  width: int,
  first: str,
  repeat_edges: bool,
  norm: Callable[[bool], nn.Module],
  train: bool,
) -> Array:
  """The decoder of a clip of this side up to its last layer: [batch, G, G, channels] -> [batch, 16,
  side / 2, side / 2, width]. Every layer doubles time. For G = 4 all but the first double space,
  too, from G to 32; for a finer grid two or one of them do, the `first` or the last."""
  x = rearrange(features, 'b h w c -> b 1 h w c')
  x = UpConv(8 * width, (2, 1, 1), (1, 1, 1), padding=0, use_bias=False)(x)
  x = nn.relu(norm(train)(x))
  for multiple in (4, 2, 1):
    if x.shape[2] < (32 if first == 'space' else 32 // multiple):
      kernel, strides, padding = (4, 4, 4), (2, 2, 2), 1
    elif first == 'space':  # detail is there: it only has to be spread over time
      kernel, strides, padding = (4, 1, 1), (2, 1, 1), (1, 0, 0)
    else:
      kernel, strides, padding = (4, 3, 3), (2, 1, 1), 1
    x = UpConv(
      multiple * width, kernel, strides, padding, use_bias=False, repeat_edges=repeat_edges
    )(x)
    x = nn.relu(norm(train)(x))
  while x.shape[2] < side // 2:
    x = UpConv(width, (1, 4, 4), (1, 2, 2), padding=(0, 1, 1), use_bias=False)(x)
    x = nn.relu(norm(train)(x))
  return x


class VideoDecoder(nn.Module):
  """G_dec: fused features to a clip, transposed 3-D convolutions that double time and space
  (section 3.1).

  Attributes:
    width: channels of the last hidden layer; going back, every layer that doubles time has twice as
      many.
    first: what it doubles first, one of ORDERS.
    repeat_edges: of `UpConv`.
    norm: makes a batch normalization for a mode.
  """

  width: int
  first: str
  repeat_edges: bool
  norm: Callable[[bool], nn.Module]

  @nn.compact
  def __call__(self, features: Array, image: Array, label: Array, train: bool) -> Generated:
    """features [batch, G, G, channels], image [batch, S, S, 3] -> a video [batch, 32, S, S, 3] in
    (-1, 1). Image and label are in the features, and no more than its side is asked of them."""
    del label
    grown = self.width, self.first, self.repeat_edges, self.norm
    x = grow(features, image.shape[1], *grown, train)
    return Generated(jnp.tanh(UpConv(3, repeat_edges=self.repeat_edges)(x)))


class Generator(nn.Module):
  """G: the face network's features, the spatial encoder's and the tiled label, decoded to a clip
  (Fig. 1).

  Attributes:
    width: of the decoder.
    spatial_width: of the spatial encoder; 0 leaves it out ("w/o E_s" in Table 3).
    spatial_growth: of its channels.
    grid: G, the side of the maps; those of the face network are enlarged to it.
    first: of the decoder.
    label_scale: what the one-hot label is multiplied by. It is 6 of some 1,000 channels at unit
      scale, too few to matter early in training; the paper's 1 is reached over its 400 epochs.
    repeat_edges: of the decoder.
    norm: makes a batch normalization for a mode.
    decoder: `VideoDecoder`, or a module that is made and called as it is.
  """

  width: int
  spatial_width: int
  spatial_growth: int
  grid: int
  first: str
  label_scale: float
  repeat_edges: bool
  norm: Callable[[bool], nn.Module]
  decoder: type[nn.Module] = VideoDecoder

  @nn.compact
  def __call__(self, image: Array, label: Array, features: Array | None, train: bool) -> Generated:
    """image [batch, S, S, 3] in [-1, 1], label [batch, 6], features [batch, 4, 4, channels] or None
    ("w/o E_Id")."""
    fused = [repeat(self.label_scale * label, 'b l -> b h w l', h=self.grid, w=self.grid)]
    if features is not None:
      side = len(features), self.grid, self.grid, features.shape[-1]
      fused.append(jax.image.resize(features, side, 'linear'))
    if self.spatial_width:
      layers = self.spatial_width, self.spatial_growth, self.grid, self.norm
      fused.append(SpatialEncoder(*layers, name='spatial_encoder')(image, train))
    decoder = self.decoder(self.width, self.first, self.repeat_edges, self.norm, name='decoder')
    return decoder(jnp.concatenate(fused, -1), image, label, train)


class VideoDiscriminator(nn.Module):
  """D: strided 3-D convolutions over the video and the tiled label (five at 64x64), one logit
  (section 3.2).

  Attributes:
    width: channels of the first layer; every layer after it that halves time has twice as many.
    label: 'input', the label's channels join those of the video, or 'hidden', of the first layer.
    norm: makes a batch normalization for a mode; none at the input layer and at the logit.
  """

  width: int
  label: str
  norm: Callable[[bool], nn.Module]

  @nn.compact
  def __call__(self, video: Array, label: Array, train: bool) -> Array:
    """video [batch, 32, S, S, 3] in [-1, 1], label [batch, 6] -> logits [batch]."""
    if self.label == 'input':
      x = leaky_relu(LabelledConv(self.width)(video, label))
    else:
      x = leaky_relu(Conv(self.width, (4, 4, 4), (2, 2, 2))(video))
      time, height, width = x.shape[1:-1]
      tiled = repeat(label, 'b l -> b t h w l', t=time, h=height, w=width)
      x = jnp.concatenate([x, tiled], -1)
    while x.shape[2] > 32:
      x = Conv(self.width, (1, 4, 4), (1, 2, 2), padding=(0, 1, 1), use_bias=False)(x)
      x = leaky_relu(self.norm(train)(x))
    for multiple in (2, 4, 8):
      x = leaky_relu(
        self.norm(train)(Conv(multiple * self.width, (4, 4, 4), (2, 2, 2), use_bias=False)(x))
      )
    x = Conv(1, x.shape[1:-1], (1, 1, 1), padding=0)(x)
    return rearrange(x, 'b 1 1 1 1 -> b')


class LabelledConv(nn.Module):
  """`Conv` over a video whose channels are joined by the label, tiled over time and space.

  A tiled label is constant but for the zeros around it, so that its part of the sum has three
  values per axis: at the first place, in between, and at the last. It is computed on a grid of
  three places and spread out.
  """

  features: int

  @nn.compact
  def __call__(self, video: Array, label: Array) -> Array:
    """Halves time and space: video [batch, time, height, width, channels], label [batch, labels]
    -> [batch, time / 2, height / 2, width / 2, features]."""
    channels = video.shape[-1]
    kernel = self.param('kernel', normal_init, (4, 4, 4, channels + label.shape[-1], self.features))
    bias = self.param('bias', nn.initializers.zeros, (self.features,))
    convolve = functools.partial(conv.strided_conv, strides=(2, 2, 2), padding=((1, 1),) * 3)
    tiled = repeat(label, 'b l -> b t h w l', t=6, h=6, w=6)
    response = convolve(tiled, kernel[..., channels:, :])  # [batch, 3, 3, 3, features]
    for axis, places in enumerate(video.shape[1:-1], start=1):
      spread = _spread(places // 2).astype(response.dtype)
      response = jnp.moveaxis(jnp.tensordot(spread, response, (1, axis)), 0, axis)
    return convolve(video, kernel[..., :channels, :]) + response + bias


def _spread(places: int) -> np.ndarray:
  """[places, 3]: the first, all in between, and the last."""
  return np.eye(3, dtype=np.float32)[[0] + [1] * (places - 2) + [2]]


def identity_term(frames: int, choice: str, target: str) -> Callable[..., Array]:
  """Eq. (5) on a few frames of a clip.

  Args:
    frames: how many are compared (section 3.3: 4 of 32).
    choice: 'even', always the same, evenly spaced back from the last; or 'random', at each step one
      at random in each of as many equal parts of the clip.
    target: 'image', the input (eq. 5 and the text), or 'video', the real clip's frames
      (Algorithm 1, line 13).
  """
  for key, value, known in (
    ('identity_choice', choice, ('even', 'random')),
    ('identity_target', target, ('image', 'video')),
  ):
    if value not in known:
      raise UserError(f"config.loss.{key}: '{value}', expected {' or '.join(map(repr, known))}")

  def loss(
    example: Example, generated: Generated, encode: Callable[[Array], Array], rng: Array
  ) -> Array:
    batch, time = example.video.shape[:2]
    if choice == 'even':
      index = np.linspace(time - 1, 0, frames).round().astype(int)
    else:
      bounds = np.arange(frames + 1) * time // frames
      index = jax.random.randint(rng, (frames,), bounds[:-1], bounds[1:])

    def frame_features(video: Array) -> Array:
      features = encode(rearrange(video[:, index], 'b t h w c -> (b t) h w c'))
      return rearrange(features, '(b t) h w c -> b t h w c', b=batch)

    reference = example.features[:, None] if target == 'image' else frame_features(example.video)
    return losses.identity_loss(reference, frame_features(generated.video))

  return loss


def build(
  config: Config,
  identity: IdentityEncoder | None,
  optimizer: optax.GradientTransformation,
  axis_name: str | None,
  decoder: type[nn.Module] = VideoDecoder,
) -> System:
  """Assembles FEV-GAN. Without `identity` it is the ablation "w/o E_Id", with `spatial_width` 0
  "w/o E_s"."""
  for key, value, known in (
    ('critic.label', config.critic.label, ('input', 'hidden')),
    ('model.grid', config.model.grid, GRIDS),
    ('model.first', config.model.first, ORDERS),
  ):
    if value not in known:
      expected = ', '.join(map(repr, known))
      raise UserError(f'config.{key}: {value!r}, expected one of {expected}')
  if config.model.spatial_growth < 2:
    raise UserError(
      f'config.model.spatial_growth: {config.model.spatial_growth}, expected at least 2'
    )
  norm = batch_norm(config.norm, axis_name)
  critic = VideoDiscriminator(config.critic.width, config.critic.label, norm)
  terms = {
    'reconstruction': Term(
      config.loss.reconstruction,
      lambda example, generated, *_: losses.reconstruction_loss(
        example.video, generated.video, motion_weight=config.loss.motion_weight
      ),
    ),
  }
  if identity is not None and config.loss.identity:
    terms['identity'] = Term(
      config.loss.identity,
      identity_term(
        config.loss.identity_frames, config.loss.identity_choice, config.loss.identity_target
      ),
    )
  return System(
    generator=Generator(
      config.model.width,
      config.model.spatial_width,
      config.model.spatial_growth,
      config.model.grid,
      config.model.first,
      config.model.label_scale,
      config.model.repeat_edges,
      norm,
      decoder,
    ),
    optimizer=optimizer,
    critics={'critic': Critic(critic, optimizer)},
    terms=terms,
    adversarial_weight=config.loss.adversarial,
    judges_before_update=config.critic.judges_before_update,
    identity=identity,
  )


RECIPE = Recipe(
  title='FEV-GAN',
  conditions=('image', 'label'),
  defaults=defaults,
  build=build,
  short_run=short_run,
  long_run=long_run,
  options={'no_spatial': no_spatial, 'no_identity': no_identity},
  without=without,
  sides=(64, 128, 256),
  paper={
    'mug': {
      (): (27.10, 0.91, 0.09, 0.23),
      ('E_s',): (25.44, 0.90, 0.11, 0.34),
      ('E_Id',): (19.71, 0.69, 0.13, 1.22),
    },
    'oulu_casia': {(): (25.61, 0.89, 0.12, 0.19)},
  },
  preferred={'motiongan': 0.6805, 'cvgan': 0.914, 'mocogan': 0.781, 'imaginator': 0.711},
)
