"""Two processes with two devices each, as two hosts would be: one run, whatever happens to one."""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable

import jax
import numpy as np
import pytest
from runs import STEPS, command, lines

from fevgan_jax.runtime import supervisor
from fevgan_jax.training import checkpoint, train


@pytest.fixture
def start(config):
  """Starts both processes of a run, the second one with words of its own, and kills what is left of
  them at the end."""
  environment = os.environ | {
    # Of a flag that is given twice the second one counts.
    'XLA_FLAGS': f'{os.environ["XLA_FLAGS"]} --xla_force_host_platform_device_count=2',
  }
  started = []

  def start_both(workdir: pathlib.Path, *words: str, second: tuple = ()) -> list[subprocess.Popen]:
    with socket.socket() as free:
      free.bind(('localhost', 0))
      address = f'localhost:{free.getsockname()[1]}'
    for i, own in enumerate(((), second)):
      flags = '--coordinator', address, '--processes', '2', '--process', str(i), *own
      started.append(
        subprocess.Popen(
          command(config, workdir, *words, *flags),
          env=environment,
          stdout=subprocess.PIPE,
          stderr=subprocess.STDOUT,
          text=True,
        )
      )
    return started[-2:]

  yield start_both
  for process in started:
    process.kill()
    process.communicate()


def wait_until(condition: Callable[[], bool], processes: list[subprocess.Popen]) -> None:
  while not condition():
    for process in processes:
      assert process.poll() is None, process.communicate()[0]
    time.sleep(0.02)


def finish(processes: list[subprocess.Popen]) -> list[str]:
  """What both printed."""
  return [process.communicate(timeout=200)[0] for process in processes]


def difference(a, b) -> float:
  """The largest between two trees."""
  return max(jax.tree.leaves(jax.tree.map(lambda a, b: float(np.abs(a - b).max()), a, b)))


def test_two_processes_equal_one_and_outlive_a_dead_peer(run, config, start, tmp_path):
  _, expected = run  # by one process with four devices
  first = tmp_path / 'first'
  processes = start(first, '--config.epochs=100', '--config.checkpoint_every=4')
  wait_until((first / 'checkpoints' / '4').exists, processes)
  processes[1].kill()

  # Until the other one has noticed: one process goes on with what two have begun.
  alone = tmp_path / 'alone'
  shutil.copytree(first, alone)
  variables, _, saved = checkpoint.restore_generator(alone)
  assert saved == 4
  continued = train.train(config, alone).generator.variables
  # Sums over processes round in another order; the last two steps move by 1e-4 and more, see below.
  assert difference(continued, expected.generator.variables) < 1e-5

  printed = finish(processes)[0]
  assert processes[0].returncode == supervisor.LOST, printed
  assert printed.splitlines()[-1] == (
    'fevgan: another process of this run was lost or never came, see the lines above: the last '
    'complete checkpoint is kept, start all processes again to go on from it'
  )

  # So do two, of which the second one has no workdir.
  nowhere = tmp_path / 'nowhere'
  processes = start(first, second=('--workdir', str(nowhere)))
  printed = finish(processes)
  assert [process.returncode for process in processes] == [0, 0], printed
  assert 'continuing from step 4' in printed[0]
  assert not nowhere.exists()
  together, _, saved = checkpoint.restore_generator(first)
  assert saved == STEPS
  assert difference(together, expected.generator.variables) < 1e-5
  assert difference(together, variables) > 1e-4  # of the last two steps
  assert json.loads((first / 'evaluation.json').read_text())['step'] == STEPS


def test_sigterm_to_one_stops_all_after_the_same_step(run, config, start, tmp_path):
  # What one process has begun, two go on with.
  workdir = tmp_path / 'run'
  shutil.copytree(run[0], workdir)
  processes = start(workdir, '--config.epochs=100', '--config.checkpoint_every=1000')
  wait_until(lambda: lines(workdir)[-1]['step'] > STEPS, processes)
  processes[1].send_signal(signal.SIGTERM)
  printed = finish(processes)
  assert [process.returncode for process in processes] == [128 + signal.SIGTERM] * 2, printed
  saved = checkpoint.restore_generator(workdir)[2]
  assert saved > STEPS
  assert all(f'SIGTERM: saved step {saved}' in text for text in printed)


def test_processes_that_differ_are_told(run, start, tmp_path):
  processes = start(tmp_path, second=('--config.seed=1',))
  printed = finish(processes)
  codes = [process.returncode for process in processes]
  # Which of the two is the first to say so is a race, and it may end the other before that does.
  assert set(codes) <= {2, supervisor.LOST}, printed
  assert 'the processes of this run differ in config or data' in printed[codes.index(2)]


@pytest.mark.parametrize(
  'work, code, message',
  [
    ("raise JaxRuntimeError('UNKNOWN: Gloo all-reduce failed: reset by peer')", 75, 'was lost'),
    ("raise JaxRuntimeError('RESOURCE_EXHAUSTED: out of memory')", 1, 'out of memory'),
    ('return 2', 2, ''),
    ('import os, signal; os.kill(os.getpid(), signal.SIGTERM)', 143, ''),
  ],
)
def test_a_lost_connection_is_told_from_other_failures(work, code, message):
  # In a process of its own, since the supervisor forks.
  program = (
    'from jax.errors import JaxRuntimeError\nfrom fevgan_jax.runtime import supervisor\n'
    f'def work(): {work}\n'
    'raise SystemExit(supervisor.supervise(work))'
  )
  done = subprocess.run(
    [sys.executable, '-W', 'ignore', '-c', program],
    cwd=pathlib.Path(supervisor.__file__).parents[2],
    capture_output=True,
    text=True,
  )
  assert done.returncode == code, done.stderr
  assert message in done.stderr
