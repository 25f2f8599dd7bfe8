"""Ctrl-C at any moment of a command: it ends within seconds, in one line, and nothing is lost.

    python tests/interruptions.py --times 10 --seed 0

Starts tiny preparations, trainings and evaluations as commands, each in a process group of its own.
Sends SIGINT to the whole group at a random moment of a phase, as a terminal does. Looks at the exit
code, the lines and the processes that are left. After two to four interruptions it lets the command
come to its end, and compares what that leaves with what an undisturbed one has left. Prints a
table, a row for every phase.
"""

import argparse
import collections
import hashlib
import json
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

from campaign import PATIENCE, ROOT, Campaign

sys.path.append(str(ROOT / 'tests' / 'support'))

import scenes  # noqa: E402
import tensorflow_datasets as tfds  # noqa: E402
from runs import interruptible  # noqa: E402

SIGNALLED = 128 + signal.SIGINT
STARTS_SECONDS = 0.2  # until Python has read the first lines of main.py


class Phase:
  """A command, and the part of it in which it is interrupted.

  Attributes:
    words: of the command in a folder.
    begins: whether the phase has begun there.
    ends: whether it has ended.
    result: reads what the command has left, to be compared.
    prepare: makes what the command starts from.
    compiles: whether it starts without programs that are kept.
  """

  def __init__(
    self,
    words: Callable[[pathlib.Path], list[str]],
    begins: Callable[[pathlib.Path], bool],
    ends: Callable[[pathlib.Path], bool],
    result: Callable[[pathlib.Path], object],
    prepare: Callable[[pathlib.Path], object] = lambda folder: None,
    compiles: bool = False,
  ):
    self.words, self.begins, self.ends = words, begins, ends
    self.result, self.prepare, self.compiles = result, prepare, compiles


class Interruptions:
  """Undisturbed runs of every phase, and what Ctrl-C does to others like them."""

  def __init__(self, folder: pathlib.Path, seed: int):
    self.campaign = Campaign(folder, seed)
    self.rng, self.folder = self.campaign.rng, folder
    manual = folder / 'manual'
    for subject, seed in (('a', 0), ('b', 1_000_003)):
      for label in ('anger', 'happiness', 'surprise'):
        files = scenes.frames(seed, label, scenes.OULU)
        for take in range(4):
          names = [f'{i}.jpg' for i in range(11)]
          scenes.write(manual / 'own_clips' / subject / label / f'take{take}', names, files)
    self.manual = manual

  def phases(self) -> dict[str, Phase]:
    data = f'--config.dataset.data_dir={self.folder / "data"}'
    tiny = f'--config={ROOT}/tests/support/tiny.py:fevgan,no_identity'
    own = f'--config={ROOT}/configs/own_clips.py:fevgan,no_identity'
    narrow = '--config.model.width=1', '--config.model.spatial_width=1', '--config.critic.width=1'
    training = '--config.epochs=4', '--config.log_every=4', '--config.checkpoint_every=1000'

    def train(workdir: pathlib.Path) -> list[str]:
      return [tiny, f'--workdir={workdir}', data, *training]

    def compiles(workdir: pathlib.Path) -> bool:
      return (workdir / 'checkpoints').exists()

    def steps(workdir: pathlib.Path) -> bool:
      path = workdir / 'metrics.jsonl'
      return path.exists() and path.stat().st_size > 0

    def finished(workdir: pathlib.Path) -> None:
      shutil.copytree(self.campaign.untouched, workdir)
      (workdir / 'evaluation.json').unlink()

    def evaluation(workdir: pathlib.Path) -> object:
      return json.loads((workdir / 'evaluation.json').read_text())

    return {
      'rendering': Phase(
        lambda f: ['--mode=prepare', tiny, f'--config.dataset.data_dir={f}'],
        lambda f: any(f.glob('*/*/incomplete*')),
        lambda f: any(f.glob('*/*/*/dataset_info.json')),
        prepared,
      ),
      'cropping': Phase(
        lambda f: [
          '--mode=prepare', own, *narrow, f'--config.dataset.data_dir={f}',
          f'--config.dataset.manual_dir={self.manual}', '--config.batch_size=4',
        ],
        lambda f: any(f.glob('*/*/unfinished*')),
        lambda f: any(f.glob('*/*/[0-9]*/dataset_info.json')),
        prepared,
      ),
      'compiling': Phase(train, compiles, steps, self.trained, compiles=True),
      'training': Phase(
        train, steps, lambda f: any((f / 'checkpoints').glob('[0-9]*')), self.trained
      ),
      'evaluating': Phase(
        lambda f: ['--mode=evaluate', f'--workdir={f}', data],
        lambda f: f.exists(),
        lambda f: (f / 'evaluation.json').exists(),
        evaluation,
        finished,
      ),
    }  # fmt: skip

  def trained(self, workdir: pathlib.Path) -> str:
    return self.campaign.compared(workdir)

  def start(self, phase: Phase, folder: pathlib.Path) -> subprocess.Popen:
    interruptible()
    environment = dict(os.environ)
    if phase.compiles:  # programs that are kept would leave nothing to interrupt
      environment['JAX_COMPILATION_CACHE_DIR'] = tempfile.mkdtemp(dir=self.folder)
    process = subprocess.Popen(
      [sys.executable, str(ROOT / 'main.py'), *phase.words(folder)],
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
      cwd=self.folder,
      env=environment,
      start_new_session=True,
    )
    time.sleep(STARTS_SECONDS)
    return process

  def undisturbed(self, phase: Phase) -> tuple[object, float]:
    """Result of the undisturbed command, and the length of the phase in seconds."""
    folder = self.campaign.new()
    phase.prepare(folder)
    process = self.start(phase, folder)
    wait_for(lambda: phase.begins(folder), process)
    began = time.monotonic()
    wait_for(lambda: phase.ends(folder), process)
    seconds = time.monotonic() - began
    printed = process.communicate(timeout=PATIENCE)[0]
    assert process.returncode == 0, printed
    return phase.result(folder), seconds

  def interrupted(self, phase: Phase, seconds: float, folder: pathlib.Path) -> dict | None:
    """Starts the command and interrupts it. Returns how it ended; None if it was done before."""
    process = self.start(phase, folder)
    if wait_for(lambda: phase.begins(folder), process):
      time.sleep(self.rng.uniform(0, seconds))
    if process.poll() is not None:
      assert process.returncode == 0, process.communicate()[0]
      process.communicate()
      return None
    sent = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    printed = process.communicate(timeout=PATIENCE)[0]
    ended = time.monotonic() - sent
    if process.returncode == 0:  # between the last look and the signal
      return None
    lines = printed.splitlines() or ['']
    end = {
      'clean': process.returncode == SIGNALLED and lines[-1].startswith('fevgan: SIGINT: '),
      'traceback': 'Traceback' in printed,
      'left': survivors(process.pid),
      'seconds': ended,
      'last': lines[-1],
    }
    if not end['clean'] or end['left'] or end['traceback']:
      print(f'exit code {process.returncode}, {end["left"]} left:\n{printed}', flush=True)
    return end

  def finished_alike(self, phase: Phase, expected: object, folder: pathlib.Path) -> bool:
    """Starts the command for the last time, and compares what it leaves."""
    process = self.start(phase, folder)
    printed = process.communicate(timeout=PATIENCE)[0]
    same = process.returncode == 0 and phase.result(folder) == expected
    if not same:
      print(f'started again: exit code {process.returncode}:\n{printed}', flush=True)
    return same


