"""Page of what became of recordings: three crops of every subject and expression, and refusals."""

import io
import pathlib
from collections.abc import Sequence

import numpy as np
from PIL import Image

from fevgan_jax.faces import preparation
from fevgan_jax.faces.labels import EXPRESSIONS
from fevgan_jax.faces.preparation import Outcome, Splits
from fevgan_jax.faces.recording import Recording
from fevgan_jax.runtime import page
from fevgan_jax.runtime.wording import counted, people

SIDE = 64  # pixels of a crop on the page
MAX_PEOPLE = 400  # rows of the page: each has some 30 kB
STYLE = '<style>.crops img { display: block } .crops td { text-align: left }</style>'


def html(name: str, splits: Splits, notes: Sequence[str]) -> str:
  """Returns the page.

  Args:
    name: of the data set.
    splits: recordings and what became of them, by split.
    notes: lines that stand above the crops.
  """
  refused = preparation.refusals(splits)
  rows = list(preparation.by_subject(splits))
  return page.html(
    f'{name}: {counted(sum(len(preparation.clips(own)) for *_, own in rows), "clip")} of '
    f'{people(len(rows))}, {len(refused)} refused',
    [
      page.lines('Found', notes),
      f'<h2>Crops</h2><p class="note">{page.text(_explanation(len(rows)))}</p>',
      crops(rows[:MAX_PEOPLE]),
      page.lines('Refused', refused or ['none']),
    ],
  )


def _explanation(count: int) -> str:
  text = (
    'First, middle and last frame of the first clip of each expression. Below it: how many clips '
    'there are; "3-1" are three clips and one refusal.'
  )
  return text + (f' The first {MAX_PEOPLE} of {count} people.' if count > MAX_PEOPLE else '')


def crops(rows: Sequence[tuple[str, str, list[tuple[Recording, Outcome]]]]) -> str:
  """A table with a row per subject: its split, and crops and counts by expression."""
  head = ''.join(f'<th>{word}</th>' for word in ('subject', 'split', 'all', *EXPRESSIONS))
  body = ''
  for split, subject, own in rows:
    words = subject, split, preparation.cell(own, 'all')
    cells = [page.text(word) for word in words]
    for label in EXPRESSIONS:
      of_label = [pair for pair in own if pair[0].label == label]
      picture = ''.join(_strip(*pair) for pair in preparation.clips(of_label)[:1])
      cells.append(picture + preparation.cell(own, label) if of_label else '')
    body += '<tr>' + ''.join(f'<td>{cell}</td>' for cell in cells) + '</tr>\n'
  return f'{STYLE}<div class="wide crops"><table><tr>{head}</tr>\n{body}</table></div>'


def _strip(which: Recording, clip: pathlib.Path) -> str:
  """First, middle and last frame side by side, as a picture in the page's text."""
  with np.load(clip) as parts:
    video = parts['video']
  three = Image.fromarray(np.concatenate([video[i] for i in (0, len(video) // 2, -1)], axis=1))
  file = io.BytesIO()
  three.resize((3 * SIDE, SIDE), Image.Resampling.BOX).save(file, 'JPEG', quality=85)
  return page.image(str(which), file.getvalue(), 'jpeg')
