"""What a crash, a bad file or a second process may do to a run: nothing.

    python tests/campaign.py --minutes 30 --seed 0

Starts tiny runs as commands, does to each one of the things below, starts it again, and compares
what it leaves with what an undisturbed run leaves. Prints a table: how often each was tried, how
often the run ended the same, how often it ended in one line and exit code 2, and what was lost,
which must be nothing. Full disks are tried where the system lets us mount one (root on Linux).

    python tests/campaign.py --soak

2,000 steps with a checkpoint every 20 and 20 kills: prints how memory, open files and the workdir
grow, and whether it ends like a run without kills.
"""

import argparse
import collections
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import numpy as np

ROOT = pathlib.Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'tests' / 'support')]
os.environ |= {
  'JAX_PLATFORMS': 'cpu',
  'NPROC': '16',
  'JAX_DISABLE_MOST_OPTIMIZATIONS': '1',  # compiling takes these runs longer than running
}

from runs import command, same, untimed  # noqa: E402

from configs import synthetic_faces  # noqa: E402
from fevgan_jax.runtime.errors import UserError  # noqa: E402
from fevgan_jax.training import checkpoint, journal  # noqa: E402

PATIENCE = 300  # seconds, then a run hangs
SAME, TOLD, STOPPED = 'same', 'told', 'stopped'  # how a run may end; anything else is lost
TERMINATED = 128 + signal.SIGTERM


