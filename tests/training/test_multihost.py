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

import pytest
from rounding import assert_equal_up_to_rounding
from runs import CLIPS, STEPS, command, interruptible, lines

from fevgan_jax.runtime import supervisor
from fevgan_jax.training import checkpoint, train


@pytest.fixture
def start(toy):
  """Starts both processes of a run, the second one with words of its own, and kills what is left of
  them at the end."""
  environment = os.environ | {'JAX_NUM_CPU_DEVICES': '2'}
  started = []

  def start_both(workdir: pathlib.Path, *words: str, second: tuple = ()) -> list[subprocess.Popen]:
    interruptible()
    with socket.socket() as free:
      free.bind(('localhost', 0))
      address = f'localhost:{free.getsockname()[1]}'
    for i, own in enumerate(((), second)):
      flags = '--coordinator', address, '--processes', '2', '--process', str(i), *own
      started.append(
        subprocess.Popen(
          command(toy, workdir, *words, *flags),
          env=environment,
          stdout=subprocess.PIPE,
          stderr=subprocess.STDOUT,
          text=True,
          start_new_session=True,
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


def restored(workdir: pathlib.Path, run, config):
  """The state of the newest checkpoint, and its step."""
  with checkpoint.Checkpoints(workdir) as checkpoints:
    state = checkpoints.restore(run[1], {'next_index': 0, 'metrics': []}, config.to_dict())[0]
  return state, int(state.step)


def moments(state) -> list:
  """Adam's first moment of every network: from a common state, (1 - b1) times the gradient of the
  step is all that two of them can differ in."""
  return [network.opt_state[0].mu for network in (state.generator, *state.critics.values())]


def stopped(processes: list[subprocess.Popen], number: int) -> list[str]:
  """Returns the output of two processes that end after the same step, by a signal."""
  printed = finish(processes)
  assert [process.returncode for process in processes] == [128 + number] * 2, printed
  return printed


def test_two_processes_step_like_one_and_stop_together(toy_run, toy, start, tmp_path):
  # Two processes continue the run of one; the second has no workdir. No checkpoint is due before
  # the signal, to one of them.
  workdir, nowhere = tmp_path / 'run', tmp_path / 'nowhere'
  shutil.copytree(toy_run[0], workdir)
  words = '--config.epochs=100000', '--config.checkpoint_minutes=0'
  second = '--workdir', str(nowhere)
  processes = start(workdir, *words, '--config.checkpoint_every=100000', second=second)
  wait_until(lambda: lines(workdir)[-1]['step'] > STEPS, processes)
  processes[1].send_signal(signal.SIGTERM)
  printed = stopped(processes, signal.SIGTERM)
  _, saved = restored(workdir, toy_run, toy)
  assert saved > STEPS
  assert all(f'fevgan: SIGTERM: saved step {saved}, ' in text for text in printed)
  assert not nowhere.exists()

  # Ctrl-C reaches every process of a terminal, those that supervise too. The main process saves
  # after every step, by its own clock.
  words = '--config.epochs=100000', '--config.checkpoint_minutes=1e-9'
  processes = start(workdir, *words, '--config.checkpoint_every=100000', second=second)
  wait_until(lambda: lines(workdir)[-1]['step'] > saved + 1, processes)
  for process in processes:
    os.killpg(process.pid, signal.SIGINT)
  printed = stopped(processes, signal.SIGINT)
  together, saved = restored(workdir, toy_run, toy)
  assert all(f'fevgan: SIGINT: saved step {saved}, ' in text for text in printed)
  assert all('Traceback' not in text for text in printed)

  # One process takes the last step of the two again, from the same state.
  shutil.rmtree(workdir / 'checkpoints' / str(saved))
  before, _ = restored(workdir, toy_run, toy)
  toy.epochs = saved * toy.batch_size / CLIPS
  alone = train.train(toy, workdir)
  assert before.step == saved - 1 and alone.step == saved
  # The longest sums of a gradient are over all numbers of a batch of 4 clips.
  terms = toy.batch_size * 32 * 64 * 64 * 3
  assert_equal_up_to_rounding(moments(together), moments(alone), terms=terms)
  # Another batch or another mean would have been found.
  with pytest.raises(AssertionError):
    assert_equal_up_to_rounding(moments(before), moments(alone), terms=terms)


@pytest.mark.slow  # JAX notices a dead peer after 30 seconds
def test_processes_outlive_a_dead_peer_and_start_again(toy, start, tmp_path):
  processes = start(tmp_path, '--config.epochs=100', '--config.checkpoint_every=4')
  wait_until((tmp_path / 'checkpoints' / '4').exists, processes)
  processes[1].kill()
  printed = finish(processes)[0]
  assert processes[0].returncode == supervisor.LOST, printed
  assert printed.splitlines()[-1] == (
    'fevgan: another process of this run was lost or never came, see the lines above: the last '
    'complete checkpoint is kept, start all processes again to go on from it'
  )
  saved = max(int(path.name) for path in (tmp_path / 'checkpoints').iterdir())
  processes = start(tmp_path, f'--config.epochs={(saved + 2) * toy.batch_size / CLIPS}')
  printed = finish(processes)
  assert [process.returncode for process in processes] == [0, 0], printed
  assert f'continuing from step {saved}' in printed[0]
  assert json.loads((tmp_path / 'evaluation.json').read_text())['step'] == saved + 2


@pytest.mark.slow
def test_processes_that_differ_are_told(start, tmp_path):
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
    ('import os, signal; os.kill(os.getpid(), signal.SIGINT)', 130, ''),
  ],
)
def test_a_lost_connection_is_told_from_other_failures(work, code, message):
  # In a process of its own, since the supervisor forks.
  needed = 'from jax.errors import JaxRuntimeError\n' if 'JaxRuntimeError' in work else ''
  program = (
    f'{needed}from fevgan_jax.runtime import supervisor\n'
    'import signal\n'
    'signal.signal(signal.SIGINT, signal.SIG_DFL)\n'  # as main.py does
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
