"""Tables, figures and the page over real, tiny runs."""

import dataclasses
import json
import pathlib
import re
import shutil

import numpy as np
import pytest

from configs import synthetic_faces
from fevgan_jax import models
from fevgan_jax.evaluation import compare, runs, tables
from fevgan_jax.runtime import media
from fevgan_jax.runtime.errors import UserError


@pytest.fixture
def other(run, tmp_path):
  """A second run that was measured alike: the first one's copy, said to be worse in PSNR."""
  copy = tmp_path / 'second'
  shutil.copytree(run[0], copy)
  path = copy / 'evaluation.json'
  result = json.loads(path.read_text())
  for i, clip in enumerate(result['per_clip']):
    clip['generated']['psnr'] -= 1 + i / 10
  path.write_text(json.dumps(result))
  return copy


def test_everything_that_was_promised(run, other, config, tmp_path):
  output = tmp_path / 'out'
  files = compare.compare([run[0], other], output)
  # Both are without E_Id: no Table 1, no Figure 4.
  assert {path.name for path in files} == {
    'comparison.md', 'comparison.html', 'figure2.png', 'figure3.png', 'figure5.png', 'figure6.png'
  }  # fmt: skip
  text = (output / 'comparison.md').read_text()
  name = f'FEV-GAN w/o E_Id ({run[0].name})'
  assert f'| {name} | ' in text and '| FEV-GAN w/o E_Id (second) | ' in text
  assert '19.71 / 0.69 / 0.13 / 1.22' in text  # the paper's Table 3, beside ours
  assert '| input frame, repeated | ' in text
  # Mean of 1, 1.1, ... 1.5 less; the other metrics are equal. One person: no interval.
  assert '| FEV-GAN w/o E_Id (second) | -1.25 | +0.000 |' in text
  for path in files[2:]:
    assert media.read_image(path).std() > 0
  page = (output / 'comparison.html').read_text()
  assert page.count('data:image/webp;base64,') == 4
  assert not re.search('(src|href)="(?!data:)', page)  # nothing outside of it is needed


def test_differences_are_paired(config):
  # Person a: 1 and 3 dB less, b: 5 less, with means of 2 and 5 over people's clips; drawn twice
  # a, twice b, or both: 2, 5 and (1 + 3 + 5) / 3 = 3.
  def made(psnr):
    clips = [
      {'subject': person, 'generated': {'psnr': x}}
      for person, x in zip('aab', np.array(psnr, float))
    ]
    return runs.Run('', None, None, {'per_clip': clips})

  text = tables.difference(made([19, 17, 15]), made([20, 20, 20]), 'psnr', '.2f')
  assert text == '-3.00 [-5.00, -2.00]'


def test_the_order_is_told():
  paper = {'FEV-GAN': 27.10, 'FEV-GAN w/o E_s': 25.44, 'VGAN': 16.32}
  ours = {'FEV-GAN': 25, 'FEV-GAN w/o E_s': 26, 'of our own': 30}
  expected = 'By PSNR: FEV-GAN w/o E_s > FEV-GAN here, FEV-GAN > FEV-GAN w/o E_s there.'
  assert tables.order(ours, paper).strip() == expected
  ours['FEV-GAN w/o E_s'] = 24
  assert tables.order(ours, paper).endswith('here, and in the paper.')
  assert tables.order({'of our own': 30, 'VGAN': 17}, paper) == ''


def test_names_are_the_papers(config):
  assert models.title(config) == 'FEV-GAN w/o E_Id'
  config.identity.network = 'dlib'
  assert models.title(config) == 'FEV-GAN'
  config.model.spatial_width = 0
  assert models.title(config) == 'FEV-GAN w/o E_s'


def change(workdir, **keys):
  path = workdir / 'evaluation.json'
  path.write_text(json.dumps(json.loads(path.read_text()) | keys))


@pytest.mark.parametrize(
  ('keys', 'message'),
  [
    ({'step': 4}, 'of step 4, the checkpoint is of step 6: measure it with --mode evaluate'),
    (
      {'face_network': 'dlib'},
      'another face_network: run python main.py --mode evaluate --workdir [^ ]*/second '
      '--config.evaluation.face_network=sface$',
    ),
    (
      {'precision': 'bfloat16'},
      'another precision: run python main.py --mode evaluate --workdir [^ ]*/second '
      '--config.precision=float32$',
    ),
    ({'per_clip': []}, 'measured on other clips'),
  ],
)
def test_what_cannot_be_compared(run, other, config, tmp_path, keys, message):
  change(other, **keys)
  with pytest.raises(UserError, match=message):
    compare.compare([run[0], other], tmp_path / 'out')
  assert not (tmp_path / 'out').exists()


def test_one_face_network_measures_all_runs_that_trained_with_others(run):
  # The first was measured with the network that the second trained with, so it is measured again.
  measured = runs.read(run[0], {})
  with_dlib = measured.config.copy_and_resolve_references()
  with_dlib.identity.network = 'dlib'
  first = dataclasses.replace(measured, result=measured.result | {'face_network': 'dlib'})
  second = dataclasses.replace(measured, config=with_dlib, workdir=pathlib.Path('b'))
  assert runs.commands_to_measure_alike([first, second]) == [
    f'python main.py --mode evaluate --workdir {run[0]} --config.evaluation.face_network=sface'
  ]


def test_what_was_not_measured(run, other, config, tmp_path):
  (other / 'evaluation.json').write_text('{"step": 6}')
  with pytest.raises(UserError, match='not what this version writes'):
    compare.compare([other], tmp_path / 'out')
  (other / 'evaluation.json').unlink()
  with pytest.raises(UserError, match='no evaluation.json: measure it with --mode evaluate'):
    compare.compare([other], tmp_path / 'out')


def test_systems_that_know_no_picture_have_a_table_without_the_clips_pixels(run, config):
  measured = runs.read(run[0], {})
  vgan = synthetic_faces.get_config('vgan')
  other = dataclasses.replace(measured, name='VGAN', config=vgan)
  motiongan = dataclasses.replace(
    measured, name='MotionGAN', config=synthetic_faces.get_config('motiongan')
  )
  first, second, *_ = tables.tables([motiongan, other])
  assert 'PSNR (dB)' in first.head and [row[0] for row in first.rows][:1] == ['MotionGAN']
  assert first.rows[0][-1] == '25.90 / 0.90 / - / -'
  assert not {'PSNR (dB)', 'SSIM'} & {*second.head} and 'ACD' in second.head
  assert [row[0] for row in second.rows][:2] == ['VGAN', 'real clip']
  assert {len(row) for row in second.rows} == {len(second.head)}
  assert 'By PSNR' not in second.note
