"""Frozen, pretrained face networks: they tell the generator who is in the picture, E_Id.

Their parameters are an argument of the training step, never part of what is optimized or saved.
"""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from fevgan_jax.identity import dlib_file, dlib_resnet, vgg_face, vgg_face_files
from fevgan_jax.runtime.errors import UserError

PyTree = Any
NETWORKS = ('dlib', 'vgg_face')


@dataclasses.dataclass(frozen=True)
class IdentityEncoder:
  """A frozen face network.

  Attributes:
    name: the network, one of NETWORKS.
    channels: of the map.
    apply: (parameters, image [batch, side, side, 3] in [-1, 1], the side a multiple of 64) ->
      features [batch, 4, 4, channels], of every side the same kind.
      Pure and differentiable. Each block of the map (`dlib`: one; `vgg_face`: pool4 and relu5_3) is
      divided by its root mean square over height, width and channels: whatever the weights, the
      generator sees features of scale 1, and neither the label nor a loss is drowned.
  """

  name: str
  channels: int
  apply: Callable[[PyTree, Array], Array]


def unit_rms(features: Array, *, eps: float = 1e-12) -> Array:
  """Maps [batch, height, width, channels], each picture's divided by its own root mean square."""
  features = features.astype(jnp.float32)
  return features / jnp.sqrt((features**2).mean((1, 2, 3), keepdims=True) + eps)


def _dlib(params: PyTree, image: Array) -> Array:
  return unit_rms(dlib_resnet.features(params, image))


def _vgg_face(params: PyTree, image: Array) -> Array:
  return jnp.concatenate([unit_rms(block) for block in vgg_face.features(params, image)], -1)


def load(network: str, weights: str | None = None) -> tuple[IdentityEncoder, PyTree]:
  """An encoder and its float32 parameters.

  Args:
    network: 'dlib' (ResNet-29, a map of 4x4x256) or 'vgg_face' (VGG-16, one of 4x4x1024).
    weights: the weight file; None for the installed one, which only 'dlib' has.

  Raises:
    UserError: unknown network; the file is missing, not given, or of another kind or shape.
  """
  if network == 'dlib':
    encoder = IdentityEncoder(network, dlib_resnet.CHANNELS, _dlib)
    path = _existing(network, weights) if weights else dlib_file.installed_file()
    params = dlib_file.read(path)
  elif network == 'vgg_face':
    if not weights:
      raise UserError(
        "config.identity.weights: no file given of the face network 'vgg_face', which we may not "
        'ship: give --config.identity.weights=FILE (datasets/README.md, "VGG-Face"), or '
        "--config.identity.network=dlib for dlib's, which is installed"
      )
    encoder = IdentityEncoder(network, vgg_face.CHANNELS, _vgg_face)
    params = vgg_face_files.read(_existing(network, weights))
  else:
    raise UserError(f"no identity network '{network}': expected one of {', '.join(NETWORKS)}")
  return encoder, jax.tree.map(jnp.asarray, params)


def untrained_vgg_face() -> tuple[IdentityEncoder, PyTree]:
  """VGG-Face with random parameters, to measure speed without its file."""
  init = jax.jit(vgg_face.VGGFace().init)  # op by op, the programs would keep half a gigabyte
  params = init(jax.random.key(0), jnp.zeros((1, 64, 64, 3)))['params']
  return IdentityEncoder('vgg_face', vgg_face.CHANNELS, _vgg_face), params


def _existing(network: str, weights: str) -> pathlib.Path:
  path = pathlib.Path(weights).expanduser()
  if not path.is_file():
    raise UserError(
      f"config.identity.weights: face network '{network}': no file '{path}' here: give "
      '--config.identity.weights=FILE'
    )
  return path
