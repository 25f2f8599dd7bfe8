"""Tables 1 and 3 of the paper with our numbers, their anchors, and how sure the differences are."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from fevgan_jax.evaluation.evaluate import COLUMNS, cell
from fevgan_jax.evaluation.measurement import ROWS
from fevgan_jax.evaluation.metrics import bootstrap
from fevgan_jax.evaluation.runs import Run, whole_systems
from fevgan_jax.runtime.page import Table
from fevgan_jax.runtime.wording import counted, people

# Of which the paper has tables; see `Recipe.paper`.
DATASETS = {'mug': 'MUG', 'oulu_casia': 'Oulu-CASIA'}
# Of these two runs' clips can be held against each other one by one.
PAIRED = ('psnr', 'ssim', 'acd', 'acd_i', 'expression', 'motion')


def tables(runs: list[Run]) -> list[Table]:
  """Table 1 over the systems, Table 3 over the ablations if there are any, and differences. Systems
  that are shown no picture have a table of their own: what they make is of nobody in particular, so
  that nothing follows from how near it comes to a clip's pixels."""
  whole = [run for run in runs if not run.is_ablation]
  ablations = [run for run in runs if run.is_ablation]
  shown = [run for run in whole if run.knows_picture]
  others = [run for run in whole if not run.knows_picture]
  made = []
  if shown:
    made.append(measured('Table 1: systems', shown, anchors=True))
  if others:
    title = 'Table 1: systems that know no picture'
    made.append(measured(title, others, anchors=True, left_out=('psnr', 'ssim')))
  if ablations:
    beside = [*ablations, *whole_systems(runs, ablations)]
    made.append(measured('Table 3: ablations', beside, anchors=not whole))
  if len(runs) > 1:
    made.append(differences(runs))
  return made


def measured(title: str, runs: list[Run], *, anchors: bool, left_out: Sequence[str] = ()) -> Table:
  """What was measured, one line a run, then the anchors; the paper's numbers at the right."""
  columns = {metric: column for metric, column in COLUMNS.items() if metric not in left_out}
  dataset = runs[0].result['dataset'].split('/')[0]
  dataset = dataset if dataset in DATASETS else 'mug'
  rows = []
  for run in runs:
    beside = ' / '.join('-' if math.isnan(x) else f'{x:.2f}' for x in run.paper(dataset))
    rows.append([run.name, *cells(run.result['mean']['generated'], columns), beside])
  if anchors:
    mean = runs[0].result['mean']
    rows += [[ROWS[row], *cells(mean[row], columns), ''] for row in mean if row != 'generated']
  auc = runs[0].result['face_network_auc']
  network = runs[0].result['face_network']
  note = (
    f'± is half of the {bootstrap.LEVEL:.0%} interval over people. ACD and ACD-I: L2 distances of '
    f'{network} features'
    + (f', which tell these people apart with an AUC of {auc:.3f}' if auc is not None else '')
    + '. "Label seen" by a classifier of the real clips: its own accuracy is the line "real clip". '
  )
  if any(run.paper(dataset) for run in runs):
    note += (
      f'The paper measured on {DATASETS[dataset]}, with OpenFace features and a protocol that it '
      'does not give in full: its numbers stand here for their order and must not be set against '
      'ours.'
    )
  if 'psnr' in columns:
    note += order(
      {run.name: run.result['mean']['generated']['psnr']['value'] for run in runs},
      {run.name: run.paper(dataset)[0] for run in runs if run.paper(dataset)},
    )
  head = ['', *(title for title, _ in columns.values())]
  return Table(title, [*head, f'paper, {DATASETS[dataset]}: PSNR / SSIM / ACD / ACD-I'], rows, note)


def order(here: dict[str, float], paper: dict[str, float]) -> str:
  """' By PSNR: A > B here, B > A there.', of the runs whose PSNR the paper has too."""
  here = {name: value for name, value in here.items() if name in paper}
  if len(here) < 2:
    return ''
  ranked = (sorted(here, key=here.get), sorted(here, key=paper.get))
  ours, theirs = (' > '.join(reversed(names)) for names in ranked)
  there = 'and in the paper.' if ours == theirs else f'{theirs} there.'
  return f' By PSNR: {ours} here, {there}'


def cells(mean: dict, columns: Mapping[str, tuple[str, str]]) -> list[str]:
  return [cell(mean.get(metric), style) for metric, (_, style) in columns.items()]


def differences(runs: list[Run]) -> Table:
  """Every run's metrics less those of the first, clip by clip, with their intervals."""
  first, *others = runs
  rows = [
    [run.name, *(difference(run, first, metric, COLUMNS[metric][1]) for metric in PAIRED)]
    for run in others
  ]
  note = (
    f'Paired over clips; in brackets the {bootstrap.LEVEL:.0%} interval over people. A difference '
    'whose interval holds zero may be chance, of these people; another seed of the training is '
    'not part of it.'
  )
  head = [f'less {first.name}', *(COLUMNS[metric][0] for metric in PAIRED)]
  return Table('Differences', head, rows, note)


def difference(run: Run, first: Run, metric: str, style: str) -> str:
  """'-1.50 [-1.81, -1.22]'."""
  if metric == 'motion':
    values = run.values('travel') - first.values('travel')
    weights = first.values('travel', 'real')
  else:
    values, weights = run.values(metric) - first.values(metric), np.ones(len(first.people))
  interval = bootstrap.interval(values, first.people, weights)
  style = '+' + style
  text = format(values.sum() / weights.sum(), style)
  return text if interval is None else f'{text} [{", ".join(format(x, style) for x in interval)}]'


def headline(runs: list[Run]) -> str:
  result = runs[0].result
  return (
    f'{result["dataset"]}, {counted(result["clips"], result["split"] + " clip")} of '
    f'{people(result["people"])}'
  )


def markdown(title: str, made: list[Table], run: Run) -> str:
  """The tables as one document, with the protocol at the end."""
  parts = [f'# {title}']
  for table in made:
    lines = [table.head, ['---'] * len(table.head), *table.rows]
    body = '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines)
    parts.append(f'## {table.title}\n\n{body}\n\n{table.note}')
  rules = '\n'.join(f'- {name}: {text}' for name, text in run.result['protocol'].items())
  return '\n\n'.join([*parts, f'## Protocol\n\n{rules}']) + '\n'
