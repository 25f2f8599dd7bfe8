"""The builder of one's own clips: videos and folders of pictures."""

import io
import logging
import pathlib

import numpy as np
import pytest
import scenes
from PIL import Image
from tensorflow_datasets.core import shuffle

from configs import own_clips
from fevgan_jax.data import datasets
from fevgan_jax.evaluation import measurement
from fevgan_jax.faces import builder
from fevgan_jax.runtime import media
from fevgan_jax.runtime.errors import UserError


@pytest.fixture(scope='module')
def tree(tmp_path_factory) -> pathlib.Path:
  """Two people, of whom one has a name with a space and a letter beyond ASCII."""
  root = tmp_path_factory.mktemp('manual')
  top = root / 'own_clips'
  for subject, seed in (('Anna', 0), ('Zoë Müller', 1_000_003)):
    files = {label: scenes.frames(seed, label, scenes.OULU) for label in ('anger', 'happiness')}
    # 10 is after 9: by name it would be the third.
    names = [f'{i}.jpg' for i in range(11)]
    scenes.write(top / subject / 'Anger' / 'take 1', names, files['anger'])
    pictures = [np.asarray(Image.open(io.BytesIO(file))) for file in files['happiness']]
    media.write_mp4(top / subject / 'happiness' / 'smile.mp4', np.stack(pictures))
  scenes.write(top / 'Anna' / 'hapiness' / 'take 1', ['0.jpg'], files['anger'])
  scenes.write(top / 'Anna' / 'fear' / 'one frame', ['0.jpg'], files['anger'])
  (top / 'Anna' / 'fear' / 'notes.txt').write_text('')
  (top / 'Anna' / 'fear' / '.DS_Store').write_text('')
  (top / 'Anna' / 'fear' / 'broken.mov').write_bytes(b'')
  return root


@pytest.fixture(scope='module')
def config(tree):
  """All folders below the home folder, as ~ says it, which neither the shell nor TFDS expands."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv('HOME', str(tree.parent))
    yield scenes.config_of(own_clips, f'~/{tree.name}', '~/tfds')


def test_clips_of_any_form_are_kept_or_refused(tree, config, caplog):
  with caplog.at_level(logging.INFO):
    prepared = datasets.prepare(config)
  assert prepared.data_path == tree.parent / 'tfds/own_clips/to_apex/1.1.0'
  assert f'report: {prepared.data_path}/report.txt and report.html' in caplog.text
  assert 'hapiness: passed over, it is named after no expression: expected one of' in caplog.text
  assert 'notes.txt: passed over, it is neither a video nor a folder' in caplog.text
  train_split, test_split = (
    scenes.table(prepared.as_data_source(name)) for name in ('train', 'test')
  )
  assert sorted(train_split) == [('Anna', 'anger', 'take 1'), ('Anna', 'happiness', 'smile.mp4')]
  assert sorted(test_split) == [
    ('Zoë Müller', 'anger', 'take 1'),
    ('Zoë Müller', 'happiness', 'smile.mp4'),
  ]
  report = (prepared.data_path / builder.REPORT).read_text(encoding='utf-8')
  refused = report.partition('\nrefused\n\n')[2].splitlines()
  assert len(refused) == 2 and 'broken.mov: cannot be read' in refused[0]
  assert refused[1] == 'Anna/fear/one frame: 1 frames, expected at least 5'
  # An order by name would show frame 10, the apex, early.
  video = test_split['Zoë Müller', 'anger', 'take 1'].astype(float)
  from_first = np.abs(video - video[0]).mean((1, 2, 3))
  assert from_first.argmax() > 16


def test_a_split_that_does_not_fit_into_memory_is_told(config, tmp_path, monkeypatch):
  before = shuffle.MAX_MEM_BUFFER_SIZE
  assert before <= 2**30  # importing a builder leaves TFDS as it is
  small = config.copy_and_resolve_references()
  small.dataset.data_dir = str(tmp_path)
  monkeypatch.setattr(datasets, 'SORTED_SHARE', 0)
  monkeypatch.setattr(shuffle, 'MAX_MEM_BUFFER_SIZE', 1)
  with pytest.raises(UserError, match='needs TensorFlow to sort it on disk: free memory, choose'):
    datasets.prepare(small)


def test_two_labels_are_enough_to_evaluate(config):
  source = datasets.Clips(datasets.prepare(config), 'test')
  facts = measurement.describe(source)
  assert set(facts.people) == {'Zoë Müller'} and len(set(facts.labels)) == 2
  found = measurement.partners(facts.people, facts.labels)
  assert found['other_label'].tolist() == [1, 0]
  assert found['other_person'].tolist() == [-1, -1]


def test_there_and_back_uses_the_first_half(tree, tmp_path):
  own = scenes.builder('own_clips').Builder(data_dir=tmp_path, config='there_and_back')
  assert all(which.first_half for which in own.find(tree).recordings)


def test_any_folder_can_be_named(tree, tmp_path):
  own = scenes.builder('own_clips').Builder(data_dir=tmp_path)
  assert own.find(tree) == own.find(tree / 'own_clips')


def test_two_clips_of_one_name_are_told(tree, tmp_path):
  for label in ('fear', 'Fear'):
    scenes.write(tmp_path / 'a' / label / 'take', ['0.jpg'], [b''])
  own = scenes.builder('own_clips').Builder(data_dir=tmp_path / 'tfds')
  with pytest.raises(UserError, match='2 recordings are named a/fear/take: rename folders'):
    own.sources(tmp_path)


def test_every_fifth_person_is_tested(tmp_path):
  own = scenes.builder('own_clips').Builder(data_dir=tmp_path)
  assert own.test_subjects(list('abcdefghijk')) == {'e', 'j'}
  assert own.test_subjects(list('abc')) == {'c'}


def test_without_clips_the_layout_is_explained(tmp_path):
  config = own_clips.get_config()
  config.dataset.manual_dir, config.dataset.data_dir = str(tmp_path), str(tmp_path)
  (tmp_path / 'Anna' / 'joy').mkdir(parents=True)
  seen = (
    r'saw nothing in Anna/joy; no SUBJECT/EXPRESSION/CLIP below \(.*joy: passed over, it is named '
  )
  with pytest.raises(UserError, match=f'{tmp_path}: no own_clips files: {seen}') as error:
    datasets.builder(config)
  assert '\n' not in str(error.value)


def test_one_person_is_not_enough(tmp_path):
  scenes.write(tmp_path / 'Anna/anger/take', ['0.jpg'], [b''])
  own = scenes.builder('own_clips').Builder(data_dir=tmp_path / 'tfds')
  with pytest.raises(UserError, match='nothing for the train split: 1 person found, Anna, for'):
    own.sources(tmp_path)
