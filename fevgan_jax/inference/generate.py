"""One photograph, labels and intensities to video files."""

import itertools
import pathlib
from collections.abc import Sequence

import jax
import ml_collections
import numpy as np
from absl import logging
from einops import rearrange

from fevgan_jax.data import datasets
from fevgan_jax.faces import detect
from fevgan_jax.faces.labels import EXPRESSIONS
from fevgan_jax.inference import trained
from fevgan_jax.runtime import media
from fevgan_jax.runtime.errors import UserError

STRONGEST = 1.2  # intensity, of the takes of synthetic_faces/graded: beyond it nothing was trained


def generate(
  config: ml_collections.ConfigDict,
  workdir: pathlib.Path | None,
  photograph: str,
  expression: str,
  output: pathlib.Path,
  intensities: Sequence[float] = (1.0,),
  *,
  seed: int = 0,
) -> list[pathlib.Path]:
  """Animates the face of a photograph, cropped to the size of the clips that were trained on.

  Args:
    config: of which only what belongs to this machine is used, and without a workdir the system.
    workdir: of a training run, or None for the weights that come with the project.
    photograph: a picture file with a face.
    expression: one of EXPRESSIONS, or 'all'.
    output: folder for input.png, NAME.mp4, NAME.gif and NAME.png of each clip, and, of several
      clips, all.png, a sheet, and all.gif. NAME is the expression, and the intensity behind it if
      there are several.
    intensities: how strong, from 0, the still face, to STRONGEST; 1 is usual.
    seed: of the noise, for a system that draws any.

  Returns:
    The files written.

  Raises:
    UserError: no face, an unknown expression, an intensity out of range or of a system that has
      none, no weights, or an output that cannot be written.
  """
  if expression != 'all' and expression not in EXPRESSIONS:
    raise UserError(
      f"--expression: '{expression}', expected one of {', '.join(EXPRESSIONS)}, or all"
    )
  for intensity in intensities:
    if not 0 <= intensity <= STRONGEST:
      raise UserError(f'--intensity: {intensity:g}, expected 0 (still) to {STRONGEST}')
  generator = trained.load(config, workdir)
  if not generator.graded and set(intensities) != {1.0}:
    raise UserError(f'--intensity: {generator.config.system} has none, fevgan_plus has')
  face = detect.face(photograph, datasets.clip_shape(generator.config)[1])

  expressions = EXPRESSIONS if expression == 'all' else (expression,)
  cases = list(itertools.product(expressions, intensities))
  names = [name if len(intensities) == 1 else f'{name} {amount:g}' for name, amount in cases]
  images = np.stack([face] * len(cases))
  labels = np.array([EXPRESSIONS.index(name) for name, _ in cases])
  amounts = np.array([amount for _, amount in cases], np.float32)
  key = jax.random.key(seed)
  clips = np.asarray(generator.generate(images, labels, key, intensity=amounts))

  output.mkdir(parents=True, exist_ok=True)
  files = [output / 'input.png']
  media.write_png(files[0], face)
  for name, clip in zip(names, clips):
    stem = name.replace(' ', '-')
    files += [output / f'{stem}.{suffix}' for suffix in ('mp4', 'gif', 'png')]
    media.write_mp4(files[-3], clip)
    media.write_gif(files[-2], clip)
    media.write_png(files[-1], media.sheet(clip[None], [name], inputs=face[None]))
  if len(cases) > 1:
    files += [output / 'all.png', output / 'all.gif']
    media.write_png(files[-2], media.sheet(clips, names, inputs=images))
    grid = rearrange(clips, '(label n) ... -> n label ...', n=len(intensities))
    rows = [f'{amount:g}' for amount in intensities] if len(intensities) > 1 else ['']
    media.write_gif(files[-1], media.grid(grid, rows, expressions))
  logging.info('wrote %s', ', '.join(map(str, files)))
  return files
