"""The TFDS builder of clips of one's own: videos or folders of pictures."""

import dataclasses
import pathlib
import re
from collections.abc import Iterator, Sequence

import tensorflow_datasets as tfds

from fevgan_jax.faces import builder, folders
from fevgan_jax.faces.labels import EXPRESSIONS
from fevgan_jax.faces.recording import Recording
from fevgan_jax.runtime import media


@dataclasses.dataclass(kw_only=True)
class Config(builder.Config):
  """What a clip shows.

  Attributes:
    first_half: faces go to the apex and back; only the way there is used.
  """

  first_half: bool = False


class Builder(builder.RecordedFaces):
  """Whoever makes any of the six basic expressions."""

  VERSION = tfds.core.Version('1.1.0')
  RELEASE_NOTES = {'1.0.0': 'Initial release.', '1.1.0': 'Landmarks; clips as before.'}
  BUILDER_CONFIGS = builder.at_both_sizes(
    [
      Config(name='to_apex', description='Every clip ends at the apex.'),
      Config(
        name='there_and_back',
        description='Every clip returns to the neutral face.',
        first_half=True,
      ),
    ]
  )
  HOMEPAGE = ''
  MANUAL_DOWNLOAD_INSTRUCTIONS = f"""
    Put clips at own_clips/SUBJECT/EXPRESSION/CLIP there, or at SUBJECT/EXPRESSION/CLIP in a folder
    that --config.dataset.manual_dir names. EXPRESSION is one of {', '.join(EXPRESSIONS)};
    CLIP is a video file or a folder of pictures, from the neutral face to the apex
    (datasets/README.md, "Own clips").
  """

  @property
  def layout(self) -> str:
    return 'SUBJECT/EXPRESSION/CLIP'

  def find(self, manual_dir: pathlib.Path) -> folders.Found:
    own, warnings = manual_dir / self.name, []
    clips = list(self._clips(own if own.is_dir() else manual_dir, warnings))
    return folders.Found(clips, warnings=warnings)

  def test_subjects(self, subjects: Sequence[str]) -> set[str]:
    """Returns every fifth, and at least the last."""
    return set(subjects[4::5] or subjects[-1:])

  def _clips(self, root: pathlib.Path, warnings: list[str]) -> Iterator[Recording]:
    """Yields recordings; adds what is passed over, and why, to `warnings`."""
    first_half = self.builder_config.first_half
    for subject in folders.subfolders(root):
      for expression in folders.subfolders(subject):
        label = expression.name.lower()
        if label not in EXPRESSIONS:
          warnings.append(
            f'{expression}: passed over, it is named after no expression: expected one of '
            f'{", ".join(EXPRESSIONS)}'
          )
          continue
        for clip in sorted(expression.iterdir()):
          if clip.name.startswith('.'):
            continue
          if clip.is_dir():
            files = sorted(
              (
                path
                for path in clip.iterdir()
                if path.suffix.lower() in media.PICTURES and not path.name.startswith('.')
              ),
              key=lambda path: natural(path.name),
            )
          elif clip.suffix.lower() in media.VIDEOS:
            files = [clip]
          else:
            warnings.append(f'{clip}: passed over, it is neither a video nor a folder')
            continue
          yield Recording(
            subject.name, label, clip.name, tuple(map(str, files)), first_half=first_half
          )


def natural(name: str) -> list:
  """A key that sorts numbers in names by value: frame9 before frame10."""
  return [(int(part), '') if part.isdecimal() else (0, part) for part in re.split(r'(\d+)', name)]
