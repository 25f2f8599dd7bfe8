"""The TFDS builder of Oulu-CASIA NIR&VIS: finds the sequences in a licensee's folder."""

import dataclasses
import pathlib
import re
from collections.abc import Iterator, Sequence

import tensorflow_datasets as tfds

from fevgan_jax.faces import builder, folders
from fevgan_jax.faces.labels import EXPRESSIONS
from fevgan_jax.faces.recording import Recording

# The 16 people that numpy.random.RandomState(0).permutation(80)[:16] + 1 names.
TEST_PEOPLE = (
  'P003',
  'P028',
  'P031',
  'P035',
  'P041',
  'P046',
  'P049',
  'P051',
  'P053',
  'P064',
  'P067',
  'P069',
  'P070',
  'P072',
  'P073',
  'P078',
)

SUBJECT = re.compile(r'P?(\d+)', re.IGNORECASE)
FRAME_NAME = re.compile(r'(\d+)\.jpe?g', re.IGNORECASE)


@dataclasses.dataclass(kw_only=True)
class Config(builder.Config):
  """Which pictures are used, and who is tested.

  Attributes:
    camera: 'VL' for visible light, 'NI' for near infrared.
    light: 'Strong', 'Weak' or 'Dark'.
    test_people: subjects of the test split; everybody else is in the training split.
  """

  camera: str
  light: str
  test_people: Sequence[str] = TEST_PEOPLE


class Builder(builder.RecordedFaces):
  """80 people who make the six basic expressions, from neutral to the apex."""

  VERSION = tfds.core.Version('1.1.0')
  RELEASE_NOTES = {'1.0.0': 'Initial release.', '1.1.0': 'Landmarks; clips as before.'}
  BUILDER_CONFIGS = builder.at_both_sizes(
    [
      Config(
        name=f'{camera}_{light}'.lower(),
        camera=camera,
        light=light,
        description=f'{kind}, {light.lower()} light.',
      )
      for camera, kind in (('VL', 'Visible light'), ('NI', 'Near infrared'))
      for light in ('Strong', 'Weak', 'Dark')
    ]
  )
  HOMEPAGE = 'https://www.oulu.fi'
  MANUAL_DOWNLOAD_INSTRUCTIONS = """
    Oulu-CASIA needs a license: ask the Center for Machine Vision and Signal Analysis (CMVS) of the
    University of Oulu for its release agreement and unpack the original images there, or name their
    folder with --config.dataset.manual_dir (datasets/README.md, "Oulu-CASIA").
  """
  FULL_SET = 80, 480

  @property
  def layout(self) -> str:
    return f'{self.builder_config.camera}/{self.builder_config.light}/PNNN/EXPRESSION/NNN.jpeg'

  def find(self, manual_dir: pathlib.Path) -> folders.Found:
    return folders.search(manual_dir, subject_name, self._sequences, self._is_wanted)

  def test_subjects(self, subjects: Sequence[str]) -> set[str]:
    return {subject_name(name) or name for name in self.builder_config.test_people}

  def _is_wanted(self, root: pathlib.Path) -> bool:
    """Returns whether a folder of people is of this camera and light: VL/Strong, say."""
    names = [name.lower() for name in root.absolute().parts[-2:]]
    return names == [self.builder_config.camera.lower(), self.builder_config.light.lower()]

  def _sequences(self, folder: pathlib.Path, subject: str) -> Iterator[Recording]:
    """Yields what lies at EXPRESSION in a subject's folder. The two editions of the set number
    frames differently: only their order counts."""
    config = self.builder_config
    take = f'{config.camera}_{config.light}'.lower()
    for expression in folders.subfolders(folder):
      label = expression.name.lower()
      if label in EXPRESSIONS:
        files = folders.frames(expression, FRAME_NAME)
        yield Recording(subject, label, take, files, grey=config.camera == 'NI')


def subject_name(folder: str) -> str | None:
  """'P017' for a folder 'P017', 'p17' or '017'; None for one that is not a subject's."""
  match = SUBJECT.fullmatch(folder)
  return f'P{int(match[1]):03d}' if match else None
