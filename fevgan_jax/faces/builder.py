"""What TFDS builders of recorded faces share: all but where their files lie and who is tested."""

import abc
import collections
import dataclasses
import pathlib
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from absl import logging
from tensorflow_datasets.core import shuffle

from fevgan_jax.faces import preparation, recording
from fevgan_jax.faces.labels import EXPRESSIONS
from fevgan_jax.faces.recording import Recording
from fevgan_jax.runtime.errors import UserError

REPORT = 'report.txt'  # in the folder of the prepared version
SHOWN = 10  # refusals in the log

# A split is sorted in memory, however large it is: from a gigabyte on TFDS would go to disk, for
# which it needs TensorFlow.
shuffle.MAX_MEM_BUFFER_SIZE = sys.maxsize


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


class RecordedFaces(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """Clips from files that the user has.

  A builder says in `find` what lies where. Clips are finished one by one in a folder beside that of
  the version; TFDS writes them when all are there, and the folder goes.
  """

  beam_options = None  # of Apache Beam, if it is to make the clips

  @abc.abstractmethod
  def find(self, manual_dir: pathlib.Path) -> list[Recording]:
    """Every recording below a folder, wanted or not, in a fixed order."""

  @abc.abstractmethod
  def test_subjects(self, subjects: Sequence[str]) -> set[str]:
    """Who of these, in order of their names, is for the test split."""

  def check_manual_dir(self, manual_dir: pathlib.Path | None = None) -> dict[str, list[Recording]]:
    """What `find` finds, by split.

    Raises:
      UserError: nothing, with instructions where to get the files and where to put them; nothing
        for one of the splits; or two recordings of one name.
    """
    manual_dir = pathlib.Path(
      manual_dir or self.data_dir_root / 'downloads' / 'manual'
    ).expanduser()
    found = self.find(manual_dir) if manual_dir.is_dir() else []
    if not found:
      instructions = ' '.join(self.MANUAL_DOWNLOAD_INSTRUCTIONS.split())
      raise UserError(f'{manual_dir}: no {self.name} files there. {instructions}')
    name, count = collections.Counter(map(str, found)).most_common(1)[0]
    if count > 1:
      raise UserError(f'{manual_dir}: {count} recordings are named {name}: rename folders')
    people = sorted({which.subject for which in found})
    tested = self.test_subjects(people)
    splits = {'train': [], 'test': []}
    for which in found:
      splits['test' if which.subject in tested else 'train'].append(which)
    for name, recordings in splits.items():
      if all(which.unwanted for which in recordings):
        raise UserError(
          f'{manual_dir}: nothing for the {name} split among the recordings of {len(people)} '
          f'people, {people[0]} to {people[-1]}: expected some of people who are tested and of '
          'others, since nobody may be in both splits'
        )
    return splits

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
    )

  def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
    found = self.check_manual_dir(dl_manager.manual_dir)
    config = self.builder_config
    outcomes = iter(
      preparation.finish(
        [*found['train'], *found['test']],
        self._unfinished,
        frames=config.frames,
        size=config.size,
        processes=config.processes,
        beam_options=self.beam_options,
      )
    )
    splits = {name: list(zip(recordings, outcomes)) for name, recordings in found.items()}
    self._tell(splits)
    (self.data_path / REPORT).write_text(preparation.report(splits), encoding='utf-8')
    return {name: self._generate_examples(outcomes) for name, outcomes in splits.items()}

  def _tell(self, splits: dict[str, list[tuple[Recording, preparation.Outcome]]]) -> None:
    refused = preparation.refusals(splits)
    more = [f'and {len(refused) - SHOWN} more, see {REPORT}'] if len(refused) > SHOWN else []
    logging.info('\n%s', '\n'.join([preparation.summary(splits), *refused[:SHOWN], *more]))
    for name, outcomes in splits.items():
      if not any(isinstance(outcome, pathlib.Path) for _, outcome in outcomes):
        raise UserError(
          f'{self.name}: no recording for the {name} split became a clip, such as '
          f'{preparation.refusals({name: outcomes})[0]}'
        )

  def _generate_examples(
    self, outcomes: list[tuple[Recording, preparation.Outcome]]
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


def folders(parent: pathlib.Path) -> list[pathlib.Path]:
  """The folders in a folder by name, without those that a system hides."""
  return sorted(
    path for path in parent.iterdir() if path.is_dir() and not path.name.startswith('.')
  )


def frames(folder: pathlib.Path, pattern: re.Pattern) -> tuple[str, ...]:
  """The files whose whole name matches, in the order of the number that is its first group: numbers
  may outgrow their zeros, begin anywhere and leave gaps."""
  names = {path.name: pattern.fullmatch(path.name) for path in folder.iterdir()}
  found = sorted((int(match[1]), name) for name, match in names.items() if match)
  return tuple(str(folder / name) for _, name in found)
