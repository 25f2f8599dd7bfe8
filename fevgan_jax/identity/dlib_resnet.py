"""dlib's face recognition network (ResNet-29, CC0): the encoder that works on a fresh machine.

King, "High Quality Face Recognition with Deep Metric Learning" (dlib, 2017); the layers are those
of dlib's dnn_face_recognition_ex.cpp, the weights come from the face_recognition_models package.

The network was trained on chips of 150 pixels that are aligned in dlib's manner. Our crops are
aligned to one template, so the way from crop to chip is one similarity for all, inside the graph.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from jax import Array

from fevgan_jax.faces.crop import SIDE

CHANNELS = 256
CHIP = 150
# Where dlib's chip (padding 0.25) lies in the 64-pixel frame of faces.crop.TEMPLATE: center (x, y)
# and side, in pixels. From dlib.get_face_chip_details on the template's points times 1e6, as dlib
# rounds landmarks to integers. The template is symmetric, so the chip is not rotated.
CHIP_CENTER = (32.337573, 29.560584)
CHIP_SIDE = 51.285360
MEAN = (122.782, 117.001, 104.298)  # dlib's input_rgb_image_sized

# Channels of the residual blocks; a block that starts a new resolution halves height and width.
BLOCKS = (32, 32, 32, 64, 64, 64, 64, 128, 128, 128, 256, 256, 256, 256)
HALVING = (3, 7, 10, 13)
MAP_BLOCKS = 13  # the map of 4x4x256; the last block leaves 2x2


class Conv(nn.Module):
  """A square convolution with bias; dlib pads where the stride is 1 and nowhere else."""

  features: int
  size: int = 3
  stride: int = 1

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """[batch, height, width, in] -> [batch, height / stride, width / stride, features]."""
    shape = (self.size, self.size, x.shape[-1], self.features)
    kernel = self.param('kernel', nn.initializers.lecun_normal(), shape)
    bias = self.param('bias', nn.initializers.zeros, (self.features,))
    pad = self.size // 2 if self.stride == 1 else 0
    x = x.astype(kernel.dtype)  # the chip is warped and centered in float32
    if x.shape[-1] == 3:  # a CPU is four times slower in the gradient at stride 2 and 3 channels
      return _convolve(*_space_to_depth(x, kernel), 1, 0) + bias
    return _convolve(x, kernel, self.stride, pad) + bias


class Block(nn.Module):
  """relu(conv(relu(conv(x))) + x); to halve, x is averaged in 2x2 and gets channels of zeros."""

  features: int
  halve: bool

  def setup(self):
    self.conv1 = Conv(self.features, stride=2 if self.halve else 1)
    self.conv2 = Conv(self.features)

  def __call__(self, x: Array) -> Array:
    """[batch, height, width, in] -> [batch, height, width, features], the sides halved or not."""
    main = self.conv2(nn.relu(self.conv1(x)))
    if self.halve:
      x = _average_pool(x)
      shape = np.maximum(main.shape, x.shape)
      main, x = _pad_to(main, shape), _pad_to(x, shape)
    return nn.relu(main + x)


class ResNet29(nn.Module):
  """dlib's network, its affine layers folded into the convolutions (as `dlib_file.read` does)."""

  def setup(self):
    self.stem = Conv(32, size=7, stride=2)
    self.blocks = [Block(width, i in HALVING) for i, width in enumerate(BLOCKS)]
    self.dense = nn.Dense(128, use_bias=False)

  def maps(self, chip: Array, blocks: int = MAP_BLOCKS) -> Array:
    """RGB [batch, 150, 150, 3] in [0, 255] -> the map behind `blocks` blocks (4x4x256 if 13)."""
    x = self.stem((chip - jnp.array(MEAN)) / 256)
    x = nn.relu(_max_pool(x))  # dlib rectifies first: the same, as both are monotone
    for block in self.blocks[:blocks]:
      x = block(x)
    return x

  def __call__(self, chip: Array) -> Array:
    """RGB chip [batch, 150, 150, 3] in [0, 255] -> descriptor [batch, 128]."""
    return self.dense(self.maps(chip, len(self.blocks)).mean((1, 2)))


