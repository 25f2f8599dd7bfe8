"""One HTML file with the tables and the playing clips in it: it can be sent and opened anywhere."""

import base64
import dataclasses
import html as escaping
from collections.abc import Iterable, Mapping, Sequence

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem;
       color: #222; background: #fff }
.wide { overflow-x: auto }
table { border-collapse: collapse; white-space: nowrap; font-variant-numeric: tabular-nums }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid #ddd }
th { white-space: normal; vertical-align: bottom }
th:first-child, td:first-child { text-align: left }
figure { margin: 2rem 0 } figcaption { margin-bottom: .5rem; font-weight: 600 }
img { max-width: 100% }
pre { background: #f4f4f4; padding: .75rem; overflow-x: auto }
.note, dl { color: #555; font-size: .9rem }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem }
dt { font-weight: 600 } dd { margin: 0 }
"""


@dataclasses.dataclass(frozen=True)
class Table:
  """Text in rows and columns, and what has to be known to read it."""

  title: str
  head: Sequence[str]
  rows: Sequence[Sequence[str]]
  note: str


def html(title: str, parts: Iterable[str]) -> str:
  """The page as text; needs no network and no other file."""
  body = '\n'.join([f'<h1>{text(title)}</h1>', *parts])
  return (
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width">'
    f'<title>{text(title)}</title><style>{STYLE}</style></head>\n<body>\n{body}\n</body></html>\n'
  )


def table(made: Table) -> str:
  head = ''.join(f'<th>{text(word)}</th>' for word in made.head)
  rows = ''.join(
    '<tr>' + ''.join(f'<td>{text(word)}</td>' for word in row) + '</tr>\n' for row in made.rows
  )
  return (
    f'<h2>{text(made.title)}</h2><div class="wide"><table><tr>{head}</tr>\n{rows}</table></div>'
    f'<p class="note">{text(made.note)}</p>'
  )


def picture(caption: str, data: bytes, kind: str) -> str:
  """A picture or playing clips in the page's own text; `kind` is 'webp', 'gif' or 'png'."""
  return f'<figure><figcaption>{text(caption)}</figcaption>{image(caption, data, kind)}</figure>'


def image(name: str, data: bytes, kind: str) -> str:
  """A picture alone; `kind` may be 'jpeg' as well."""
  source = f'data:image/{kind};base64,{base64.b64encode(data).decode()}'
  return f'<img alt="{text(name)}" src="{source}">'


def terms(title: str, explained: Mapping[str, str]) -> str:
  """A list of words and what they mean."""
  rows = ''.join(f'<dt>{text(word)}</dt><dd>{text(what)}</dd>' for word, what in explained.items())
  return f'<h2>{text(title)}</h2><dl>{rows}</dl>'


def lines(title: str, listed: Iterable[str]) -> str:
  """Sentences, one below the other."""
  rows = ''.join(f'<li>{text(line)}</li>\n' for line in listed)
  return f'<h2>{text(title)}</h2><ul>{rows}</ul>'


def commands(title: str, lines: Iterable[str]) -> str:
  """What can be typed."""
  return f'<h2>{text(title)}</h2><pre>{text(chr(10).join(lines))}</pre>'


def text(words: str) -> str:
  return escaping.escape(words)
