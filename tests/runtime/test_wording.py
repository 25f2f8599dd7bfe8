"""Counts and lists in messages."""

from fevgan_jax.runtime import wording


def test_one_is_singular():
  assert [wording.people(count) for count in (0, 1, 2)] == ['0 people', '1 person', '2 people']
  assert [wording.counted(count, 'clip') for count in (1, 2)] == ['1 clip', '2 clips']


def test_long_lists_are_cut_off():
  assert wording.listed('abc', 3) == 'a, b, c'
  assert wording.listed('abcd', 3) == 'a, b and 2 more'
