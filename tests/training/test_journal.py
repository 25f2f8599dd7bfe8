"""metrics.jsonl, whatever became of it."""

import json
import shutil
import subprocess
import sys

import pytest
from runs import untimed

from fevgan_jax.runtime import media
from fevgan_jax.runtime.errors import UserError
from fevgan_jax.training import journal
from fevgan_jax.training.journal import Journal


def test_an_interrupted_run_leaves_the_same_lines(tmp_path):
  losses = [8.0, 4.0, 2.0, 16.0, 32.0, 64.0]

  def steps(workdir, first, last, pending):
    written = Journal(workdir, first, pending)
    for number in range(first + 1, last + 1):
      written.add(number, {'loss': losses[number - 1]})
      if number % 3 == 0:
        written.write()
    written.check()
    written.close()
    return written.pending

  steps(tmp_path / 'whole', 0, 6, [])
  pending = steps(tmp_path / 'parts', 0, 5, [])  # the line of step 3, and two steps that wait
  assert [step['loss'] for step in pending] == [16, 32]
  steps(tmp_path / 'parts', 5, 6, json.loads(json.dumps(pending)))
  expected = [{'step': 3, 'loss': 14 / 3}, {'step': 6, 'loss': 112 / 3}]
  assert untimed(tmp_path / 'parts') == untimed(tmp_path / 'whole') == expected


def test_what_is_no_line_of_metrics_is_skipped_and_said(tmp_path, caplog):
  path = tmp_path / 'metrics.jsonl'
  good = [{'step': 1, 'loss': 2.0}, {'step': 2, 'loss': 1.0}, {'step': 9, 'loss': 0.0}]
  first, second, later = (json.dumps(line).encode() for line in good)
  broken = [b'123', b'\xff\xfe', b'{"loss": 1}', b'{"step": "x"}', b'[]', b'{"step": 2, "lo']
  path.write_bytes(b'\n'.join([first, *broken, second, later, b'']))
  assert journal.read(path) == good
  assert f'{path}: skipped 6 lines that are not metrics' in caplog.text
  Journal(tmp_path, 2).close()
  assert untimed(tmp_path) == good[:2]
  journal.draw(tmp_path)
  assert media.read_image(tmp_path / 'metrics.png').std() > 0


def test_a_workdir_that_was_removed_is_said(tmp_path):
  workdir = tmp_path / 'run'
  writing = Journal(workdir, 0)
  shutil.rmtree(workdir)
  with pytest.raises(UserError, match='run: was removed during the run'):
    writing.write_scalars(1, {'loss': 1.0})
  writing.close()


@pytest.mark.parametrize('content', [None, ''])
def test_without_metrics_the_curves_are_left_out(content, tmp_path, caplog):
  if content is not None:
    (tmp_path / 'metrics.jsonl').write_text(content)
  journal.draw(tmp_path)
  assert 'no metrics there: the curves are left out' in caplog.text
  assert not (tmp_path / 'metrics.png').exists()


def test_events_are_written_without_pytorch(tmp_path):
  # A module that stands for an installed PyTorch: it is not imported, and can be, afterwards.
  (tmp_path / 'torch.py').touch()
  script = f"""
import pathlib, sys
sys.path.insert(0, {str(tmp_path)!r})
from fevgan_jax.training import journal
journal.event_writer(pathlib.Path({str(tmp_path)!r})).close()
print('torch' in sys.modules)
import torch
"""
  assert subprocess.check_output([sys.executable, '-c', script], text=True) == 'False\n'
