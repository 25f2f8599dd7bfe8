"""FEV-GAN+: FEV-GAN with a decoder that moves the input's own pixels.

FEV-GAN paints every pixel of 32 frames out of a 4x4 bottleneck, in which little of an unseen person
is left. Here the decoder says where each pixel comes from, and paints only what the picture does
not show: teeth, a tongue, closed lids. Encoders, critic, losses and training are FEV-GAN's.
"""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from einops import rearrange

from fevgan_jax.models import fevgan
from fevgan_jax.models.parts.layers import UpConv, normal_init
from fevgan_jax.models.parts.recipe import Config
from fevgan_jax.models.parts.system import Generated
from fevgan_jax.models.parts.warp import warp

Array = jax.Array

LARGEST = 12 / 64  # displacement at intensity 1, in parts of the picture's side
BEGINNING = 8  # frames, after which nothing holds a movement back


class MotionDecoder(fevgan.VideoDecoder):
  """Fused 4x4 features to what happens to a picture; the layers of FEV-GAN's decoder but for the
  last.

  A displacement is known only where the picture has edges: of flat skin, and at the border of the
  face, where every displacement into the black looks alike, a loss says nothing, and pixels that
  are moved one by one tear. It is therefore read off the layer before the last, on a grid of half
  the side and half the frames, and interpolated. What tears by nature, lips and lids, is for the
  mask.
  """

  @nn.compact
  def __call__(self, features: Array, image: Array, label: Array, train: bool) -> Generated:
    """features [batch, 4, 4, channels], image [batch, S, S, 3] in [-1, 1] -> a video [batch, 32, S,
    S, 3], whose frame 0 is the image, and at intensity 0 every frame; with its 'displacement'
    [batch, 32, S, S, 2] in pixels and 'mask' [batch, 32, S, S, 1] in [0, 1]."""
    side = image.shape[1]
    x = fevgan.grow(features, side, self.width, self.repeat_edges, self.norm, train)
    painted = UpConv(4, repeat_edges=self.repeat_edges)(x)
    mask = nn.sigmoid(painted[..., :1] - 2)  # paints little at first
    color = jnp.tanh(painted[..., 1:])
    # Displacements are float32 whatever the rest is: half a float is a part of a pixel.
    coarse = nn.Dense(2, kernel_init=normal_init)(x).astype(jnp.float32)
    coarse = LARGEST * side * jnp.tanh(coarse)
    displacement = jax.image.resize(coarse, (*mask.shape[:-1], 2), 'linear')
    # Nothing has happened yet in frame 0, and nothing can have jumped in the next.
    begun = jnp.minimum(jnp.arange(mask.shape[1]) / BEGINNING, 1)
    amount = rearrange(begun * label.sum(-1, keepdims=True), 'b t -> b t 1 1 1')
    displacement *= amount
    mask *= jnp.minimum(amount, 1).astype(mask.dtype)
    video = (1 - mask) * warp(image, displacement) + mask * color
    return Generated(video, {'displacement': displacement, 'mask': mask})


def short_run(config: Config) -> None:
  """FEV-GAN's, with less weight on what moves: what rests need not be painted."""
  fevgan.short_run(config)
  config.loss.motion_weight = 0.5


RECIPE = dataclasses.replace(
  fevgan.RECIPE,
  title='FEV-GAN+',
  conditions=('image', 'label', 'intensity'),
  build=functools.partial(fevgan.build, decoder=MotionDecoder),
  short_run=short_run,
  options={},
  paper={},
)
