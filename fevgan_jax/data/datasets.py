"""The data sets of datasets/: their builders, and their preparation."""

import contextlib
import datetime
import hashlib
import importlib
import os
import pathlib
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import ml_collections
import psutil
import tensorflow_datasets as tfds
from absl import logging
from tensorflow_datasets.core import file_adapters, shuffle

from fevgan_jax.faces.builder import RecordedFaces
from fevgan_jax.runtime import workers
from fevgan_jax.runtime.errors import REFUSALS, UserError
from fevgan_jax.runtime.files import held

FOLDER = pathlib.Path(__file__).parents[2] / 'datasets'
SORTED_SHARE = 0.5  # of the free memory
FILE_FORMAT = 'array_record'  # random access, and no TensorFlow


def defaults() -> ml_collections.ConfigDict:
  """The section of the config that says what clips are read, and from where."""
  return ml_collections.ConfigDict(
    {
      'name': 'synthetic_faces',  # a folder of datasets/
      'config': 'quick',  # one of its builder's configurations
      'data_dir': '',  # of prepared data; empty for TFDS' own default, ~/tensorflow_datasets
      # of files that cannot be downloaded; empty for TFDS' own default, downloads/manual in the
      # folder above
      'manual_dir': '',
    }
  )


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
  if not names():
    raise UserError(f'{FOLDER}: no data sets there: they need a checkout of the repository')
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
  try:
    chosen = cls(config=config.dataset.config or None, data_dir=expanded(config.dataset.data_dir))
  except Exception as error:  # TFDS reads the description of what is prepared  # noqa: BLE001
    root = pathlib.Path(expanded(config.dataset.data_dir) or tfds.core.constants.DATA_DIR)
    raise _damaged(
      root / name / (config.dataset.config or known[0]) / str(cls.VERSION), error
    ) from error
  if needed and isinstance(chosen, RecordedFaces) and not chosen.data_path.exists():
    chosen.sources(expanded(config.dataset.manual_dir))
  return chosen


def expanded(typed: str) -> str | None:
  """A folder of the config with its ~ expanded, as TFDS does not; None for TFDS's own default."""
  return os.path.expanduser(typed) if typed else None


def clip_shape(config: ml_collections.ConfigDict) -> tuple[int, int, int, int]:
  """(time, height, width, 3) of the clips of `config.dataset`, whether or not it is prepared.

  Raises:
    UserError: no such data set, or no such configuration of it.
  """
  return builder(config, needed=False).info.features['video'].shape


def prepare(
  config: ml_collections.ConfigDict, beam: str = '', again: bool = False
) -> tfds.core.DatasetBuilder:
  """Writes the data set where it is missing, and returns its builder. One process at a time
  prepares: what a killed one has left unfinished is removed.

  Args:
    config: of the run.
    beam: what Apache Beam is to do the work by, a runner and its options; else this machine does.
    again: also where it is not missing: the new data take the place of the old when they are whole.

  Raises:
    UserError: see `builder`; or it cannot be written; or what is there is damaged, or in a file
      format without random access; or Apache Beam is not installed.
  """
  ready = builder(config)
  if ready.data_path.exists() and not again:
    if not ready.info.splits:
      raise _damaged(ready.data_path, 'no dataset_info.json')
    _check_format(ready)
    _tell(ready, config.dataset.manual_dir)
    return ready
  parent, version = ready.data_path.parent, ready.data_path.name
  with held(parent / f'.{version}.lock', waits=True), _set_aside(ready.data_path, again):
    for unfinished in parent.glob(f'incomplete.*_{version}'):
      shutil.rmtree(unfinished, ignore_errors=True)
    ready = builder(config)  # another process may have prepared it meanwhile
    if beam:
      ready.beam_options = _beam_options(beam)
    with workers.environment():
      _write(ready, config.dataset.manual_dir)
  return ready


@contextlib.contextmanager
def _set_aside(folder: pathlib.Path, wanted: bool) -> Iterator[None]:
  """Moves prepared data away while others are made, and back if the block fails."""
  aside = folder.with_name(f'replaced.{folder.name}')
  if wanted and folder.exists():
    shutil.rmtree(aside, ignore_errors=True)
    folder.rename(aside)
  try:
    yield
  finally:
    if folder.exists():
      shutil.rmtree(aside, ignore_errors=True)
    elif aside.exists():
      aside.rename(folder)


def _tell(ready: tfds.core.DatasetBuilder, manual_dir: str) -> None:
  """Logs what the prepared data are, and warns where the user has named other files."""
  source = (ready.info.metadata or {}).get('manual_dir')  # of files that cannot be downloaded
  written = pathlib.Path(ready.data_path, 'dataset_info.json').stat().st_mtime
  day = datetime.date.fromtimestamp(written)
  clips = ' + '.join(str(ready.info.splits[name].num_examples) for name in ('train', 'test'))
  which = f'{ready.info.full_name}: prepared {day}, {clips} clips'
  which += f', from {source}' if source else ''
  logging.info('%s; --mode prepare --again makes it anew', which)
  if (
    source
    and manual_dir
    and pathlib.Path(manual_dir).expanduser().absolute() != pathlib.Path(source)
  ):
    logging.warning(
      '%s: not read: the prepared data are from %s; --mode prepare --again reads it',
      manual_dir,
      source,
    )


