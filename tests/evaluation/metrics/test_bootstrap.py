import numpy as np
import pytest
import scipy.stats

from fevgan_jax.evaluation.metrics.bootstrap import interval


def test_two_people_by_hand():
  # Person a has the mean 0, b the mean 1. Two draws give both a, one of each, or both b, with
  # probabilities 1/4, 1/2, 1/4: the 95 % interval reaches from 0 to 1.
  values, people = np.array([-1.0, 1.0, 0.0, 2.0]), np.array(['a', 'a', 'b', 'b'])
  assert interval(values, people) == (0, 1)


def test_agrees_with_scipy_where_everybody_has_one_clip():
  values = np.random.default_rng(0).normal(3, 2, 50)
  people = np.arange(50).astype(str)
  expected = scipy.stats.bootstrap(
    (values,), np.mean, method='percentile', n_resamples=20000, rng=1
  ).confidence_interval
  assert interval(values, people) == pytest.approx(expected, abs=0.05)


def test_clips_of_one_person_are_not_independent():
  # Five copies of every clip of a person tell nothing new.
  values = np.random.default_rng(0).normal(size=20)
  people = np.arange(20)
  assert interval(np.repeat(values, 5), np.repeat(people, 5)) == pytest.approx(
    interval(values, people)
  )


def test_a_ratio_is_one_of_sums():
  # Everybody's ratio is 2, whatever is drawn.
  weights = np.array([1.0, 5.0, 3.0, 2.0])
  people = np.array(['a', 'a', 'b', 'c'])
  assert interval(2 * weights, people, weights) == pytest.approx((2, 2))


def test_one_person_has_no_interval():
  assert interval(np.ones(4), np.array(['a'] * 4)) is None
