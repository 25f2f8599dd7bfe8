"""Prepared data that are damaged, each in another way, and two preparations at once."""

import pathlib
import shutil
import subprocess
import sys

import pytest
from runs import ROOT

from fevgan_jax.data import batches, datasets
from fevgan_jax.runtime.errors import UserError


def flip(path: pathlib.Path) -> None:
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 1
  path.write_bytes(content)


def cut(path: pathlib.Path) -> None:
  path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: pathlib.Path) -> None:
  path.write_bytes(b'')


def empty_folder(path: pathlib.Path) -> None:
  shutil.rmtree(path.parent)
  path.parent.mkdir()


@pytest.mark.parametrize(
  'damage, files',
  [
    (flip, '*train*'),
    (cut, '*train*'),
    (empty, '*test*'),
    (pathlib.Path.unlink, '*train*'),
    (cut, 'dataset_info.json'),
    (pathlib.Path.unlink, 'dataset_info.json'),
    (pathlib.Path.unlink, 'features.json'),
    (empty_folder, 'features.json'),
  ],
)
def test_damaged_data_are_told(damage, files, config, tmp_path):
  shutil.copytree(config.dataset.data_dir, tmp_path / 'data')
  config.dataset.data_dir = str(tmp_path / 'data')
  folder = tmp_path / 'data' / 'synthetic_faces' / 'tiny' / '1.2.0'
  (path,) = folder.glob(files)
  damage(path)
  with pytest.raises(UserError, match=f'^{folder}: the prepared data are damaged .* delete this'):
    ready = datasets.prepare(config)
    epoch = batches.train_batches(datasets.Clips(ready, 'train'), config, [])
    for _ in range(3):
      next(epoch)
    assert list(datasets.Clips(ready, 'test'))


def test_two_preparations_at_once(config, tmp_path):
  words = ['--config.dataset.config=tiny', f'--config.dataset.data_dir={tmp_path}']
  # What a killed preparation has left.
  left = tmp_path / 'synthetic_faces' / 'tiny' / 'incomplete.ABCDEF_1.2.0'
  left.mkdir(parents=True)
  processes = [
    subprocess.Popen(
      [sys.executable, ROOT / 'main.py', '--mode', 'prepare', *words],
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
    )
    for _ in range(2)
  ]
  printed = [process.communicate(timeout=200)[0] for process in processes]
  assert [process.returncode for process in processes] == [0, 0], printed
  assert sum('waiting until process' in text for text in printed) == 1, printed
  assert not left.exists()
  config.dataset.data_dir = str(tmp_path)
  assert len(datasets.Clips(datasets.prepare(config), 'train')) == 12
