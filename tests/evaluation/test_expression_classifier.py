"""Trained on the tiny rendered data: 12 clips of 2 people."""

import pathlib
import types

import jax
import numpy as np
import pytest

from fevgan_jax.data import datasets
from fevgan_jax.evaluation import expression_classifier
from fevgan_jax.faces.labels import NUM_LABELS


@pytest.fixture
def clips(config) -> dict[str, np.ndarray]:
  """'video' [12, 32, 64, 64, 3] and 'label' [12] of the tiny training split."""
  source = datasets.prepare(config).as_data_source('train')
  clips = [source[i] for i in range(len(source))]
  return {key: np.stack([clip[key] for clip in clips]) for key in ('video', 'label')}


@pytest.fixture(scope='module')
def kept() -> list[expression_classifier.Classifier]:
  return []


@pytest.fixture
def classifier(kept, config) -> expression_classifier.Classifier:
  """Of those clips; the first test that asks for it trains it."""
  if not kept:
    kept.append(expression_classifier.train(datasets.prepare(config).as_data_source('train')))
  return kept[0]


@pytest.fixture
def builder(tmp_path) -> types.SimpleNamespace:
  """Just enough of a builder: four clips of two labels, and an empty folder."""
  source = [{'video': video, 'label': i % 2} for i, video in enumerate(noise(4))]
  return types.SimpleNamespace(data_path=tmp_path, as_data_source={'train': source}.__getitem__)


@pytest.fixture
def short(monkeypatch) -> None:
  monkeypatch.setattr(expression_classifier, 'MAX_STEPS', 2)


def noise(*shape: int, time: int = 3, size: int = 16) -> np.ndarray:
  return np.random.default_rng(0).integers(0, 256, [*shape, time, size, size, 3], np.uint8)


def file_of(builder) -> pathlib.Path:
  return builder.data_path / f'expression_classifier_{expression_classifier.VERSION}.safetensors'


def same(a: expression_classifier.Classifier, b: expression_classifier.Classifier) -> bool:
  """Whether both say exactly the same of some clips."""
  return all(np.array_equal(x, y) for x, y in zip(a(noise(4)), b(noise(4))))


def test_it_learns_what_it_is_shown(classifier, clips):
  probabilities, features = classifier(clips['video'])
  np.testing.assert_array_equal(probabilities.argmax(1), clips['label'])
  np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
  assert features.shape == (12, expression_classifier.FEATURES)


def test_other_sizes_and_lengths_are_the_same_clips(classifier, clips):
  larger = clips['video'].repeat(2, axis=2).repeat(2, axis=3)  # whose averages are the clips
  for of_larger, of_clips in zip(classifier(larger), classifier(clips['video'])):
    np.testing.assert_array_equal(of_larger, of_clips)
  # Frames 0, 8, 16, 23 and 31 of 32 are seen: other frames do not matter.
  fewer = clips['video'][:, [0, 8, 16, 23, 31]]
  np.testing.assert_allclose(classifier(fewer)[0], classifier(clips['video'])[0], atol=1e-5)
  for time, size in ((2, 64), (50, 40)):
    assert classifier(noise(2, time=time, size=size))[0].shape == (2, NUM_LABELS)


def test_a_view_of_evenly_spaced_frames():
  # Of 9 frames every second one; each has its own brightness, which resizing keeps.
  clip = np.broadcast_to(np.arange(9, dtype=np.uint8)[None, :, None, None, None], (1, 9, 20, 20, 3))
  seen = expression_classifier.view(clip)
  assert seen.shape == (1, 5, 64, 64, 3) and seen.dtype == np.uint8
  np.testing.assert_array_equal(seen[0, :, 10, 10, 0], [0, 2, 4, 6, 8])


def test_augmentation_moves_a_clip_as_a_whole():
  # One bright pixel in every frame: mirrored or not, and at most SHIFT away, but alike in all.
  frames = np.zeros([64, 5, 64, 64, 3], np.uint8)
  frames[:, :, 20, 10] = 255
  moved = np.asarray(expression_classifier._augment(jax.random.key(0), frames))
  assert (moved == moved[:, :1]).all()
  places = {tuple(map(int, np.argwhere(clip[0, :, :, 0])[0])) for clip in moved}
  reach = range(-expression_classifier.SHIFT, expression_classifier.SHIFT + 1)
  assert places == {(20 + y, x + dx) for y in reach for x in (10, 53) for dx in reach}


@pytest.mark.slow
@pytest.mark.usefixtures('short')
def test_a_seed_decides(builder):
  source = builder.as_data_source('train')
  first = expression_classifier.train(source, seed=3)
  assert same(first, expression_classifier.train(source, seed=3))
  assert not same(first, expression_classifier.train(source, seed=4))


@pytest.mark.usefixtures('short')
def test_trained_once_and_kept(builder, monkeypatch):
  first = expression_classifier.trained(builder)
  monkeypatch.setattr(expression_classifier, 'train', None)
  assert same(first, expression_classifier.trained(builder))
  assert list(builder.data_path.iterdir()) == [file_of(builder)]


@pytest.mark.usefixtures('short')
def test_a_damaged_file_is_made_anew(builder, classifier):
  expression_classifier.save(file_of(builder), classifier)
  whole = file_of(builder).read_bytes()
  other = dict(classifier.variables['params'])
  del other['Dense_0']
  expression_classifier.save(file_of(builder), expression_classifier.Classifier({'params': other}))
  flipped = whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:]
  for data_of_file in (whole[: len(whole) // 2], b'', file_of(builder).read_bytes(), flipped):
    file_of(builder).write_bytes(data_of_file)
    with pytest.raises(ValueError, match='damaged|another network|not the numbers'):
      expression_classifier.load(file_of(builder))
  again = expression_classifier.trained(builder)
  assert same(again, expression_classifier.load(file_of(builder)))


@pytest.mark.usefixtures('short')
def test_without_a_place_to_keep_it(builder):
  # A folder has the file's name: it can neither be read nor replaced, also not by root.
  file_of(builder).mkdir()
  assert expression_classifier.trained(builder)(noise(1))[0].shape == (1, NUM_LABELS)
  assert file_of(builder).is_dir()
