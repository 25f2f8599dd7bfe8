"""Prepared TFDS data to batches: deterministic for a seed, with a position that can be saved."""

import importlib
import pathlib
import sys
from collections.abc import Iterator, Mapping

import grain
import ml_collections
import numpy as np
import tensorflow_datasets as tfds

from fevgan_jax.faces.builder import RecordedFaces
from fevgan_jax.runtime.errors import UserError

FOLDER = pathlib.Path(__file__).parents[2] / 'datasets'
FILE_FORMAT = 'array_record'  # random access, and no TensorFlow


def names() -> list[str]:
  """The data sets that have a builder."""
  return sorted(path.parent.name for path in FOLDER.glob('*/*_dataset_builder.py'))


def builder(config: ml_collections.ConfigDict, *, needed: bool = True) -> tfds.core.DatasetBuilder:
  """The builder of `config.dataset`.

  `datasets/` is no package (HuggingFace has one of that name): its folders are importable by their
  own names.

  Args:
    config: of the run.
    needed: whether the data are; else their description is all that is wanted.

  Raises:
    UserError: no such data set, no such configuration of it, or it is needed, not prepared, and the
      files that it is made from are missing.
  """
  name = config.dataset.name
  if name not in names():
    raise UserError(
      f"config.dataset.name: no data set '{name}': expected one of {', '.join(names())}"
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
  chosen = cls(
    config=config.dataset.config or None,
    data_dir=config.dataset.data_dir or None,
    file_format=FILE_FORMAT,
  )
  if needed and isinstance(chosen, RecordedFaces) and not chosen.data_path.exists():
    chosen.check_manual_dir(config.dataset.manual_dir)
  return chosen


def clip_shape(config: ml_collections.ConfigDict) -> tuple[int, int, int, int]:
  """(time, height, width, 3) of the clips of `config.dataset`, whether or not it is prepared.

  Raises:
    UserError: no such data set, or no such configuration of it.
  """
  return builder(config, needed=False).info.features['video'].shape


def prepare(config: ml_collections.ConfigDict) -> tfds.core.DatasetBuilder:
  """Writes the data set where it is missing, and returns its builder.

  Raises:
    UserError: see `builder`; or it cannot be written.
  """
  ready = builder(config)
  tfds.disable_progress_bar()  # builders that take long show their own
  try:
    ready.download_and_prepare(
      download_config=tfds.download.DownloadConfig(manual_dir=config.dataset.manual_dir or None)
    )
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


def train_batches(
  source, config: ml_collections.ConfigDict, part: slice = slice(None)
) -> grain.DatasetIterator:
  """Endless batches: 'video' uint8 [batch, time, height, width, 3], 'label' int32 [batch], and, of
  a data set that knows it, 'intensity' float32 [batch].

  Every epoch is a new permutation, a function of the seed. `get_state` and `set_state` of the
  result give the position, which counts batches.

  Args:
    source: the split's clips.
    config: `seed` and `batch_size` are read.
    part: of every batch, what this process takes. The global batches, in which no clip is missing
      and none comes twice in an epoch, and the position do not depend on how many processes there
      are.
  """

  def load(indices: np.ndarray) -> dict[str, np.ndarray]:
    clips = [source[i] for i in indices[part]]
    kinds = {'video': np.uint8, 'label': np.int32, 'intensity': np.float32}
    return {
      key: np.stack([clip[key] for clip in clips]).astype(kind, copy=False)
      for key, kind in kinds.items()
      if key in clips[0]
    }

  dataset = grain.MapDataset.range(len(source)).seed(config.seed).shuffle().repeat()
  dataset = dataset.batch(config.batch_size, drop_remainder=True).map(load)
  return iter(dataset.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=4)))


def test_batches(source, batch_size: int) -> Iterator[tuple[int, Mapping[str, np.ndarray], int]]:
  """All clips once and in order: the number of the first clip, and `test_batch` from there."""
  for start in range(0, len(source), batch_size):
    yield start, *test_batch(source, start, batch_size)


def test_batch(source, start: int, batch_size: int) -> tuple[Mapping[str, np.ndarray], int]:
  """The clips from `start` on. A last batch is filled up with its first clip, so that one shape is
  compiled.

  Returns:
    A batch with every feature of the data set, and how many of its clips count.
  """
  clips = [source[i] for i in range(start, min(start + batch_size, len(source)))]
  filled = clips + clips[:1] * (batch_size - len(clips))
  return {key: np.stack([clip[key] for clip in filled]) for key in clips[0]}, len(clips)