def wait_for(condition: Callable[[], bool], process: subprocess.Popen) -> bool:
  """Returns whether the condition holds before the process has ended."""
  while not condition():
    if process.poll() is not None:
      return condition()
    time.sleep(0.01)
  return True


def survivors(group: int) -> int:
  """How many processes of a group are left three seconds after its leader."""
  end = time.monotonic() + 3
  while time.monotonic() < end:
    try:
      os.killpg(group, 0)
    except ProcessLookupError:
      return 0
    time.sleep(0.05)
  listed = subprocess.run(['ps', '-eo', 'pgid='], capture_output=True, text=True).stdout
  return listed.split().count(str(group))


def prepared(folder: pathlib.Path) -> object:
  """The clips of prepared data by split and name. Bytes on disk differ: TFDS writes the features of
  a clip in another order in every process."""
  (description,) = folder.rglob('dataset_info.json')
  ready = tfds.builder_from_directory(str(description.parent))
  return {
    split: {
      name: hashlib.sha256(video.tobytes()).hexdigest()
      for name, video in scenes.table(ready.as_data_source(split)).items()
    }
    for split in ready.info.splits
  }


def main() -> int:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--times', type=int, default=10)
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument('--only', default='', help='one phase')
  words = parser.parse_args()
  rows, lost, lines = [], 0, collections.Counter()
  with tempfile.TemporaryDirectory(prefix='interruptions_') as folder:
    trials = Interruptions(pathlib.Path(folder), words.seed)
    for name, phase in trials.phases().items():
      if words.only not in ('', name):
        continue
      expected, seconds = trials.undisturbed(phase)
      ends, finished, alike = [], 0, 0
      while len(ends) < words.times:
        folder = trials.campaign.new()
        phase.prepare(folder)
        for _ in range(min(trials.rng.integers(2, 5), words.times - len(ends))):
          if (end := trials.interrupted(phase, seconds, folder)) is None:
            break
          ends.append(end)
        alike += trials.finished_alike(phase, expected, folder)
        finished += 1
        shutil.rmtree(folder)
      sums = {key: sum(end[key] for end in ends) for key in ('clean', 'traceback', 'left')}
      took = [end['seconds'] for end in ends]
      rows.append(
        f'| {name} | {seconds:.1f} | {len(ends)} | {sums["clean"]} | {sums["traceback"]} | '
        f'{statistics.median(took):.1f}, {max(took):.1f} | {sums["left"]} | {alike} of {finished} |'
      )
      lost += len(ends) - sums['clean'] + sums['left'] + sums['traceback'] + finished - alike
      lines.update(f'{name}: {end["last"]}' for end in ends)
      print(rows[-1], flush=True)
  print()
  print(*(f'{count:3} {line}' for line, count in lines.most_common()), '', sep='\n')
  print('| phase | lasts, s | tried | exit code 130 and one last line | tracebacks |', end='')
  print(' seconds to the end, median and most | processes left | ends the same |')
  print('|---|---|---|---|---|---|---|---|', *rows, sep='\n')
  return lost > 0


if __name__ == '__main__':
  sys.exit(main())