class Campaign:
  """A folder with prepared data and an undisturbed run, and what is done to others like it."""

  def __init__(self, folder: pathlib.Path, seed: int):
    self.folder, self.rng = folder, np.random.default_rng(seed)
    self.config = synthetic_faces.get_config('fevgan,no_identity')
    self.config.dataset.data_dir = str(folder / 'data')
    os.environ['JAX_COMPILATION_CACHE_DIR'] = str(folder / 'compiled')
    os.environ['JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'] = '0'
    self.untouched = folder / 'untouched'
    for seconds in ('compiling', 'compiled'):  # the second one says how long a run lasts
      shutil.rmtree(self.untouched, ignore_errors=True)
      start = time.monotonic()
      ended = self.ended(self.start(self.untouched))
      assert ended == SAME, f'{seconds}: {ended}'
      self.lasts = time.monotonic() - start
    self.number = 0

  def new(self) -> pathlib.Path:
    """A workdir of its own."""
    self.number += 1
    return self.folder / f'run{self.number}'

  def start(self, workdir: pathlib.Path, *words: str) -> subprocess.Popen:
    words = command(self.config, workdir, '--config.epochs=4', '--config.log_every=4', *words)
    pipes = {'stdout': subprocess.PIPE, 'stderr': subprocess.STDOUT}
    return subprocess.Popen(words, text=True, errors='replace', cwd=self.folder, **pipes)

  def ended(self, process: subprocess.Popen, workdir: pathlib.Path | None = None) -> str:
    """How a run ended: SAME, TOLD, STOPPED, or in words what was lost."""
    try:
      printed = process.communicate(timeout=PATIENCE)[0]
    except subprocess.TimeoutExpired:
      process.kill()
      return f'hangs: {process.communicate()[0][-500:]}'
    if 'Traceback' in printed:
      return f'a traceback, exit code {process.returncode}: {printed[-1500:]}'
    if process.returncode in (-signal.SIGKILL, TERMINATED):
      return STOPPED
    told = [line for line in printed.splitlines() if line.startswith('fevgan: ')]
    if process.returncode == 2 and len(told) == 1:
      return TOLD
    if process.returncode:
      return f'exit code {process.returncode}: {printed[-500:]}'
    return self.compared(workdir) if workdir else SAME

  def compared(self, workdir: pathlib.Path, untouched: pathlib.Path | None = None) -> str:
    """SAME, or what of a finished run is not as that of the undisturbed one."""
    untouched = untouched or self.untouched
    try:
      (ours, _, step), (theirs, _, expected) = (
        checkpoint.restore_generator(folder) for folder in (workdir, untouched)
      )
    except UserError as error:
      return str(error)
    if step != expected or not same(ours, theirs):
      return f'other parameters at step {step}'
    means, others = (untimed(folder) for folder in (workdir, untouched))
    if means != others:
      return f'other metrics: {[line["step"] for line in means]}'
    pictures, others = (
      sorted(path.name for path in (folder / 'samples').iterdir())
      for folder in (workdir, untouched)
    )
    return SAME if pictures == others else f'other samples: {pictures}'

  def finished(self) -> pathlib.Path:
    """A copy of the undisturbed run."""
    return pathlib.Path(shutil.copytree(self.untouched, self.new()))

  # What is done to a run. Each returns how it ended.

  def killed(self, number: int = signal.SIGKILL) -> str:
    """Up to three times, at any moment."""
    workdir = self.new()
    for _ in range(self.rng.integers(1, 4)):
      process = self.start(workdir)
      time.sleep(self.rng.uniform(0, self.lasts))
      process.send_signal(number)
      if (how := self.ended(process, workdir)) not in (STOPPED, SAME):
        if not (number == signal.SIGTERM and process.returncode == -signal.SIGTERM):
          return how
    return self.ended(self.start(workdir), workdir)

  def terminated(self) -> str:
    return self.killed(signal.SIGTERM)

  def started_twice(self) -> str:
    """At the same time, or up to two seconds apart: one runs, one is told."""
    workdir = self.new()
    processes = [self.start(workdir)]
    time.sleep(self.rng.uniform(0, 2) * self.rng.integers(2))
    processes.append(self.start(workdir))
    ends = sorted(self.ended(process) for process in processes)
    return self.compared(workdir) if ends == [SAME, TOLD] else f'{ends}'

  def prepared_twice(self) -> str:
    """At the same time, into an empty folder: both succeed."""
    data = self.new()
    words = '--mode=prepare', '--config.dataset.config=tiny', f'--config.dataset.data_dir={data}'
    pipes = {'stdout': subprocess.PIPE, 'stderr': subprocess.STDOUT, 'text': True}
    processes = [
      subprocess.Popen([sys.executable, str(ROOT / 'main.py'), *words], **pipes) for _ in range(2)
    ]
    ends = [self.ended(process) for process in processes]
    left = [path.name for path in data.rglob('incomplete*')]
    return SAME if ends == [SAME, SAME] and not left else f'{ends} {left}'

  def workdir_damaged(self) -> str:
    """A file of a finished run, its checkpoints mostly, and the run is started again."""
    workdir = self.finished()
    what = self.damage(workdir)
    how = self.ended(self.start(workdir), workdir)
    return how if how in (SAME, TOLD) else f'{what}: {how}'

  def data_damaged(self) -> str:
    """A file of the prepared data: told, and mended as it was told."""
    data, workdir = self.new(), self.new()
    shutil.copytree(self.folder / 'data', data)
    what = self.damage(data)
    place = f'--config.dataset.data_dir={data}'
    how = self.ended(self.start(workdir, place), workdir)
    if how == TOLD:
      shutil.rmtree(data)
      how = self.ended(self.start(workdir, place), workdir)
    return how if how in (SAME, TOLD) else f'{what}: {how}'

  def one_of_two_killed(self) -> str:
    """Two processes of one run: the other ends within a minute; both go on as one run."""
    if not hasattr(self, 'by_two'):
      self.by_two = self.new().with_name('by_two')
      if (ends := [self.ended(process) for process in self.two(self.by_two)]) != [SAME, SAME]:
        return f'undisturbed: {ends}'
    workdir = self.new()
    processes = self.two(workdir)
    time.sleep(self.rng.uniform(0, 2 * self.lasts))
    first = int(self.rng.integers(2))
    processes[first].kill()
    killed = time.monotonic()
    self.ended(processes[first])
    how = self.ended(processes[1 - first])
    if not ('exit code 75' in how or how == SAME) or time.monotonic() - killed > 60:
      return f'the other, {time.monotonic() - killed:.0f} s after the kill: {how}'
    ends = [self.ended(process) for process in self.two(workdir)]
    return self.compared(workdir, self.by_two) if ends == [SAME, SAME] else f'{ends}'

  def two(self, workdir: pathlib.Path) -> list[subprocess.Popen]:
    with socket.socket() as free:
      free.bind(('localhost', 0))
      address = f'localhost:{free.getsockname()[1]}'
    words = '--coordinator', address, '--processes', '2', '--process'
    return [self.start(workdir, *words, str(i)) for i in range(2)]

  def disk_full(self) -> str:
    """At any moment: told; after room was made, the same."""
    workdir = self.new()
    workdir.mkdir()
    size = int(self.rng.integers(50, 1500))
    mount = ['mount', '-t', 'tmpfs', '-o', f'size={size}k', 'tmpfs', str(workdir)]
    subprocess.run(mount, check=True, capture_output=True)
    try:
      first = self.ended(self.start(workdir), workdir)
      if first not in (SAME, TOLD):
        return f'{size} kB: {first}'
      subprocess.run(['mount', '-o', 'remount,size=100m', str(workdir)], check=True)
      return self.ended(self.start(workdir), workdir)
    finally:
      subprocess.run(['umount', '-l', str(workdir)], check=True)

  def soak(self, steps: int = 2000, kills: int = 20) -> int:
    """A long run with kills against one without. Prints what both grow to, by quarters."""
    words = (
      f'--config.epochs={steps / 3}',
      '--config.checkpoint_every=20',
      '--config.sample_every=500',
    )
    for number in (0, kills):
      workdir = self.folder / f'soak{number}'
      used, killed = [], 0
      while True:
        process = self.start(workdir, *words)
        while process.poll() is None:
          time.sleep(0.5)
          done = max([line['step'] for line in journal.read(workdir / 'metrics.jsonl')], default=0)
          used.append((done, *usage(process.pid, workdir)))
          if killed < number and done >= (killed + 1) * steps / (kills + 1):
            process.kill()
            killed += 1
        how = self.ended(process)
        if how != STOPPED:
          break
      print(f'{number} kills: {how}', flush=True)
      print('| steps | memory, MB | open files | workdir, MB |\n|---|---|---|---|')
      for end in range(steps // 4, steps + 1, steps // 4):
        part = [row[1:] for row in used if end - steps // 4 < row[0] <= end and row[1]]
        print(f'| to {end} | {" | ".join(f"{max(column):.0f}" for column in zip(*part))} |')
    how = self.compared(self.folder / f'soak{kills}', self.folder / 'soak0')
    print(f'with kills and without: {how}')
    return how != SAME

  def damage(self, folder: pathlib.Path) -> str:
    """A bit flipped, the file cut off, emptied, filled with something else, or deleted."""
    files = sorted(path for path in folder.rglob('*') if path.is_file() and path.stat().st_size)
    file = files[self.rng.integers(len(files))]
    content = bytearray(file.read_bytes())
    place = self.rng.integers(len(content))
    how = self.rng.choice(['flipped', 'flipped', 'cut', 'emptied', 'filled', 'deleted'])
    file.unlink()
    if how == 'flipped':
      content[place] ^= 1 << self.rng.integers(8)
    elif how == 'cut':
      content = content[:place]
    elif how == 'emptied':
      content = b''
    elif how == 'filled':
      content = self.rng.bytes(200)
    if how != 'deleted':
      file.write_bytes(content)
    return f'{file.relative_to(folder)} {how}'


def usage(process: int, workdir: pathlib.Path) -> tuple[float, float, float]:
  """Memory in megabytes, open files, and megabytes of the workdir; zeros when it has ended."""
  of = pathlib.Path('/proc') / str(process)
  try:
    memory = next(x for x in (of / 'status').read_text().splitlines() if x.startswith('VmRSS'))
    files = len([*(of / 'fd').iterdir()])
    size = sum(path.stat().st_size for path in workdir.rglob('*') if path.is_file())
  except (OSError, StopIteration):
    return 0.0, 0.0, 0.0
  return int(memory.split()[1]) / 1024, float(files), size / 1e6


def main() -> int:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--minutes', type=float, default=30)
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument('--only', default='', help='one of what is tried')
  parser.add_argument('--soak', action='store_true', help='one long run')
  words = parser.parse_args()
  trials = ['killed', 'terminated', 'started_twice', 'workdir_damaged', 'workdir_damaged']
  trials += ['data_damaged', 'prepared_twice', 'one_of_two_killed']
  trials += ['disk_full'] if os.geteuid() == 0 and sys.platform == 'linux' else []
  trials = [words.only] if words.only else trials
  counts, lost = collections.defaultdict(collections.Counter), []
  with tempfile.TemporaryDirectory(prefix='campaign_') as folder:
    campaign = Campaign(pathlib.Path(folder), words.seed)
    if words.soak:
      return campaign.soak()
    end, number = time.monotonic() + 60 * words.minutes, 0
    while time.monotonic() < end:
      trial = trials[number % len(trials)]
      how = getattr(campaign, trial)()
      counts[trial][how if how in (SAME, TOLD) else 'lost'] += 1
      if how not in (SAME, TOLD):
        lost.append(how)
        print(f'LOST: {trial}: {how}\n', flush=True)
      for path in campaign.folder.glob('run*'):
        shutil.rmtree(path, ignore_errors=True)
      number += 1
  print('| what is done to a run | tried | ends the same | told in one line | lost |')
  print('|---|---|---|---|---|')
  for trial, of in counts.items():
    name = trial.replace('_', ' ')
    print(f'| {name} | {of.total()} | {of[SAME]} | {of[TOLD]} | {of["lost"]} |')
  return len(lost) > 0


if __name__ == '__main__':
  sys.exit(main())
