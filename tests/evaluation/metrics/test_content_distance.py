import numpy as np
import pytest
from scipy.spatial.distance import cdist, pdist

from fevgan_jax.evaluation.metrics.content_distance import acd, acd_i, same_person_auc


def test_by_hand():
  # Three 2-d features on a line at 0, 3 and 4: steps of 3 and 1, mean 2, of their squares 5; over
  # all pairs (3 + 1 + 4) / 3, squares (9 + 1 + 16) / 3. To an image at (0, 4): distances 4, 5, and
  # the root of 32.
  features = np.array([[0.0, 0.0], [3.0, 0.0], [4.0, 0.0]])
  assert acd(features) == pytest.approx(2)
  assert acd(features, squared=True) == pytest.approx(5)
  assert acd(features, pairs='all') == pytest.approx(8 / 3)
  assert acd(features, pairs='all', squared=True) == pytest.approx(26 / 3)
  image = np.array([0.0, 4.0])
  assert acd_i(features, image) == pytest.approx((4 + 5 + 32**0.5) / 3)
  assert acd_i(features, image, squared=True) == pytest.approx((16 + 25 + 32) / 3)


def test_agree_with_scipy_on_every_clip():
  rng = np.random.default_rng(0)
  features, images = rng.normal(size=(3, 5, 8)), rng.normal(size=(3, 8))
  for i, clip in enumerate(features):
    consecutive = [np.linalg.norm(b - a) for a, b in zip(clip, clip[1:])]
    assert acd(features)[i] == pytest.approx(np.mean(consecutive))
    assert acd(features, pairs='all')[i] == pytest.approx(pdist(clip).mean())
    assert acd_i(features, images)[i] == pytest.approx(cdist(clip, images[i : i + 1]).mean())


def test_a_still_clip_has_none_and_order_matters_to_consecutive_frames_only():
  rng = np.random.default_rng(0)
  features = rng.normal(size=(6, 8))
  still = np.repeat(features[:1], 6, axis=0)
  assert acd(still) == acd(still, pairs='all') == acd_i(still, features[0]) == 0
  shuffled = features[[0, 3, 1, 5, 2, 4]]
  assert acd(shuffled, pairs='all') == pytest.approx(acd(features, pairs='all'))
  assert acd(shuffled) != pytest.approx(acd(features))


def test_what_cannot_be_measured():
  with pytest.raises(ValueError, match='two frames'):
    acd(np.zeros((1, 8)))
  with pytest.raises(ValueError, match="'some'"):
    acd(np.zeros((2, 8)), pairs='some')


def test_auc_counts_pairs_in_the_right_order():
  # Four still clips on a line: person a at 0 and 2, b at 3 and 7. Distances to one's own other
  # clip: 2, 2, 4, 4; to clips of the other person: from 0: 3, 7; from 2: 1, 5; from 3: 3, 1; from
  # 7: 7, 5. Of 4 * 8 comparisons, other > same: 2 is less than 3 7 5 3 7 5 (6 of 8), twice; 4 is
  # less than 7 5 7 5 (4 of 8), twice: (6 + 6 + 4 + 4) / 32.
  at = np.array([0.0, 2.0, 3.0, 7.0])
  features = np.repeat(at[:, None, None], 3, axis=1)
  people = np.array(['a', 'a', 'b', 'b'])
  assert same_person_auc(features, at[:, None], people) == pytest.approx(20 / 32)


def test_no_auc_without_two_clips_of_one_person_and_another_person():
  features = np.zeros((3, 2, 1))
  assert same_person_auc(features, features[:, 0], np.array(['a', 'a', 'a'])) is None
  assert same_person_auc(features, features[:, 0], np.array(['a', 'b', 'c'])) is None
