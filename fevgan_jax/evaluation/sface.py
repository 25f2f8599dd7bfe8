"""SFace (Zhong et al. 2021), a MobileNet (Howard et al. 2017) whose features tell people apart.

OpenCV reads the file, whose weights have 8 bits, and could run it, a picture at a time. As matrix
products over several pictures it takes half as long, and the features are the same to 1e-6.
"""

import pathlib
from typing import Any

import cv2
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)  # of the depthwise convolutions
EPSILON, LAST_EPSILON = 1e-3, 2e-5  # of batch normalizations, and of the two about the dense layer


def read(path: pathlib.Path) -> dict[str, Any]:
  """The network's parameters, each part with the 'scale' and 'shift' of the batch normalization
  behind it.

  Returns:
    'convolutions', in order, with 'kernel' [height, width, in, out] and the rectifier's 'slope';
    'map', which is a normalization alone; 'dense', with 'matrix' and 'bias'.
  """
  network, parts = cv2.dnn.readNet(str(path)), []
  for name in network.getLayerNames():
    layer = network.getLayer(name)
    blobs = [np.array(blob) for blob in layer.blobs]
    if layer.type == 'Convolution':
      parts.append({'kernel': blobs[0].transpose(2, 3, 1, 0)})
    elif layer.type == 'Gemm':
      channels, bias = len(parts[-1]['scale']), blobs[1].ravel()
      matrix = blobs[0].reshape(len(bias), channels, -1).transpose(2, 1, 0)
      parts.append({'matrix': matrix.reshape(-1, len(bias)), 'bias': bias})
    elif layer.type == 'BatchNorm':
      mean, variance, gain, bias = (blob.ravel() for blob in blobs)
      if 'slope' in parts[-1]:  # of the whole map, behind the last convolution
        parts.append({})
      last = 'kernel' not in parts[-1]
      scale = gain / np.sqrt(variance + (LAST_EPSILON if last else EPSILON))
      parts[-1] |= {'scale': scale, 'shift': bias - mean * scale}
    elif layer.type == 'PReLU':
      parts[-1]['slope'] = blobs[0].ravel()
  *convolutions, last_map, dense = parts
  return {'convolutions': convolutions, 'map': last_map, 'dense': dense}


def features(params: dict[str, Any], chips: Array) -> Array:
  """RGB chips [batch, 112, 112, 3] in [0, 255] -> [batch, 128], not normalized."""
  x = (chips.astype(jnp.float32) - 127.5) / 128
  strides = iter(STRIDES)
  for layer in params['convolutions']:
    kernel = layer['kernel']
    if kernel.shape[2] == 3:
      x = lax.conv_general_dilated(
        x, kernel, (1, 1), [(1, 1)] * 2, dimension_numbers=('NHWC', 'HWIO', 'NHWC')
      )
    elif kernel.shape[:2] == (1, 1):
      x = x @ kernel[0, 0]
    else:
      x = depthwise(x, kernel[:, :, 0], next(strides))
    x = normalized(layer, x)
    x = jnp.where(x > 0, x, layer['slope'] * x)
  x = normalized(params['map'], x).reshape(len(x), -1)
  dense = params['dense']
  return normalized(dense, x @ dense['matrix'] + dense['bias'])


def depthwise(x: Array, kernel: Array, stride: int) -> Array:
  """A 3x3 convolution of each channel by itself, padded by 1: kernel [3, 3, channels]."""
  height, width = x.shape[1:3]
  x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
  return sum(
    kernel[i, j] * x[:, i : i + height : stride, j : j + width : stride]
    for i in range(3)
    for j in range(3)
  )


def normalized(layer: dict[str, Any], x: Array) -> Array:
  return x * layer['scale'] + layer['shift']
