"""The builder of MUG on a small tree with every irregularity of the real one."""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import scenes
import tensorflow_datasets as tfds

from configs import mug
from fevgan_jax.data import datasets
from fevgan_jax.faces import builder
from fevgan_jax.runtime.errors import UserError

ROOT = pathlib.Path(__file__).resolve().parents[2]

KEPT = {
  ('001', 'anger', 'take000'),
  ('001', 'anger', 'take002nsg'),
  ('001', 'happiness', 'take000'),
  ('002', 'anger', 'session0-take000'),
  ('002', 'anger', 'session1-take000'),
  ('017', 'surprise', 'take002'),
}
REFUSED = {
  '001/anger/take003end: a take named "end", which other work leaves out too',
  '001/fear/take000: a take of 11 frames, expected 40 at least',
  '017/sadness/take000: a take of 0 frames, expected 40 at least',
}


@pytest.fixture(scope='module')
def tree(tmp_path_factory) -> pathlib.Path:
  """A manual_dir. Subjects 001 and 002 are rendered person 0, and 017 is person 1000000."""
  root = tmp_path_factory.mktemp('manual')
  top = root / 'subjects3'

  def take(place: str, label: str, names: list[str]) -> pathlib.Path:
    seed = 1_000_000 if place.startswith('017') else 0
    scenes.write(top / place, names, scenes.frames(seed, label), back=True)
    return top / place

  take('001/anger/take000', 'anger', scenes.mug_names(44))
  take('001/anger/take002nsg', 'anger', scenes.mug_names(44, start=92))  # goes on from another
  take('001/anger/take003end', 'anger', scenes.mug_names(60))
  take('001/fear/take000', 'anger', scenes.mug_names(11))
  gap = [name for name in scenes.mug_names(48) if name != 'img_0020.jpg']
  odd = take('001/happiness/take000', 'happiness', gap)
  (odd / 'take000.avi').write_bytes(b'RIFF')
  (odd / '._img_0000.jpg').write_bytes(b'a resource fork')
  (odd / 'Thumbs.db').write_bytes(b'')
  take('001/neutral/take000', 'anger', scenes.mug_names(44))
  take('001/mixed/take000', 'anger', scenes.mug_names(44))
  take('001/anger/unsorted', 'anger', scenes.mug_names(44))
  take('.Trashes/anger/take000', 'anger', scenes.mug_names(44))
  (top / 'readme.txt').write_text('about MUG')
  take('002/session0/anger/take000', 'anger', scenes.mug_names(44))
  take('002/session1/anger/take000', 'anger', scenes.mug_names(44))
  take('017/surprise/take002', 'surprise', scenes.mug_names(41))
  (top / '017/disgust').mkdir()
  (top / '017/sadness/take000').mkdir(parents=True)
  return root


@pytest.fixture(scope='module')
def config(tree, tmp_path_factory):
  return scenes.config_of(mug, tree, tmp_path_factory.mktemp('tfds'))


@pytest.fixture(scope='module')
def prepared(config) -> tfds.core.DatasetBuilder:
  return datasets.prepare(config)


def test_every_take_is_kept_or_refused(prepared):
  splits = {name: scenes.table(prepared.as_data_source(name)) for name in ('train', 'test')}
  assert set(splits['train']) | set(splits['test']) == KEPT
  assert {subject for subject, _, _ in splits['test']} == {'017'}
  page = (prepared.data_path / builder.PAGE).read_text(encoding='utf-8')
  assert page.count('<img') == 4  # subjects and expressions with a clip
  report = (prepared.data_path / builder.REPORT).read_text()
  assert 'mug: 9 of the 10 people of the test split are missing, 034, 045, 055' in report
  assert set(report.partition('\nrefused\n\n')[2].splitlines()) == REFUSED
  rows = {tuple(line.split()[:2]): line.split()[2:] for line in report.splitlines() if line}
  # anger, disgust, fear, happiness, sadness, surprise, all
  assert rows['train', 'clips'] == ['4', '0', '0', '1', '0', '0', '5']
  assert rows['test', 'refused'] == ['0', '0', '0', '0', '1', '0', '1']
  assert rows['001', 'train'] == ['2-1', '0', '0-1', '1', '0', '0', '3-2']
  assert rows['002', 'train'] == ['2', '0', '0', '0', '0', '0', '2']


def distance(one: np.ndarray, other: np.ndarray) -> float:
  """Of two frames, from the brows to the lips."""
  return np.abs(one - other)[14:46, 20:44].mean()


