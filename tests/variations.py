"""Runs the suite as other machines would: other processors, no compiler, other versions of Python.

    python tests/variations.py                      # all of them
    python tests/variations.py sse one-core         # some of them
    python tests/variations.py --list
    python tests/variations.py sse -- tests/runtime -k conv      # with arguments for pytest

Prints one line for each: its name, the last line of pytest, and the seconds that it took. All that
pytest prints goes to a file. Variations of Python make a virtual environment each, from
the interpreters on the PATH and those of pyenv: `lowest` installs the lower bound of every
requirement, `newest` the newest versions within the bounds, for the newest of these interpreters
where no version is named.
"""

import argparse
import contextlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).parents[1]
LIMIT_S = 3600  # for one variation
PYTHONS = ('3.11', '3.12', '3.13')
BUSY_LOOPS = 4
CXX = os.environ.get('CXX', 'c++')
ENVIRONMENTS = {
  'as-it-is': {},
  # Processors without later instructions: what XLA compiles, and what our C++ is compiled to.
  'avx2': {'XLA_FLAGS': '--xla_cpu_max_isa=AVX2', 'CXX': f'{CXX} -mno-avx512f'},
  'sse': {'XLA_FLAGS': '--xla_cpu_max_isa=SSE4_2', 'CXX': f'{CXX} -mno-avx'},
  'no-compiler': {'CXX': '/bin/false'},
  'one-core': {},
  'busy': {},
}
VERSIONS = [f'{bound}-{python}' for python in PYTHONS for bound in ('newest', 'lowest')]
NAMES = [*ENVIRONMENTS, *VERSIONS, 'newest']


def main(words: list[str]) -> int:
  end = words.index('--') if '--' in words else len(words)
  words, more = words[:end], words[end + 1 :]
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument('names', nargs='*', help='variations, all by default')
  parser.add_argument('--list', action='store_true', help='print their names')
  parser.add_argument('--logs', type=pathlib.Path, default=pathlib.Path(tempfile.gettempdir()))
  arguments = parser.parse_args(words)
  if unknown := {*arguments.names} - {*NAMES}:
    parser.error(f'no variation {", ".join(sorted(unknown))}: expected some of {", ".join(NAMES)}')
  if arguments.list:
    print(*NAMES, sep='\n')
    return 0
  return max([run(name, more, arguments.logs) for name in arguments.names or NAMES[:-1]])


def run(name: str, more: list[str], logs: pathlib.Path) -> int:
  """Runs the suite in one variation and prints its line. Returns pytest's exit code."""
  start, log = time.monotonic(), logs / f'variation-{name}.log'
  with contextlib.ExitStack() as stack:
    folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
    output = stack.enter_context(log.open('w'))
    python = sys.executable
    if name not in ENVIRONMENTS:
      bound, _, version = name.partition('-')
      found = [path for x in ([version] if version else PYTHONS) if (path := interpreter(x))]
      python = environment(found[-1], bound, folder / 'venv', output) if found else None
      if python is None:
        reason = f'it cannot be installed, see {log}' if found else 'there is no such Python'
        print(f'{name:12} {"failed" if found else "skipped"}: {reason}', flush=True)
        return 1 if found else 0
    if name == 'busy':
      stack.enter_context(busy_loops())
    words = [python, '-m', 'pytest', '-q', '-o', f'cache_dir={folder}/pytest', *more]
    if name == 'one-core':
      words = ['taskset', '-c', '0', *words]
    code = subprocess.run(
      words,
      cwd=ROOT,
      env=os.environ | ENVIRONMENTS.get(name, {}) | {'XDG_CACHE_HOME': str(folder / 'cache')},
      stdout=output,
      stderr=subprocess.STDOUT,
      timeout=LIMIT_S,
    ).returncode
  last = log.read_text().splitlines()[-1].strip('= ')
  print(f'{name:12} {last} [{time.monotonic() - start:.0f} s in all, {log}]', flush=True)
  return code


@contextlib.contextmanager
def busy_loops() -> Iterator[None]:
  loops = [subprocess.Popen([sys.executable, '-c', 'while True: pass']) for _ in range(BUSY_LOOPS)]
  try:
    yield
  finally:
    for loop in loops:
      loop.kill()
      loop.wait()


def interpreter(version: str) -> str | None:
  """An interpreter of this version that runs: on the PATH, or the newest of pyenv's."""
  pyenv = pathlib.Path(os.environ.get('PYENV_ROOT', '~/.pyenv')).expanduser() / 'versions'
  builds = sorted(pyenv.glob(f'{version}.*'), key=lambda path: int(path.name.split('.')[2]))
  for path in (
    shutil.which(f'python{version}'),
    *(str(x / 'bin' / 'python') for x in builds[::-1]),
  ):
    if path and subprocess.run([path, '-c', ''], capture_output=True).returncode == 0:
      return path
  return None


def environment(python: str, bound: str, folder: pathlib.Path, output) -> str | None:
  """The Python of a new virtual environment with the project; None if it cannot be installed."""
  ours = str(folder / 'bin' / 'python')
  resolution = {'lowest': 'lowest-direct', 'newest': 'highest'}[bound]
  for words in (
    [python, '-m', 'venv', str(folder)],
    [ours, '-m', 'pip', 'install', '-q', 'uv'],  # pip cannot install the lowest versions
    [ours, '-m', 'uv', 'pip', 'install', '-p', ours, '--resolution', resolution, '-e', '.[test]'],
  ):
    if subprocess.run(words, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT).returncode:
      return None
  return ours


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
