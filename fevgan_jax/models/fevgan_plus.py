"""FEV-GAN+: FEV-GAN with a decoder that moves the input's own pixels.

FEV-GAN paints every pixel of 32 frames, and little of an unseen person is left. Here the decoder
says where each pixel comes from and how the light on it changes, and paints only what the picture
does not show: teeth, a tongue, the white of an eye that widens. Encoders and critic are FEV-GAN's.

The colors of a clip tell little of this: painting a lip is as good as moving it, and easier to
learn. Where a data set knows what moved, what was hidden and how the light changed (rendered faces
do), three terms of the objective teach it. On others the objective is FEV-GAN's.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from einops import rearrange

from fevgan_jax.faces import crop, truth
from fevgan_jax.identity import IdentityEncoder
from fevgan_jax.models import fevgan
from fevgan_jax.models.parts.layers import UpConv, normal_init
from fevgan_jax.models.parts.recipe import Config
from fevgan_jax.models.parts.system import Example, Generated, System, Term
from fevgan_jax.models.parts.warp import warp

Array = jax.Array

LARGEST = 12 / 64  # displacement at intensity 1, in parts of the picture's side
LARGEST_SHADING = 1.5  # logarithm of a factor
HIDDEN_WEIGHT = 3.0  # of a hidden point in the mask's term
BEGINNING = 8  # frames over which a movement ramps up


class MotionDecoder(fevgan.VideoDecoder):
  """Fused features to what happens to a picture; the layers of FEV-GAN's decoder but for the last.

  Most of the skin moves smoothly: displacement and shading are read off the layer before the last,
  on a grid of half the side and half the frames, and interpolated. Lids slide over the eyeball and
  lips part: what is sharp about a displacement comes from the last layer, as does the mask.
  """

  @nn.compact
  def __call__(self, features: Array, image: Array, label: Array, train: bool) -> Generated:
    """features [batch, G, G, channels], image [batch, S, S, 3] in [-1, 1] -> a video [batch, 32, S,
    S, 3], whose frame 0 is the image, and at intensity 0 every frame; with its 'displacement'
    [batch, 32, S, S, 2] in pixels, 'shading' [batch, 32, S, S, 1], the logarithm of a factor,
    'mask' [batch, 32, S, S, 1] in [0, 1] and 'color' [batch, 32, S, S, 3] in [-1, 1]."""
    side = image.shape[1]
    grown = self.width, self.first, self.repeat_edges, self.norm
    x = fevgan.grow(features, side, *grown, train)
    fine = UpConv(6, repeat_edges=self.repeat_edges)(x)
    mask = nn.sigmoid(fine[..., :1] - 2)  # paints little at first
    color = jnp.tanh(fine[..., 1:4])
    # float32 throughout: bfloat16 would round displacements to fractions of a pixel.
    coarse = nn.Dense(3, kernel_init=normal_init)(x).astype(jnp.float32)
    coarse = jax.image.resize(coarse, (*mask.shape[:-1], 3), 'linear')
    displacement = LARGEST * side * jnp.tanh(coarse[..., :2] + fine[..., 4:])
    shading = LARGEST_SHADING * jnp.tanh(coarse[..., 2:])
    # Nothing has happened yet in frame 0, and nothing can have jumped in the next.
    begun = jnp.minimum(jnp.arange(mask.shape[1]) / BEGINNING, 1)
    amount = rearrange(begun * label.sum(-1, keepdims=True), 'b t -> b t 1 1 1')
    displacement *= amount
    shading *= amount
    mask *= jnp.minimum(amount, 1).astype(mask.dtype)
    # A factor on the distance from black, which is -1; exact where nothing changes.
    factor = jnp.exp(shading)
    moved = warp(image, displacement) * factor.astype(image.dtype)
    moved += (factor - 1).astype(image.dtype)
    video = (1 - mask) * moved + mask * color
    extras = {'displacement': displacement, 'shading': shading, 'mask': mask, 'color': color}
    return Generated(video, extras)


def displacement_term(example: Example, generated: Generated, *_) -> Array:
  """Mean |displacement - true one| over the points that frame 0 shows, in pixels of the 64-pixel
  template."""
  if example.truth is None:
    return jnp.zeros(())
  error = jnp.abs(generated.extras['displacement'] - example.truth.displacement)
  pixels = error.mean(-1, keepdims=True) * (crop.SIDE / error.shape[-2])
  return masked_mean(pixels, example.truth.visible)


def shading_term(example: Example, generated: Generated, *_) -> Array:
  """Mean |logarithm of the light's change - true one| over the points that frame 0 shows."""
  if example.truth is None:
    return jnp.zeros(())
  error = jnp.abs(generated.extras['shading'] - example.truth.shading)
  return masked_mean(error, example.truth.visible)


def mask_term(example: Example, generated: Generated, *_) -> Array:
  """Binary cross-entropy of the mask, which should be 1 where a point was hidden in frame 0. Those
  few count HIDDEN_WEIGHT times."""
  if example.truth is None:
    return jnp.zeros(())
  hidden = example.truth.hidden
  mask = jnp.clip(generated.extras['mask'], 1e-4, 1 - 1e-4)
  entropy = -jnp.where(hidden, HIDDEN_WEIGHT * jnp.log(mask), jnp.log(1 - mask))
  return masked_mean(entropy, hidden | example.truth.visible)


def masked_mean(values: Array, where: Array) -> Array:
  """The mean over some pixels of each clip, then over clips, so that it does not matter how many
  devices share them: values [batch, ...], bool of the same shape -> a scalar."""
  axes = tuple(range(1, values.ndim))
  return ((values * where).sum(axes) / jnp.maximum(where.sum(axes), 1)).mean()


def defaults() -> Config:
  """FEV-GAN's, with layers for movement in place of detail, which the picture has, and the weights
  of what is learned from the truth."""
  config = fevgan.defaults()
  config.model.spatial_growth = 2
  config.model.first = 'time'
  config.loss.displacement = 20.0
  config.loss.shading = 50.0
  config.loss.mask = 10.0
  return config


def build(
  config: Config,
  identity: IdentityEncoder | None,
  optimizer: optax.GradientTransformation,
  axis_name: str | None,
) -> System:
  """FEV-GAN with another decoder and three terms more."""
  system = fevgan.build(config, identity, optimizer, axis_name, MotionDecoder)
  taught = {
    'displacement': Term(config.loss.displacement, displacement_term),
    'shading': Term(config.loss.shading, shading_term),
    'mask': Term(config.loss.mask, mask_term),
  }
  return dataclasses.replace(system, terms={**system.terms, **taught})


def short_run(config: Config) -> None:
  """FEV-GAN's, with less weight on what moves: what rests need not be painted."""
  fevgan.short_run(config)
  config.loss.motion_weight = 0.5


RECIPE = dataclasses.replace(
  fevgan.RECIPE,
  title='FEV-GAN+',
  conditions=('image', 'label', 'intensity'),
  supervision=tuple(truth.FEATURES),
  defaults=defaults,
  build=build,
  short_run=short_run,
  options={},
  moves_pixels=True,
  paper={},
  preferred={},
)
