"""Figures 2 to 6 of the paper, of our runs: the very clips that were measured."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from einops import rearrange, repeat

from fevgan_jax.evaluation.measurement import generated_clips
from fevgan_jax.evaluation.runs import Run, whole_systems
from fevgan_jax.faces.labels import EXPRESSIONS
from fevgan_jax.runtime import media

PEOPLE = 3  # in figures that show several


@dataclasses.dataclass(frozen=True)
class Figure:
  """Clips in a table: one column per case, one row per way to see it.

  Attributes:
    number: of the paper's figure.
    title: what it shows.
    rows: their names.
    columns: their names.
    clips: uint8 [rows, columns, time, height, width, 3].
    inputs: uint8 [columns, height, width, 3], what the systems were given.
  """

  number: int
  title: str
  rows: Sequence[str]
  columns: Sequence[str]
  clips: np.ndarray
  inputs: np.ndarray

  @property
  def caption(self) -> str:
    return f'Figure {self.number}: {self.title}'

  def sheet(self) -> np.ndarray:
    """A picture: every clip over time, those of one case below each other."""
    names = [f'{column}\n{row}' for column in self.columns for row in self.rows]
    return media.sheet(
      rearrange(self.clips, 'row column t h w c -> (column row) t h w c'),
      names,
      inputs=repeat(self.inputs, 'column h w c -> (column row) h w c', row=len(self.rows)),
    )

  def playing(self) -> np.ndarray:
    """A clip: all of them at once, uint8 [time, height, width, 3]."""
    return media.grid(self.clips, self.rows, self.columns)


def figures(runs: list[Run], source) -> list[Figure]:
  """Those that can be drawn of these runs.

  Args:
    runs: comparable ones; the first is shown alone in Figures 2, 3 and 6.
    source: the clips on which they were measured.
  """
  first, names = runs[0], sorted(set(runs[0].people))
  drawn, by_label = [], {}
  for i, clip in enumerate(first.result['per_clip']):
    by_label.setdefault((clip['subject'], clip['label']), i)

  mine = [label for label in EXPRESSIONS if (names[0], label) in by_label]
  index = [by_label[names[0], label] for label in mine]
  title = f'the expressions of one person ({names[0]}), {first.name}'
  drawn.append(beside_real(2, title, [first], source, index, mine))

  chosen = names[:PEOPLE]
  labels = [x for x in EXPRESSIONS if all((person, x) in by_label for person in chosen)]
  if labels:
    index = [[by_label[person, label] for person in chosen] for label in labels]
    clips = np.stack([show(first, source, row) for row in index])
    inputs = np.stack([source[i]['video'][0] for i in index[0]])
    title = f'the expressions of several people, {first.name}'
    drawn.append(Figure(3, title, labels, chosen, clips, inputs))

  cases = []
  for i, person in enumerate(chosen):
    his = [label for label in EXPRESSIONS if (person, label) in by_label]
    cases.append(by_label[person, his[(2 * i + 3) % len(his)]])  # happiness, surprise, disgust
  titles = [title_of(first, i) for i in cases]
  systems = [run for run in runs if not run.is_ablation]
  if len(systems) > 1:
    drawn.append(beside_real(4, 'systems side by side', systems, source, cases, titles))
  ablations = [run for run in runs if run.is_ablation]
  if ablations:
    beside = [*whole_systems(runs, ablations), *ablations]
    drawn.append(beside_real(5, 'ablations side by side', beside, source, cases, titles))

  worst = failures(first)
  titles = [f'{why}\n{title_of(first, i)}' for why, i in worst.items()]
  title = f'the worst clips by each metric, {first.name}'
  drawn.append(beside_real(6, title, [first], source, [*worst.values()], titles))
  return drawn


def beside_real(
  number: int, title: str, runs: list[Run], source, index: list[int], columns: list[str]
) -> Figure:
  """Real clips, and below them what each run makes of the same input and label."""
  real = np.stack([source[i]['video'] for i in index])
  clips = np.stack([real, *(show(run, source, index) for run in runs)])
  names = ['real', *(run.name for run in runs)]
  return Figure(number, title, names, columns, clips, real[:, 0])


def failures(run: Run) -> dict[str, int]:
  """The number of a run's worst clip by each metric, each clip once, by what is wrong with it."""
  travel = run.values('travel') / run.values('travel', 'real').clip(1e-6)
  wrong = run.values('expression') == 0
  orders = [
    ('lowest PSNR, {:.1f} dB', run.values('psnr'), 1),
    ('lowest SSIM, {:.2f}', run.values('ssim'), 1),
    ('highest ACD, {:.2f}', run.values('acd'), -1),
    ('highest ACD-I, {:.2f}', run.values('acd_i'), -1),
    ('least motion, {:.0%}', travel, 1),
    ('seen as {}', np.where(wrong, run.values('psnr'), np.inf), 1),
  ]
  worst = {}
  for text, values, sign in orders:
    left = [i for i in np.argsort(sign * values, kind='stable') if i not in worst.values()]
    if not left or not np.isfinite(values[left[0]]):
      continue
    seen = run.result['per_clip'][left[0]]['generated']['label_seen']
    worst[text.format(seen if 'seen' in text else values[left[0]])] = int(left[0])
  return worst


def show(run: Run, source, index: Sequence[int]) -> np.ndarray:
  """What a run was measured by: uint8 [clips, time, height, width, 3]."""
  return generated_clips(run.generator.generate, source, index, run.result['batch_size'])


def title_of(run: Run, i: int) -> str:
  clip = run.result['per_clip'][i]
  return f'{clip["subject"]}, {clip["label"]}'
