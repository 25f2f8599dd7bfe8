"""What is kept of the real clips is taken up again only by those who said it."""

import dataclasses
import types

import numpy as np
import pytest

from fevgan_jax.evaluation import evaluators, expression_classifier
from fevgan_jax.evaluation.face_networks import FaceNetwork


@pytest.fixture
def clips() -> np.ndarray:
  """Four clips of noise, [4, 3, 16, 16, 3]."""
  return np.random.default_rng(0).integers(0, 256, (4, 3, 16, 16, 3), np.uint8)


@pytest.fixture
def builder(tmp_path, clips, monkeypatch) -> types.SimpleNamespace:
  """Just enough of a builder: those clips in both splits, with two labels, and an empty folder."""
  monkeypatch.setattr(expression_classifier, 'MAX_STEPS', 2)
  source = [{'video': video, 'label': i % 2} for i, video in enumerate(clips)]
  return types.SimpleNamespace(data_path=tmp_path, as_data_source=lambda split: source)


def constant(value: float, digest: str) -> FaceNetwork:
  """A network that sees the same in every picture."""
  return FaceNetwork('openface', lambda images: np.full((len(images), 2), value), digest)


def broken(images: np.ndarray) -> np.ndarray:
  raise AssertionError('what was kept was not read')


def test_what_a_network_said_is_read_again(builder):
  network = constant(1, 'a')
  said = evaluators.of_dataset(builder, network, 2)
  again = evaluators.of_dataset(builder, dataclasses.replace(network, embed=broken), 2)
  for a, b in zip((*said.real, said.training_features), (*again.real, again.training_features)):
    np.testing.assert_array_equal(a, b)


def test_two_weight_files_of_one_network_share_nothing(builder):
  for value, digest in ((1, 'a'), (2, 'b'), (1, 'a')):
    found = evaluators.of_dataset(builder, constant(value, digest), 2)
    assert (found.real.embedding == value).all()


def test_a_classifier_that_is_trained_anew_sees_for_itself(builder, clips):
  network = constant(1, 'a')
  before = evaluators.of_dataset(builder, network, 2)
  (file,) = builder.data_path.glob('*.safetensors')
  another = expression_classifier.train(builder.as_data_source('train'), seed=1)
  expression_classifier.save(file, another)
  after = evaluators.of_dataset(builder, network, 2)
  np.testing.assert_allclose(after.training_features, another(clips)[1], rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(after.real.features, another(clips)[1], rtol=1e-4, atol=1e-5)
  assert np.abs(after.training_features - before.training_features).max() > 0.01


def test_a_damaged_file_is_made_anew(builder):
  said = evaluators.of_dataset(builder, constant(1, 'a'), 2)
  (file,) = builder.data_path.glob('real_clips_*.npz')
  for content in (b'', file.read_bytes()[:100]):
    file.write_bytes(content)
    again = evaluators.of_dataset(builder, constant(1, 'a'), 2)
    np.testing.assert_array_equal(again.real.travel, said.real.travel)
