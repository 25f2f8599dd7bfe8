"""The TFDS builder of MUG: finds the takes in a licensee's folder."""

import dataclasses
import pathlib
import re
from collections.abc import Iterator, Sequence

import tensorflow_datasets as tfds

from fevgan_jax.faces import builder, folders
from fevgan_jax.faces.labels import EXPRESSIONS
from fevgan_jax.faces.recording import Recording

# The ten of 52 public subjects that ImaGINator (Wang et al., WACV 2020) validates on, by the lists
# in its repository, annotation/*.csv; it is trained on the other 42.
PUBLIC_TEST = ('017', '034', '045', '055', '060', '064', '065', '073', '078', '083')

SUBJECT = re.compile(r'\d+')
TAKE = re.compile(r'take\d+(nsg|end)?', re.IGNORECASE)
FRAME_NAME = re.compile(r'img_(\d+)\.jpe?g', re.IGNORECASE)


@dataclasses.dataclass(kw_only=True)
class Config(builder.Config):
  """Which takes are used, and who is tested.

  Attributes:
    test_people: subjects of the test split; everybody else, also whom no public list names, is
      in the training split.
    shortest_take: in frames, there and back. With 40, and without takes named `end`, the public
      subjects have the 881 sequences that TwoStreamVAN lists, and one more.
  """

  test_people: Sequence[str] = PUBLIC_TEST
  shortest_take: int = 40


class Builder(builder.RecordedFaces):
  """People who make the six basic expressions in front of a blue screen."""

  VERSION = tfds.core.Version('1.1.0')
  RELEASE_NOTES = {'1.0.0': 'Initial release.', '1.1.0': 'Landmarks; clips as before.'}
  BUILDER_CONFIGS = builder.at_both_sizes(
    [Config(name='public', description='The public split: 42 people and 10.')]
  )
  HOMEPAGE = 'https://mug.ee.auth.gr/fed/'
  MANUAL_DOWNLOAD_INSTRUCTIONS = """
    MUG needs a license: apply at https://mug.ee.auth.gr/fed/ and unpack the image sequences there,
    or name their folder with --config.dataset.manual_dir (datasets/README.md, "MUG").
  """
  FULL_SET = 52, 882

  @property
  def layout(self) -> str:
    return 'NNN/EXPRESSION/takeNNN/img_NNNN.jpg'

  def find(self, manual_dir: pathlib.Path) -> folders.Found:
    return folders.search(manual_dir, subject_name, self._takes)

  def test_subjects(self, subjects: Sequence[str]) -> set[str]:
    return {subject_name(name) or name for name in self.builder_config.test_people}

  def _takes(self, folder: pathlib.Path, subject: str) -> Iterator[Recording]:
    """Yields what lies at [sessionN/]EXPRESSION/takeNNN[nsg|end] in a subject's folder."""
    inner = folders.subfolders(folder)
    sessions = [path for path in inner if path.name.lower().startswith('session')]
    for parent in (folder, *sessions):
      prefix = '' if parent == folder else f'{parent.name.lower()}-'
      for expression in inner if parent == folder else folders.subfolders(parent):
        label = expression.name.lower()
        if label in EXPRESSIONS:
          for take in folders.subfolders(expression):
            if TAKE.fullmatch(take.name):
              yield self._recording(subject, label, prefix + take.name.lower(), take)

  def _recording(self, subject: str, label: str, take: str, folder: pathlib.Path) -> Recording:
    files = folders.frames(folder, FRAME_NAME)
    shortest = self.builder_config.shortest_take
    unwanted = ''
    if take.endswith('end'):
      unwanted = 'a take named "end", which other work leaves out too'
    elif len(files) < shortest:
      unwanted = f'a take of {len(files)} frames, expected {shortest} at least'
    return Recording(subject, label, take, files, first_half=True, unwanted=unwanted)


def subject_name(folder: str) -> str | None:
  """'017' for a folder '17' or '017'; None for one that is not a subject's."""
  return f'{int(folder):03d}' if SUBJECT.fullmatch(folder) else None
