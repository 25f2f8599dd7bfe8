"""The process's memory: how the C library gives it back, which decides the speed of a step on a
CPU, and how much it was."""

import ctypes
import pathlib
import resource
import sys


def keep_freed() -> None:
  """Tells glibc to keep freed memory for the next allocation. Call before other threads allocate.

  A training step on a CPU frees and takes gigabytes. By default their pages go back to the kernel,
  which clears them anew: measured on two cores, 29 % of a run's CPU time, and 1 % with this.
  """
  libc = _glibc()
  if libc is None:
    return
  arena_max, mmap_max, trim_threshold, top_pad = -8, -4, -1, -2  # malloc.h
  libc.mallopt(arena_max, 1)  # other arenas than the main one fall back to mmap for large blocks
  libc.mallopt(mmap_max, 0)
  libc.mallopt(trim_threshold, -1)  # never
  libc.mallopt(top_pad, 2**28)  # bytes to grow by


def give_back() -> None:
  """Returns what is free now to the kernel. Call when compilation is done: it leaves 0.5 GB."""
  libc = _glibc()
  if libc is not None:
    libc.malloc_trim(0)


def forget_peak() -> None:
  """Linux forgets the most that the process has held so far, compilation included."""
  if sys.platform == 'linux':
    pathlib.Path('/proc/self/clear_refs').write_text('5')


def peak() -> int:
  """The most that the process has held, in bytes; where it can be forgotten, since then."""
  if sys.platform == 'linux':
    status = pathlib.Path('/proc/self/status').read_text()
    return 1024 * int(status.split('VmHWM:')[1].split()[0])
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _glibc() -> ctypes.CDLL | None:
  """None elsewhere: other C libraries have nothing of this."""
  if sys.platform != 'linux':
    return None
  libc = ctypes.CDLL(None)
  return libc if hasattr(libc, 'mallopt') else None
