"""VGG-Face (Parkhi et al., "Deep Face Recognition", 2015): the paper's identity encoder.

The paper takes "1024 feature maps" from it and names no layer. No layer of VGG-16 has as many, but
pool4 and relu5_3 have 512 each, on one grid of 4x4 for 64 pixels: these two are our reading.
"""

import functools
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from einops import rearrange, reduce
from jax import Array

from fevgan_jax.faces.crop import SIDE
from fevgan_jax.runtime import conv

CHANNELS = 1024
MEAN = (129.1863, 104.7624, 93.5940)  # RGB, of the training pictures (the authors' release)

# (name, channels) of the convolutions, by the resolution that they share.
STAGES = (
  (('conv1_1', 64), ('conv1_2', 64)),
  (('conv2_1', 128), ('conv2_2', 128)),
  (('conv3_1', 256), ('conv3_2', 256), ('conv3_3', 256)),
  (('conv4_1', 512), ('conv4_2', 512), ('conv4_3', 512)),
  (('conv5_1', 512), ('conv5_2', 512), ('conv5_3', 512)),
)

# Not trained: a convolution on larger tiles is exact enough.
TILED = lambda: functools.partial(conv.general_conv, tile=4)  # noqa: E731


class VGGFace(nn.Module):
  """The 13 convolutions of VGG-16, all 3x3 at stride 1 with padding 1."""

  @nn.compact
  def __call__(self, image: Array) -> tuple[Array, Array]:
    """RGB [batch, height, width, 3] in [-1, 1] -> pool4, relu5_3, [batch, h / 16, w / 16, 512]."""
    x = ((image.astype(jnp.float32) + 1) * 127.5 - jnp.array(MEAN)).astype(image.dtype)
    for number, stage in enumerate(STAGES, start=1):
      for name, channels in stage:
        tiled = TILED if x.shape[-1] > 3 else None  # a picture's channels fill no vector
        x = nn.Conv(channels, (3, 3), padding=1, name=name, conv_general_dilated_cls=tiled)(x)
        x = nn.relu(x)
      if number < len(STAGES):
        x = pooled = _max_pool(x)
    return pooled, x


def features(params: Any, image: Array) -> tuple[Array, Array]:
  """pool4 and relu5_3 of a picture: [batch, side, side, 3] in [-1, 1] -> twice [batch, 4, 4, 512].

  A larger picture is averaged down to 64x64, whose map the generator's grid is.
  """
  shrunk = reduce(image, 'b (h p) (w q) c -> b h w c', 'mean', h=SIDE, w=SIDE)
  return VGGFace().apply({'params': params}, shrunk)


def _max_pool(x: Array) -> Array:
  """Maxima of 2x2 squares, by comparisons: a window's gradient is slow on a CPU."""
  x = rearrange(x, 'b (h p) (w q) c -> p q b h w c', p=2, q=2)
  x = jnp.where(x[0] > x[1], x[0], x[1])
  return jnp.where(x[0] > x[1], x[0], x[1])
