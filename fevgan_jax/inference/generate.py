"""One photograph, labels and intensities to video files."""

import itertools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from absl import logging
from einops import rearrange

from fevgan_jax.faces.labels import EXPRESSIONS
from fevgan_jax.inference import trained
from fevgan_jax.inference.model import Model
from fevgan_jax.runtime import media
from fevgan_jax.runtime.media import Picture


def generate(
  image: Picture,
  expression: str,
  output: pathlib.Path,
  *,
  workdir: pathlib.Path | None = None,
  system: str = trained.BEST,
  overrides: Mapping[str, Any] | None = None,
  intensity: Sequence[float] = (1.0,),
  seed: int = 0,
) -> list[pathlib.Path]:
  """Animates the face of a photograph, cropped to the size of the clips that were trained on.

  Args:
    image: a picture with a face, most often a file.
    expression: one of EXPRESSIONS, or 'all'.
    output: folder for input.png, NAME.mp4, NAME.gif and NAME.png of each clip, and, of several
      clips, all.png, a sheet, and all.gif. NAME is the expression, and the intensity behind it if
      there are several.
    workdir: of a training run, or None for the weights that come with the project.
    system: whose weights; only read without a workdir.
    overrides: of the config that it was trained with, see `trained.load`.
    intensity: one or several, see `Model`.
    seed: of the noise, for a system that draws any.

  Returns:
    The files written.

  Raises:
    UserError: see `Model`; no weights, or an output that cannot be written.
  """
  model = Model(trained.load(workdir, overrides, system=system))
  expressions = EXPRESSIONS if expression == 'all' else (expression,)
  face = model.crop(image)
  table = model(face, expressions, intensity, seed=seed, cropped=True)

  cases = itertools.product(expressions, intensity)
  names = [name if len(intensity) == 1 else f'{name} {amount:g}' for name, amount in cases]
  clips = rearrange(table, 'expression intensity ... -> (expression intensity) ...')
  output.mkdir(parents=True, exist_ok=True)
  files = [output / 'input.png']
  media.write_png(files[0], face)
  for name, clip in zip(names, clips):
    stem = name.replace(' ', '-')
    files += [output / f'{stem}.{suffix}' for suffix in ('mp4', 'gif', 'png')]
    media.write_mp4(files[-3], clip)
    media.write_gif(files[-2], clip)
    media.write_png(files[-1], media.sheet(clip[None], [name], inputs=face[None]))
  if len(clips) > 1:
    files += [output / 'all.png', output / 'all.gif']
    inputs = face[None].repeat(len(clips), 0)
    media.write_png(files[-2], media.sheet(clips, names, inputs=inputs))
    rows = [f'{amount:g}' for amount in intensity] if len(intensity) > 1 else ['']
    grid = rearrange(table, 'expression intensity ... -> intensity expression ...')
    media.write_gif(files[-1], media.grid(grid, rows, expressions))
  logging.info('wrote %s', ', '.join(map(str, files)))
  return files
