"""The process's memory: how the C library gives it back, which decides the speed of a step on a
CPU, and how much it was."""

import ctypes
import os
import pathlib
import resource
import sys

LARGE = 2**26  # bytes of a block, and more


def use_huge_pages() -> None:
  """Starts this program anew with glibc's huge pages, which it only asks for when it begins; a user
  who has set GLIBC_TUNABLES has decided otherwise. A training step on two cores takes 0.67 seconds
  in place of 0.80. Call before any work."""
  if sys.platform == 'linux' and 'GLIBC_TUNABLES' not in os.environ:
    os.environ['GLIBC_TUNABLES'] = 'glibc.malloc.hugetlb=1'
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def keep_freed() -> None:
  """Tells glibc to keep freed memory for the next allocation. Call before other threads allocate.

  A training step on a CPU frees and takes gigabytes. By default their pages go back to the kernel,
  which clears them anew: measured on two cores, 29 % of a run's CPU time. A large block still goes
  back. A step has one, of all its temporaries, and where one was kept, small blocks settle, so that
  the next has to lie beside it: that took up to 0.4 GB of 1.5.
  """
  libc = _glibc()
  if libc is None:
    return
  arena_max, mmap_threshold, trim_threshold, top_pad = -8, -3, -1, -2  # malloc.h
  libc.mallopt(arena_max, 1)  # other arenas than the main one fall back to mmap for large blocks
  libc.mallopt(mmap_threshold, LARGE)
  libc.mallopt(trim_threshold, -1)  # never
  libc.mallopt(top_pad, LARGE // 2)  # grow by so much


def give_back() -> None:
  """Returns what is free now to the kernel. Call when something was compiled: that leaves 0.5 GB.

  Large holes of the heap are not used again: glibc maps a large block only where none fits it.
  """
  libc = _glibc()
  if libc is None:
    return
  libc.malloc_trim(0)
  end = libc.sbrk(0)
  while _in_heap(block := libc.malloc(LARGE), end):
    pass
  libc.free(block)


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


def _in_heap(block: int, end: int) -> bool:
  """Whether glibc took a block from the heap as it was, neither mapping nor growing."""
  mapped_or_of_another_arena = 2 | 4  # malloc.c: bits of the size, which is kept before the block
  size_and_bits = ctypes.c_size_t.from_address(block - 8).value if block else 0
  return 0 < block < end and not size_and_bits & mapped_or_of_another_arena


def _glibc() -> ctypes.CDLL | None:
  """None elsewhere: other C libraries have nothing of this."""
  if sys.platform != 'linux':
    return None
  libc = ctypes.CDLL(None)
  if not hasattr(libc, 'mallopt'):
    return None
  libc.malloc.argtypes = (ctypes.c_size_t,)
  libc.free.argtypes = (ctypes.c_void_p,)
  libc.malloc.restype = libc.sbrk.restype = ctypes.c_size_t  # addresses
  return libc
