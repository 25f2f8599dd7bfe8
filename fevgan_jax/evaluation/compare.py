"""Several runs side by side: the paper's Tables 1 and 3, its Figures 2 to 6, and a page that plays
them."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from absl import logging

from fevgan_jax.data import datasets
from fevgan_jax.evaluation import figures, tables
from fevgan_jax.evaluation.runs import check_comparable, distinguish, read
from fevgan_jax.runtime import media, page
from fevgan_jax.runtime.files import replacing


def compare(
  workdirs: Sequence[pathlib.Path],
  output: pathlib.Path,
  overrides: Mapping[str, Any] | None = None,
) -> list[pathlib.Path]:
  """Tables and figures over runs that were measured on the same clips.

  Args:
    workdirs: of the runs. The first is the one that differences are to, and that the figures of a
      single system show.
    output: folder for comparison.md, figure2.png to figure6.png and comparison.html.
    overrides: of the configs that they were trained with, see `trained.load`.

  Returns:
    The files written.

  Raises:
    UserError: a run was not measured, or not with the others' protocol, or not on their clips.
  """
  runs = [read(workdir, overrides or {}) for workdir in workdirs]
  check_comparable(runs)
  runs = distinguish(runs)
  source = datasets.Clips(datasets.prepare(runs[0].generator.config), 'test')
  title = tables.headline(runs)
  tabulated = tables.tables(runs)
  drawn = figures.figures(runs, source)

  parts = [
    *map(page.table, tabulated),
    *(page.picture(figure.caption, media.webp(figure.playing()), 'webp') for figure in drawn),
    page.terms('Protocol', runs[0].result['protocol']),
  ]
  files = [output / 'comparison.md', output / 'comparison.html']
  for path, text in (
    (files[0], tables.markdown(title, tabulated, runs[0])),
    (files[1], page.html(title, parts)),
  ):
    with replacing(path) as temporary:
      pathlib.Path(temporary).write_text(text)
  for figure in drawn:
    files.append(output / f'figure{figure.number}.png')
    media.write_png(files[-1], figure.sheet())
  logging.info('wrote %s', ', '.join(map(str, files)))
  return files
