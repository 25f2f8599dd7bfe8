"""How far long work is: a bar on a terminal, lines in a log, and early on how long it will take."""

import time
from collections.abc import Callable

from absl import logging
from tqdm import tqdm

BETWEEN_LINES = 30  # seconds
# After this much work, seconds and units behind the first group, its duration is told.
ENOUGH_SECONDS, ENOUGH_UNITS = 20, 2
# Units within this time are a group, made together: the clips of a person, or a training step and
# the next one, which was under way. Speed is measured from the end of a group to that of another.
TOGETHER_SECONDS = 0.25
CHANGED = 1.25  # an estimate is told again if the new one differs by this factor
WORTH_TELLING = 60  # and by as many seconds


class Progress:
  """Counts units of work, inside a `with`.

  On a terminal it draws a bar. Elsewhere it logs a line now and then. The first group of units is
  not timed: what is compiled or started for it does not come again.
  """

  def __init__(
    self,
    what: str,
    total: int,
    unit: str,
    *,
    done: int = 0,
    clips_per_unit: int = 1,
    shown: bool = True,
    clock: Callable[[], float] = time.monotonic,
  ):
    """Begins to count.

    Args:
      what: is done, such as 'rendering'.
      total: units of the whole work.
      unit: its name, 'clip' or 'step'.
      done: units that were done before.
      clips_per_unit: speed is told in clips per second.
      shown: False for processes that have nothing to say.
      clock: seconds.
    """
    self._what, self._total, self._unit, self._done = what, total, unit, done
    self._clips_per_unit, self._shown, self._clock = clips_per_unit, shown, clock
    self._group: float | None = None  # when the first unit of the latest group was done
    self._latest = (0.0, done)  # when the latest unit was done, and how many then
    self._began: tuple[float, int] | None = None  # the same at the end of the first group
    self._last_line = 0.0
    self._end: float | None = None  # when the work ends, by the estimate that was told
    self._bar = tqdm(
      desc=what,
      total=total,
      initial=done,
      unit=unit,
      dynamic_ncols=True,
      disable=None if shown else True,
    )

  def __enter__(self) -> 'Progress':
    return self

  def __exit__(self, *_) -> None:
    self._bar.close()

  def update(self, units: int = 1) -> None:
    """So many more are done."""
    self._done += units
    self._bar.update(units)
    now = self._clock()
    if self._group is None:
      self._group = self._last_line = now
    elif now - self._group >= TOGETHER_SECONDS:
      self._group = now
      if self._began is None:
        self._began = self._latest
      elif self._shown and self._done < self._total:
        self._tell(now)
    self._latest = now, self._done

  def _tell(self, now: float) -> None:
    """Says what is due."""
    (began, before), (end, done) = self._began, self._latest
    speed = (done - before) / (end - began)  # units per second
    left = (self._total - self._done) / speed
    clips = f'{speed * self._clips_per_unit:.1f} clips/s'
    if self._clips_per_unit != 1:
      self._bar.set_postfix_str(clips, refresh=False)
    enough = end - began >= ENOUGH_SECONDS and done - before >= ENOUGH_UNITS
    if enough and self._is_news(now, left):
      again = '' if self._end is None else 'now '
      self._end, self._last_line = now + left, now
      with tqdm.external_write_mode():
        logging.info('%s: %sabout %s', self._what, again, duration(left))
    elif self._bar.disable and now - self._last_line >= BETWEEN_LINES:
      self._last_line = now
      units = f'{self._done} of {self._total} {self._unit}s'
      logging.info('%s: %s, %s, %s left', self._what, units, clips, duration(left))

  def _is_news(self, now: float, left: float) -> bool:
    """Returns True for the first estimate of the time left, and for one that has changed."""
    if self._end is None:
      return True
    expected = max(self._end - now, 0.0)
    factor = max(left, expected) / max(min(left, expected), 1e-9)
    return factor > CHANGED and abs(left - expected) > WORTH_TELLING


def duration(seconds: float) -> str:
  """'40 seconds', '12 minutes', '1.5 hours' or '15 hours'."""
  if seconds < 90:
    return f'{seconds:.0f} seconds'
  if seconds < 90 * 60:
    return f'{seconds / 60:.0f} minutes'
  hours = seconds / 3600
  return f'{round(hours, 1 if hours < 9.95 else None):g} hours'
