"""What a run says about itself: metrics.jsonl, one object per line, and the same as TensorBoard
events."""

import json
import pathlib
import time

import numpy as np
import tensorboardX
from matplotlib.figure import Figure

from fevgan_jax.runtime.errors import UserError
from fevgan_jax.runtime.files import replacing


class Journal:
  """Collects the metrics of steps, and writes their means.

  Args:
    workdir: where metrics.jsonl and the events go.
    done: steps of the checkpoint that the run continues from; lines beyond it are cut off, they
      are made again.
    writes: False for processes that only check.
  """

  def __init__(self, workdir: pathlib.Path, done: int, *, writes: bool = True):
    self._path = workdir / 'metrics.jsonl'
    self._writes = writes
    self._running: tuple[int, dict] | None = None
    self._steps: list[dict[str, float]] = []
    self._last = done
    self._time = time.monotonic()
    if self._writes:
      cut_off(self._path, done)
      self._events = tensorboardX.SummaryWriter(str(workdir), purge_step=done + 1)

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
    if not self._steps:
      return
    now = time.monotonic()
    means = {name: float(np.mean([step[name] for step in self._steps])) for name in self._steps[0]}
    means['seconds_per_step'] = (now - self._time) / len(self._steps)
    self._time, self._steps = now, []
    self.write_scalars(self._last, means)

  def write_scalars(self, step: int, values: dict[str, float]) -> None:
    if not self._writes:
      return
    with self._path.open('a') as file:
      file.write(json.dumps({'step': step} | values) + '\n')
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
    self._steps.append(values)
    self._last = step

  def close(self) -> None:
    if self._writes:
      self._events.close()


def cut_off(path: pathlib.Path, done: int) -> None:
  """Drops the lines of steps after `done`, and a last line that a kill left half written."""
  if not path.exists():
    return
  kept = []
  for line in path.read_text().splitlines():
    try:
      if json.loads(line)['step'] <= done:
        kept.append(line + '\n')
    except (json.JSONDecodeError, KeyError):
      continue
  with replacing(path) as temporary:
    pathlib.Path(temporary).write_text(''.join(kept))


def draw(workdir: pathlib.Path) -> None:
  """metrics.png: every metric of metrics.jsonl over the steps, one panel each."""
  lines = [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text().splitlines()]
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
