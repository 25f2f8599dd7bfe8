"""The test split of a real, tiny run, measured."""

import json

import numpy as np
import pytest

from fevgan_jax.data import datasets
from fevgan_jax.evaluation import evaluate
from fevgan_jax.evaluation.measurement import Facts, Measured, Traits
from fevgan_jax.runtime import media
from fevgan_jax.runtime.errors import UserError


@pytest.fixture
def result(run) -> dict:
  return json.loads((run[0] / 'evaluation.json').read_text())


def test_nobody_is_tested_whom_the_run_was_trained_on(run, result, config):
  workdir, ready = run[0], datasets.prepare(config)
  train, test = (datasets.Clips(ready, split).summary() for split in ('train', 'test'))
  assert (result['clips_digest'], result['trained_on']) == (test['digest'], train['digest'])
  evaluate.check_unseen(workdir, test, train)
  both = test | {'people': [*test['people'], train['people'][0]]}
  message = f'was trained on {train["people"][0]}, who are in the test split'
  with pytest.raises(UserError, match=message):
    evaluate.check_unseen(workdir, both, train)
  evaluate.check_unseen(workdir, both | {'dataset': 'mug'}, train)  # other people of these names


def test_what_it_says_of_itself(run, result, config):
  assert (result['step'], result['clips'], result['people']) == (6, 6, 1)
  assert result['dataset'].startswith('synthetic_faces/tiny/')
  assert (result['face_network'], result['precision']) == ('sface', 'float32')
  assert len(result['config_hash']) == 12
  assert '{' not in ''.join(result['protocol'].values())
  assert set(result['by_label']) == {clip['label'] for clip in result['per_clip']}
  # One person: no other one to compare with, and no interval.
  assert set(result['mean']) == {'generated', 'real', 'still', 'other_label'}
  assert result['face_network_auc'] is None
  assert all(entry['interval'] is None for row in result['mean'].values() for entry in row.values())
  assert media.read_image(run[0] / 'samples' / 'test_apex.png').std() > 0


def test_numbers_by_hand(result, config):
  source = datasets.builder(config).as_data_source('test')
  clips = {clip['label']: clip['video'] / 255 for clip in (source[i] for i in range(6))}
  of_anger = next(clip for clip in result['per_clip'] if clip['label'] == 'anger')
  for row, other in (('still', clips[0][:1]), ('other_label', clips[1])):
    # The still input of the clip with label 0, and the same person's clip with label 1.
    errors = ((clips[0] - other) ** 2).mean((1, 2, 3))
    assert of_anger[row]['psnr'] == pytest.approx(np.mean(-10 * np.log10(errors[1:])), abs=1e-3)
    assert of_anger[row]['mse'] == pytest.approx(errors.mean(), rel=1e-4)
  # ImaGINator's: six clips are one batch of at most eight.
  errors = np.mean([clip['still']['mse'] for clip in result['per_clip']])
  mean = result['mean']['still']
  assert mean['psnr_batch']['value'] == pytest.approx(-10 * np.log10(errors))
  # A still clip is the person and does not move; the real one moves as much as it does.
  assert mean['acd']['value'] == mean['acd_i']['value'] == 0
  assert mean['motion']['value'] == pytest.approx(0, abs=1e-6)
  assert result['mean']['real']['motion']['value'] == 1
  seen = [clip['generated']['label_seen'] == clip['label'] for clip in result['per_clip']]
  assert result['mean']['generated']['expression']['value'] == pytest.approx(np.mean(seen))


def test_twice_the_same(run, result, config):
  assert evaluate.evaluate(run[0]) == result


def measured() -> Measured:
  """Three clips of two people, of which the last has no clip of another label."""
  values = {
    'generated': {'acd': np.array([1.0, 2, 6]), 'travel': np.array([1.0, 1, 2])},
    'real': {'acd': np.array([1.0, 1, 1]), 'travel': np.array([2.0, 2, 4])},
    'other_label': {'acd': np.array([1.0, 1, np.nan]), 'travel': np.array([1.0, 3, np.nan])},
  }
  values['generated']['mse'] = np.array([0.01, 0.03, 0.1])
  traits = Traits(np.zeros((3, 2, 1)), np.zeros((3, 6)), np.zeros((3, 1)), np.zeros(3))
  facts = Facts(np.array(['a', 'a', 'b']), np.array(['0', '1', '0']), np.array([0, 1, 0]))
  return Measured(facts, values, dict.fromkeys(values, traits))


def test_summary_by_hand():
  mean = evaluate.summary(measured(), np.array([True, True, True]), batch_size=2)
  # ACD (1 + 2 + 6) / 3; drawn people are a twice (1.5), b twice (6) or one of each (3).
  assert mean['generated']['acd'] == {'value': 3.0, 'interval': (1.5, 6.0)}
  assert mean['generated']['motion'] == {'value': 0.5, 'interval': (0.5, 0.5)}
  # Batches of two: errors 0.02 and 0.1, 16.99 and 10 dB.
  assert mean['generated']['psnr_batch']['value'] == pytest.approx(13.495, abs=1e-3)
  # Of those clips that have another label: (1 + 3) / (2 + 2).
  assert mean['other_label']['motion'] == {'value': 1.0, 'interval': None}
  alone = evaluate.summary(measured(), np.array([False, False, True]), batch_size=2)
  assert set(alone) == {'generated', 'real'}


def test_cells_and_report(result):
  assert evaluate.cell({'value': 25.432, 'interval': (25.0, 25.6)}, '.2f') == '25.43 ±0.30'
  assert evaluate.cell({'value': 0.5, 'interval': None}, '.1%') == '50.0%'
  assert evaluate.cell(None, '.1%') == '-'
  text = evaluate.report(result)
  assert text.startswith('step 6 on 6 clips of 1 unseen person\n')
  assert 'input frame, repeated' in text and 'sface' in text
