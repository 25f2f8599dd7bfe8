"""Prepared clips to batches: deterministic for a seed, with a position that can be saved."""

from collections.abc import Iterator, Mapping, Sequence

import grain
import ml_collections
import numpy as np

from fevgan_jax.faces import truth

# What a step is given of a clip, and what it is given if its system uses it; see
# models/parts/recipe.py.
ALWAYS = {'video': np.uint8, 'label': np.int32}
WANTED = {'intensity': np.float32, **truth.KNOWN}


def kinds(wanted: Sequence[str]) -> dict[str, type]:
  """What a step is given of clips whose features these are wanted of, and in what type."""
  return ALWAYS | {name: kind for name, kind in WANTED.items() if name in wanted}


def train_batches(
  source,
  config: ml_collections.ConfigDict,
  wanted: Sequence[str],
  part: slice = slice(None),
) -> grain.DatasetIterator:
  """Endless batches: 'video' uint8 [batch, time, height, width, 3], 'label' int32 [batch], and what
  is wanted and the data set has: 'intensity' float32 [batch], and of `faces.truth.KNOWN`.

  Every epoch is a new permutation, a function of the seed. `get_state` and `set_state` of the
  result give the position, which counts batches.

  Args:
    source: the split's clips.
    config: `seed` and `batch_size` are read.
    wanted: features of clips that the system uses.
    part: of every batch, what this process takes. The global batches, in which no clip is missing
      and none comes twice in an epoch, and the position do not depend on how many processes there
      are.
  """
  wanted_kinds = kinds(wanted)

  def load(indices: np.ndarray) -> dict[str, np.ndarray]:
    clips = [source[i] for i in indices[part]]
    return {
      key: np.stack([clip[key] for clip in clips]).astype(kind, copy=False)
      for key, kind in wanted_kinds.items()
      if key in clips[0]
    }

  dataset = grain.MapDataset.range(len(source)).seed(config.seed).shuffle().repeat()
  dataset = dataset.batch(config.batch_size, drop_remainder=True).map(load)
  return iter(dataset.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=4)))


def test_batches(source, batch_size: int) -> Iterator[tuple[int, Mapping[str, np.ndarray], int]]:
  """All clips once and in order: the number of the first clip, and `test_batch` from there."""
  for start in range(0, len(source), batch_size):
    yield start, *test_batch(source, start, batch_size)


def test_batch(source, start: int, batch_size: int) -> tuple[Mapping[str, np.ndarray], int]:
  """The clips from `start` on. A last batch is filled up with its first clip, so that one shape is
  compiled.

  Returns:
    A batch with every feature of the data set, and how many of its clips count.
  """
  clips = [source[i] for i in range(start, min(start + batch_size, len(source)))]
  filled = clips + clips[:1] * (batch_size - len(clips))
  return {key: np.stack([clip[key] for clip in filled]) for key in clips[0]}, len(clips)
