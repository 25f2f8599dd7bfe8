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


def work(seconds: list[float], caplog, *arguments, **keywords) -> list[str]:
  """The lines of work whose units end so many seconds after one another."""
  clock = Clock()
  with caplog.at_level(logging.INFO), Progress(*arguments, clock=clock, **keywords) as progress:
    for passed in seconds:
      clock.now += passed
      progress.update()
  return caplog.messages


def test_it_says_early_how_long_it_will_take(caplog):
  # The first unit takes a minute, and is not counted. Three more take 2 s each: 5 s are over, and
  # 361 units of 2 s are left, 722 s.
  assert work([60, 2, 2, 2, 2], caplog, 'rendering', 365, 'clip') == ['rendering: about 12 minutes']


def test_a_few_units_say_nothing_yet(caplog):
  assert work([1, 3, 3], caplog, 'rendering', 365, 'clip') == []
  assert work([1, *[0.1] * 40], caplog, 'rendering', 365, 'clip') == []


def test_lines_come_every_half_a_minute(caplog):
  # Of units of 10 s, the estimate comes with the fourth, 30 s behind the first. Then every third.
  lines = work([10] * 11, caplog, 'rendering', 12, 'clip')
  assert lines == [
    'rendering: about 80 seconds',
    'rendering: 7 of 12 clips, 0.1 clips/s, 50 s left',
    'rendering: 10 of 12 clips, 0.1 clips/s, 20 s left',
  ]


def test_training_goes_on_and_counts_clips(caplog):
  # Steps of 16 clips, 2 a second: from step 7 of 100 on, 93 are left.
  lines = work([60, *[0.5] * 71], caplog, 'training', 100, 'step', done=6, clips_per_unit=16)
  # Ten steps behind the first one 5 s are over: 100 - 17 steps take 41.5 s.
  assert lines == [
    'training: about 42 seconds',
    'training: 77 of 100 steps, 32.0 clips/s, 12 s left',
  ]


def test_the_end_and_processes_that_are_not_shown_say_nothing(caplog):
  assert work([1, 100, 100, 100, 100], caplog, 'cropping', 60, 'clip', shown=False) == []
  assert work([1, 2, 2, 2], caplog, 'cropping', 4, 'clip') == []


def test_units_that_take_no_time_are_no_error(caplog):
  assert work([0, 0, 0, 0], caplog, 'cropping', 60, 'clip') == []


def test_a_terminal_gets_a_bar(caplog, monkeypatch):
  terminal = io.StringIO()
  terminal.isatty = lambda: True
  monkeypatch.setattr(sys, 'stderr', terminal)
  lines = work([10] * 9, caplog, 'training', 10, 'step', done=1, clips_per_unit=4)
  assert lines == ['training: about 50 seconds']  # the bar says the rest
  assert 'training' in terminal.getvalue() and '10/10' in terminal.getvalue()
  assert '0.4 clips/s' in terminal.getvalue()


def test_durations():
  assert [duration(seconds) for seconds in (4.6, 89, 90, 722, 5399, 5400, 36_000)] == [
    '5 seconds', '89 seconds', '2 minutes', '12 minutes', '90 minutes', '1.5 hours', '10 hours'
  ]  # fmt: skip
