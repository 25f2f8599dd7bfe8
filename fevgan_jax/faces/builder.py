"""Base class for TFDS builders of recorded faces. Subclasses implement find(), layout and
test_subjects()."""

import abc
import collections
import dataclasses
import pathlib
import shutil
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from absl import logging

from fevgan_jax.faces import folders, preparation, recording, sheet
from fevgan_jax.faces.labels import EXPRESSIONS
from fevgan_jax.faces.preparation import Outcome
from fevgan_jax.faces.recording import Recording
from fevgan_jax.runtime.errors import UserError
from fevgan_jax.runtime.wording import counted, listed, people

REPORT, PAGE = 'report.txt', 'report.html'  # in the folder of the prepared version
SHOWN = 10  # refusals in the log


@dataclasses.dataclass(kw_only=True)
class Config(tfds.core.BuilderConfig):
  """How clips are made.

  Attributes:
    size: side of the square frames in pixels.
    frames: per clip, from the neutral face to the apex; at least 2.
    processes: that make clips; None for one per core. The data do not depend on it.
  """

  size: int = 64
  frames: int = 32
  processes: int | None = None

  def __post_init__(self):
    if self.size < 1:
      raise ValueError(f'size is {self.size}, expected at least 1')
    if self.frames < 2:
      raise ValueError(f'frames is {self.frames}, expected at least 2: neutral face and apex')


def at_both_sizes(configs: Sequence[Config]) -> list[Config]:
  """Configurations of 64 pixels, and each again at 128, with `_128` behind its name."""
  larger = [
    dataclasses.replace(
      config,
      name=f'{config.name}_128',
      size=128,
      description=f'{config.description} At 128x128 pixels.',
    )
    for config in configs
  ]
  return [*configs, *larger]


class Sources(NamedTuple):
  """The recordings that a data set is made from.

  Attributes:
    splits: recordings by split, in a fixed order.
    notes: lines for the log and the report.
    warnings: lines for the log and the report that somebody should read.
  """

  splits: dict[str, list[Recording]]
  notes: list[str]
  warnings: list[str]


