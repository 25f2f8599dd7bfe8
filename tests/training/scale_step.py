"""Measures what a training step of FEV-GAN costs by batch, width and side.

    python tests/training/scale_step.py scale.png

One of the three at a time, from width 32, a batch of 4 and 64x64 pixels, each in a process of its
own, on random clips. Prints a table, and draws it on log axes; a slope of 1 means a cost in
proportion. No test: pytest does not collect it.
"""

import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]
BASE = {'batch': 4, 'width': 32, 'side': 64}
VALUES = {'batch': (1, 2, 4, 8, 16, 32), 'width': (16, 32, 64, 128), 'side': (64, 128, 256)}
ROUNDS = 3


def measure(batch: int, width: int, side: int) -> None:
  """Prints seconds of a step, their median, and the peak memory in GB."""
  sys.path.insert(0, str(ROOT))
  from fevgan_jax.runtime import memory

  memory.keep_freed()
  import numpy as np

  from configs import base
  from fevgan_jax.training import benchmark

  config = base.get_config()
  config.batch_size = batch
  config.model.width = config.critic.width = width
  rng = np.random.default_rng(0)
  clips = {
    'video': rng.integers(0, 256, (batch, 32, side, side, 3), np.uint8),
    'label': np.arange(batch, dtype=np.int32) % 6,
  }
  timed = benchmark.setting(config, clips)
  timed.step()
  memory.forget_peak()
  print(
    statistics.median(benchmark.seconds(timed.step) for _ in range(ROUNDS)), memory.peak() / 1e9
  )


def main(picture: str) -> None:
  import matplotlib

  matplotlib.use('agg')
  import matplotlib.pyplot as plt
  import numpy as np

  figure, axes = plt.subplots(1, 3, figsize=(9, 3), sharey=True, layout='constrained')
  for axis, (name, values) in zip(axes, VALUES.items()):
    costs = []
    for value in values:
      words = [str(number) for number in (BASE | {name: value}).values()]
      command = [sys.executable, __file__, '--measure', *words]
      seconds, peak = map(float, subprocess.check_output(command, text=True).split())
      costs.append(seconds)
      slope = ''
      if len(costs) > 1:
        ends = values[len(costs) - 2 : len(costs)]
        slope = f'{np.log(costs[-1] / costs[-2]) / np.log(ends[1] / ends[0]):.2f}'
      print(f'| {name} {value} | {seconds:.2f} | {peak:.2f} | {slope} |', flush=True)
    axis.loglog(values, costs, 'o-')
    axis.loglog(values, [costs[0] * value / values[0] for value in values], ':', color='gray')
    axis.set_xlabel(name)
    axis.set_xticks(values, [str(value) for value in values])
    axis.minorticks_off()
    axis.grid(alpha=0.3)
  axes[0].set_ylabel('seconds per step')
  figure.savefig(picture, dpi=100)


if __name__ == '__main__':
  if sys.argv[1] == '--measure':
    measure(*map(int, sys.argv[2:]))
  else:
    main(sys.argv[1])
