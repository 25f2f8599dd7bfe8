"""One HTML file with the tables and the playing clips in it: it can be sent and opened anywhere."""

import base64
import html as escaping

from fevgan_jax.evaluation.figures import Figure
from fevgan_jax.evaluation.runs import Run
from fevgan_jax.evaluation.tables import Table
from fevgan_jax.runtime import media

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem;
       color: #222; background: #fff }
.wide { overflow-x: auto }
table { border-collapse: collapse; white-space: nowrap; font-variant-numeric: tabular-nums }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid #ddd }
th { white-space: normal; vertical-align: bottom }
th:first-child, td:first-child { text-align: left }
figure { margin: 2rem 0 } figcaption { margin-bottom: .5rem; font-weight: 600 }
img { max-width: 100% } .note, dl { color: #555; font-size: .9rem } dt { font-weight: 600 }
"""


def html(title: str, tables: list[Table], figures: list[Figure], run: Run) -> str:
  """The page as text; needs no network and no other file."""
  parts = [f'<h1>{text(title)}</h1>', *map(table, tables), *map(figure, figures)]
  rules = ''.join(
    f'<dt>{text(name)}</dt><dd>{text(rule)}</dd>' for name, rule in run.result['protocol'].items()
  )
  body = '\n'.join([*parts, f'<h2>Protocol</h2><dl>{rules}</dl>'])
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


def figure(drawn: Figure) -> str:
  data = base64.b64encode(media.webp(drawn.playing())).decode()
  caption = f'Figure {drawn.number}: {drawn.title}'
  return (
    f'<figure><figcaption>{text(caption)}</figcaption>'
    f'<img alt="{text(caption)}" src="data:image/webp;base64,{data}"></figure>'
  )


def text(words: str) -> str:
  return escaping.escape(words)
