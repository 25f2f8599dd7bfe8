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
ROOT = pathlib.Path(__file__).resolve().parents[2]


@contextlib.contextmanager
def pool(processes: int) -> Iterator[concurrent.futures.ProcessPoolExecutor]:
  """A pool of processes that import what this one can.

  They are spawned, never forked: the caller may have JAX loaded, whose threads do not survive a
  fork. A script that comes here needs `if __name__ == '__main__':`. What has not begun when the
  block ends, is given up.
  """
  with (
    environment(),
    concurrent.futures.ProcessPoolExecutor(
      processes, multiprocessing.get_context('spawn'), _end_with_parent
    ) as executor,
  ):
    try:
      yield executor
    finally:
      executor.shutdown(wait=False, cancel_futures=True)


def available_cores() -> int:
  """Cores that this process may run on."""
  if hasattr(os, 'sched_getaffinity'):
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1


def _end_with_parent() -> None:
  """Lets this worker end where its parent is killed, and only then; it would wait for ever."""

  def watch() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)

  threading.Thread(target=watch, daemon=True).start()
  signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, and it says so once


@contextlib.contextmanager
def environment() -> Iterator[None]:
  """What new processes inherit: one thread of linear algebra, and where our modules are."""
  path, old = list(sys.path), dict(os.environ)
  ours = [str(ROOT / 'datasets'), str(ROOT)]
  sys.path[:0] = ours  # multiprocessing hands it on
  others = filter(None, [old.get('PYTHONPATH')])
  new = SINGLE_THREADED | {'PYTHONPATH': os.pathsep.join([*ours, *others])}
  os.environ.update(new)
  try:
    yield
  finally:
    sys.path[:] = path
    for name in new:
      os.environ.pop(name)
      if name in old:
        os.environ[name] = old[name]
