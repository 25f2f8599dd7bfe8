"""Does a clip show its label? A small classifier, trained on a data set's real training clips.

It only measures: no generator is trained against it. The Fréchet distance is between its features.
"""

import dataclasses
import functools
import hashlib
import os
import pathlib
import time

import chex
import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import optax
import safetensors.numpy
import tensorflow_datasets as tfds
from absl import logging

from fevgan_jax.data import datasets
from fevgan_jax.faces import crop
from fevgan_jax.faces.labels import NUM_LABELS
from fevgan_jax.runtime.files import replacing

VERSION = 2  # of the kept file: raise it with whatever changes what is trained
FEATURES = 64

FRAMES = 4  # of a clip, besides frame 0

# Chosen on people held out of the training split of synthetic_faces. More steps change nothing
# there; the face stands still in its crop, and wider shifts cost accuracy.
BATCH_SIZE = 32
EPOCHS, MAX_STEPS = 40, 200  # whichever is less
LEARNING_RATE = 2e-3
LABEL_SMOOTHING = 0.1
DROPOUT = 0.3
SHIFT = 1  # pixels, to each side

Variables = dict


class Network(nn.Module):
  """Every frame beside frame 0 through strided convolutions; the mean of its features over time."""

  @nn.compact
  def __call__(self, frames: jax.Array, *, train: bool = False) -> tuple[jax.Array, jax.Array]:
    """What `view` gives, as floats in [-1, 1] -> logits [batch, NUM_LABELS], features [batch,
    FEATURES]."""
    chex.assert_shape(frames, (None, FRAMES + 1, crop.SIDE, crop.SIDE, 3))
    neutral, later = frames[:, :1], frames[:, 1:]
    # Faces differ more than expressions: the change is given too, scaled to the frames' deviation.
    x = jnp.concatenate([later, 3 * (later - neutral)], axis=-1)
    x = x.reshape(-1, *x.shape[2:])
    for width, side in ((16, 5), (32, 3), (64, 3), (128, 3)):
      x = nn.gelu(nn.GroupNorm(num_groups=4)(nn.Conv(width, (side, side), strides=2)(x)))
    # Crops are aligned: where something moves tells the label, so space is not averaged.
    x = nn.gelu(nn.Dense(FEATURES)(x.reshape(len(x), -1)))
    features = x.reshape(-1, FRAMES, FEATURES).mean(1)
    return nn.Dense(NUM_LABELS)(nn.Dropout(DROPOUT, deterministic=not train)(features)), features