def test_clips_are_aligned_and_end_at_the_apex(prepared):
  clips = scenes.table(prepared.as_data_source('train')) | scenes.table(
    prepared.as_data_source('test')
  )
  for (subject, label, take), video in clips.items():
    assert video.shape == (32, 64, 64, 3) and video.dtype == np.uint8
    faces, landmarks = scenes.performance(1_000_000 if subject == '017' else 0, label)
    neutral, apex = (scenes.crop.crop(faces[i], landmarks[i]).astype(float) for i in (0, -1))
    assert distance(video[0], neutral) < distance(video[0], apex), (subject, label, take)
    assert distance(video[-1], apex) < distance(video[-1], neutral), (subject, label, take)


def test_nothing_is_left_beside_the_version(prepared):
  assert [path.name for path in prepared.data_path.parent.iterdir()] == ['1.1.0']


def test_prepared_data_know_where_they_are_from(config, prepared, tree, tmp_path, caplog):
  caplog.set_level('INFO')
  datasets.prepare(config)
  assert caplog.messages[-1].endswith(
    f'5 + 1 clips, from {tree}; --mode prepare --again makes it anew'
  )
  other = config.copy_and_resolve_references()
  other.dataset.manual_dir = str(tmp_path)
  datasets.prepare(other)
  assert caplog.messages[-1].startswith(f'{tmp_path}: not read: the prepared data are from {tree};')


def test_prepared_data_are_replaced_by_whole_ones(config, prepared, tree, tmp_path):
  other = config.copy_and_resolve_references()
  other.dataset.data_dir, other.dataset.manual_dir = (
    str(tmp_path / 'tfds'),
    str(tmp_path / 'manual'),
  )
  folder = tmp_path / 'tfds' / 'mug' / 'public'
  shutil.copytree(prepared.data_path, folder / '1.1.0')
  (tmp_path / 'manual').mkdir()
  with pytest.raises(UserError, match='no mug files: saw nothing'):
    datasets.prepare(other, again=True)
  assert datasets.Clips(datasets.prepare(other), 'train').summary()['people'] == ['001', '002']
  for person in ('001/happiness', '017'):
    shutil.copytree(tree / 'subjects3' / person, tmp_path / 'manual' / person)
  ready = datasets.prepare(other, again=True)
  assert datasets.Clips(ready, 'train').summary()['people'] == ['001']
  assert [path.name for path in folder.iterdir()] == ['1.1.0']


def test_without_files_the_license_is_explained(tmp_path):
  config = mug.get_config()
  config.dataset.data_dir = str(tmp_path)
  (tmp_path / 'downloads' / 'manual').mkdir(parents=True)
  with pytest.raises(UserError) as error:
    datasets.builder(config)
  message = str(error.value)
  assert message.startswith(
    f'{tmp_path}/downloads/manual: no mug files: saw nothing; no NNN/EXPRESSION/takeNNN/'
    'img_NNNN.jpg below. MUG needs a license: apply at https://mug.ee.auth.gr/fed/'
  )
  assert '\n' not in message


def empty_takes(root: pathlib.Path, *places: str) -> None:
  """Takes whose pictures are empty files: enough for the search."""
  for place in places:
    (root / place).mkdir(parents=True)
    for name in scenes.mug_names(40):
      (root / place / name).write_bytes(b'')


def test_subjects_are_compared_by_number(tmp_path):
  places = '1/Anger/Take000', '17/ANGER/take000', '034/Session0/anger/take000NSG'
  empty_takes(tmp_path / 'MUG', *places)
  mug = scenes.builder('mug').Builder(data_dir=tmp_path / 'tfds')
  sources = mug.sources(tmp_path)
  assert [str(which) for which in sources.splits['train']] == ['001/anger/take000']
  assert [str(which) for which in sources.splits['test']] == [
    '017/anger/take000',
    '034/anger/session0-take000nsg',
  ]
  assert sources.notes == [
    f'{tmp_path}/MUG: taken, 3 people and 3 takes',
    'mug: found 3 people and 3 usable takes; the full set has 52 and 882',
  ]
  (warning,) = sources.warnings
  missing = '045, 055, 060, 064, 065, 073, 078, 083'
  assert warning.startswith(f'mug: 8 of the 10 people of the test split are missing, {missing}: ')
  # One person in both splits, as it were.
  empty_takes(tmp_path / 'MUG', '017/fear/take000')
  with pytest.raises(UserError, match='MUG: 017 and 17 are folders of one person, 017: expected'):
    mug.sources(tmp_path)


