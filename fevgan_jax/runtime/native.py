"""C++ that is compiled where it runs, once, for the processor that is there."""

import contextlib
import ctypes
import functools
import hashlib
import importlib.util
import os
import pathlib
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile

import jax
import jaxlib
from absl import logging

from fevgan_jax.runtime import files

FLAGS = ('-std=c++17', '-O3', '-shared', '-fPIC')


@functools.cache
def library(source: pathlib.Path) -> ctypes.CDLL | None:
  """A compiled source file, or None where there is no compiler; a line in the log says so, and how
  to mend it."""
  compiler = _compiler()
  if compiler is None:
    logging.warning(
      'no C++ compiler: expected c++ on the PATH: install g++, or pip install ziglang'
    )
    return None
  processor = '-march=native' if platform.machine() in ('x86_64', 'AMD64') else '-mcpu=native'
  command = [*compiler, *FLAGS, processor, '-isystem', jax.ffi.include_dir(), str(source)]
  digest = hashlib.sha256()
  for file in (source, *sorted(source.parent.glob('*.h'))):
    digest.update(file.read_bytes())
  digest.update(' '.join([*command, jaxlib.__version__, _processor()]).encode())
  name = f'{source.stem}-{digest.hexdigest()[:16]}.so'
  try:
    with contextlib.suppress(OSError):
      return _loaded(command, files.compiled_here() / name)
    with tempfile.TemporaryDirectory() as folder:  # nothing can be kept
      return _loaded(command, pathlib.Path(folder, name))
  except subprocess.CalledProcessError as error:
    lines = error.stderr.strip().splitlines() or ['no reason given']
    reason = next((line for line in lines if 'error' in line), lines[0])
  except OSError as error:
    reason = str(error)
  logging.warning('%s: %s', shlex.join(compiler), reason)
  return None


def _loaded(command: list[str], path: pathlib.Path) -> ctypes.CDLL:
  if not path.exists():
    logging.info('compiling %s for this processor, once', pathlib.Path(command[-1]).name)
    with files.replacing(path) as temporary:
      subprocess.run([*command, '-o', temporary], check=True, capture_output=True, text=True)
  try:
    return ctypes.CDLL(str(path))
  except OSError:  # of another C++ library, or cut off: the next start compiles it anew
    path.unlink(missing_ok=True)
    raise


def _compiler() -> list[str] | None:
  if named := os.environ.get('CXX'):
    return shlex.split(named)
  for name in ('c++', 'g++', 'clang++'):
    if path := shutil.which(name):
      return [path]
  if importlib.util.find_spec('ziglang'):  # a compiler as a wheel
    return [sys.executable, '-m', 'ziglang', 'c++']
  return None


def _processor() -> str:
  """What a program may rely on: a home may be shared by machines of different kinds."""
  try:
    lines = pathlib.Path('/proc/cpuinfo').read_text().splitlines()
  except OSError:
    return platform.processor()
  return next((line for line in lines if line.startswith(('flags', 'Features'))), '')
