"""Files that are whole or not there: written under another name first, or found in an installed
Python package and checked; and folders that one process at a time works in."""

import contextlib
import errno
import fcntl
import hashlib
import importlib.util
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from absl import logging

from fevgan_jax.runtime.errors import UserError

PARTIAL = '.partial-'  # how names of folders begin that hold a file that is not yet whole


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[str]:
  """Gives a temporary name beside `path`, which takes the place of `path` if the block succeeds.

  Raises:
    OSError: it cannot be written; names `path` where the system names no file.
  """
  path = Path(path)
  with named_in_errors(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=PARTIAL, dir=path.parent) as folder:
      temporary = os.path.join(folder, path.name)
      yield temporary
      os.replace(temporary, path)


def compiled_here() -> Path:
  """The folder of programs that were compiled on this machine. Of each machine its own, where they
  share a home: a program may not run on another processor.

  Raises:
    FileNotFoundError: there is no home folder, nor another place named.
  """
  cache = os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')
  if cache.startswith('~'):
    raise FileNotFoundError(errno.ENOENT, 'no home folder', cache)
  return Path(cache, 'fevgan_jax', platform.node())


def discard_partial(folder: str | os.PathLike) -> None:
  """Removes what killed processes have left unfinished in a folder and those in it."""
  for left in Path(folder).rglob(f'{PARTIAL}*'):
    shutil.rmtree(left, ignore_errors=True)


@contextlib.contextmanager
def named_in_errors(path: str | os.PathLike) -> Iterator[None]:
  """Names a file in an OSError of the block that names none, as one of a write does."""
  try:
    yield
  except OSError as error:
    error.filename = error.filename or str(path)
    raise


@contextlib.contextmanager
def folder_made(folder: Path) -> Iterator[None]:
  """Makes a folder for the block, and at its end removes what it made and nobody has used."""
  made = [path for path in (folder, *folder.parents) if not path.exists()]
  folder.mkdir(parents=True, exist_ok=True)
  try:
    yield
  finally:
    with contextlib.suppress(OSError):  # it is not empty
      for path in made:
        path.rmdir()


@contextlib.contextmanager
def held(path: str | os.PathLike, *, waits: bool = False) -> Iterator[None]:
  """Holds a lock file while the block runs, so that no other process does. The lock is given back
  however the process ends. Where a file system has no locks, nothing is held.

  Args:
    path: of the lock file, which says who holds it, and goes at the end.
    waits: whether to wait for another process that holds it.

  Raises:
    UserError: another process holds it, and `waits` is False.
  """
  path = Path(path)
  with folder_made(path.parent), _locked(path, waits) as file:
    with contextlib.suppress(OSError):  # of a full disk; the lock is held all the same
      file.truncate(0)
      since = time.strftime('%Y-%m-%d %H:%M:%S')
      file.write(f'process {os.getpid()} on {platform.node()}, since {since},')
      file.flush()
    try:
      yield
    finally:
      path.unlink(missing_ok=True)


def _locked(path: Path, waits: bool) -> TextIO:
  """The open lock file; see `held`."""
  while True:
    file = open(path, 'a+')
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      file.seek(0)
      who = file.read().strip() or 'another process'
      if not waits:
        file.close()
        raise UserError(
          f'{path.parent}: {who} is at work there: wait until it ends, or name another folder'
        ) from None
      logging.info('%s: waiting until %s is done', path.parent, who)
      fcntl.flock(file, fcntl.LOCK_EX)
    except OSError as error:
      logging.warning('%s: no lock (%s): start no second process there', path, error.strerror)
      return file
    if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
      return file
    file.close()  # the process that held it has taken the file away


def sha256(path: str | os.PathLike) -> str:
  """The SHA-256 of a file's content, in hexadecimal digits."""
  with open(path, 'rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()


def packaged(package: str, file: str, digest: str, distribution: str, purpose: str) -> Path:
  """Where an installed Python package keeps a file. The package is found, and not imported.

  Args:
    package: the name that it would be imported by.
    file: its place within the package.
    digest: its SHA-256.
    distribution: what pip installs.
    purpose: what the file is for, the first words of what the user is told.

  Raises:
    UserError: the package is not installed, or its file is missing or damaged.
  """
  spec = importlib.util.find_spec(package)
  if spec is None or not spec.submodule_search_locations:
    raise UserError(
      f"{purpose}: the Python package '{package}' is not installed: pip install {distribution}"
    )
  path = Path(spec.submodule_search_locations[0]) / file
  mend = f'pip install --force-reinstall {distribution}'
  if not path.is_file():
    raise UserError(f"{purpose}: '{path}' is missing: {mend}")
  if (found := sha256(path)) != digest:
    raise UserError(
      f"{purpose}: '{path}' is damaged: its SHA-256 is {found[:12]}..., "
      f'expected {digest[:12]}...: {mend}'
    )
  return path
