"""SIGINT (Ctrl-C) and SIGTERM: a command ends at once, in one line, with exit code 128 plus the
signal's number. A training saves first.

Python runs a signal handler in the main thread between two instructions, so neither while XLA
compiles nor while a device computes. Therefore a thread waits for signals and ends the process.
What is on disk then is what SIGKILL would leave, and every command can start from that.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from tqdm import tqdm

SIGNALS = (signal.SIGINT, signal.SIGTERM)
NOTICE_SECONDS = 1.0  # after which a deferred signal is acknowledged
REPEAT_SECONDS = 0.5  # `timeout` sends a signal twice, and so do a terminal and supervisor.py
KEPT = 'what is finished is kept, the same command goes on from there'


class Interrupted(KeyboardInterrupt):
  """A deferred signal was obeyed. The text is the last line of the command.

  Attributes:
    number: the signal.
  """

  def __init__(self, number: int, words: str):
    self.number = signal.Signals(number)
    super().__init__(f'{self.number.name}: {words}')


class _Deferral:
  """A block that ends by itself after a first signal; see `deferred`."""

  def __init__(self, then: Callable[[int], None], notice: str):
    self._then, self._notice = then, notice
    self._received: float | None = None
    self._ended = threading.Event()

  def receive(self, number: int) -> bool:
    """Notes a signal. Returns False for a second one, which is not to be deferred."""
    now = time.monotonic()
    if self._received is not None:
      return now - self._received < REPEAT_SECONDS
    self._received = now
    self._then(number)
    threading.Thread(target=self._acknowledge, args=(number,), daemon=True).start()
    return True

  def end(self) -> None:
    self._ended.set()

  def _acknowledge(self, number: int) -> None:
    if not self._ended.wait(NOTICE_SECONDS):
      with tqdm.external_write_mode(sys.stderr):  # above the progress bar
        _print(number, f'{self._notice}; once more ends at once')


_installed = False
_kept = [KEPT]  # ends of the last line, innermost last
_deferral: _Deferral | None = None


def install() -> None:
  """Waits for both signals until the process ends. Call in the main thread."""
  global _installed
  if not _installed:
    _installed = True
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    threading.Thread(target=_wait, args=(reader,), daemon=True).start()
    _take()


def _take() -> None:
  """Has Python receive both signals, but for one that the command was started to ignore, as jobs in
  the background of a script are."""
  for number in SIGNALS:
    if signal.getsignal(number) is not signal.SIG_IGN:
      signal.signal(number, lambda *unused: None)


def _wait(reader: int) -> None:
  while True:
    number, deferral = os.read(reader, 1)[0], _deferral  # which the main thread may end meanwhile
    if deferral is None:
      _end(number, _kept[-1])
    elif not deferral.receive(number):
      _end(number, f'ended at once: {_kept[-1]}')


def _end(number: int, words: str) -> None:
  try:
    for worker in multiprocessing.active_children():
      worker.kill()
    with tqdm.external_write_mode(sys.stderr):  # clears the progress bar
      _print(number, words)
      os._exit(128 + number)  # before it is drawn again
  finally:
    os._exit(128 + number)


def _print(number: int, words: str) -> None:
  print(f'fevgan: {Interrupted(number, words)}', file=sys.stderr, flush=True)


@contextlib.contextmanager
def keeping(words: str) -> Iterator[None]:
  """Makes these words the end of the last line, if a signal comes in the block.

  Args:
    words: what is kept, and what the same command does, as in KEPT.
  """
  _kept.append(words)
  try:
    yield
  finally:
    _kept.pop()


@contextlib.contextmanager
def deferred(
  then: Callable[[int], None], notice: str, numbers: Sequence[int] = SIGNALS
) -> Iterator[None]:
  """Lets the block end by itself after a first signal; a second one ends the process.

  Args:
    then: called with the number of the first signal, perhaps in another thread.
    notice: what the block does now, told if that takes more than NOTICE_SECONDS.
    numbers: signals to handle if nothing is installed, as in somebody's script.
  """
  global _deferral
  _deferral, old = _Deferral(then, notice), {}
  if not _installed and threading.current_thread() is threading.main_thread():
    old = {number: signal.signal(number, _receive) for number in numbers}
  try:
    yield
  finally:
    _deferral.end()
    _deferral = None
    for number, handler in old.items():
      signal.signal(number, handler or signal.SIG_DFL)
    if _installed:
      _take()  # back from JAX, which takes SIGTERM in a run of several processes


def _receive(number: int, frame) -> None:
  if not _deferral.receive(number):
    raise Interrupted(number, 'ended at once')
