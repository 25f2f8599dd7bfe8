"""FEV-GAN in JAX and Flax: one neutral face and an expression label to a 32-frame video.

import fevgan_jax

model = fevgan_jax.load()
clip = model.animate('me.jpg', 'happiness')
fevgan_jax.write_video('happiness.mp4', clip)
"""

from typing import TYPE_CHECKING

# All that is heavy is imported where it is used: `import fevgan_jax` costs nothing.
if TYPE_CHECKING:
  import os

  import numpy as np

  from fevgan_jax.inference.model import Model


def load(source: 'str | os.PathLike' = '') -> 'Model':
  """Loads a trained generator.

  Args:
    source: the workdir of a training run, or a system whose weights come with the project, 'fevgan'
      or 'fevgan_plus'; the latter if empty.

  Returns:
    An `inference.model.Model`: (picture, expression, intensity=1.0) -> uint8 [32, side, side, 3],
    the face as the networks see it; its `animate` moves the photograph itself, at its own size.

  Raises:
    UserError: there is no such run, and no such weights.
  """
  import pathlib

  from fevgan_jax import models
  from fevgan_jax.inference import trained
  from fevgan_jax.inference.model import Model

  source = str(source)
  if not source:
    return Model(trained.load())
  if source in models.names():
    return Model(trained.load(system=source))
  return Model(trained.load(pathlib.Path(source).expanduser()))


def write_video(path: 'str | os.PathLike', clip: 'np.ndarray', fps: float = 25) -> None:
  """Writes a generated clip as MP4, or as GIF if the file's name ends so. Its metadata say that it
  is synthetic.

  Args:
    path: of the file.
    clip: uint8 [time, height, width, 3].
    fps: frames per second.

  Raises:
    UserError: another ending, or it cannot be written.
  """
  import pathlib

  from fevgan_jax.runtime import media
  from fevgan_jax.runtime.errors import UserError

  writers = {'.mp4': media.write_mp4, '.gif': media.write_gif}
  suffix = pathlib.Path(path).suffix.lower()
  if suffix not in writers:
    raise UserError(f'{path}: expected a name that ends in {" or ".join(writers)}')
  writers[suffix](path, clip, fps=fps, comment=media.SYNTHETIC)
