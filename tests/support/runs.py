"""What the tests of whole runs share: the tiny run as a command, and how to read what it left."""

import itertools
import json
import pathlib
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from fevgan_jax.runtime import parallel

ROOT = pathlib.Path(__file__).parents[2]
# Orbax's threads go on reading a checkpoint for a moment after it has turned out to be broken.
threads_read_on = pytest.mark.filterwarnings(
  'ignore:(?s).*Event loop is closed:pytest.PytestUnraisableExceptionWarning'
)
CLIPS = 12  # of 2 people
STEPS = 6  # 2 epochs, batches of 4


def same(a, b) -> bool:
  return jax.tree.all(
    jax.tree.map(lambda a, b: np.array_equal(a, b), parallel.fetch(a), parallel.fetch(b))
  )


def lines(workdir: pathlib.Path) -> list[dict]:
  return [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text().splitlines()]


def untimed(workdir: pathlib.Path) -> list[dict]:
  """The lines of metrics.jsonl but for the times in them."""
  return [{k: v for k, v in line.items() if k != 'seconds_per_step'} for line in lines(workdir)]


def command(config, workdir: pathlib.Path, *words: str) -> list[str]:
  """The run of a config of tiny.py as a command."""
  argument = 'fevgan,no_identity' if config.system == 'fevgan' else config.system
  return [
    sys.executable,
    str(ROOT / 'main.py'),
    f'--config={ROOT}/tests/support/tiny.py:{argument}',
    f'--workdir={workdir}',
    f'--config.dataset.data_dir={config.dataset.data_dir}',
    *words,
  ]


def interruptible() -> None:
  """Lets Ctrl-C reach the processes that are started from here. What a shell starts in the
  background ignores it, and hands that on."""
  signal.signal(signal.SIGINT, signal.default_int_handler)


def wait_for_line(workdir: pathlib.Path, number: int, process: subprocess.Popen) -> None:
  for _ in itertools.count():
    path = workdir / 'metrics.jsonl'
    if path.exists() and any(
      f'"step": {number},' in line for line in path.read_text().splitlines()
    ):
      return
    assert process.poll() is None, process.communicate()
    time.sleep(0.02)