def test_people_of_one_split_alone_are_told(tmp_path):
  mug = scenes.builder('mug').Builder(data_dir=tmp_path / 'tfds')
  empty_takes(tmp_path, '017/anger/take000')
  with pytest.raises(UserError, match='nothing for the train split: 1 person found, 017, for the'):
    mug.sources(tmp_path)
  empty_takes(tmp_path, '001/anger/take000end')
  reason = '001/anger/take000end: a take named "end"'
  with pytest.raises(UserError, match=f'every take of its people is left out, such as {reason}'):
    mug.sources(tmp_path)


def test_the_public_split_is_42_and_10_people():
  test = scenes.builder('mug').PUBLIC_TEST
  public = (
    '001 002 006 007 008 010 013 014 017 020 021 027 028 030 031 032 033 034 036 037 038 039 '
    '040 042 043 044 045 046 048 049 052 055 060 061 062 063 064 065 066 070 071 072 073 074 '
    '075 076 077 078 079 082 083 084'
  ).split()
  assert len(set(test)) == 10 and len(set(public) - set(test)) == 42


def test_a_split_without_clips_is_told(tree, tmp_path):
  for subject in ('001', '002'):
    (tmp_path / 'manual').mkdir(exist_ok=True)
    os.symlink(tree / 'subjects3' / subject, tmp_path / 'manual' / subject)
  one = scenes.builder('mug').Builder(data_dir=tmp_path / 'tfds')
  with pytest.raises(
    UserError, match='none of its people, 017, .*083, is among the 2 people found'
  ):
    one.download_and_prepare(
      file_format='array_record',
      download_config=tfds.download.DownloadConfig(manual_dir=tmp_path / 'manual'),
    )
  assert not one.data_path.exists()


@pytest.fixture
def run(config, tmp_path):
  """Starts main.py --mode prepare with another data_dir."""

  def start() -> subprocess.Popen:
    words = [
      '--mode',
      'prepare',
      '--config',
      str(ROOT / 'configs' / 'mug.py'),
      f'--config.dataset.manual_dir={config.dataset.manual_dir}',
      f'--config.dataset.data_dir={tmp_path}',
    ]
    return subprocess.Popen(
      [sys.executable, ROOT / 'main.py', *words],
      stderr=subprocess.PIPE,
      text=True,
      env=os.environ | {'JAX_PLATFORMS': 'cpu'},
    )

  return start


@pytest.mark.slow
def test_a_killed_preparation_goes_on(prepared, run, tmp_path):
  unfinished = tmp_path / 'mug' / 'public' / 'unfinished-1.1.0'
  with run() as process:
    while len(list(unfinished.glob('*.npz'))) < 2:
      assert process.poll() is None
      time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
  time.sleep(1)  # the processes that it had started end with it
  done = len(list(unfinished.glob('*.npz'))) + len(list(unfinished.glob('*.txt')))
  assert 2 <= done < len(KEPT) + len(REFUSED)
  assert not (tmp_path / 'mug' / 'public' / '1.1.0').exists()
  with run() as process:
    log = process.stderr.read()
  assert process.returncode == 0, log
  assert f'{done} of {len(KEPT) + len(REFUSED)} recordings were finished before' in log
  assert [path.name for path in (tmp_path / 'mug' / 'public').iterdir()] == ['1.1.0']
  again = tfds.builder_from_directory(str(tmp_path / 'mug' / 'public' / '1.1.0'))
  for split in ('train', 'test'):
    one, two = (scenes.table(which.as_data_source(split)) for which in (prepared, again))
    assert one.keys() == two.keys()
    for key in one:
      np.testing.assert_array_equal(one[key], two[key])


def test_another_project_reads_the_set(prepared, tmp_path):
  """With tfds alone: another working directory, no import of this repository, no TensorFlow."""
  code = """
import sys
import tensorflow_datasets as tfds
folder, data_dir = sys.argv[1:]
for source in (tfds.builder_from_directory(folder).as_data_source('train'),
               tfds.data_source('mug/public', split='train', data_dir=data_dir)):
  clip = source[0]
  print(len(source), clip['video'].shape, clip['video'].dtype, sorted(clip))
assert not {'tensorflow', 'fevgan_jax', 'mug', 'datasets'} & set(sys.modules)
"""
  result = subprocess.run(
    [
      sys.executable,
      '-I',
      '-W',
      'ignore',
      '-c',
      code,
      prepared.data_path,
      prepared.data_path.parents[2],
    ],
    capture_output=True,
    text=True,
    cwd=tmp_path,
  )
  assert result.returncode == 0, result.stderr
  line = "5 (32, 64, 64, 3) uint8 ['label', 'landmarks', 'subject', 'take', 'video']"
  assert result.stdout.splitlines() == [line, line]
