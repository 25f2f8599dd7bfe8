"""Reads VGG-Face weights from the formats in which they were published.

| format | file | channels of the picture |
|---|---|---|
| MatConvNet (MATLAB 5) | `vgg-face.mat`, or `vgg_face.mat` of vgg_face_matconvnet.tar.gz | RGB |
| Torch7 | `VGG_FACE.t7` of vgg_face_torch.tar.gz | BGR |
| PyTorch state dict | `vgg_face_dag.pth`, from the MatConvNet file | RGB |
| Keras, layers named conv1_1 ... | `rcmalli_vggface_tf_vgg16.h5` and `..._notop_...` | BGR |
| Keras, layers numbered | `vgg_face_weights.h5` (deepface), from the MatConvNet file | RGB |

The last column is what the publisher's demonstration or the file's origin says (MatConvNet reads
RGB, Caffe BGR; the Torch and rcmalli's Keras files go back to Caffe). BGR kernels are turned round
here, so that our network always sees RGB. A file is known by its first bytes, not by its name, and
nothing in it is ever executed.
"""

import pathlib
import re
import zipfile
from collections.abc import Iterable
from typing import Any

import numpy as np
import scipy

from fevgan_jax.identity import pytorch_file, torch7_file
from fevgan_jax.identity.vgg_face import STAGES
from fevgan_jax.runtime.errors import UserError

SHAPES = {name: channels for stage in STAGES for name, channels in stage}
Weights = dict[str, tuple[np.ndarray, np.ndarray]]  # layer -> kernel [height, width, in, out], bias


def read(path: pathlib.Path) -> dict[str, Any]:
  """Parameters of `vgg_face.VGGFace`, float32, kernels [3, 3, in, out] for RGB.

  Raises:
    UserError: none of the formats, a damaged file, or another network than VGG-Face.
  """
  with path.open('rb') as file:
    head = file.read(32)
  try:
    if head.startswith(b'MATLAB 5.0'):
      weights = _matconvnet(path)
    elif head.startswith(b'\x89HDF'):
      weights = _keras(path)
    elif head.startswith((b'PK\x03\x04', b'\x80')):
      weights = _pytorch(path)
    elif head.startswith(b'\x04\x00\x00\x00'):
      weights = _torch7(path)
    else:
      raise ValueError('its first bytes are of no known format')
    return _params(weights)
  except (
    ValueError,
    KeyError,
    IndexError,
    AttributeError,
    TypeError,
    OSError,
    MemoryError,
    OverflowError,
    zipfile.BadZipFile,
    scipy.io.matlab.MatReadError,
  ) as error:
    reason = ' '.join(str(error.args[0] if isinstance(error, KeyError) else error).split())
    raise UserError(
      f"identity network 'vgg_face': cannot read '{path}': {reason}; expected one of "
      'vgg-face.mat, VGG_FACE.t7, vgg_face_dag.pth, the Keras .h5 files'
    ) from error


def _params(weights: Weights) -> dict[str, Any]:
  """Checks names and shapes against the network's."""
  params, inputs = {}, 3
  for name, channels in SHAPES.items():
    if name not in weights:
      raise ValueError(f"no layer '{name}'")
    kernel, bias = weights[name]
    expected = (3, 3, inputs, channels)
    if kernel.shape != expected or bias.size != channels:
      raise ValueError(
        f"'{name}' has a kernel of {kernel.shape} and {bias.size} biases, expected "
        f'{expected} and {channels}'
      )
    params[name] = {
      'kernel': np.ascontiguousarray(kernel, np.float32),
      'bias': bias.reshape(channels).astype(np.float32),
    }
    inputs = channels
  return params


def _matconvnet(path: pathlib.Path) -> Weights:
  """`layers` or `net.layers`, cells of structs: `weights`, a cell, or `filters` and `biases`."""
  content = scipy.io.loadmat(
    path, variable_names=['layers', 'net'], squeeze_me=True, struct_as_record=False
  )
  if not content.keys() & {'layers', 'net'}:
    raise ValueError("neither a variable 'layers' nor 'net'")
  layers = content['layers'] if 'layers' in content else content['net'].layers
  named = {layer.name: layer for layer in layers if layer.name in SHAPES}
  return {
    name: tuple(layer.weights) if hasattr(layer, 'weights') else (layer.filters, layer.biases)
    for name, layer in named.items()
  }


def _keras(path: pathlib.Path) -> Weights:
  """Attribute `layer_names`, of the file or its group `model_weights`, has the layers in order."""
  import h5py  # takes 10 MB of memory, in every training

  with h5py.File(path) as file:
    root = file.get('model_weights', file)
    names = _texts(root, 'layer_names')
    layers = (root[name] for name in names)
    pairs = ([layer[weight] for weight in _texts(layer, 'weight_names')] for layer in layers)
    weights = _named(
      (pair[0][()], pair[1][()])
      for pair in pairs
      if len(pair) == 2 and pair[0].shape[:2] == (3, 3) and max(pair[0].size, pair[1].size) < 1e7
    )
  return _from_bgr(weights) if 'conv1_1' in names else weights


def _texts(group: Any, attribute: str) -> list[str]:
  return [text.decode() if isinstance(text, bytes) else text for text in group.attrs[attribute]]


def _pytorch(path: pathlib.Path) -> Weights:
  """A state dict with keys such as `conv1_1.weight`, perhaps behind a prefix such as `module.`."""
  state = pytorch_file.read_state_dict(path)
  matches = (re.match(r'(.*)(conv\d_\d)\.weight$', key) for key in state)
  keys = {match[2]: match[1] + match[2] for match in matches if match}
  return {
    name: (state[f'{key}.weight'].transpose(2, 3, 1, 0), state[f'{key}.bias'])
    for name, key in keys.items()
  }


def _torch7(path: pathlib.Path) -> Weights:
  """The convolutions of an nn.Sequential; SpatialConvolutionMM keeps its kernels as matrices."""
  layers = [
    module.fields
    for module in torch7_file.modules(torch7_file.read(path))
    if 'SpatialConvolution' in module.name
  ]
  return _from_bgr(
    _named(
      (layer['weight'].reshape(len(layer['bias']), -1, 3, 3).transpose(2, 3, 1, 0), layer['bias'])
      for layer in layers
    )
  )


def _named(pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> Weights:
  """Layers that the file does not name as we do, by their place."""
  return dict(zip(SHAPES, pairs))


def _from_bgr(weights: Weights) -> Weights:
  """Turns the input channels of the first kernel round."""
  return {
    name: (kernel[:, :, ::-1] if name == 'conv1_1' else kernel, bias)
    for name, (kernel, bias) in weights.items()
  }
