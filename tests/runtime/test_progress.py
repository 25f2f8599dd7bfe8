"""What long work says of itself, by a clock that the tests turn."""

import io
import logging
import sys

from fevgan_jax.runtime.progress import Progress, duration


class Clock:
  """Seconds that pass when told to."""

  def __init__(self):
    self.now = 100.0

  def __call__(self) -> float:
    return self.now


def terminal() -> io.StringIO:
  """A place for stderr that says it is a terminal."""
  place = io.StringIO()
  place.isatty = lambda: True
  return place


def work(seconds: list[float], caplog, *arguments, **keywords) -> list[str]:
  """The lines of work whose units end so many seconds after one another."""
  clock = Clock()
  with caplog.at_level(logging.INFO), Progress(*arguments, clock=clock, **keywords) as progress:
    for passed in seconds:
      clock.now += passed
      progress.update()
  return caplog.messages


def test_it_says_early_how_long_it_will_take(caplog):
  # The first unit takes a minute, and is not counted. Ten more take 20 s. When the next one has
  # come, 365 - 12 units of 2 s are left, 706 s.
  assert work([60, *[2] * 11], caplog, 'rendering', 365, 'clip') == ['rendering: about 12 minutes']


def test_a_few_units_say_nothing_yet(caplog):
  assert work([1, 14, 14], caplog, 'rendering', 365, 'clip') == []
  assert work([1, *[0.1] * 40], caplog, 'rendering', 365, 'clip') == []


def test_a_step_that_was_under_way_does_not_count(caplog):
  # The first step is counted when the second one starts, the second at once, and then one every
  # 2 s: 1000 - 13 steps take 1974 s. With the second one in 0 s it would be 10 / 11 of that.
  lines = work([60, 0.01, *[2] * 11], caplog, 'training', 1000, 'step')
  assert lines == ['training: about 33 minutes']


def test_clips_that_come_by_the_dozen_are_timed_by_the_dozen(caplog):
  # 12 clips every 9.11 s. Three dozens behind the first one, 27.33 s are over. With the next clip,
  # 372 - 49 are left, which take 323 * 27.33 / 36 = 245 s.
  dozen = [9, *[0.01] * 11]
  lines = work([5, *dozen[1:], *dozen * 4], caplog, 'rendering', 372, 'clip')
  assert lines == ['rendering: about 4 minutes']


def test_an_estimate_that_was_wrong_is_told_again(caplog, monkeypatch):
  # Ten steps of 2 s, then each takes 4 s. With the first of these, the twelfth step, 988 * 2 s are
  # said to be left. After n more the mean is (20 + 4n) / (10 + n) for the 988 - n steps that are
  # left, and 1976 - 4n s were expected. n = 3: 985 * 32 / 13 = 2425 for 1964 s, a factor of 1.23;
  # n = 4: 984 * 36 / 14 = 2530 for 1960 s, 1.29, so it is said. From there n = 14 makes
  # 974 * 76 / 24 = 3084 for 2490 s, 1.24, and n = 15 makes 973 * 80 / 25 = 3114 for 2486 s, 1.253.
  monkeypatch.setattr(sys, 'stderr', terminal())
  assert work([60, *[2] * 10, *[4] * 40], caplog, 'training', 1000, 'step') == [
    'training: about 33 minutes',
    'training: now about 42 minutes',
    'training: now about 52 minutes',
  ]


def test_lines_come_every_half_a_minute(caplog):
  # Of units of 10 s, the estimate comes with the fourth, 30 s behind the first. Then every third.
  lines = work([10] * 11, caplog, 'rendering', 12, 'clip')
  assert lines == [
    'rendering: about 80 seconds',
    'rendering: 7 of 12 clips, 0.1 clips/s, 50 seconds left',
    'rendering: 10 of 12 clips, 0.1 clips/s, 20 seconds left',
  ]


def test_training_goes_on_and_counts_clips(caplog):
  # Steps of 16 clips, 2 a second, from step 7 on. 40 steps later 20 s are over, and with the next
  # one, 200 - 48 steps of 0.5 s are left, 76 s. After 60 more, 46 s.
  lines = work([60, *[0.5] * 101], caplog, 'training', 200, 'step', done=6, clips_per_unit=16)
  assert lines == [
    'training: about 76 seconds',
    'training: 108 of 200 steps, 32.0 clips/s, 46 seconds left',
  ]


def test_the_end_and_processes_that_are_not_shown_say_nothing(caplog):
  assert work([1, 100, 100, 100, 100], caplog, 'cropping', 60, 'clip', shown=False) == []
  assert work([1, 2, 2, 2], caplog, 'cropping', 4, 'clip') == []


def test_units_that_take_no_time_are_no_error(caplog):
  assert work([0, 0, 0, 0], caplog, 'cropping', 60, 'clip') == []


def test_a_terminal_gets_a_bar(caplog, monkeypatch):
  shown = terminal()
  monkeypatch.setattr(sys, 'stderr', shown)
  lines = work([10] * 9, caplog, 'training', 10, 'step', done=1, clips_per_unit=4)
  assert lines == ['training: about 50 seconds']  # the bar says the rest
  assert 'training' in shown.getvalue() and '10/10' in shown.getvalue()
  assert '0.4 clips/s' in shown.getvalue()


def test_durations():
  assert [duration(seconds) for seconds in (4.6, 89, 90, 722, 5399, 5400, 36_000, 54_500)] == [
    '5 seconds', '89 seconds', '2 minutes', '12 minutes', '90 minutes', '1.5 hours', '10 hours',
    '15 hours',
  ]  # fmt: skip