def features(params: Any, image: Array) -> Array:
  """The map of a crop: [batch, side, side, 3] in [-1, 1] -> [batch, 4, 4, 256], not normalized."""
  return ResNet29().apply({'params': params}, to_chip(image), method='maps')


def descriptor(params: Any, chip: Array) -> Array:
  """dlib.face_recognition_model_v1 itself: RGB [batch, 150, 150, 3] in [0, 255] -> [batch, 128].

  Two pictures of one person are less than 0.6 apart (Euclidean; dlib's threshold).
  """
  return ResNet29().apply({'params': params}, chip)


def to_chip(image: Array) -> Array:
  """Aligned crop [batch, side, side, 3] in [-1, 1] -> dlib's chip [batch, 150, 150, 3] in [0, 255],
  read off the crop's own pixels."""
  rows, columns = (_resampling(center, image.shape[1]) for center in reversed(CHIP_CENTER))
  pixels = (image.astype(jnp.float32) + 1) * 127.5
  return jnp.einsum('yh,bhwc,xw->byxc', rows, pixels, columns, optimize=True)


def _resampling(center: float, side: int) -> np.ndarray:
  """One axis of the warp as a matrix [150, side]: bilinear, black outside the crop.

  Centers of pixels lie at i + 0.5 in both frames. dlib counts them from 0 and stretches the chip by
  up to a pixel; at the chip's own resolution both say the same.
  """
  position = center + ((np.arange(CHIP) + 0.5) / CHIP - 0.5) * CHIP_SIDE
  distance = np.abs((position * (side / SIDE) - 0.5)[:, None] - np.arange(side))
  return np.maximum(1 - distance, 0).astype(np.float32)


def _convolve(x: Array, kernel: Array, stride: int, pad: int) -> Array:
  return jax.lax.conv_general_dilated(
    x, kernel, (stride, stride), ((pad, pad),) * 2, dimension_numbers=('NHWC', 'HWIO', 'NHWC')
  )


def _space_to_depth(x: Array, kernel: Array) -> tuple[Array, Array]:
  """Picture and kernel for which stride 1 computes what these do at stride 2, without padding.

  Each 2x2 square of pixels becomes one pixel of four times the channels: [batch, height, width, in]
  -> [batch, height / 2, width / 2, 4 in]. The kernel, of odd size, gets a row and column of zeros.
  """
  kernel = jnp.pad(kernel, ((0, 1), (0, 1), (0, 0), (0, 0)))
  return (
    rearrange(x, 'b (h p) (w q) c -> b h w (p q c)', p=2, q=2),
    rearrange(kernel, '(h p) (w q) c o -> h w (p q c) o', p=2, q=2),
  )


def _average_pool(x: Array) -> Array:
  """Means of 2x2, an odd last row or column is dropped; by reshape: its gradient is a broadcast."""
  batch, height, width, channels = x.shape
  height, width = height // 2, width // 2
  x = x[:, : 2 * height, : 2 * width].reshape(batch, height, 2, width, 2, channels)
  return x.mean((2, 4))


def _max_pool(x: Array) -> Array:
  """Maxima of 3x3 at stride 2, no padding, by comparisons: a window's gradient is slow on a CPU."""
  for axis in (1, 2):
    last = x.shape[axis] - 3
    a, b, c = (jax.lax.slice_in_dim(x, k, last + k + 1, 2, axis) for k in range(3))
    x = jnp.where(a > b, a, b)
    x = jnp.where(x > c, x, c)
  return x


def _pad_to(x: Array, shape: np.ndarray) -> Array:
  """Zeros behind the end of each axis."""
  return jnp.pad(x, [(0, new - old) for new, old in zip(shape, x.shape)])
