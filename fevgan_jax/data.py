"""Prepared TFDS data to batches: deterministic for a seed, with a position that can be saved."""

import importlib
import pathlib
import sys
from collections.abc import Iterator, Mapping

import grain
import jax
import ml_collections
import numpy as np
import tensorflow_datasets as tfds

from fevgan_jax import parallel
from fevgan_jax.errors import UserError

FOLDER = pathlib.Path(__file__).parent.parent / 'datasets'
FILE_FORMAT = 'array_record'  # random access, and no TensorFlow


def names() -> list[str]:
  """The data sets that have a builder."""
  return sorted(path.parent.name for path in FOLDER.glob('*/*_dataset_builder.py'))


def builder(config: ml_collections.ConfigDict) -> tfds.core.DatasetBuilder:
  """The builder of `config.dataset`.

  `datasets/` is no package (HuggingFace has one of that name): its folders are importable by their
  own names.

  Raises:
    UserError: no such data set, or no such configuration of it.
  """
  name = config.dataset.name
  if name not in names():
    raise UserError(
      f"config.dataset.name: no data set '{name}': expected one of {', '.join(names())}; builders "
      'for licensed files, MUG and Oulu-CASIA, are still to come (README, "Data of one\'s own")'
    )
  if str(FOLDER) not in sys.path:
    sys.path.append(str(FOLDER))
  cls = importlib.import_module(f'{name}.{name}_dataset_builder').Builder
  known = [c.name for c in cls.BUILDER_CONFIGS]
  if config.dataset.config and config.dataset.config not in known:
    raise UserError(
      f"config.dataset.config: {name} has no configuration '{config.dataset.config}': "
      f'expected one of {", ".join(known)}'
    )
  return cls(
    config=config.dataset.config or None,
    data_dir=config.dataset.data_dir or None,
    file_format=FILE_FORMAT,
  )


def prepare(config: ml_collections.ConfigDict) -> tfds.core.DatasetBuilder:
  """Writes the data set where it is missing, and returns its builder.

  Raises:
    UserError: see `builder`; or it cannot be written.
  """
  ready = builder(config)
  tfds.disable_progress_bar()  # builders that take long show their own
  try:
    ready.download_and_prepare()
  except (OSError, RuntimeError) as failure:
    full = 'No space left' in str(failure)  # array_record has no exception of its own
    if not full and not isinstance(failure, OSError):
      raise
    reason = 'the disk is full' if full else failure.strerror
    raise UserError(
      f'{ready.data_path}: cannot be written ({reason}): make room, or name another place with '
      '--config.dataset.data_dir'
    ) from failure
  return ready


class Clips:
  """A split as grain reads it: clips with the two features that training needs."""

  def __init__(self, source):
    self.source = source

  def __len__(self) -> int:
    return len(self.source)

  def __getitem__(self, index: int) -> dict[str, np.ndarray]:
    clip = self.source[index]
    return {'video': clip['video'], 'label': np.int32(clip['label'])}


def train_batches(source, config: ml_collections.ConfigDict) -> grain.DatasetIterator:
  """Endless batches of this process: 'video' uint8 [batch, time, height, width, 3], 'label' int32
  [batch].

  Every epoch is a new permutation, a function of the seed. All processes go through one order and
  take every n-th clip of it, so that the global batch does not depend on their number. `get_state`
  and `set_state` of the result give the position.
  """
  dataset = grain.MapDataset.source(Clips(source)).seed(config.seed).shuffle().repeat()
  dataset = dataset[jax.process_index() :: jax.process_count()]
  dataset = dataset.batch(parallel.local_batch_size(config.batch_size), drop_remainder=True)
  return iter(dataset.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=4)))


def test_batches(source, batch_size: int) -> Iterator[tuple[Mapping[str, np.ndarray], int]]:
  """All clips once and in order. The last batch is filled up with its first clip, so that one
  shape is compiled.

  Yields:
    A batch with every feature of the data set, and how many of its clips count.
  """
  for start in range(0, len(source), batch_size):
    clips = [source[i] for i in range(start, min(start + batch_size, len(source)))]
    filled = clips + clips[:1] * (batch_size - len(clips))
    yield {key: np.stack([clip[key] for clip in filled]) for key in clips[0]}, len(clips)
