"""The results of a run on one page: report.html in its workdir."""

import json
import pathlib

from absl import logging

from fevgan_jax import models
from fevgan_jax.evaluation import runs, tables
from fevgan_jax.inference import trained
from fevgan_jax.models.parts.recipe import flatten
from fevgan_jax.runtime import page
from fevgan_jax.runtime.files import replacing
from fevgan_jax.runtime.wording import counted, people
from fevgan_jax.training.train import COMMAND


def write(workdir: pathlib.Path) -> pathlib.Path:
  """Writes report.html of a run that was measured, and says where it is and what to try next.

  The page is one file that needs no network: what was run, clips of people that training has not
  seen beside the real ones, the table with its anchors, the curves, and how to make it again.
  """
  _, saved, _ = trained.kept(workdir)
  config = trained.restored_config(saved, {}, workdir)
  result = json.loads((workdir / 'evaluation.json').read_text())
  run = runs.Run(models.title(config), workdir, config, result)
  command = workdir / COMMAND
  again = [page.commands('Again', [command.read_text().strip()])] if command.exists() else []
  animate = f'python main.py --mode generate --workdir {workdir} --image PHOTO'
  parts = [
    page.terms('Run', facts(run)),
    *pictures(workdir),
    page.table(tables.measured('Measured', [run], anchors=True)),
    *again,
    page.commands('Next', [animate, f'python main.py --mode compare --workdirs {workdir},OTHER']),
    page.terms('Configuration', {k: str(v) for k, v in flatten(saved).items()}),
    page.terms('Protocol', result['protocol']),
  ]
  path = workdir / 'report.html'
  with replacing(path) as temporary:
    pathlib.Path(temporary).write_text(page.html(f'{run.name}: {tables.headline([run])}', parts))
  logging.info('report: %s; next: %s', path, animate)
  return path


def facts(run: runs.Run) -> dict[str, str]:
  """What was run."""
  config, result = run.config, run.result
  step = result['step']  # exported weights do not know it
  steps = '' if step is None else f', {step} steps of {config.batch_size} clips'
  return {
    'system': run.name,
    'trained on': f'{config.dataset.name}/{config.dataset.config}, {config.epochs:g} epochs{steps}',
    'measured on': f'{result["dataset"]}, {result["split"]} split: '
    f'{counted(result["clips"], "clip")} of {people(result["people"])}'
    + (', none of whom training has seen' if result['trained_on'] else ''),
    'precision': result['precision'],
    'seed': str(config.seed),
  }


def pictures(workdir: pathlib.Path) -> list[str]:
  """Playing clips and curves, as far as the run has left them."""
  captions = {
    'samples/test.gif': 'People that training has not seen: real clips above generated ones',
    'metrics.png': 'Losses and samples over the steps',
  }
  return [
    page.picture(caption, (workdir / name).read_bytes(), name.rpartition('.')[2])
    for name, caption in captions.items()
    if (workdir / name).exists()
  ]
