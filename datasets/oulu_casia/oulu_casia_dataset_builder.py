"""The TFDS builder of Oulu-CASIA NIR&VIS: finds the sequences in a licensee's folder."""

import dataclasses
import pathlib
import re
from collections.abc import Iterator, Sequence

import tensorflow_datasets as tfds

from fevgan_jax.faces import builder
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

SUBJECT = re.compile(r'P\d{3}', re.IGNORECASE)
FRAME_NAME = re.compile(r'(\d+)\.jpe?g', re.IGNORECASE)
WRAPPERS = 4  # folders that archives may put around VL/Strong


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
    University of Oulu for its release agreement, and unpack the original images so that
    OriginalImg/VL/Strong/P001/Anger/000.jpeg and so on lie in that folder, below whatever folders
    the archive has around them, or name another one with --config.dataset.manual_dir
    (datasets/README.md, "Oulu-CASIA").
  """

  def find(self, manual_dir: pathlib.Path) -> list[Recording]:
    config = self.builder_config
    for depth in range(WRAPPERS + 1):
      places = manual_dir.glob('*/' * depth + f'{config.camera}/{config.light}')
      for place in sorted(places):
        if found := list(self._sequences(place)):
          return found
    return []

  def test_subjects(self, subjects: Sequence[str]) -> set[str]:
    return set(self.builder_config.test_people)

  def _sequences(self, place: pathlib.Path) -> Iterator[Recording]:
    """What lies at PNNN/EXPRESSION. The two editions of the set number their frames differently:
    only the order counts."""
    config = self.builder_config
    take = f'{config.camera}_{config.light}'.lower()
    for subject in builder.folders(place):
      if SUBJECT.fullmatch(subject.name):
        for expression in builder.folders(subject):
          label = expression.name.lower()
          if label in EXPRESSIONS:
            yield Recording(
              subject.name.upper(),
              label,
              take,
              builder.frames(expression, FRAME_NAME),
              grey=config.camera == 'NI',
            )
