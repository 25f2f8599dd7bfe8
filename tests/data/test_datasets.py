"""Prepared data that are damaged, each in another way; two preparations at once; Apache Beam."""

import datetime
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
import scenes
from runs import ROOT
from tensorflow_datasets.core import shuffle

from configs import own_clips
from fevgan_jax.data import batches, datasets
from fevgan_jax.runtime import files
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
    datasets.Clips(ready, 'test')[0]


def test_a_split_of_more_than_a_gigabyte_needs_no_tensorflow(tmp_path, monkeypatch):
  monkeypatch.setattr(datasets, 'SORTED_SHARE', 100)  # whatever this machine has
  before = shuffle.MAX_MEM_BUFFER_SIZE
  clip = bytes(2**20)  # the same one each time: no memory is used
  with datasets.sorting_in_memory():
    sorted_by_key = shuffle.Shuffler(tmp_path, 'train')
    for key in range(1100):
      sorted_by_key.add(key, clip)
    assert sum(data is clip for _, data in sorted_by_key) == 1100
  assert before == shuffle.MAX_MEM_BUFFER_SIZE


def test_names_are_read_without_videos(config):
  for split in ('train', 'test'):
    clips = datasets.Clips(datasets.prepare(config), split)
    whole = [(c['subject'].decode(), c['take'].decode(), int(c['label'])) for c in clips]
    assert clips.names() == whole and len(whole) == len(clips)
    assert clips.summary()['people'] == sorted({subject for subject, *_ in whole})


def test_prepared_data_are_described(config, caplog):
  caplog.set_level('INFO')
  ready = datasets.prepare(config)
  file = pathlib.Path(ready.data_path, 'features.json')
  when = datetime.date.fromtimestamp(file.stat().st_mtime)
  counts = ' + '.join(str(len(datasets.Clips(ready, split))) for split in ('train', 'test'))
  assert caplog.messages[-1] == (
    f'synthetic_faces/tiny/1.2.0: prepared {when}, {counts} clips; --mode prepare --again makes it '
    'anew'
  )


def test_data_without_random_access_are_no_damage(config, tmp_path):
  """TFDS writes such data in another project, by default."""
  shutil.copytree(config.dataset.data_dir, tmp_path / 'data')
  config.dataset.data_dir = str(tmp_path / 'data')
  folder = tmp_path / 'data' / 'synthetic_faces' / 'tiny' / '1.2.0'
  for path in folder.glob('*.array_record*'):
    path.rename(folder / path.name.replace('array_record', 'tfrecord'))
  about = folder / 'dataset_info.json'
  about.write_text(about.read_text().replace('array_record', 'tfrecord'))
  with pytest.raises(UserError) as error:
    datasets.prepare(config)
  message = str(error.value)
  assert message.startswith(f'{folder}: prepared as tfrecord, which has no random access')
  assert (
    'name another --config.dataset.data_dir' in message and "file_format='array_record'" in message
  )
  assert 'delete' not in message
  assert datasets.clip_shape(config) == (32, 64, 64, 3)  # their description serves


def test_a_home_folder_is_expanded(config, tmp_path, monkeypatch):
  monkeypatch.setenv('HOME', str(tmp_path))
  config.dataset.data_dir = '~/data'
  ready = datasets.builder(config)
  assert ready.data_path == tmp_path / 'data' / 'synthetic_faces' / 'tiny' / '1.2.0'


def prepare(*words: str) -> subprocess.Popen:
  return subprocess.Popen(
    [sys.executable, ROOT / 'main.py', '--mode', 'prepare', *words],
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )


@pytest.mark.slow
def test_two_preparations_at_once(config, tmp_path):
  # What a killed preparation has left.
  folder = tmp_path / 'synthetic_faces' / 'tiny'
  left = folder / 'incomplete.ABCDEF_1.2.0'
  left.mkdir(parents=True)
  words = '--config.dataset.config=tiny', f'--config.dataset.data_dir={tmp_path}'
  # Neither may begin before the other is there too.
  with files.held(folder / '.1.2.0.lock'):
    processes = [prepare(*words) for _ in range(2)]
    for process in processes:
      assert any('waiting until process' in line for line in process.stdout)
  printed = [process.communicate(timeout=200)[0] for process in processes]
  assert [process.returncode for process in processes] == [0, 0], printed
  assert sum('Dataset synthetic_faces downloaded and prepared' in text for text in printed) == 1
  assert not left.exists()
  config.dataset.data_dir = str(tmp_path)
  assert len(datasets.Clips(datasets.prepare(config), 'train')) == 12


def same_clips(ready, others) -> None:
  """In the same order, every feature byte for byte; not so the records, whose order of features is
  TFDS's and another in every process."""
  for split in ('train', 'test'):
    ours, theirs = datasets.Clips(ready, split), datasets.Clips(others, split)
    assert len(ours) == len(theirs) > 0
    for one, other in zip(ours, theirs):
      assert one.keys() == other.keys()
      for name in one:
        np.testing.assert_array_equal(one[name], other[name])


@pytest.mark.slow
def test_apache_beam_makes_the_same_clips(config, tmp_path):
  pytest.importorskip('apache_beam', reason='Apache Beam is not installed: pip install .[beam]')
  beam = '--beam=DirectRunner --direct_num_workers=2 --direct_running_mode=multi_processing'
  # Rendered.
  processes = [
    prepare(beam, '--config.dataset.config=tiny', f'--config.dataset.data_dir={tmp_path}')
  ]
  # Recorded.
  manual = tmp_path / 'manual'
  for subject, seed in (('Anna', 0), ('Zoe', 1_000_003)):
    folder = manual / 'own_clips' / subject / 'anger' / 'take'
    scenes.write(folder, scenes.oulu_names(6), scenes.frames(seed, 'anger', scenes.OULU))
  here, there = (scenes.config_of(own_clips, manual, tmp_path / name) for name in ('here', 'there'))
  places = (f'--config.dataset.{name}={there.dataset[name]}' for name in ('data_dir', 'manual_dir'))
  processes.append(prepare('--config=configs/own_clips.py', beam, *places))
  for process in processes:
    printed = process.communicate(timeout=200)[0]
    assert process.returncode == 0, printed
  original = datasets.prepare(config)
  config.dataset.data_dir = str(tmp_path)
  same_clips(datasets.prepare(config), original)
  same_clips(datasets.prepare(there), datasets.prepare(here))