class RecordedFaces(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """Clips from files that the user has.

  A builder lists in `find` what lies where. Clips are finished one by one in a folder beside that
  of the version; TFDS writes them when all are there, and the folder goes.
  """

  FULL_SET: tuple[int, int] | None = None  # people and usable takes of the complete data set
  beam_options = None  # of Apache Beam, if it is to make the clips

  @abc.abstractmethod
  def find(self, manual_dir: pathlib.Path) -> folders.Found:
    """Finds every recording below a folder, wanted or not."""

  @property
  @abc.abstractmethod
  def layout(self) -> str:
    """Place of a recording below a folder, for messages: 'SUBJECT/EXPRESSION/CLIP'."""

  @abc.abstractmethod
  def test_subjects(self, subjects: Sequence[str]) -> set[str]:
    """Returns who is for the test split, given everybody in order of their names. May name people
    who are not among these."""

  def sources(self, manual_dir: str | pathlib.Path | None = None) -> Sources:
    """Sorts what `find` finds into splits.

    Raises:
      UserError: there is nothing, with what is there instead and where to get the files; nothing
        for one of the splits; or two recordings have one name.
    """
    manual_dir = pathlib.Path(
      manual_dir or self.data_dir_root / 'downloads' / 'manual'
    ).expanduser()
    found = self.find(manual_dir) if manual_dir.is_dir() else folders.Found([])
    if not found.recordings:
      raise UserError(self._nothing_found(manual_dir, found))
    name, count = collections.Counter(map(str, found.recordings)).most_common(1)[0]
    if count > 1:
      raise UserError(f'{manual_dir}: {count} recordings are named {name}: rename folders')
    names = sorted({which.subject for which in found.recordings})
    tested = self.test_subjects(names)
    splits = {'train': [], 'test': []}
    for which in found.recordings:
      splits['test' if which.subject in tested else 'train'].append(which)
    for split, recordings in splits.items():
      if all(which.unwanted for which in recordings):
        raise UserError(f'{manual_dir}: {_nothing_for(split, recordings, names, tested)}')
    usable = sum(not which.unwanted for which in found.recordings)
    line = f'{self.name}: found {people(len(names))} and {counted(usable, "usable take")}'
    if self.FULL_SET:
      line += '; the full set has {} and {}'.format(*self.FULL_SET)
    warnings = [*found.warnings]
    if missing := sorted(tested - {*names}):
      warnings.append(
        f'{self.name}: {len(missing)} of the {people(len(tested))} of the test split are missing, '
        f'{", ".join(missing)}: measurements will not be comparable with those on all of them'
      )
    return Sources(splits, [*found.notes, line], warnings)

  def _nothing_found(self, manual_dir: pathlib.Path, found: folders.Found) -> str:
    seen = folders.seen(manual_dir)
    if found.elsewhere:
      places = [path.relative_to(manual_dir) for path in found.elsewhere if path != manual_dir]
      seen = f'saw recordings in {listed([*map(str, places)], 6) or manual_dir.name}'
    below = f'; no {self.layout} below' if manual_dir.is_dir() else ''
    limits = ''.join(f' ({warning})' for warning in found.warnings[:1])
    instructions = ' '.join(self.MANUAL_DOWNLOAD_INSTRUCTIONS.split())
    return f'{manual_dir}: no {self.name} files: {seen}{below}{limits}. {instructions}'

  def _info(self) -> tfds.core.DatasetInfo:
    config = self.builder_config
    return self.dataset_info_from_configs(
      features=tfds.features.FeaturesDict(
        {
          'video': tfds.features.Tensor(
            shape=(config.frames, config.size, config.size, 3), dtype=np.uint8, encoding='bytes'
          ),
          'landmarks': tfds.features.Tensor(
            shape=(config.frames, 68, 2), dtype=np.float32, encoding='bytes'
          ),
          'label': tfds.features.ClassLabel(names=list(EXPRESSIONS)),
          'subject': tfds.features.Text(),
          'take': tfds.features.Text(),
        }
      ),
      supervised_keys=None,
      homepage=self.HOMEPAGE,
      metadata=tfds.core.MetadataDict(),
    )

  def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
    sources = self.sources(dl_manager.manual_dir)
    self.info.metadata['manual_dir'] = str(pathlib.Path(dl_manager.manual_dir).absolute())
    for note in sources.notes:
      logging.info('%s', note)
    for warning in sources.warnings:
      logging.warning('%s', warning)
    config = self.builder_config
    outcomes = iter(
      preparation.finish(
        [which for recordings in sources.splits.values() for which in recordings],
        self._unfinished,
        frames=config.frames,
        size=config.size,
        processes=config.processes,
        beam_options=self.beam_options,
      )
    )
    splits = {name: list(zip(recordings, outcomes)) for name, recordings in sources.splits.items()}
    self._report(sources, splits)
    return {name: self._generate_examples(outcomes) for name, outcomes in splits.items()}

  def _report(self, sources: Sources, splits: dict[str, list[tuple[Recording, Outcome]]]) -> None:
    """Writes the report into the folder of the version, and logs its main lines.

    Raises:
      UserError: one of the splits has no clip. TFDS removes the folder of the version then, so the
        report is in that of the finished clips.
    """
    empty = [name for name, outcomes in splits.items() if not preparation.clips(outcomes)]
    folder = self._unfinished if empty else pathlib.Path(self.data_path)
    final = folder if empty else folder.parent / str(self.version)
    notes = [*sources.notes, *sources.warnings]
    if without := [
      f'{subject} ({split})'
      for split, subject, own in preparation.by_subject(splits)
      if not preparation.clips(own)
    ]:
      notes.append(f'{self.name}: no clip became of {people(len(without))}: {listed(without)}')
      logging.warning('%s', notes[-1])
    title = f'{self.name}/{self.builder_config.name}'
    (folder / REPORT).write_text(preparation.report(splits, notes), encoding='utf-8')
    (folder / PAGE).write_text(sheet.html(title, splits, notes), encoding='utf-8')
    refused = preparation.refusals(splits)
    more = [f'and {len(refused) - SHOWN} more'] if len(refused) > SHOWN else []
    logging.info('\n%s', '\n'.join([preparation.summary(splits), *refused[:SHOWN], *more]))
    if empty:
      raise UserError(
        f'{self.name}: no recording for the {empty[0]} split became a clip, such as '
        f'{preparation.refusals({empty[0]: splits[empty[0]]})[0]}: see {final / REPORT}'
      )
    logging.info('report: %s and %s', final / REPORT, PAGE)

  def _generate_examples(
    self, outcomes: list[tuple[Recording, Outcome]]
  ) -> Iterator[tuple[str, dict[str, Any]]]:
    for which, outcome in outcomes:
      if isinstance(outcome, pathlib.Path):
        with np.load(outcome) as clip:
          features = {name: clip[name] for name in recording.Clip._fields}
        about = {'label': which.label, 'subject': which.subject, 'take': which.take}
        yield str(which), features | about

  @property
  def _unfinished(self) -> pathlib.Path:
    """Beside the version's folder; TFDS gives that another name until it is complete."""
    return pathlib.Path(self.data_path).parent / f'unfinished-{self.version}'

  def _post_download_and_prepare_hook(self) -> None:
    shutil.rmtree(self._unfinished, ignore_errors=True)


def _nothing_for(
  split: str, recordings: Sequence[Recording], names: Sequence[str], tested: set[str]
) -> str:
  """Explains why a split has no usable recording."""
  found = f'{people(len(names))} found, {listed(names)}'
  if recordings:
    reason = f'such as {recordings[0]}: {recordings[0].unwanted}'
    return f'nothing for the {split} split: every take of its people is left out, {reason}'
  if split == 'train':
    return f'nothing for the train split: {found}, for the test split: expected others as well'
  return (
    f'nothing for the test split: none of its people, {listed(sorted(tested), 20)}, is among the '
    f'{found}: expected some of both, since nobody may be in both splits'
  )
