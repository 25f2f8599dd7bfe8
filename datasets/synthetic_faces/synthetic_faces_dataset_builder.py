"""The TFDS builder of synthetic_faces: rendered on the spot, nothing is downloaded."""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from fevgan_jax.faces import builder, truth
from fevgan_jax.faces.labels import EXPRESSIONS, MAX_INTENSITY
from fevgan_jax.runtime import interrupt
from fevgan_jax.runtime.progress import Progress
from synthetic_faces import clips, performance
from synthetic_faces.action_units import ACTION_UNITS

FIRST_TEST_SEED = 1_000_000  # people of the test split count from here, those of train from 0
FIRST_VALIDATION_SEED = 2_000_000  # people who are in no test split of another config


@dataclasses.dataclass(kw_only=True)
class Config(builder.Config):
  """How much to render.

  Attributes:
    train_people, test_people: how many; nobody is in both splits, whichever configs are mixed.
    takes: of each of the six expressions by each person.
    strengths: least and greatest of a training take; those of the test split are the usual ones,
      `performance.STRENGTHS`.
    first_test_seed: whom the test split begins with.
  """

  train_people: int
  test_people: int
  takes: int = 1
  strengths: tuple[float, float] = performance.STRENGTHS
  first_test_seed: int = FIRST_TEST_SEED

  def __post_init__(self):
    super().__post_init__()
    for name in ('train_people', 'test_people', 'takes'):
      if getattr(self, name) < 1:
        raise ValueError(f'{name} is {getattr(self, name)}, expected at least 1')
    if not 0 <= self.strengths[0] <= self.strengths[1]:
      raise ValueError(
        f'strengths is {self.strengths}, expected two numbers, 0 or more, the first not the larger'
      )
    if self.train_people > FIRST_TEST_SEED:
      raise ValueError(
        f'train_people is {self.train_people}, expected at most {FIRST_TEST_SEED}: '
        'later seeds are the people of the test split'
      )


class Builder(tfds.core.GeneratorBasedBuilder):
  """People who do not exist, making the six basic expressions."""

  beam_options = None  # of Apache Beam, if it is to render
  VERSION = tfds.core.Version('1.2.0')
  RELEASE_NOTES = {
    '1.0.0': 'Initial release.',
    '1.1.0': 'The intensity of each take; clips as before. Configuration graded.',
    '1.2.0': 'The truth about movement, visibility and shading; clips as before.',
  }
  BUILDER_CONFIGS = builder.at_both_sizes(
    [
      Config(
        name='quick',
        description='72 people, one take: minutes to render.',
        train_people=60,
        test_people=12,
      ),
      Config(
        name='full', description='200 people, two takes.', train_people=160, test_people=40, takes=2
      ),
      Config(
        name='graded',
        description='200 people, one take, in training from faint to strong.',
        train_people=160,
        test_people=40,
        strengths=(0.0, MAX_INTENSITY * performance.TYPICAL),
      ),
      Config(name='crowd', description='1040 people, one take.', train_people=1000, test_people=40),
      Config(
        name='validation',
        description='quick with other test people, to choose settings by.',
        train_people=60,
        test_people=12,
        first_test_seed=FIRST_VALIDATION_SEED,
      ),
      Config(
        name='tiny',
        description='3 people: to see that everything works.',
        train_people=2,
        test_people=1,
      ),
    ]
  )

  def _info(self) -> tfds.core.DatasetInfo:
    config = self.builder_config

    def tensor(*shape: int, dtype: type, encoding: str = 'bytes') -> tfds.features.Tensor:
      return tfds.features.Tensor(shape=(config.frames, *shape), dtype=dtype, encoding=encoding)

    known = functools.partial(tensor, config.size, config.size, encoding='zlib')

    return self.dataset_info_from_configs(
      features=tfds.features.FeaturesDict(
        {
          'video': tensor(config.size, config.size, 3, dtype=np.uint8),
          'label': tfds.features.ClassLabel(names=list(EXPRESSIONS)),
          'subject': tfds.features.Text(),
          'take': tfds.features.Text(),
          'landmarks': tensor(68, 2, dtype=np.float32),
          'action_units': tensor(len(ACTION_UNITS), dtype=np.float32),
          'intensity': tfds.features.Scalar(np.float32),
          'displacement': known(2, dtype=truth.FEATURES['displacement']),
          'visibility': known(dtype=truth.FEATURES['visibility']),
          'shading': known(dtype=truth.FEATURES['shading']),
        }
      ),
      supervised_keys=None,
      homepage='https://pypi.org/project/anny/',
    )

  def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
    del dl_manager  # nothing to download
    config = self.builder_config
    return {
      'train': self._generate_examples(range(config.train_people), config.strengths),
      'test': self._generate_examples(
        range(config.first_test_seed, config.first_test_seed + config.test_people),
        performance.STRENGTHS,
      ),
    }

  def _generate_examples(self, seeds: range, strengths: tuple[float, float]) -> Any:
    """Named clips, rendered by all cores; with Beam, what makes them of the seeds."""
    config = self.builder_config
    if self.beam_options:
      import apache_beam

      of_person = functools.partial(
        named_clips,
        takes=config.takes,
        size=config.size,
        frames=config.frames,
        strengths=strengths,
      )
      seeds = apache_beam.Create(seeds)
      return seeds | apache_beam.Reshuffle() | apache_beam.FlatMap(of_person)
    return self._rendered_here(seeds, strengths)

  def _rendered_here(
    self, seeds: range, strengths: tuple[float, float]
  ) -> Iterator[tuple[str, clips.Clip]]:
    config = self.builder_config
    total = len(seeds) * config.takes * len(EXPRESSIONS)
    rendered = clips.clips_of_people(
      seeds, config.takes, config.size, config.frames, config.processes, strengths
    )
    with (
      interrupt.keeping('clips are kept when all are rendered, the same command begins again'),
      Progress('rendering', total, 'clip') as progress,
    ):
      for clip in rendered:
        yield name_of(clip), clip
        progress.update()


def named_clips(seed: int, **how) -> list[tuple[str, clips.Clip]]:
  """`clips_of_person`, as TFDS wants examples."""
  return [(name_of(clip), clip) for clip in clips.clips_of_person(seed, **how)]


def name_of(clip: clips.Clip) -> str:
  return f'{clip["subject"]}-{clip["label"]}-{clip["take"]}'
