"""Ctrl-C and SIGTERM in real processes: exit code, last line, and which processes are left."""

import os
import pty
import signal
import subprocess
import sys
import termios
import time

import pytest
from runs import ROOT, interruptible

from fevgan_jax.runtime.interrupt import KEPT

SIGINT, SIGTERM = signal.SIGINT, signal.SIGTERM
PROGRAM = """
import hashlib, os, sys, threading, time
from fevgan_jax.runtime import interrupt, program, workers
from fevgan_jax.runtime.progress import Progress
def work(number):
  print('ready', flush=True)
  time.sleep(number)
def command():
{}
if __name__ == '__main__':
  sys.exit(program.exit_code(command))
"""
SLEEP = "print('ready', flush=True); time.sleep(600)"
# Minutes without the interpreter, as in XLA's compiler: no Python handler runs.
COMPILE = "print('ready', flush=True); hashlib.pbkdf2_hmac('sha256', b'', b'', 2**31 - 1)"
POOL = """
with workers.pool(2) as pool:
  futures = [pool.submit(work, 600) for _ in range(20)]
  futures[0].result()
"""
DEFERRED = """
with interrupt.deferred(lambda number: print('noted', number, flush=True), 'saving'):
  {}
"""


@pytest.fixture
def start(tmp_path):
  """Starts PROGRAM around a command in a process group of its own, as a shell does, and waits until
  it is ready."""
  started = []

  def start(command: str, ready: bool = True, **places) -> subprocess.Popen:
    interruptible()
    file = tmp_path / 'program.py'
    file.write_text(PROGRAM.format('\n'.join('  ' + line for line in command.splitlines())))
    places = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE} | places
    environment = os.environ | {'PYTHONPATH': str(ROOT)}
    process = subprocess.Popen(
      [sys.executable, str(file)],
      text=True,
      env=environment,
      start_new_session=True,
      **places,
    )
    started.append(process)
    if ready:
      assert process.stdout.readline() == 'ready\n'
    return process

  yield start
  for process in started:
    process.kill()
    process.wait()
    for pipe in filter(None, (process.stdin, process.stdout, process.stderr)):
      pipe.close()


def wait_until_gone(group: int) -> None:
  """Returns when no process of the group is left."""
  end = time.monotonic() + 10
  while time.monotonic() < end:
    try:
      os.killpg(group, 0)
    except ProcessLookupError:
      return
    time.sleep(0.02)
  raise AssertionError(f'processes of group {group} are left')


@pytest.mark.parametrize('number', [SIGINT, SIGTERM])
@pytest.mark.parametrize('command', [SLEEP, COMPILE, POOL])
def test_a_command_ends_in_one_line_and_leaves_no_process(start, command, number):
  process = start(command)
  os.killpg(process.pid, number)  # all processes, as a terminal does and `timeout`
  _, errors = process.communicate(timeout=20)
  assert errors == f'fevgan: {number.name}: {KEPT}\n'
  assert process.returncode == 128 + number
  wait_until_gone(process.pid)


def test_workers_that_start_say_nothing(start):
  # The signal comes while they import.
  process = start("print('ready', flush=True)" + POOL)
  os.killpg(process.pid, SIGINT)
  assert process.communicate(timeout=20)[1] == f'fevgan: SIGINT: {KEPT}\n'
  wait_until_gone(process.pid)


def test_the_innermost_work_says_what_is_kept(start):
  process = start(f"with interrupt.keeping('clips are kept'):\n  {SLEEP}")
  process.send_signal(SIGINT)
  assert process.communicate(timeout=20)[1] == 'fevgan: SIGINT: clips are kept\n'


def test_a_deferred_signal_lets_the_block_end(start):
  process = start(DEFERRED.format("print('ready', flush=True); sys.stdin.read()"), stdin=-1)
  process.send_signal(SIGINT)
  assert process.stdout.readline() == 'noted 2\n'
  assert process.stderr.readline() == 'fevgan: SIGINT: saving; once more ends at once\n'
  process.stdin.close()
  process.wait(timeout=20)
  assert process.returncode == 0 and process.stderr.read() == ''


@pytest.mark.parametrize('work', [SLEEP, COMPILE])
def test_a_second_signal_ends_at_once(start, work):
  process = start(DEFERRED.format(work))
  process.send_signal(SIGINT)
  assert process.stderr.readline() == 'fevgan: SIGINT: saving; once more ends at once\n'
  process.send_signal(SIGTERM)
  _, errors = process.communicate(timeout=20)
  assert errors == f'fevgan: SIGTERM: ended at once: {KEPT}\n'
  assert process.returncode == 128 + SIGTERM


def test_the_same_signal_twice_is_one(start):
  # `timeout` and a terminal with a supervisor send it twice, and at once.
  process = start(DEFERRED.format("print('ready', flush=True); sys.stdin.read()"), stdin=-1)
  for _ in range(2):
    process.send_signal(SIGTERM)
  assert process.stdout.readline() == 'noted 15\n'
  assert process.stderr.readline() == 'fevgan: SIGTERM: saving; once more ends at once\n'
  process.stdin.close()
  assert process.wait(timeout=20) == 0


def test_ctrl_c_on_a_terminal_is_a_line_of_its_own(start):
  terminal, theirs = pty.openpty()
  termios.tcsetwinsize(theirs, (24, 80))
  process = start(
    """
import fcntl, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
with Progress('cropping', 100, 'clip') as progress:
  progress.update(7)
  time.sleep(600)
""".strip(),
    ready=False,
    stdin=theirs,
    stdout=theirs,
    stderr=theirs,
  )
  os.close(theirs)
  shown = b''
  while b'0/100' not in shown:
    shown += os.read(terminal, 1000)
  os.write(terminal, b'\x03')
  assert process.wait(timeout=20) == 130
  try:
    while more := os.read(terminal, 1000):
      shown += more
  except OSError:  # all is read, and nobody has the other end
    pass
  os.close(terminal)
  assert shown.decode().splitlines()[-1] == f'fevgan: SIGINT: {KEPT}'


def test_a_scripts_own_handlers_come_back():
  code = """
import os, signal
from fevgan_jax.runtime import interrupt
with interrupt.deferred(print, 'saving'):
  os.kill(os.getpid(), signal.SIGINT)
try:
  os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt as error:
  print(type(error).__name__, flush=True)
"""
  interruptible()
  done = subprocess.run(
    [sys.executable, '-c', code],
    capture_output=True,
    text=True,
    cwd=ROOT,
  )
  assert done.stdout.split() == ['2', 'KeyboardInterrupt'], done.stderr
