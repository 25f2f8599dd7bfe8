"""What a run says about itself: metrics.jsonl, one object per line, and the same as TensorBoard
events."""

import json
import pathlib
import sys
import time
from collections.abc import Sequence

import numpy as np
from absl import logging

from fevgan_jax.runtime.errors import UserError
from fevgan_jax.runtime.files import named_in_errors, replacing


class Journal:
  """Collects the metrics of steps, and writes their means.

  Args:
    workdir: where metrics.jsonl and the events go.
    done: steps of the checkpoint that the run continues from; lines beyond it are cut off, they
      are made again.
    pending: what `pending` was then.
    writes: False for processes that only check.

  Attributes:
    pending: metrics of the steps since the last line; a checkpoint keeps them, so that a run that
      was interrupted leaves the same lines.
  """

  def __init__(
    self,
    workdir: pathlib.Path,
    done: int,
    pending: Sequence[dict[str, float]] = (),
    *,
    writes: bool = True,
  ):
    self._path = workdir / 'metrics.jsonl'
    self._writes = writes
    self._running: tuple[int, dict] | None = None
    self.pending = [*pending]
    self._last = done
    self._time = time.monotonic()
    if self._writes:
      kept = [line for line in read(self._path) if line['step'] <= done]
      with replacing(self._path) as temporary:
        pathlib.Path(temporary).write_text(''.join(json.dumps(line) + '\n' for line in kept))
      self._events = event_writer(workdir, purge_step=done + 1)

  def add(self, step: int, metrics: dict) -> None:
    """Takes a step's metrics, and waits for those of the step before.

    One step stays in flight: the device is kept busy, and a CPU's thread pool is not flooded with
    launches that wait for each other.

    Raises:
      UserError: a metric of the step before is not finite.
    """
    running, self._running = self._running, (step, metrics)
    self._collect(running)

  def check(self) -> None:
    """Waits for the last step.

    Raises:
      UserError: one of its metrics is not finite.
    """
    running, self._running = self._running, None
    self._collect(running)

  def write(self) -> None:
    """One line with the means since the last one."""
    self.check()
    if not self.pending:
      return
    steps, self.pending = self.pending, []
    self.write_scalars(
      self._last, {name: float(np.mean([step[name] for step in steps])) for name in steps[0]}
    )

  def write_scalars(self, step: int, values: dict[str, float]) -> None:
    """One line with these values.

    Raises:
      UserError: the workdir is no longer there.
    """
    if not self._writes:
      return
    try:
      with named_in_errors(self._path), self._path.open('a') as file:
        file.write(json.dumps({'step': step} | values) + '\n')
    except FileNotFoundError:
      raise UserError(f'{self._path.parent}: was removed during the run: start it again') from None
    for name, value in values.items():
      self._events.add_scalar(name, value, step)
    self._events.flush()

  def _collect(self, running: tuple[int, dict] | None) -> None:
    if running is None:
      return
    step, metrics = running
    values = {name: float(np.asarray(value)) for name, value in metrics.items()}
    broken = [name for name, value in values.items() if not np.isfinite(value)]
    if broken:
      raise UserError(
        f'step {step}: {", ".join(sorted(broken))} not finite; the last checkpoint is kept: '
        'lower config.optimizer.learning_rate and name another --workdir'
      )
    now = time.monotonic()
    self.pending.append(values | {'seconds_per_step': now - self._time})
    self._time, self._last = now, step

  def close(self) -> None:
    if self._writes:
      self._events.close()


def read(path: pathlib.Path) -> list[dict[str, float]]:
  """The lines of metrics.jsonl; what is no line of metrics is skipped, and said: a kill leaves the
  last one half written."""
  lines, skipped = [], 0
  for text in path.read_text(errors='replace').split('\n') if path.exists() else []:
    if not text:
      continue
    try:
      line = {name: float(value) for name, value in json.loads(text).items()}
      lines.append(line | {'step': int(line['step'])})
    except (ValueError, TypeError, AttributeError, KeyError, OverflowError, RecursionError):
      skipped += 1
  if skipped:
    logging.warning('%s: skipped %d lines that are not metrics', path, skipped)
  return lines


def event_writer(workdir: pathlib.Path, **options: int):
  """tensorboardX's SummaryWriter, without PyTorch, which it imports where there is one: for nothing
  that is used here, in 1.4 s and 0.2 GB."""
  absent = sys.modules.setdefault('torch', None) is None  # importing None fails
  import tensorboardX

  if absent:
    del sys.modules['torch']
  return tensorboardX.SummaryWriter(str(workdir), **options)


def draw(workdir: pathlib.Path) -> None:
  """metrics.png: every metric of metrics.jsonl over the steps, one panel each."""
  from matplotlib.figure import Figure  # takes 20 MB of memory, which a training needs at its end

  lines = read(workdir / 'metrics.jsonl')
  if not lines:
    logging.warning('%s: no metrics there: the curves are left out', workdir / 'metrics.jsonl')
    return
  names = sorted({name for line in lines for name in line} - {'step', 'seconds_per_step'})
  columns = 3
  figure = Figure(figsize=(4 * columns, 2.5 * -(-len(names) // columns)), layout='constrained')
  for i, name in enumerate(names, start=1):
    points = [(line['step'], line[name]) for line in lines if name in line]
    axes = figure.add_subplot(-(-len(names) // columns), columns, i)
    axes.plot(*zip(*points), linewidth=1)
    axes.set_title(name, fontsize=10)
    axes.set_ylim(bottom=0)
    axes.set_xlabel('step', fontsize=8)
    axes.tick_params(labelsize=8)
  with replacing(workdir / 'metrics.png') as temporary:
    figure.savefig(temporary, dpi=100, format='png')
