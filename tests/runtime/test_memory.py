"""What the process holds, in a process of its own."""

import subprocess
import sys

import pytest

from fevgan_jax.runtime import memory

SCRIPT = """
import ctypes
from fevgan_jax.runtime import memory
memory.keep_freed()
libc = memory._glibc()
blocks = [libc.malloc(2**20) for _ in range(128)]
guard = libc.malloc(8)
for block in blocks:
  ctypes.memset(block, 1, 2**20)
for block in blocks:
  libc.free(block)
memory.forget_peak()
full = memory.peak()
inside = lambda block: min(blocks) <= block < max(blocks)
before = libc.malloc(memory.LARGE)
libc.free(before)
memory.give_back()
memory.forget_peak()
after = libc.malloc(memory.LARGE)
print(inside(before), inside(after), (full - memory.peak()) >> 20)
libc.free(after)
"""


@pytest.mark.skipif(memory._glibc() is None, reason='another C library')
def test_what_is_free_goes_back_and_large_blocks_keep_out_of_the_heap():
  # 128 MB in pieces, freed: a hole that a large block fits. Afterwards its pages are gone, and the
  # next large block is mapped.
  words = subprocess.check_output([sys.executable, '-c', SCRIPT], text=True).split()
  assert words[:2] == ['True', 'False']
  assert int(words[2]) >= 127


RESTARTED = """
import os, sys
from fevgan_jax.runtime import memory
print('started', flush=True)
memory.use_huge_pages()
print(os.environ['GLIBC_TUNABLES'], *sys.argv[1:])
"""


@pytest.mark.skipif(sys.platform != 'linux', reason='of Linux')
@pytest.mark.parametrize(
  'tunables, starts', [(None, 2), ('glibc.malloc.check=0', 1), ('glibc.malloc.hugetlb=1', 1)]
)
def test_a_program_starts_once_more_for_huge_pages(tunables, starts, tmp_path, monkeypatch):
  monkeypatch.delenv('GLIBC_TUNABLES', raising=False)
  if tunables:
    monkeypatch.setenv('GLIBC_TUNABLES', tunables)
  script = tmp_path / 'a script.py'
  script.write_text(RESTARTED)
  words = [sys.executable, '-W', 'error', script, '--image', 'my photo.jpg']
  lines = subprocess.check_output(words, text=True).splitlines()
  assert lines[:-1] == ['started'] * starts
  assert lines[-1] == f'{tunables or "glibc.malloc.hugetlb=1"} --image my photo.jpg'
