"""Many recordings to clips, on all cores. What is finished stays finished, also after a kill."""

import collections
import concurrent.futures
import hashlib
import json
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from absl import logging

from fevgan_jax.faces import recording
from fevgan_jax.faces.labels import EXPRESSIONS
from fevgan_jax.faces.recording import Recording
from fevgan_jax.runtime import interrupt, workers
from fevgan_jax.runtime.errors import UserError
from fevgan_jax.runtime.files import replacing
from fevgan_jax.runtime.progress import Progress

Outcome = pathlib.Path | str  # the file of a clip, or why there is none
Splits = Mapping[str, Sequence[tuple[Recording, Outcome]]]


def finish(
  recordings: Sequence[Recording],
  folder: pathlib.Path,
  *,
  frames: int,
  size: int,
  processes: int | None = None,
  beam_options: Any = None,
) -> list[Outcome]:
  """Makes the clips that `folder` does not hold yet.

  Args:
    recordings: to be made clips.
    folder: for a file per clip (what `recording.Clip` holds) or refusal, named by everything that
      the result depends on: a file of the recording that has changed since makes a new one.
    frames: see `recording.clip`.
    size: see `recording.clip`.
    processes: how many; by default as many as this process may use cores.
    beam_options: of Apache Beam, if it is to do the work; its workers share this disk.

  Returns:
    The outcome of every recording, in their order.

  Raises:
    UserError: a process was killed.
  """
  folder.mkdir(parents=True, exist_ok=True)
  names = [folder / _digest(which, frames, size) for which in recordings]
  missing = [i for i, name in enumerate(names) if _outcome(name) is None]
  done = len(names) - len(missing)
  if done:
    logging.info('%d of %d recordings were finished before', done, len(names))
  if missing and beam_options:
    import apache_beam

    work = [(recordings[i], names[i], frames, size) for i in missing]
    with apache_beam.Pipeline(options=beam_options) as pipeline:
      each = pipeline | apache_beam.Create(work) | apache_beam.Reshuffle()
      each | apache_beam.MapTuple(_finish)
  elif missing:
    processes = min(processes or workers.available_cores(), len(missing))
    with (
      interrupt.keeping('finished clips are kept, the same command goes on from there'),
      workers.pool(processes) as pool,
      Progress('cropping', len(names), 'clip', done=done) as progress,
    ):
      waiting = [pool.submit(_finish, recordings[i], names[i], frames, size) for i in missing]
      try:
        for ready in concurrent.futures.as_completed(waiting):
          ready.result()
          progress.update()
      except concurrent.futures.process.BrokenProcessPool as error:
        raise UserError(
          f'{folder}: a process was killed, perhaps for want of memory: start again, finished '
          'clips are kept'
        ) from error
  return [_outcome(name) for name in names]


def _finish(which: Recording, name: pathlib.Path, frames: int, size: int) -> None:
  """In a worker: writes NAME.npz with the clip, or NAME.txt with the reason why there is none."""
  try:
    clip = recording.clip(which, frames, size)
  except recording.Refused as reason:
    with replacing(f'{name}.txt') as temporary:
      pathlib.Path(temporary).write_text(str(reason), encoding='utf-8')
  else:
    with replacing(f'{name}.npz') as temporary, open(temporary, 'wb') as file:
      np.savez(file, **clip._asdict())


def _outcome(name: pathlib.Path) -> Outcome | None:
  clip, reason = (name.with_suffix(suffix) for suffix in ('.npz', '.txt'))
  if clip.exists():
    return clip
  return reason.read_text(encoding='utf-8') if reason.exists() else None


def _digest(which: Recording, frames: int, size: int) -> str:
  """Names the clip by all that it depends on, the files by name, size and time of change."""
  files = [(os.path.basename(path), os.stat(path)) for path in which.files]
  parts = [
    recording.VERSION,
    frames,
    size,
    str(which),
    which.first_half,
    which.unwanted,
    which.grey,
    [(name, stat.st_size, stat.st_mtime_ns) for name, stat in files],
  ]
  return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def summary(splits: Splits) -> str:
  """A table: clips and refusals per split and label."""
  lines = [_row('', '', [*EXPRESSIONS, 'all'])]
  for split, outcomes in splits.items():
    for kept, title in ((True, 'clips'), (False, 'refused')):
      counts = _count(outcomes, kept)
      lines.append(_row(split, title, [counts[label] for label in (*EXPRESSIONS, 'all')]))
  return '\n'.join(lines)


def report(splits: Splits, notes: Sequence[str] = ()) -> str:
  """The notes, the summary, the same per subject, and every refusal with its reason."""
  lines = [*notes, *([''] if notes else []), summary(splits), '']
  lines += ['clips per subject; "3-1" are three clips and one refusal', '']
  lines.append(_row('', '', [*EXPRESSIONS, 'all']))
  for split, subject, own in by_subject(splits):
    lines.append(_row(subject, split, [cell(own, label) for label in (*EXPRESSIONS, 'all')]))
  lines += ['', 'refused', '', *refusals(splits)]
  return '\n'.join(lines) + '\n'


def by_subject(splits: Splits) -> Iterator[tuple[str, str, list[tuple[Recording, Outcome]]]]:
  """Yields split, subject and the subject's recordings, by split and name."""
  for split, outcomes in splits.items():
    own = collections.defaultdict(list)
    for pair in outcomes:
      own[pair[0].subject].append(pair)
    for subject in sorted(own):
      yield split, subject, own[subject]


def cell(outcomes: Sequence[tuple[Recording, Outcome]], label: str) -> str:
  """'3', or '3-1' for three clips and one refusal of a label, or of 'all'."""
  kept, refused = _count(outcomes, True)[label], _count(outcomes, False)[label]
  return f'{kept}-{refused}' if refused else f'{kept}'


def clips(outcomes: Sequence[tuple[Recording, Outcome]]) -> list[tuple[Recording, pathlib.Path]]:
  """The recordings that became clips."""
  return [pair for pair in outcomes if not isinstance(pair[1], str)]


def refusals(splits: Splits) -> list[str]:
  """A line for every recording that became no clip."""
  return [
    f'{which}: {outcome}'
    for outcomes in splits.values()
    for which, outcome in outcomes
    if isinstance(outcome, str)
  ]


def _count(outcomes: Sequence[tuple[Recording, Outcome]], kept: bool) -> collections.Counter:
  """How many are clips, or refused, by label and for 'all'."""
  labels = [which.label for which, outcome in outcomes if isinstance(outcome, str) != kept]
  return collections.Counter(labels) + collections.Counter({'all': len(labels)})


def _row(first: str, second: str, cells: Sequence) -> str:
  return f'{first:12}{second:9}' + ''.join(f'{cell:>10}' for cell in cells)
