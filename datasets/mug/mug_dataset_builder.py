"""The TFDS builder of MUG: finds the takes in a licensee's folder."""

import dataclasses
import pathlib
import re
from collections.abc import Iterator, Sequence

import tensorflow_datasets as tfds

from fevgan_jax.faces import builder
from fevgan_jax.faces.labels import EXPRESSIONS
from fevgan_jax.faces.recording import Recording

# The ten of 52 public subjects that ImaGINator (Wang et al., WACV 2020) validates on, by the lists
# in its repository, annotation/*.csv; it is trained on the other 42.
PUBLIC_TEST = ('017', '034', '045', '055', '060', '064', '065', '073', '078', '083')

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
    MUG needs a license: apply at https://mug.ee.auth.gr/fed/ and unpack the image sequences so that
    subjects3/001/anger/take000/img_0000.jpg and so on lie in that folder, or name another one with
    --config.dataset.manual_dir (datasets/README.md, "MUG").
  """

  def find(self, manual_dir: pathlib.Path) -> list[Recording]:
    roots = [
      manual_dir,
      *sorted(manual_dir.glob('subjects3*')),
      *sorted(manual_dir.glob('*/subjects3*')),
    ]
    found = (list(self._takes(root)) for root in roots)
    return next(filter(None, found), [])

  def test_subjects(self, subjects: Sequence[str]) -> set[str]:
    return set(self.builder_config.test_people)

  def _takes(self, root: pathlib.Path) -> Iterator[Recording]:
    """What lies at NNN/[sessionN/]EXPRESSION/takeNNN[nsg|end]; other folders are passed over."""
    for subject in builder.folders(root):
      if not subject.name.isdecimal():
        continue
      inner = builder.folders(subject)
      sessions = [folder for folder in inner if folder.name.lower().startswith('session')]
      for parent in (subject, *sessions):
        prefix = '' if parent == subject else f'{parent.name}-'
        for expression in builder.folders(parent) if sessions else inner:
          label = expression.name.lower()
          if label in EXPRESSIONS:
            for take in builder.folders(expression):
              if TAKE.fullmatch(take.name):
                yield self._recording(subject.name, label, prefix + take.name, take)

  def _recording(self, subject: str, label: str, take: str, folder: pathlib.Path) -> Recording:
    files = builder.frames(folder, FRAME_NAME)
    shortest = self.builder_config.shortest_take
    unwanted = ''
    if take.lower().endswith('end'):
      unwanted = 'a take named "end", which other work leaves out too'
    elif len(files) < shortest:
      unwanted = f'a take of {len(files)} frames, expected {shortest} at least'
    return Recording(subject, label, take, files, first_half=True, unwanted=unwanted)
