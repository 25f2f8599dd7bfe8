"""One photograph and a label to a video file."""

import pathlib

import jax
import ml_collections
import numpy as np
from absl import logging

from fevgan_jax import media, trained
from fevgan_jax.errors import UserError
from fevgan_jax.expressions import EXPRESSIONS
from fevgan_jax.faces import detect


def generate(
  config: ml_collections.ConfigDict,
  workdir: pathlib.Path | None,
  photograph: str,
  expression: str,
  output: pathlib.Path,
  *,
  seed: int = 0,
) -> list[pathlib.Path]:
  """Animates the face of a photograph.

  Args:
    config: of which only paths are used; the networks are those that the weights were trained as.
    workdir: of a training run, or None for the weights that come with the project.
    photograph: a picture file with a face.
    expression: one of EXPRESSIONS, or 'all'.
    output: folder for input.png, EXPRESSION.mp4, EXPRESSION.gif and EXPRESSION.png, and for 'all'
      a sheet too.
    seed: of the noise, for a system that draws any.

  Returns:
    The files written.

  Raises:
    UserError: no face, an unknown expression, no weights, or an output that cannot be written.
  """
  if expression != 'all' and expression not in EXPRESSIONS:
    raise UserError(
      f"--expression: '{expression}', expected one of {', '.join(EXPRESSIONS)}, or all"
    )
  chosen = EXPRESSIONS if expression == 'all' else (expression,)
  face = detect.face(photograph)
  generator = trained.load(config, workdir)
  output.mkdir(parents=True, exist_ok=True)
  media.write_png(output / 'input.png', face)
  labels = np.array([EXPRESSIONS.index(name) for name in chosen])
  images = np.stack([face] * len(chosen))
  clips = np.asarray(generator.generate(images, labels, jax.random.key(seed)))

  files = [output / 'input.png']
  for name, clip in zip(chosen, clips):
    files += [output / f'{name}.{suffix}' for suffix in ('mp4', 'gif', 'png')]
    media.write_mp4(files[-3], clip)
    media.write_gif(files[-2], clip)
    media.write_png(files[-1], media.sheet(clip[None], [name], inputs=face[None]))
  if expression == 'all':
    files += [output / 'all.png', output / 'all.gif']
    media.write_png(files[-2], media.sheet(clips, chosen, inputs=images))
    media.write_gif(files[-1], media.grid(clips[None], [''], chosen))
  logging.info('wrote %s', ', '.join(map(str, files)))
  return files
