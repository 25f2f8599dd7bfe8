"""The paper's rater study (section 4.4, Table 2): which of two clips do people prefer?

`study` writes one HTML file that needs no server. A rater opens it, sees pairs of clips of the same
person and expression, and sends back the file that it ends with. Which side shows which system
follows from the rater's number, and is not in that file; `tally` counts.
"""

import base64
import dataclasses
import hashlib
import itertools
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from absl import logging

from fevgan_jax import models
from fevgan_jax.data import datasets
from fevgan_jax.evaluation.figures import show
from fevgan_jax.evaluation.metrics import bootstrap
from fevgan_jax.evaluation.runs import check_comparable, distinguish, read
from fevgan_jax.runtime import media
from fevgan_jax.runtime.errors import UserError
from fevgan_jax.runtime.files import replacing

TEMPLATE = pathlib.Path(__file__).with_name('study.html')
PAGE, KEY, RESULT = 'study.html', 'study.json', 'tally.md'  # the key stays with whoever asks
CATCH = 10  # one question in so many has a right answer: a real clip, or one that cannot be
MOST_WRONG = 1 / 3  # of those; who has more did not look
REAL, SHUFFLED, FROZEN = 'real', 'shuffled', 'frozen'


def study(
  workdirs: Sequence[pathlib.Path],
  output: pathlib.Path,
  *,
  pairs: int = 30,
  overrides: Mapping[str, Any] | None = None,
) -> list[pathlib.Path]:
  """Writes a study over runs that were measured on the same clips.

  Args:
    workdirs: of two runs or more: every two of them are compared equally often.
    output: folder for study.html, to be sent to raters, and study.json, which `tally` needs.
    pairs: of clips that a rater sees, beside those that catch who does not look.
    overrides: of the configs that they were trained with, see `trained.load`.

  Returns:
    The files written.

  Raises:
    UserError: fewer than two runs, or runs that were not measured alike.
  """
  if len(workdirs) < 2:
    raise UserError('--workdirs: a study compares two runs or more')
  runs = [read(workdir, overrides or {}) for workdir in workdirs]
  check_comparable(runs)
  runs = distinguish(runs)
  source = datasets.Clips(datasets.prepare(runs[0].generator.config), 'test')
  rng = np.random.default_rng(0)
  chosen = np.concatenate([rng.permutation(len(source)) for _ in range(1 + pairs // len(source))])
  chosen = [int(i) for i in chosen[:pairs]]
  made = [show(run, source, chosen) for run in runs]

  questions, clips = [], []
  for k, two in zip(range(pairs), itertools.cycle(itertools.combinations(range(len(runs)), 2))):
    questions.append(_asked(runs[0], chosen[k], [runs[i].name for i in two]))
    clips.append([made[i][k] for i in two])
  for k, i in enumerate(chosen[::CATCH]):
    real, broken = source[i]['video'], (SHUFFLED, FROZEN)[k % 2]
    order = rng.permutation(len(real)) if broken == SHUFFLED else np.zeros(len(real), int)
    questions.append(_asked(runs[0], i, [REAL, broken]))
    clips.append([real, real[order]])
  inputs = [source[i]['video'][0] for i in (*chosen, *chosen[::CATCH])]

  key = {
    'systems': [{'name': run.name, 'system': run.system} for run in runs],
    'dataset': runs[0].result['dataset'],
    'questions': questions,
  }
  files = write(key, inputs, clips, output)
  logging.info('send %s to raters; %s is the key, for --mode tally', *files)
  return files


def write(
  key: dict,
  inputs: Sequence[np.ndarray],
  clips: Sequence[Sequence[np.ndarray]],
  output: pathlib.Path,
) -> list[pathlib.Path]:
  """The page and its key: of every question of `key` the neutral face, uint8 [height, width, 3],
  and the two clips, uint8 [time, height, width, 3], in the order of its 'shown'."""
  films = [[_film(clip) for clip in two] for two in clips]
  name = hashlib.sha256(json.dumps([key, films]).encode()).hexdigest()[:12]
  shown = [
    {'label': question['label'], 'input': _film(face[None]), 'clips': two}
    for question, face, two in zip(key['questions'], inputs, films, strict=True)
  ]
  page = json.dumps({'study': name, 'questions': shown})
  texts = {
    PAGE: TEMPLATE.read_text().replace('/*STUDY*/', page),
    KEY: json.dumps({'study': name, **key}, indent=1) + '\n',
  }
  for file, text in texts.items():
    with replacing(output / file) as temporary:
      pathlib.Path(temporary).write_text(text)
  return [output / file for file in texts]


def _asked(run, i: int, shown: list[str]) -> dict:
  clip = run.result['per_clip'][i]
  return {'subject': clip['subject'], 'label': clip['label'], 'shown': shown}


def _film(clip: np.ndarray) -> str:
  return base64.b64encode(media.webp(clip)).decode()


def tally(votes: Sequence[pathlib.Path], output: pathlib.Path) -> list[pathlib.Path]:
  """Counts what raters sent back.

  Args:
    votes: their files.
    output: folder of the study, which holds study.json; for tally.md.

  Returns:
    The file written.

  Raises:
    UserError: no study there, or a file of another study, of a rater who has sent one already, or
      that is not as the page wrote it.
  """
  path = output / KEY
  try:
    key = json.loads(path.read_text())
    pairs = [question['shown'] for question in key['questions']]
    words = [key['study'], key['dataset'], *(word for pair in pairs for word in pair)]
    words += [system[name] for system in key['systems'] for name in ('name', 'system')]
    if {*map(type, words)} != {str} or {*map(len, pairs)} != {2}:
      raise ValueError('no pairs of words')
  except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
    raise UserError(
      f'{path}: cannot be read: expected the key that --mode study wrote; name its folder with '
      '--output'
    ) from error
  ballots = {}
  for file in votes:
    ballot = read_ballot(file, key)
    if ballot.rater in ballots:
      other = ballots[ballot.rater].file
      raise UserError(f'{file}: rater {ballot.rater} is in {other} already: leave one of them out')
    ballots[ballot.rater] = ballot
  text = report(key, [*ballots.values()])
  with replacing(output / RESULT) as temporary:
    pathlib.Path(temporary).write_text(text)
  logging.info('%s\nwrote %s', text.rstrip(), output / RESULT)
  return [output / RESULT]


@dataclasses.dataclass(frozen=True)
class Ballot:
  """What one rater sent.

  Attributes:
    file: that holds it.
    rater: the number.
    preferred: [questions], 0 for the first of a question's `shown`, 1 for the second.
  """

  file: pathlib.Path
  rater: int
  preferred: np.ndarray

  def wrong(self, questions: Sequence[dict]) -> float:
    """The share of right answers that the rater missed."""
    catches = [k for k, question in enumerate(questions) if question['shown'][0] == REAL]
    return float(self.preferred[catches].mean()) if catches else 0.0


def read_ballot(file: pathlib.Path, key: dict) -> Ballot:
  """One rater's file.

  Raises:
    UserError: see `tally`.
  """
  try:
    sent = json.loads(file.read_text())
    study_id, rater, sides = sent['study'], int(sent['rater']), [str(x) for x in sent['sides']]
    unchanged = sent['checksum'] == checksum('|'.join([study_id, str(rater), *sides]))
  except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
    raise UserError(f'{file}: not what a study ends with: expected votes-RATER.json') from error
  if study_id != key['study']:
    raise UserError(f'{file}: votes of another study ({study_id}, not {key["study"]})')
  complete = len(sides) == len(key['questions']) and {*sides} <= {'left', 'right'}
  if not unchanged or not complete:
    raise UserError(f'{file}: edited or incomplete: expected it as the page wrote it')
  swapped = np.array([swaps(rater, k) for k in range(len(sides))])
  right = np.array(sides) == 'right'
  return Ballot(file, rater, (right != swapped).astype(int))


def report(key: dict, ballots: Sequence[Ballot]) -> str:
  """tally.md."""
  questions = key['questions']
  kept = [ballot for ballot in ballots if ballot.wrong(questions) <= MOST_WRONG]
  lines = [
    '# Which of two clips raters preferred',
    '',
    f'{len(kept)} raters, {sum(q["shown"][0] != REAL for q in questions)} pairs each, clips of '
    f'{key["dataset"]}.',
    '',
    f'| preferred | to | share | {bootstrap.LEVEL:.0%} interval over raters | votes | paper, MUG |',
    '|---|---|---|---|---|---|',
  ]
  systems = {entry['name']: entry['system'] for entry in key['systems']}
  for first, second in itertools.combinations(systems, 2):
    asked = [k for k, q in enumerate(questions) if q['shown'] == [first, second]]
    votes = np.array([ballot.preferred[asked] == 0 for ballot in kept], float).reshape(-1)
    if not len(votes):
      continue
    raters = np.repeat([ballot.rater for ballot in kept], len(asked))
    ends = bootstrap.interval(votes, raters)
    between = '-' if ends is None else f'{ends[0]:.1%} to {ends[1]:.1%}'
    paper = models.recipe(systems[first]).preferred.get(systems[second])
    beside = '' if paper is None else f'{paper:.1%}'
    lines.append(
      f'| {first} | {second} | {votes.mean():.1%} | {between} | {len(votes)} | {beside} |'
    )
  lines += ['', agreement(questions, kept)]
  for ballot in ballots:
    if ballot not in kept:
      lines.append(
        f'Rater {ballot.rater} is left out: {ballot.wrong(questions):.0%} of the pairs of a real '
        'and a broken clip were answered wrongly.'
      )
  return '\n'.join(lines) + '\n'


def agreement(questions: Sequence[dict], ballots: Sequence[Ballot]) -> str:
  """How often two raters choose the same clip, and Fleiss' kappa (1971)."""
  asked = [k for k, question in enumerate(questions) if question['shown'][0] != REAL]
  raters = len(ballots)
  if raters < 2 or not asked:
    return 'Agreement between raters: two of them are needed.'
  first = np.sum([ballot.preferred[asked] == 0 for ballot in ballots], axis=0)
  counts = np.stack([first, raters - first], axis=1)
  same = ((counts**2).sum(1) - raters).mean() / (raters * (raters - 1))
  chance = ((counts.sum(0) / counts.sum()) ** 2).sum()
  kappa = f'{(same - chance) / (1 - chance):.2f}' if chance < 1 else '-'
  return f"Two raters choose the same clip in {same:.1%} of the pairs (Fleiss' kappa {kappa})."


def swaps(rater: int, question: int) -> bool:
  """Whether a rater sees the second of a question's clips on the left: as study.html draws it."""
  x = (rater * 1_000_003 + question * 7_919 + 0x6D2B79F5) & 0xFFFFFFFF  # Mulberry32
  x = ((x ^ (x >> 15)) * (x | 1)) & 0xFFFFFFFF
  x ^= (x + (((x ^ (x >> 7)) * (x | 61)) & 0xFFFFFFFF)) & 0xFFFFFFFF
  return bool((x ^ (x >> 14)) & 1)


def checksum(text: str) -> str:
  """FNV-1a of a text, as study.html computes it: finds accidents and edits, and is no secret."""
  total = 0x811C9DC5
  for byte in text.encode():
    total = ((total ^ byte) * 0x01000193) & 0xFFFFFFFF
  return f'{total:08x}'
