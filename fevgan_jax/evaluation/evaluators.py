"""What measures the clips of a data set, and what it says of the real ones.

A face network says who it is, a classifier of expressions which one it sees, optical flow how much
moves. All three look at 64x64 pixels, to which they bring larger clips. What they say of the real
clips is kept beside the prepared data: half of an evaluation's time.
"""

import dataclasses
import pathlib
import zipfile
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from absl import logging

from fevgan_jax.data import datasets
from fevgan_jax.data.batches import test_batches
from fevgan_jax.evaluation import expression_classifier
from fevgan_jax.evaluation.expression_classifier import Classifier
from fevgan_jax.evaluation.face_networks import FaceNetwork
from fevgan_jax.evaluation.metrics import motion
from fevgan_jax.runtime.files import replacing
from fevgan_jax.runtime.progress import Progress

VERSION = 3  # of the kept file, which is named by all weights: raise it with what is else measured


class Traits(NamedTuple):
  """What clips show, each taken by itself.

  Attributes:
    embedding: [clips, time, channels], of the face network.
    probabilities: [clips, labels], what the classifier sees.
    features: [clips, channels], what it sees it by.
    travel: [clips], displacement in pixels of a 64-pixel crop.
  """

  embedding: np.ndarray
  probabilities: np.ndarray
  features: np.ndarray
  travel: np.ndarray


@dataclasses.dataclass(frozen=True)
class Evaluators:
  """Of one data set.

  Attributes:
    network: says who it is.
    classifier: says which expression it is; trained on the real training clips.
    real: traits of the real test clips.
    training_features: [clips, channels], by which the classifier sees the real training clips.
  """

  network: FaceNetwork
  classifier: Classifier
  real: Traits
  training_features: np.ndarray


def of_dataset(
  builder: tfds.core.DatasetBuilder, network: FaceNetwork, batch_size: int
) -> Evaluators:
  """Those of a prepared data set: read from beside it, or made and kept there."""
  classifier = expression_classifier.trained(builder)
  who = f'{network.name}_{network.digest}_{classifier.digest}'
  path = pathlib.Path(builder.data_path) / f'real_clips_{VERSION}_{who}.npz'
  try:
    with path.open('rb') as file, np.load(file) as kept:  # of a damaged file numpy closes nothing
      traits, features = Traits(*(kept[name] for name in Traits._fields)), kept['training_features']
  except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
    train, test = (datasets.Clips(builder, split) for split in ('train', 'test'))
    traits = traits_of_split(test, network, classifier, batch_size)
    batches = watched_batches(train, batch_size, 'features of the training clips')
    features = np.concatenate([classifier(batch['video'])[1][:n] for _, batch, n in batches])
    keep(path, traits, features)
  return Evaluators(network, classifier, traits, features)


def keep(path: pathlib.Path, traits: Traits, features: np.ndarray) -> None:
  """Writes what `of_dataset` reads; a folder that cannot be written is no reason to stop."""
  try:
    with replacing(path) as temporary, open(temporary, 'wb') as file:
      np.savez(file, **traits._asdict(), training_features=features)
  except OSError as error:
    logging.warning('%s: cannot be kept (%s): it will be made again', path, error.strerror)


def traits_of_split(
  source, network: FaceNetwork, classifier: Classifier, batch_size: int
) -> Traits:
  """The traits of every real clip of a split."""
  batches = watched_batches(source, batch_size, 'real clips')
  return join(
    [traits_of(batch['video'], count, network, classifier) for _, batch, count in batches]
  )


def traits_of(
  clips: np.ndarray, count: int, network: FaceNetwork, classifier: Classifier
) -> Traits:
  """The traits of the first `count` clips, uint8 [batch, time, height, width, 3]."""
  probabilities, features = classifier(clips)
  clips, time = clips[:count], clips.shape[1]
  still = (clips == clips[:, :1]).all()
  frames = clips[:, :1] if still else clips
  embedding = network.embed(frames.reshape(-1, *clips.shape[2:])).reshape(*frames.shape[:2], -1)
  return Traits(
    np.repeat(embedding, time, axis=1) if still else embedding,
    probabilities[:count],
    features[:count],
    motion.travel(clips),
  )


def join(parts: list[Traits]) -> Traits:
  """Those of several batches, one after the other."""
  return Traits(*map(np.concatenate, zip(*parts)))


def watched_batches(source, batch_size: int, what: str) -> Iterator[tuple[int, Mapping, int]]:
  """`test_batches`, and how far they are."""
  with Progress(what, len(source), 'clip') as progress:
    for start, batch, count in test_batches(source, batch_size):
      yield start, batch, count
      progress.update(count)
