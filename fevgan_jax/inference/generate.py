"""One photograph, labels and intensities to video files."""

import concurrent.futures
import itertools
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from absl import logging
from einops import rearrange

from fevgan_jax import models
from fevgan_jax.faces.labels import EXPRESSIONS
from fevgan_jax.inference import trained
from fevgan_jax.inference.model import Model
from fevgan_jax.photograph import mover
from fevgan_jax.runtime import media, workers
from fevgan_jax.runtime.errors import UserError
from fevgan_jax.runtime.media import SYNTHETIC, Picture

GIF_SIDE = 320  # pixels: a GIF has no compression worth the name
SHEET_SIDE = 192


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
  frame: str = '',
  loop: bool = False,
  largest: int | None = None,
  curve: Sequence[float] = (),
  frames: int | None = None,
  sway: bool = False,
) -> list[pathlib.Path]:
  """Animates the face of a photograph.

  Args:
    image: a picture with a face, most often a file.
    expression: one of EXPRESSIONS, a mixture of them, see `Model`, or 'all'.
    output: folder for input.png, NAME.mp4, NAME.gif and NAME.png of each clip, and, of several
      clips, all.png, a sheet, and all.gif. NAME is the expression, and the intensity behind it if
      there are several.
    workdir: of a training run, or None for the weights that come with the project.
    system: whose weights; only read without a workdir.
    overrides: of the config that it was trained with, see `trained.load`.
    intensity: one or several, see `Model`.
    seed: of the noise, for a system that draws any, and of how a head drifts.
    frame: what is shown: 'crop', the masked face as the networks see it; 'face', the photograph
      about the face, or 'whole', all of it, for a system that moves pixels. Empty for 'face' where
      that is possible.
    loop: clips go back to the neutral face.
    largest: a longer side of the photograph that is shown is reduced to so many pixels, of GIFs and
      sheets to fewer; `mover.LARGEST` if None.
    curve: how far the expression has come, see `Model.animate`; from neutral to the apex if empty.
    frames: of a clip; as many as the network makes if None.
    sway: the head drifts as well, see `Model.animate`.

  Returns:
    The files written.

  Raises:
    UserError: see `Model`; no weights, or an output that cannot be written.
  """
  model = Model(trained.load(workdir, overrides, system=system))
  expressions = EXPRESSIONS if expression == 'all' else (expression,)
  moves = models.recipe(model.generator.config.system).moves_pixels
  frame = frame or ('face' if moves else 'crop')
  if frame == 'crop':
    given = {'largest': largest, 'curve': curve or None, 'frames': frames, 'sway': sway or None}
    for flag, value in given.items():
      if value is not None:
        raise UserError(
          f'--{flag}: a crop is as the networks make it: it is for --frame face or whole'
        )
    face = model.crop(image)
    table = model(face, expressions, intensity, seed=seed, cropped=True)
  else:
    limit, pace = largest or mover.LARGEST, {'curve': curve or (0, 1), 'frames': frames}
    drift = {'sway': sway, 'seed': seed}
    table = model.animate(
      image, expressions, intensity, frame=frame, largest=limit, **pace, **drift
    )
    face = table[0, 0, 0]

  def played(clip: np.ndarray) -> np.ndarray:
    return np.concatenate([clip, clip[-2:0:-1]]) if loop else clip

  cases = itertools.product(expressions, intensity)
  names = [name if len(intensity) == 1 else f'{name} {amount:g}' for name, amount in cases]
  clips = rearrange(table, 'expression intensity ... -> (expression intensity) ...')
  output.mkdir(parents=True, exist_ok=True)
  files = [output / 'input.png']
  media.write_png(files[0], face)
  small = np.stack([media.fit(clip, SHEET_SIDE) for clip in clips])
  inputs = media.fit(face[None], SHEET_SIDE).repeat(len(clips), 0)

  def write(name: str, clip: np.ndarray, small: np.ndarray) -> list[pathlib.Path]:
    mp4, gif, png = (
      output / f'{re.sub("[ :,]", "-", name)}.{kind}' for kind in ('mp4', 'gif', 'png')
    )
    media.write_mp4(mp4, played(clip), comment=SYNTHETIC)
    media.write_gif(gif, played(media.fit(clip, GIF_SIDE)), comment=SYNTHETIC)
    media.write_png(png, media.sheet(small[None], [name], inputs=inputs[:1]), comment=SYNTHETIC)
    return [mp4, gif, png]

  with concurrent.futures.ThreadPoolExecutor(workers.available_cores()) as pool:
    for written in pool.map(write, names, clips, small):
      files += written
  if len(clips) > 1:
    files += [output / 'all.png', output / 'all.gif']
    media.write_png(files[-2], media.sheet(small, names, inputs=inputs), comment=SYNTHETIC)
    rows = [f'{amount:g}' for amount in intensity] if len(intensity) > 1 else ['']
    grid = rearrange(small, '(e i) ... -> i e ...', i=len(intensity))
    media.write_gif(files[-1], played(media.grid(grid, rows, expressions)), comment=SYNTHETIC)
  logging.info('wrote %s', ', '.join(map(str, files)))
  return files
