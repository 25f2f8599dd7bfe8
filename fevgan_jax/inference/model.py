"""A trained generator as one calls it: photographs in, clips out."""

import dataclasses
import itertools
from collections.abc import Sequence

import jax
import numpy as np

from fevgan_jax import models
from fevgan_jax.faces import crop, detect
from fevgan_jax.faces.labels import EXPRESSIONS, MAX_INTENSITY, parts
from fevgan_jax.inference.trained import TrainedGenerator
from fevgan_jax.photograph import field, motion, mover
from fevgan_jax.photograph.motion import Motion
from fevgan_jax.runtime import media
from fevgan_jax.runtime.errors import UserError
from fevgan_jax.runtime.media import Picture


@dataclasses.dataclass(frozen=True)
class Model:
  """Animates the face of a picture.

  Attributes:
    generator: with its weights.
  """

  generator: TrainedGenerator

  def crop(self, picture: Picture) -> np.ndarray:
    """The aligned, masked face of a photograph, as the generator sees it: uint8 [side, side, 3].

    Raises:
      UserError: it is no color picture, or shows no face that is large enough.
    """
    return detect.face(picture, self.generator.clip_shape[1])

  def __call__(
    self,
    picture: Picture,
    expression: str | Sequence[str],
    intensity: float | Sequence[float] = 1.0,
    *,
    seed: int = 0,
    cropped: bool = False,
  ) -> np.ndarray:
    """Clips of the person in a picture.

    Args:
      picture: a file, a PIL picture or uint8 [height, width, 3].
      expression: one of EXPRESSIONS, or a mixture, 'happiness:0.6,surprise:0.5'; or several.
      intensity: from 0, the still face, to MAX_INTENSITY, or several; 1 is usual.
      seed: of the noise, for a system that draws any.
      cropped: the picture is a crop already, as `crop` and the data sets have it.

    Returns:
      uint8 [time, side, side, 3]; of several expressions or intensities one clip of each, and of
      several of both a table, [expressions, intensities, time, side, side, 3].

    Raises:
      UserError: no face, an unknown expression, or an intensity out of range or of a system that
        has none.
    """
    self._check(expression, intensity)
    face = media.pixels(picture) if cropped else self.crop(picture)
    cases = itertools.product(np.atleast_1d(expression), np.atleast_1d(intensity))
    inputs = self._inputs(face, [*cases], seed)
    clips = self.generator.generate(*inputs[:-1], intensity=inputs[-1])
    several = np.shape(expression) + np.shape(intensity)
    return np.asarray(clips).reshape(*several, *self.generator.clip_shape)

  def animate(
    self,
    picture: Picture,
    expression: str | Sequence[str],
    intensity: float | Sequence[float] = 1.0,
    *,
    frame: str = 'face',
    largest: int = mover.LARGEST,
    curve: Sequence[float] = (0, 1),
    frames: int | None = None,
    sway: bool = False,
    seed: int = 0,
  ) -> np.ndarray:
    """The photograph itself, moving, at its own size.

    Args:
      picture: a file, a PIL picture or uint8 [height, width, 3].
      expression: one of EXPRESSIONS, or a mixture, 'happiness:0.6,surprise:0.5'; or several.
      intensity: from 0, the still face, to MAX_INTENSITY, or several; 1 is usual.
      frame: 'face', the face with a margin, or 'whole'.
      largest: a longer side is reduced to so many pixels.
      curve: how far the expression has come, from 0 (neutral) to 1 (its apex), at equal distances
        in time: (0, 1, 0) goes there and back.
      frames: of the clip; as many as the network makes if None.
      sway: whether the head drifts as well; else it rests.
      seed: of how it drifts.

    Returns:
      uint8 [time, height, width, 3]; of several expressions or intensities as `__call__`.

    Raises:
      UserError: as `__call__`; or the system does not move pixels.
    """
    if frame not in ('face', 'whole'):
      raise UserError(f"frame: '{frame}', expected face or whole")
    self._check_moves_pixels()
    self._check(expression, intensity)
    if len(curve) < 2 or not all(0 <= x <= 1 for x in curve):
      raise UserError('curve: expected two numbers or more from 0 (neutral) to 1 (the apex)')
    if frames is not None and frames < 2:
      raise UserError(f'frames: {frames}, expected at least 2')
    image = media.pixels(picture)
    side = self.generator.clip_shape[1]
    points = detect.checked(image, side, name=media.name_of(picture), loses_smile=True)
    shown = mover.scene(image, points, frame, largest)
    moves = mover.Mover(shown, side)
    face = moves.proportions.usual(crop.crop(image, points, side * field.DETAIL))
    cases = [*itertools.product(np.atleast_1d(expression), np.atleast_1d(intensity))]
    smiles = detect.smiles(points)
    inputs = self._inputs(face, [*cases, *[('happiness', 1.0)] * smiles], 0)
    motions = self._motions(*inputs)
    if smiles:
      smile = motions.pop()
      happy = [parts(name)[EXPRESSIONS.index('happiness')] for name, _ in cases]
      motions = [
        moving.without_smile(smile, points, min(amount, 1), min(stays, 1))
        for moving, amount, stays in zip(motions, inputs[-1], happy)
      ]
    frames = frames or self.generator.clip_shape[0]
    turns = motion.sway(frames, seed) if sway else None
    # Six clips of a large photograph are the better part of a gigabyte: there is one copy of them.
    clips = np.empty((len(motions), frames, *shown.pixels[shown.view].shape), np.uint8)
    for clip, moving in zip(clips, motions):
      clip[:] = moves.animate(moving.along(curve, frames), turns)
    return clips.reshape(*np.shape(expression), *np.shape(intensity), *clips.shape[1:])

  def _motions(
    self, images: np.ndarray, labels: np.ndarray, key: jax.Array, intensities: np.ndarray
  ) -> list[Motion]:
    """How a face moves: the mean of what is said of it and of its mirror image. Expressions are
    even, and what is uneven about a movement is mostly made up."""

    def said(images: np.ndarray) -> dict[str, np.ndarray]:
      extras = self.generator.generate_all(images, labels, key, intensity=intensities).extras
      return jax.device_get({name: extras[name] for name in motion.READ})

    one, other = said(images), motion.mirrored(said(images[:, :, ::-1]))
    mean = {name: (one[name] + other[name]) / 2 for name in one}
    return [Motion.of({name: x[i] for name, x in mean.items()}) for i in range(len(images))]

  def _check_moves_pixels(self) -> None:
    system = self.generator.config.system
    if not models.recipe(system).moves_pixels:
      others = [name for name in models.names() if models.recipe(name).moves_pixels]
      raise UserError(
        f'frame: {system} paints the crop alone, and does not move a photograph as '
        f'{", ".join(others)} would'
      )

  def _inputs(
    self, face: np.ndarray, cases: Sequence[tuple[str, float]], seed: int
  ) -> tuple[np.ndarray, np.ndarray, jax.Array, np.ndarray]:
    """Images, labels, key and intensities of cases, an expression and an intensity each."""
    if face.shape != self.generator.clip_shape[1:]:
      raise UserError(f'picture: a crop of {face.shape}, expected {self.generator.clip_shape[1:]}')
    mixtures = np.stack([parts(name) for name, _ in cases])
    sums = mixtures.sum(-1)  # a mixture says how strong it is, too
    amounts = np.array([amount for _, amount in cases], np.float32) * sums
    labels = mixtures / np.maximum(sums, 1e-6)[:, None]
    if (labels.max(-1) == 1).all():  # one each, of which every system has a number
      labels = labels.argmax(-1)
    return np.stack([face] * len(cases)), labels, jax.random.key(seed), amounts

  def _check(self, expression: str | Sequence[str], intensity: float | Sequence[float]) -> None:
    intensities, names = np.atleast_1d(intensity), np.atleast_1d(expression)
    for amount in intensities:
      if not 0 <= amount <= MAX_INTENSITY:
        raise UserError(f'intensity: {amount:g}, expected 0 (still) to {MAX_INTENSITY}')
    for name in names:
      if (most := parts(name).sum() * max(intensities)) > MAX_INTENSITY + 1e-6:
        raise UserError(
          f"expression: '{name}' adds up to {most:g}, expected {MAX_INTENSITY} at most"
        )
    mixed = any(':' in name for name in names)
    if not self.generator.graded and (mixed or {*map(float, intensities)} != {1.0}):
      graded = [name for name in models.names() if 'intensity' in models.recipe(name).conditions]
      raise UserError(
        f'{"expression: mixtures" if mixed else "intensity"}: {self.generator.config.system} does '
        f'not use {"them" if mixed else "it"}, as {", ".join(graded)} would'
      )
