"""The page of a real, tiny run."""

import json
import re
import shutil

from fevgan_jax.evaluation import report
from fevgan_jax.inference import trained
from fevgan_jax.training import checkpoint, weights_file


def test_the_page_holds_everything(run, tmp_path, caplog):
  workdir = tmp_path / 'copy'
  shutil.copytree(run[0], workdir)
  with caplog.at_level('INFO', logger='absl'):
    page = report.write(workdir).read_text()
  assert '<h1>FEV-GAN w/o E_Id: synthetic_faces/tiny/' in page
  assert page.count('data:image/gif;base64,') == page.count('data:image/png;base64,') == 1
  assert not re.search('(src|href)="(?!data:)', page)  # nothing outside of it is needed
  assert '<td>input frame, repeated</td>' in page
  assert '2 epochs, 6 steps of 4 clips' in page
  assert '<dt>optimizer.learning_rate</dt><dd>0.0005</dd>' in page
  assert '<h2>Again</h2>' not in page  # nobody typed a command
  last = caplog.messages[-1]
  assert f'report: {workdir / "report.html"}; next: python main.py --mode generate' in last

  (workdir / 'command.txt').write_text("python main.py --workdir 'my run' --config.seed=3\n")
  page = report.write(workdir).read_text()
  assert (
    '<h2>Again</h2><pre>python main.py --workdir &#x27;my run&#x27; --config.seed=3</pre>' in page
  )


def test_what_it_was_trained_on_is_told_from_what_it_was_measured_on(run, tmp_path):
  workdir = tmp_path / 'copy'
  shutil.copytree(run[0], workdir)
  path = workdir / 'evaluation.json'
  path.write_text(path.read_text().replace('synthetic_faces/tiny/', 'synthetic_faces/full/'))
  page = report.write(workdir).read_text()
  assert '<dd>synthetic_faces/tiny, 2 epochs' in page
  assert '<dd>synthetic_faces/full/' in page
  assert '<dt>dataset.config</dt><dd>tiny</dd>' in page


def test_exported_weights_have_a_page_too(run, tmp_path):
  variables, config, _ = checkpoint.restore_generator(run[0])
  weights_file.write(tmp_path / trained.WEIGHTS_FILE, variables, config)
  result = json.loads((run[0] / 'evaluation.json').read_text()) | {'step': None}
  (tmp_path / 'evaluation.json').write_text(json.dumps(result))
  page = report.write(tmp_path).read_text()
  assert '<dd>synthetic_faces/tiny, 2 epochs</dd>' in page
