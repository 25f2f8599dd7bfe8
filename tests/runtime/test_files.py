"""Files that are whole or not there, and files that Python packages carry."""

import hashlib
import pathlib
import sys

import pytest

from fevgan_jax.runtime.errors import UserError
from fevgan_jax.runtime.files import packaged, replacing, sha256

CONTENT = b'weights'
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def installed(tmp_path, monkeypatch) -> pathlib.Path:
  """The file of an installed package that must not be imported."""
  file = tmp_path / 'carrier' / 'models' / 'a.bin'
  file.parent.mkdir(parents=True)
  file.write_bytes(CONTENT)
  (tmp_path / 'carrier' / '__init__.py').write_text('raise ImportError')
  monkeypatch.syspath_prepend(tmp_path)
  return file


def find(package: str = 'carrier', file: str = 'models/a.bin') -> pathlib.Path:
  return packaged(package, file, DIGEST, 'carrier-ng', 'face networks')


def test_a_failed_write_keeps_the_old_file(tmp_path):
  path = tmp_path / 'a.txt'
  path.write_text('old')
  with pytest.raises(RuntimeError), replacing(path) as temporary:
    with open(temporary, 'w') as file:
      file.write('half')
    raise RuntimeError
  assert path.read_text() == 'old'
  assert [file.name for file in tmp_path.iterdir()] == ['a.txt']


def test_a_package_carries_a_file(installed):
  assert find() == installed
  assert 'carrier' not in sys.modules
  assert sha256(installed) == DIGEST


def test_a_missing_package_is_told(installed):
  with pytest.raises(UserError) as told:
    find('absent')
  assert str(told.value) == (
    "face networks: the Python package 'absent' is not installed: pip install carrier-ng"
  )


def test_a_missing_file_is_told(installed):
  with pytest.raises(UserError) as told:
    find(file='models/b.bin')
  assert str(told.value) == (
    f"face networks: '{installed.with_name('b.bin')}' is missing: "
    'pip install --force-reinstall carrier-ng'
  )


def test_a_damaged_file_is_told(installed):
  installed.write_bytes(CONTENT[:-1])
  damaged = hashlib.sha256(CONTENT[:-1]).hexdigest()
  with pytest.raises(UserError) as told:
    find()
  assert str(told.value) == (
    f"face networks: '{installed}' is damaged: its SHA-256 is {damaged[:12]}..., "
    f'expected {DIGEST[:12]}...: pip install --force-reinstall carrier-ng'
  )
