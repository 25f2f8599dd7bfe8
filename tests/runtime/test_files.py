"""Files that are whole or not there, files that Python packages carry, and locks."""

import errno
import hashlib
import os
import pathlib
import platform
import subprocess
import sys

import pytest

from fevgan_jax.runtime.errors import UserError
from fevgan_jax.runtime.files import discard_partial, held, packaged, replacing, sha256

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


def test_what_a_kill_left_unfinished_is_removed(tmp_path):
  program = (
    'import os; from fevgan_jax.runtime.files import replacing\n'
    f'with replacing({str(tmp_path / "samples" / "a.txt")!r}): os._exit(1)'
  )
  subprocess.run([sys.executable, '-c', program])
  (tmp_path / 'samples' / 'b.txt').write_text('whole')
  assert len([*(tmp_path / 'samples').iterdir()]) == 2
  discard_partial(tmp_path)
  assert [path.name for path in (tmp_path / 'samples').iterdir()] == ['b.txt']


def test_a_full_disk_is_told_with_the_file(tmp_path):
  path = tmp_path / 'a.txt'
  with pytest.raises(OSError) as told, replacing(path):
    raise OSError(errno.ENOSPC, 'No space left on device')
  assert told.value.filename == str(path)


def test_a_lock_says_who_holds_it_and_dies_with_its_process(tmp_path):
  path = tmp_path / 'run' / '.lock'

  def start(act: str, **options) -> subprocess.Popen:
    program = f'import time; from fevgan_jax.runtime.files import held\nwith held({str(path)!r}, '
    words = [sys.executable, '-c', f'{program} **{options}): print("held", flush=True); {act}']
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)

  holds = start('time.sleep(1000)')
  holds.stdout.readline()
  with pytest.raises(UserError) as told, held(path):
    pass
  who = f'process {holds.pid} on {platform.node()}, since 20'
  assert str(told.value).startswith(f'{path.parent}: {who}')
  assert str(told.value).endswith(', is at work there: wait until it ends, or name another folder')
  waits = start('pass', waits=True)
  holds.kill()
  holds.communicate()
  assert waits.communicate(timeout=60)[0] == 'held\n'
  with held(path):
    assert f'process {os.getpid()} on' in path.read_text()


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
