"""Fresh processes, one per core, for work on pictures."""

import concurrent.futures
import contextlib
import multiprocessing
import os
import pathlib
import signal
import sys
import threading
from collections.abc import Iterator

# One thread per process: work is shared out among cores, and more threads might round otherwise.
SINGLE_THREADED = {
  name: '1'
  for name in (
    'OPENBLAS_NUM_THREADS',
    'OMP_NUM_THREADS',
    'MKL_NUM_THREADS',
    'VECLIB_MAXIMUM_THREADS',
  )
}
# The process that removes what a killed one has left says so, below our last line.
QUIET_TRACKER = 'ignore:resource_tracker:UserWarning'
ROOT = pathlib.Path(__file__).resolve().parents[2]


class Executor(concurrent.futures.ProcessPoolExecutor):
  """Starts its processes with SIGINT blocked: Ctrl-C reaches all processes of a terminal, and only
  the parent has to say so."""

  def submit(self, *args, **kwargs) -> concurrent.futures.Future:
    """Returns the future of a call; may start a process."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
      return super().submit(*args, **kwargs)
    finally:
      signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def pool(processes: int) -> Iterator[Executor]:
  """A pool of processes that import what this one can.

  They are spawned, never forked: the caller may have JAX loaded, whose threads do not survive a
  fork. A script that comes here needs `if __name__ == '__main__':`. What has not begun when the
  block ends is given up.
  """
  with environment():
    executor = Executor(processes, multiprocessing.get_context('spawn'), _end_with_parent)
    try:
      yield executor
    finally:
      executor.shutdown(cancel_futures=True)


def available_cores() -> int:
  """Cores that this process may run on."""
  if hasattr(os, 'sched_getaffinity'):
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1


def _end_with_parent() -> None:
  """Lets this worker end where its parent is killed; it would wait for ever."""

  def watch() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)

  threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def environment() -> Iterator[None]:
  """What new processes inherit: one thread of linear algebra, and where our modules are."""
  path, old = list(sys.path), dict(os.environ)
  ours = [str(ROOT / 'datasets'), str(ROOT)]
  sys.path[:0] = ours  # multiprocessing hands it on
  others = filter(None, [old.get('PYTHONPATH')])
  warnings = filter(None, [old.get('PYTHONWARNINGS'), QUIET_TRACKER])
  new = SINGLE_THREADED | {
    'PYTHONPATH': os.pathsep.join([*ours, *others]),
    'PYTHONWARNINGS': ','.join(warnings),
  }
  os.environ.update(new)
  try:
    yield
  finally:
    sys.path[:] = path
    for name in new:
      os.environ.pop(name)
      if name in old:
        os.environ[name] = old[name]
