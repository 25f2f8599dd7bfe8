"""The data sets of datasets/: their builders, and their preparation."""

import importlib
import os
import pathlib
import shlex
import shutil
import sys
from collections.abc import Sequence
from typing import Any

import ml_collections
import tensorflow_datasets as tfds
from tensorflow_datasets.core import file_adapters

from fevgan_jax.faces.builder import RecordedFaces
from fevgan_jax.runtime import workers
from fevgan_jax.runtime.errors import REFUSALS, UserError
from fevgan_jax.runtime.files import held

FOLDER = pathlib.Path(__file__).parents[2] / 'datasets'
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


def prepare(config: ml_collections.ConfigDict, beam: str = '') -> tfds.core.DatasetBuilder:
  """Writes the data set where it is missing, and returns its builder. One process at a time
  prepares: what a killed one has left unfinished is removed.

  Args:
    config: of the run.
    beam: what Apache Beam is to do the work by, a runner and its options; else this machine does.

  Raises:
    UserError: see `builder`; or it cannot be written; or what is there is damaged, or in a file
      format without random access; or Apache Beam is not installed.
  """
  ready = builder(config)
  if ready.data_path.exists():
    if not ready.info.splits:
      raise _damaged(ready.data_path, 'no dataset_info.json')
    _check_format(ready)
    return ready
  parent, version = ready.data_path.parent, ready.data_path.name
  with held(parent / f'.{version}.lock', waits=True):
    for unfinished in parent.glob(f'incomplete.*_{version}'):
      shutil.rmtree(unfinished, ignore_errors=True)
    ready = builder(config)  # another process may have prepared it meanwhile
    if beam:
      ready.beam_options = _beam_options(beam)
    with workers.environment():
      _write(ready, config.dataset.manual_dir)
  return ready


class Clips(Sequence):
  """A split of prepared clips: their features by name, and one error for all that files can be.

  Raises:
    UserError: a file of the split is missing or damaged.
  """

  def __init__(self, ready: tfds.core.DatasetBuilder, split: str):
    self._folder = ready.data_path
    self._source = self._reading(lambda: ready.as_data_source(split))

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
      raise _damaged(self._folder, error) from error


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


def _write(ready: tfds.core.DatasetBuilder, manual_dir: str) -> None:
  tfds.disable_progress_bar()  # builders that take long show their own
  try:
    ready.download_and_prepare(
      download_config=tfds.download.DownloadConfig(
        manual_dir=expanded(manual_dir), beam_options=ready.beam_options
      ),
      file_format=FILE_FORMAT,
    )
  except (OSError, RuntimeError) as failure:
    full = 'No space left' in str(failure)  # array_record has no exception of its own
    if not full and getattr(failure, 'errno', None) not in REFUSALS:
      raise
    reason = 'the disk is full' if full else failure.strerror
    raise UserError(
      f'{ready.data_path}: cannot be written ({reason}): make room, or name another place with '
      '--config.dataset.data_dir'
    ) from failure