@dataclasses.dataclass(frozen=True)
class Classifier:
  """A trained network.

  Attributes:
    variables: {'params'} of `Network`.
  """

  variables: Variables

  @property
  def digest(self) -> str:
    """Of its arrays, the first 12 digits of the SHA-256."""
    return hashlib.sha256(_to_bytes(self.variables)).hexdigest()[:12]

  def __call__(self, clips: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What clips show. Compiled once per number of clips.

    Args:
      clips: uint8 [n, time, side, side, 3], frame 0 neutral; at least 2 frames of any size.

    Returns:
      Probabilities [n, NUM_LABELS], and features [n, FEATURES].
    """
    return jax.device_get(_classify(self.variables, view(clips)))


@jax.jit
def _classify(variables: Variables, frames: jax.Array) -> tuple[jax.Array, jax.Array]:
  logits, features = Network().apply(variables, _to_float(frames))
  return nn.softmax(logits), features


def view(clips: np.ndarray) -> np.ndarray:
  """What the classifier sees: frame 0 and FRAMES more, evenly spaced up to the last.

  Args:
    clips: uint8 [n, time, side, side, 3].

  Returns:
    uint8 [n, FRAMES + 1, 64, 64, 3].
  """
  times = np.linspace(0, clips.shape[1] - 1, FRAMES + 1).round().astype(int)
  return crop.at_template_size(clips[:, times])


def train(source, seed: int = 0) -> Classifier:
  """Trains on real clips, at most MAX_STEPS batches: about half a minute on two cores.

  Args:
    source: the clips of a TFDS data source, of any number of people and labels.
    seed: of everything random; the same gives the same classifier on the same machine.
  """
  start, count = time.monotonic(), len(source)
  logging.info('training the classifier of expressions on %d clips', count)
  frames = np.empty([count, FRAMES + 1, crop.SIDE, crop.SIDE, 3], np.uint8)
  labels = np.empty([count], np.int32)
  for i in range(count):
    clip = source[i]
    frames[i], labels[i] = view(clip['video'][None])[0], clip['label']

  size = min(BATCH_SIZE, count)
  steps = min(MAX_STEPS, EPOCHS * count // size)
  optimizer = optax.adam(optax.cosine_decay_schedule(LEARNING_RATE, steps))
  rng = jax.random.key(seed)
  variables = jax.jit(Network().init)(rng, _to_float(frames[:1]))
  state = optimizer.init(variables)
  shuffle = np.random.default_rng(seed)
  order = np.concatenate([shuffle.permutation(count) for _ in range(EPOCHS)])
  accuracies = []
  for step, chosen in enumerate(order[: steps * size].reshape(steps, size)):
    batch, key = (frames[chosen], labels[chosen]), jax.random.fold_in(rng, step)
    variables, state, accuracy = _train_step(optimizer, variables, state, batch, key)
    accuracies.append(accuracy)
  logging.info(
    'the classifier of expressions: %.1f %% right in its last batches, %.0f seconds',
    100 * np.mean(jax.device_get(accuracies[-10:])),
    time.monotonic() - start,
  )
  return Classifier(variables)


@functools.partial(jax.jit, static_argnums=0)
def _train_step(
  optimizer: optax.GradientTransformation,
  variables: Variables,
  state: optax.OptState,
  batch: tuple[jax.Array, jax.Array],
  rng: jax.Array,
) -> tuple[Variables, optax.OptState, jax.Array]:
  """One update on views and their labels [batch]; also gives the share of them that is right."""
  frames, labels = batch
  augment_rng, dropout_rng = jax.random.split(rng)
  frames = _augment(augment_rng, frames)
  targets = optax.smooth_labels(jax.nn.one_hot(labels, NUM_LABELS), LABEL_SMOOTHING)

  def loss(variables: Variables) -> tuple[jax.Array, jax.Array]:
    logits, _ = Network().apply(
      variables, _to_float(frames), train=True, rngs={'dropout': dropout_rng}
    )
    return optax.softmax_cross_entropy(logits, targets).mean(), logits

  gradient, logits = jax.grad(loss, has_aux=True)(variables)
  updates, state = optimizer.update(gradient, state)
  return optax.apply_updates(variables, updates), state, (logits.argmax(-1) == labels).mean()


def _augment(rng: jax.Array, frames: jax.Array) -> jax.Array:
  """Mirrors half of the views, and shifts each by up to SHIFT pixels; all its frames alike."""
  mirror_rng, shift_rng = jax.random.split(rng)
  mirrored = jax.random.bernoulli(mirror_rng, shape=[len(frames), 1, 1, 1, 1])
  frames = jnp.where(mirrored, frames[:, :, :, ::-1], frames)
  shifts = jax.random.randint(shift_rng, [len(frames), 2], -SHIFT, SHIFT + 1)
  # What leaves at one side comes in at the other: both are background.
  return jax.vmap(lambda clip, shift: jnp.roll(clip, shift, axis=(1, 2)))(frames, shifts)


def _to_float(frames: np.ndarray | jax.Array) -> jax.Array:
  """uint8 -> float32 in [-1, 1]."""
  return jnp.asarray(frames, jnp.float32) / 127.5 - 1


def save(path: str | os.PathLike, classifier: Classifier) -> None:
  """Writes a classifier's arrays.

  Raises:
    OSError: it cannot be written.
  """
  with replacing(path) as temporary:
    digest = {'sha256': classifier.digest}
    pathlib.Path(temporary).write_bytes(_to_bytes(classifier.variables, digest))


def _to_bytes(variables: Variables, metadata: dict[str, str] | None = None) -> bytes:
  """Arrays in the safetensors format, always in the same order."""
  flat = flax.traverse_util.flatten_dict(variables, sep='/')
  arrays = {name: np.asarray(array) for name, array in flat.items()}
  return safetensors.numpy.save(arrays, metadata)


def load(path: str | os.PathLike) -> Classifier:
  """Reads what `save` wrote.

  Raises:
    OSError: it cannot be read.
    ValueError: it is damaged, or holds another network.
  """
  try:
    with safetensors.safe_open(path, framework='numpy') as file:
      flat = {name: file.get_tensor(name) for name in file.keys()}
      digest = (file.metadata() or {}).get('sha256')
  except safetensors.SafetensorError as error:
    raise ValueError(f'{path}: damaged ({error})') from None
  frames = jax.ShapeDtypeStruct([1, FRAMES + 1, crop.SIDE, crop.SIDE, 3], jnp.float32)
  expected = jax.eval_shape(Network().init, jax.random.key(0), frames)
  expected = flax.traverse_util.flatten_dict(expected, sep='/')
  if {name: array.shape for name, array in flat.items()} != {
    name: array.shape for name, array in expected.items()
  }:
    raise ValueError(f'{path}: the arrays of another network')
  classifier = Classifier(flax.traverse_util.unflatten_dict(flat, sep='/'))
  if classifier.digest != digest:
    raise ValueError(f'{path}: not the numbers that were saved')
  return classifier


def trained(builder: tfds.core.DatasetBuilder) -> Classifier:
  """The classifier of a prepared data set: kept beside the data, or trained on its split 'train'.

  A file that cannot be read is made anew. One that cannot be written is done without.
  """
  path = pathlib.Path(builder.data_path) / f'expression_classifier_{VERSION}.safetensors'
  if path.exists():
    try:
      return load(path)
    except (OSError, ValueError) as error:
      logging.warning('%s: training the classifier again', error)
  classifier = train(datasets.Clips(builder, 'train'))
  try:
    save(path, classifier)
  except OSError as error:
    logging.warning('%s: the classifier of expressions is not kept', error)
  return classifier
