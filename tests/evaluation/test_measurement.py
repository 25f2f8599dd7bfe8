import numpy as np
import pytest

from fevgan_jax.data import datasets
from fevgan_jax.evaluation import expression_classifier, face_networks
from fevgan_jax.evaluation.evaluators import Evaluators, traits_of_split
from fevgan_jax.evaluation.measurement import (
  INTENSITIES,
  Facts,
  end_point_error,
  generated_clips,
  measure,
  partners,
  travel_by_intensity,
)
from fevgan_jax.evaluation.metrics import content_distance
from fevgan_jax.faces import truth
from fevgan_jax.models.parts.system import Generated


def test_partners_differ_in_one_thing():
  people = np.array(['a', 'a', 'a', 'b', 'b', 'c'])
  labels = np.array([0, 2, 2, 0, 5, 3])
  found = partners(people, labels)
  # The next label that the person has, of several takes the first; c has one label only.
  assert found['other_label'].tolist() == [1, 0, 0, 4, 3, -1]
  # The next clip of somebody else with this label; nobody else has 2, 5 or 3.
  assert found['other_person'].tolist() == [3, -1, -1, 0, -1, -1]


def still(images, labels, rng):
  """The simplest system that there is."""
  return np.repeat(images[:, None], 32, axis=1)


class Chosen(list):
  """Some clips of a split, as `datasets.Clips` has them all."""

  def names(self) -> list[tuple[str, str, int]]:
    return [(c['subject'].decode(), c['take'].decode(), int(c['label'])) for c in self]


@pytest.fixture(scope='module')
def clips_and_evaluators(data_dir):
  """Four clips, two labels of two people, and what measures them."""
  from configs import synthetic_faces

  config = synthetic_faces.get_config('fevgan')
  config.dataset.config, config.dataset.data_dir = 'tiny', data_dir
  builder = datasets.prepare(config)
  source = builder.as_data_source('train')
  clips = Chosen(
    clip for clip in (source[i] for i in range(len(source))) if clip['label'] in (3, 5)
  )
  network, classifier = face_networks.load('sface'), expression_classifier.trained(builder)
  traits = traits_of_split(clips, network, classifier, batch_size=3)  # 3, and 1 filled up
  return clips, Evaluators(network, classifier, traits, traits.features)


def test_anchors_come_in_the_right_order(clips_and_evaluators):
  clips, evaluators = clips_and_evaluators
  assert len(clips) == 4
  measured = measure(still, clips, evaluators, batch_size=3)
  values, traits = measured.values, measured.traits
  for metric, x in values['still'].items():  # the simplest system is that anchor
    np.testing.assert_array_equal(values['generated'][metric], x)
  assert np.all(values['still']['acd'] == 0) and np.all(values['still']['acd_i'] == 0)
  real, label, person = (values[row]['acd_i'] for row in ('real', 'other_label', 'other_person'))
  assert real.mean() < label.mean() < person.mean()
  assert np.all(person > label)
  embedding = traits['real'].embedding
  auc = content_distance.same_person_auc(embedding, embedding[:, 0], measured.facts.people)
  assert auc == 1
  assert np.all(values['real']['expression'] == 1)  # the classifier was trained on them
  assert np.all(values['other_label']['expression'] == 0)
  assert np.all(values['other_label']['psnr'] < values['still']['psnr'])


def test_clips_come_again_as_they_were_measured(clips_and_evaluators):
  clips, _ = clips_and_evaluators

  def numbered(images, labels, rng):  # what a clip is depends on its batch and its place in it
    import jax

    first = jax.random.randint(rng, (), 0, 200)
    return np.asarray(first + np.arange(len(images)))

  everything = [int(generated_clips(numbered, clips, [i], 3)[0]) for i in range(4)]
  assert generated_clips(numbered, clips, [3, 1, 0], 3).tolist() == [
    everything[3], everything[1], everything[0]]  # fmt: skip
  assert everything[1] == everything[0] + 1 != everything[3]


def test_travel_is_of_one_clip_of_each_person_with_labels_in_turn(clips_and_evaluators):
  video = clips_and_evaluators[0][0]['video']
  asked = []

  def reaches(images, labels, rng, intensity):  # a frame of the real clip
    asked.extend(zip(labels, intensity))
    last = (intensity / INTENSITIES[-1] * 20).astype(int)
    return np.stack([video[np.minimum(np.arange(32), end)] for end in last])

  # 'a' is the first and has label 0, 'b' the second and has no label 1, 'c' has label 2.
  facts = Facts(np.array([*'abbca']), np.full(5, 'take'), np.array([5, 5, 3, 2, 0]))
  travel = travel_by_intensity(reaches, [{'video': video}] * 5, facts, batch_size=4)
  assert asked[: 3 * 5] == [(label, at) for label in (0, 3, 2) for at in np.float32(INTENSITIES)]
  assert [*travel] == ['a', 'b', 'c']
  np.testing.assert_array_equal(travel['a'], travel['c'])
  assert travel['a'][0] == 0 and np.all(np.diff(travel['a']) > 0)


def test_end_point_error_by_hand():
  # Two clips of three frames; a generator that says "3 down, 4 to the right" of every point, of
  # which half have not moved and half have come from there; a quarter cannot be known.
  clip = {
    'video': np.zeros((3, 64, 64, 3), np.uint8),
    'label': 1,
    'displacement': np.zeros((3, 64, 64, 2), np.int8),
    'visibility': np.full((3, 64, 64), truth.VISIBLE, np.uint8),
    'landmarks': np.full((3, 68, 2), 60.0, np.float32),
  }
  clip['displacement'][1:, 32:] = 30, 40
  clip['visibility'][:, :16] = truth.HIDDEN
  clip['landmarks'][:, 36:48] = 32.0, 20.0  # the lids are among those that rest

  def says(images, labels, key) -> Generated:
    displacement = np.broadcast_to(np.float32([3, 4]), (len(images), 3, 64, 64, 2))
    return Generated(None, {'displacement': displacement})

  errors = end_point_error(says, [clip, clip], batch_size=4)
  assert errors['all'] == pytest.approx({'generated': 5 / 3, 'still': 10 / 3})
  assert errors['lids'] == pytest.approx({'generated': 5.0, 'still': 0.0})
  assert errors['mouth'] == pytest.approx({'generated': 0.0, 'still': 5.0}, abs=1e-5)
