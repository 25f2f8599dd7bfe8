"""What surrounds a command: which errors are a line for the user, and which keep their place."""

import subprocess
import sys

import pytest

PROGRAM = """
import errno, os
from fevgan_jax.runtime import program
from fevgan_jax.runtime.errors import UserError
def command():
  {}
raise SystemExit(program.exit_code(command))
"""


def run(command: str) -> subprocess.CompletedProcess:
  """The program around a command, in a process of its own: it sets up logging for good."""
  code = PROGRAM.format(command)
  return subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)


@pytest.mark.parametrize(
  ('command', 'line'),
  [
    ("raise UserError('wrong: do this')", 'fevgan: wrong: do this'),
    (r"raise UserError('a\nb.png: no face')", r'fevgan: a\nb.png: no face'),
    (
      "raise OSError(errno.ENOSPC, 'No space left on device', '/data/a')",
      'fevgan: /data/a: No space left on device: make room, or name another folder',
    ),
    (
      "raise PermissionError(errno.EACCES, 'Permission denied', '/data')",
      'fevgan: /data: Permission denied: make room, or name another folder',
    ),
  ],
)
def test_what_the_user_can_mend_is_one_line(command, line):
  result = run(command)
  assert result.returncode == 2
  assert result.stderr.startswith(line)
  assert result.stderr.count('\n') == 1


@pytest.mark.parametrize('command', ["open('/no/such/file')", "raise OSError(9, 'odd')", '1 / 0'])
def test_a_mistake_of_ours_keeps_its_place(command):
  result = run(command)
  assert result.returncode == 1
  assert 'Traceback' in result.stderr and 'in command' in result.stderr


def test_success_is_zero():
  assert run('pass').returncode == 0
