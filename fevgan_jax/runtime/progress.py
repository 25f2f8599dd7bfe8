"""How far long work is: a bar on a terminal, lines in a log, and early on how long it will take."""

import time
from collections.abc import Callable

from absl import logging
from tqdm import tqdm

BETWEEN_LINES = 30  # seconds
# After this much work, seconds and units behind the first one, its duration is told.
ENOUGH_SECONDS, ENOUGH_UNITS = 5, 3


class Progress:
  """Counts units of work, inside a `with`.

  On a terminal it draws a bar. Elsewhere it logs a line now and then. The first unit is not timed:
  what is compiled or started for it does not come again.
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
    self._began: tuple[float, int] | None = None  # when the first unit was done, and how many then
    self._last_line = 0.0
    self._estimated = False
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
    if self._began is None:
      self._began, self._last_line = (now, self._done), now
      return
    began, before = self._began
    if not self._shown or now == began or self._done >= self._total:
      return
    speed = (self._done - before) / (now - began)
    self._tell(now, speed, (self._total - self._done) / speed)

  def _tell(self, now: float, speed: float, left: float) -> None:
    """Says what is due.

    Args:
      now: seconds of the clock.
      speed: units per second.
      left: seconds to the end.
    """
    began, before = self._began
    clips = f'{speed * self._clips_per_unit:.1f} clips/s'
    if self._clips_per_unit != 1:
      self._bar.set_postfix_str(clips, refresh=False)
    enough = now - began >= ENOUGH_SECONDS and self._done - before >= ENOUGH_UNITS
    if enough and not self._estimated:
      self._estimated, self._last_line = True, now
      with tqdm.external_write_mode():
        logging.info('%s: about %s', self._what, duration(left))
    elif self._bar.disable and now - self._last_line >= BETWEEN_LINES:
      self._last_line = now
      units = f'{self._done} of {self._total} {self._unit}s'
      logging.info('%s: %s, %s, %.0f s left', self._what, units, clips, left)


def duration(seconds: float) -> str:
  """'40 seconds', '12 minutes' or '1.5 hours'."""
  if seconds < 90:
    return f'{seconds:.0f} seconds'
  if seconds < 90 * 60:
    return f'{seconds / 60:.0f} minutes'
  return f'{round(seconds / 3600, 1):g} hours'
