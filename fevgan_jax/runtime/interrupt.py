"""SIGINT (Ctrl-C) and SIGTERM: a command ends within seconds, in one line, with exit code 128 plus
the signal's number.

Python runs a handler in the main thread, between two instructions: neither while XLA compiles nor
while a device computes. So the signal also wakes a thread. It ends the process if the main thread
has not done so after GRACE_SECONDS, and at once at a second signal. What is on disk then is what
SIGKILL would leave, and every command can start from that.
"""

import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from tqdm import tqdm

SIGNALS = (signal.SIGINT, signal.SIGTERM)
GRACE_SECONDS = 2.0  # for the main thread to close files and to end processes
NOTICE_SECONDS = 1.0  # after which a deferred signal is acknowledged
REPEAT_SECONDS = 0.5  # `timeout` sends a signal twice, and so do a terminal and supervisor.py
KEPT = 'what is finished is kept, the same command goes on from there'
STOP = 0  # not a signal: ends the thread


class Interrupted(KeyboardInterrupt):
  """SIGINT or SIGTERM was received. The text is the last line of the command.

  Attributes:
    number: the signal.
  """

  def __init__(self, number: int, words: str):
    self.number = signal.Signals(number)
    super().__init__(f'{self.number.name}: {words}')


class _Watch:
  """Handles both signals from `start` until `stop`.

  Attributes:
    active: whether it has started.
    kept: ends of the last line, innermost last; see `keeping`.
    deferred: called instead of ending the command; see `deferred`.
    notice: tells that it was called.
    noted: whether it was called.
    postponed: whether Interrupted has to wait; see `postponed`.
    waiting: the signal that does.
    raised: the signal for which Interrupted was raised, and the end of its line.
    told: whether the main thread has come to the last line.
  """

  def __init__(self):
    self.active = self.noted = self.postponed = self.told = False
    self.kept = [KEPT]
    self.deferred: Callable[[int], None] | None = None
    self.notice = ''
    self.waiting = 0
    self.raised: tuple[int, str] | None = None

  def start(self, numbers: Sequence[int] = SIGNALS) -> None:
    """Takes these signals. Call in the main thread."""
    self.active = True
    self._reader, self._writer = os.pipe()
    os.set_blocking(self._writer, False)
    self._old_handlers = {number: signal.getsignal(number) for number in SIGNALS}
    self._old_fd = signal.set_wakeup_fd(self._writer)
    self._thread = threading.Thread(target=self._run, daemon=True)
    self._thread.start()
    self.take(numbers)

  def take(self, numbers: Sequence[int] = SIGNALS) -> None:
    """Sets the handlers, except for a signal that the command was started to ignore, as jobs in
    the background of a script are."""
    for number in numbers:
      if self._old_handlers[number] is not signal.SIG_IGN:
        signal.signal(number, self._receive)

  def stop(self) -> None:
    """Restores the handlers."""
    for number, old in self._old_handlers.items():
      signal.signal(number, old or signal.SIG_DFL)
    signal.set_wakeup_fd(self._old_fd)
    os.write(self._writer, bytes([STOP]))
    self._thread.join()
    os.close(self._reader)
    os.close(self._writer)

  def _receive(self, number: int, frame) -> None:
    """The handler, in the main thread."""
    if self.postponed:
      self.waiting = self.waiting or number
    elif self.deferred:
      self._note(number)
    elif not (self.noted or self.raised or self.told):
      self.raised = number, self.kept[-1]
      raise Interrupted(*self.raised)

  def _note(self, number: int) -> None:
    """Calls what was deferred to, from whichever thread is the first to come here."""
    then = self.deferred
    if then and not self.noted:
      self.noted = True
      then(number)

  def _run(self) -> None:
    """Waits for signals, in a thread."""
    first = self._next(None)
    if first == STOP:
      return
    began, kept = time.monotonic(), self.kept[-1]
    if not (self.deferred or self.noted):
      second = self._second(began, began + GRACE_SECONDS)
      if second is None:
        self._end(first, kept)
    else:
      self._note(first)
      second = self._second(began, began + NOTICE_SECONDS)
      if second is None:
        if self.deferred is not None:
          tell(f'{signal.Signals(first).name}: {self.notice}; once more ends at once')
        second = self._second(began, None)
    if second:
      self._end(second, f'ended at once: {kept}')

  def _second(self, began: float, end: float | None) -> int | None:
    """Returns the next signal that is not a repetition of the first one, STOP, or None at the
    end."""
    while (number := self._next(end)) not in (None, STOP):
      if time.monotonic() - began > REPEAT_SECONDS:
        break
    return number

  def _next(self, end: float | None) -> int | None:
    seconds = None if end is None else max(0.0, end - time.monotonic())
    ready, _, _ = select.select([self._reader], [], [], seconds)
    return os.read(self._reader, 1)[0] if ready else None

  def _end(self, number: int, words: str) -> None:
    try:
      if not self.told:
        with tqdm.external_write_mode(sys.stderr):  # the progress bar goes, and stays away
          print(f'fevgan: {Interrupted(number, words)}', file=sys.stderr, flush=True)
          os._exit(128 + number)
    finally:
      os._exit(128 + number)


_watch = _Watch()


def install() -> None:
  """Handles both signals until the process ends. Call in the main thread."""
  if not _watch.active:
    _watch.start()


def finish() -> None:
  """Call before the last line: from now on a signal ends the process without another one."""
  _watch.told = True


def raised() -> Interrupted | None:
  """The interruption of this command. Another error may have come of it, such as a lost worker's
  where the signal went to all processes."""
  return Interrupted(*_watch.raised) if _watch.raised else None


def tell(line: str) -> None:
  """Prints a line for the person at the keyboard, above the progress bar."""
  with tqdm.external_write_mode(sys.stderr):
    print(f'fevgan: {line}', file=sys.stderr, flush=True)


@contextlib.contextmanager
def keeping(words: str) -> Iterator[None]:
  """Makes these words the end of the last line, if a signal comes in the block.

  Args:
    words: what is kept, and what the same command does, as in KEPT.
  """
  _watch.kept.append(words)
  try:
    yield
  finally:
    _watch.kept.pop()


@contextlib.contextmanager
def deferred(
  then: Callable[[int], None], notice: str, numbers: Sequence[int] = SIGNALS
) -> Iterator[None]:
  """Lets the block end by itself after a first signal; a second one ends the process.

  Args:
    then: called with the number of the first signal, at once, perhaps in another thread.
    notice: what the block does now, told if that takes more than NOTICE_SECONDS.
    numbers: signals to handle if nothing is installed, as in somebody's script.
  """
  global _watch
  ours = not _watch.active and threading.current_thread() is threading.main_thread()
  if ours:
    _watch.start(numbers)
  _watch.deferred, _watch.notice = then, notice
  try:
    yield
  finally:
    _watch.deferred = None
    if ours:
      _watch.stop()
      _watch = _Watch()
    elif _watch.active:
      _watch.take()  # back from JAX, which takes SIGTERM in a run of several processes


@contextlib.contextmanager
def postponed() -> Iterator[None]:
  """Raises Interrupted behind the block and not in it."""
  _watch.postponed = True
  try:
    yield
  finally:
    _watch.postponed = False
    if number := _watch.waiting:
      _watch.waiting = 0
      _watch._receive(number, None)
