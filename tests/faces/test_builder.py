"""What the builders of all data sets share; each data set has tests of its own."""

import subprocess
import sys

import numpy as np
import pytest
import scenes
from runs import ROOT

from configs import own_clips
from fevgan_jax.data import datasets
from fevgan_jax.faces import builder
from fevgan_jax.runtime.errors import UserError


def test_a_builder_needs_neither_opencv_nor_dlib_nor_jax_until_it_crops():
  code = """
import importlib, sys
sys.modules.update(cv2=None, dlib=None, jax=None)  # an import of these raises ImportError
sys.path[:0] = sys.argv[1:]
for name in ('mug', 'oulu_casia', 'own_clips', 'synthetic_faces'):
  builder = importlib.import_module(f'{name}.{name}_dataset_builder').Builder(data_dir='none')
  print(builder.info.features['video'].shape)
"""
  result = subprocess.run(
    [sys.executable, '-W', 'ignore', '-c', code, ROOT / 'datasets', ROOT],
    capture_output=True,
    text=True,
  )
  assert result.returncode == 0, result.stderr
  assert result.stdout.splitlines() == 4 * ['(32, 64, 64, 3)']


def test_the_report_is_written_where_a_split_has_no_clip(tmp_path):
  """No face is found in pictures taken in the dark."""
  rng = np.random.default_rng(0)
  dark = [scenes.jpeg(rng.integers(0, 9, (240, 320, 3), np.uint8)) for _ in range(5)]
  faces = scenes.frames(0, 'anger', scenes.OULU)
  manual = tmp_path / 'manual'
  scenes.write(manual / 'Anna/anger/take', scenes.oulu_names(6), faces)
  scenes.write(manual / 'Bea/fear/take', scenes.oulu_names(5), dark)
  config = scenes.config_of(own_clips, manual, tmp_path / 'tfds')
  folder = tmp_path / 'tfds/own_clips/to_apex/unfinished-1.1.0'
  refusal = 'Bea/fear/take: a face in 0 of 5 frames, expected at least half of them'
  message = f'own_clips: no recording for the test split became a clip, such as {refusal}'
  with pytest.raises(UserError) as error:
    datasets.prepare(config)
  assert str(error.value) == f'{message}: see {folder}/report.txt'
  report = (folder / builder.REPORT).read_text()
  assert 'no clip became of 1 person: Bea (test)' in report
  assert report.endswith(f'\nrefused\n\n{refusal}\n')
  page = (folder / builder.PAGE).read_text()
  assert page.count('<img alt="Anna/anger/take"') == 1 and f'<li>{refusal}</li>' in page
