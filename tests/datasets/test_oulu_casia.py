"""The builder of Oulu-CASIA on small trees: both editions, every wrapper, both cameras."""

import io
import pathlib

import numpy as np
import pytest
import scenes
from PIL import Image

from configs import oulu_casia
from fevgan_jax.data import datasets
from fevgan_jax.faces import builder
from fevgan_jax.runtime.errors import UserError

WRAPPERS = (
  'OriginalImg',
  'B_OriginalImg/OriginalImg',
  'B_OriginalImg/B_OriginalImg/OriginalImg',
  '',
)
# P003 is tested by the stated split, P001 and P002 are not.
SEEDS = {'P001': 0, 'P002': 1, 'P003': 1_000_000}


def grey(file: bytes) -> bytes:
  return scenes.jpeg(np.asarray(Image.open(io.BytesIO(file)).convert('L')))


@pytest.fixture(scope='module')
def tree(tmp_path_factory) -> pathlib.Path:
  """A manual_dir; the sequences are of 9, 12 and 16 frames, as the real ones begin at 9."""
  root = tmp_path_factory.mktemp('manual')
  original = root / WRAPPERS[2]
  for subject, seed in SEEDS.items():
    for label, count in (('anger', 9), ('surprise', 12)):
      names = scenes.oulu_names(count, start=3 if subject == 'P002' else 0)  # the other edition
      files = scenes.frames(seed, label, scenes.OULU)
      scenes.write(original / 'VL/Strong' / subject / label.capitalize(), names, files)
  infrared = [grey(file) for file in scenes.frames(0, 'anger', scenes.OULU)]
  for subject in ('P001', 'P003'):
    scenes.write(original / 'NI/Dark' / subject / 'Anger', scenes.oulu_names(9), infrared)
  scenes.write(original / 'VL/Strong/P001/Fear', scenes.oulu_names(4), files)
  scenes.write(original / 'VL/Strong/P001/Neutral', scenes.oulu_names(9), files)
  cropped = root / 'PreProcess Img' / 'VL_Acropped/Strong/P001/Anger'
  scenes.write(cropped, scenes.oulu_names(9), files)
  (original / 'VL/Strong/P001/Anger/Thumbs.db').write_bytes(b'')
  (original / 'VL/Strong/Thumbs.db').write_bytes(b'')
  (root / 'PreProcess Img' / 'change_log.txt').write_text('')
  return root


@pytest.fixture(scope='module')
def config(tree, tmp_path_factory):
  return scenes.config_of(oulu_casia, tree, tmp_path_factory.mktemp('tfds'))


def test_every_sequence_is_kept_or_refused(config):
  prepared = datasets.prepare(config)
  assert prepared.builder_config.name == 'vl_strong'
  splits = {name: scenes.table(prepared.as_data_source(name)) for name in ('train', 'test')}
  assert sorted(splits['train']) == [
    (subject, label, 'vl_strong') for subject in ('P001', 'P002') for label in ('anger', 'surprise')
  ]
  assert sorted(splits['test']) == [('P003', label, 'vl_strong') for label in ('anger', 'surprise')]
  report = (prepared.data_path / builder.REPORT).read_text()
  assert report.endswith('P001/fear/vl_strong: 4 frames, expected at least 5\n')


@pytest.mark.slow
def test_infrared_is_a_configuration(config):
  infrared = config.copy_and_resolve_references()
  infrared.dataset.config = 'ni_dark'
  prepared = datasets.prepare(infrared)
  for split, subject in (('train', 'P001'), ('test', 'P003')):
    ((key, video),) = scenes.table(prepared.as_data_source(split)).items()
    assert key == (subject, 'anger', 'ni_dark')
    assert (video == video[..., :1]).all() and video.max() > 100


@pytest.mark.parametrize('wrapper', WRAPPERS)
def test_wrappers_do_not_matter(tree, tmp_path, wrapper):
  (tmp_path / wrapper).mkdir(parents=True, exist_ok=True)
  (tmp_path / wrapper / 'VL').symlink_to(tree / WRAPPERS[2] / 'VL')
  oulu = scenes.builder('oulu_casia').Builder(data_dir=tmp_path / 'tfds')
  found = oulu.find(tmp_path).recordings
  assert len(found) == 7 and len(found[0].files) == 9
  assert {which.subject for which in found} == {'P001', 'P002', 'P003'}


def test_six_configurations_of_each_size():
  configs = scenes.builder('oulu_casia').Builder.BUILDER_CONFIGS
  names = ['vl_strong', 'vl_weak', 'vl_dark', 'ni_strong', 'ni_weak', 'ni_dark']
  assert [config.name for config in configs] == [*names, *(f'{name}_128' for name in names)]
  assert [config.size for config in configs] == 6 * [64] + 6 * [128]


def test_the_split_is_the_stated_one():
  people = np.random.RandomState(0).permutation(80)[:16] + 1
  stated = scenes.builder('oulu_casia').TEST_PEOPLE
  assert sorted(f'P{number:03d}' for number in people) == list(stated)


def test_without_files_the_license_is_explained(tmp_path):
  config = oulu_casia.get_config()
  config.dataset.manual_dir, config.dataset.data_dir = str(tmp_path / 'none'), str(tmp_path)
  with pytest.raises(
    UserError, match='none: no oulu_casia files: no such folder. Oulu-CASIA needs'
  ):
    datasets.builder(config)


@pytest.mark.parametrize('place', ['.', 'vl/strong', 'x/VL/STRONG', 'vl'])
def test_the_folder_of_the_camera_or_light_can_be_named(tmp_path, place):
  """In any case, and with subjects that have lost their zeros."""
  strong = tmp_path / 'vl/strong' if place in ('.', 'vl') else tmp_path / place
  for subject in ('p1', 'P003'):
    scenes.write(strong / subject / 'anger', scenes.oulu_names(1), [b''])
  oulu = scenes.builder('oulu_casia').Builder(data_dir=tmp_path / 'tfds')
  splits = oulu.sources(tmp_path / place).splits
  assert [str(which) for which in splits['train']] == ['P001/anger/vl_strong']
  assert [str(which) for which in splits['test']] == ['P003/anger/vl_strong']


def test_another_light_is_no_substitute(tree, tmp_path):
  dark = scenes.builder('oulu_casia').Builder(config='vl_dark', data_dir=tmp_path)
  with pytest.raises(UserError) as error:
    dark.sources(tree)
  original = WRAPPERS[2]
  assert str(error.value).startswith(
    f'{tree}: no oulu_casia files: saw recordings in PreProcess Img/VL_Acropped/Strong, '
    f'{original}/NI/Dark, {original}/VL/Strong; no VL/Dark/PNNN/EXPRESSION/NNN.jpeg below'
  )


def test_missing_test_people_are_named(tree, tmp_path):
  oulu = scenes.builder('oulu_casia').Builder(data_dir=tmp_path)
  sources = oulu.sources(tree)
  assert sources.notes[-1].endswith('3 people and 7 usable takes; the full set has 80 and 480')
  assert '15 of the 16 people of the test split are missing, P028, P031' in sources.warnings[0]
