"""Files that are whole or not there: written under another name first, or found in an installed
Python package and checked."""

import contextlib
import hashlib
import importlib.util
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from fevgan_jax.runtime.errors import UserError


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[str]:
  """Gives a temporary name beside `path`, which takes the place of `path` if the block succeeds."""
  path = Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  with tempfile.TemporaryDirectory(prefix='.', dir=path.parent) as folder:
    temporary = os.path.join(folder, path.name)
    yield temporary
    os.replace(temporary, path)


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