class Clips(Sequence):
  """A split of prepared clips: their features by name, and one error for all that files can be.

  Raises:
    UserError: a file of the split is missing or damaged.
  """

  def __init__(self, ready: tfds.core.DatasetBuilder, split: str):
    self._ready, self._split = ready, split
    self._source = self._reading(lambda: ready.as_data_source(split))

  def names(self) -> list[tuple[str, str, int]]:
    """Subject, take and label of every clip, in order, without decoding their videos."""
    others = self._ready.info.features.keys() - {'subject', 'take', 'label'}
    skipped = {name: tfds.decode.SkipDecoding() for name in others}
    source = self._reading(lambda: self._ready.as_data_source(self._split, decoders=skipped))
    rows = (self._reading(lambda i=i: source[i]) for i in range(len(self)))
    return [(row['subject'].decode(), row['take'].decode(), int(row['label'])) for row in rows]

  def summary(self) -> dict[str, Any]:
    """Identifies the split: JSON with the 'dataset', its 'people', sorted, and a 'digest' of the
    names of its clips, whatever their order."""
    names = self.names()
    text = '\n'.join(sorted('/'.join(map(str, name)) for name in names))
    return {
      'dataset': self._ready.name,
      'people': sorted({subject for subject, _, _ in names}),
      'digest': hashlib.sha256(text.encode()).hexdigest()[:12],
    }

  def __len__(self) -> int:
    return len(self._source)

  def __getitem__(self, i: int) -> dict[str, Any]:
    if not 0 <= i < len(self):
      raise IndexError(i)
    return self._reading(lambda: self._source[i])

  def _reading(self, read):
    try:
      return read()
    except Exception as error:  # array_record and TFDS raise what they like  # noqa: BLE001
      raise _damaged(self._ready.data_path, error) from error


def _check_format(ready: tfds.core.DatasetBuilder) -> None:
  """Refuses data that another project has written without random access, as TFDS does by default.

  Raises:
    UserError: names the format, and what helps.
  """
  formats = ready.info.available_file_formats()
  if formats & file_adapters.FileFormat.with_random_access():
    return
  raise UserError(
    f'{ready.data_path}: prepared as {ready.info.file_format.value}, which has no random access, '
    f'expected {FILE_FORMAT}: name another --config.dataset.data_dir to prepare the data there as '
    f"well, or give file_format='{FILE_FORMAT}' to the builder of the project that prepared them"
  )


def _damaged(folder: pathlib.Path, reason: object) -> UserError:
  words = f'{reason}'.strip().splitlines() or [type(reason).__name__]
  return UserError(
    f'{folder}: the prepared data are damaged ({words[0][:200]}): delete this folder, and start '
    'again to prepare them anew'
  )


def _beam_options(words: str):
  """Of 'RUNNER --OPTION=VALUE ...'."""
  try:
    from apache_beam.options.pipeline_options import PipelineOptions
  except ImportError:
    raise UserError(
      '--beam: needs Apache Beam, which is not installed: pip install apache-beam'
    ) from None
  runner, *others = shlex.split(words)
  return PipelineOptions([f'--runner={runner}', *others])


@contextlib.contextmanager
def sorting_in_memory() -> Iterator[None]:
  """Lets TFDS sort a split in memory as far as SORTED_SHARE of what is free allows. Beyond a
  gigabyte it would sort on disk, for which it needs TensorFlow."""
  limit = shuffle.MAX_MEM_BUFFER_SIZE
  shuffle.MAX_MEM_BUFFER_SIZE = max(limit, int(SORTED_SHARE * psutil.virtual_memory().available))
  try:
    yield
  finally:
    shuffle.MAX_MEM_BUFFER_SIZE = limit


def _write(ready: tfds.core.DatasetBuilder, manual_dir: str) -> None:
  tfds.disable_progress_bar()  # builders that take long show their own
  try:
    with sorting_in_memory():
      ready.download_and_prepare(
        download_config=tfds.download.DownloadConfig(
          manual_dir=expanded(manual_dir), beam_options=ready.beam_options
        ),
        file_format=FILE_FORMAT,
      )
  except ImportError as failure:
    if 'tensorflow' not in str(failure).lower():
      raise
    raise UserError(
      f'{ready.data_path}: a split is larger than half of the free memory, and TFDS needs '
      'TensorFlow to sort it on disk: free memory, choose a smaller --config.dataset.config, or '
      'pip install tensorflow'
    ) from failure
  except (OSError, RuntimeError) as failure:
    full = 'No space left' in str(failure)  # array_record has no exception of its own
    if not full and getattr(failure, 'errno', None) not in REFUSALS:
      raise
    reason = 'the disk is full' if full else failure.strerror
    raise UserError(
      f'{ready.data_path}: cannot be written ({reason}): make room, or name another place with '
      '--config.dataset.data_dir'
    ) from failure
