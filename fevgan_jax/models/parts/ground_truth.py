"""The ground truth of rendered clips, in the units of networks."""

import functools
import math
from collections.abc import Mapping

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from fevgan_jax.faces import crop, truth

Array = jax.Array

GAMMA = 2.2  # of sRGB, nearly


@flax.struct.dataclass
class Truth:
  """Ground truth of a batch of rendered clips, in the units of networks; see `faces/truth.py`.

  Attributes:
    displacement: [batch, time, side, side, 2], from a pixel to where its point was in frame 0, in
      pixels, downwards and to the right; 0 where that was not seen.
    visible: bool [batch, time, side, side, 1], points that frame 0 shows.
    hidden: bool, alike, points that it does not.
    shading: [batch, time, side, side, 1], the logarithm of what a pixel's value in sRGB has been
      multiplied with since frame 0; 0 where it was not seen.
    sheet: int [batch, time, side, side, 1], to which of `truth.SHEETS` the point belongs.
    landmarks: [batch, time, 68, 2] in pixels, to the right and down.
  """

  displacement: Array
  visible: Array
  hidden: Array
  shading: Array
  sheet: Array
  landmarks: Array

  @classmethod
  def of(cls, batch: Mapping[str, Array]) -> 'Truth | None':
    """From a batch as stored; None if the data set does not know it."""
    if not truth.KNOWN.keys() <= batch.keys():
      return None
    side = batch['displacement'].shape[-2]
    displacement = batch['displacement'] * (truth.DISPLACEMENT_UNIT * side / crop.SIDE)
    center = jnp.arange(side) + 0.5
    sources = jnp.stack(jnp.meshgrid(center, center, indexing='ij'), -1) + displacement
    visibility = batch['visibility'][..., None]
    return cls(
      displacement,
      visibility == truth.VISIBLE,
      visibility == truth.HIDDEN,
      batch['shading'][..., None] * (truth.SHADING_UNIT * math.log(2) / GAMMA),
      jax.vmap(sheet_of)(sources, batch['landmarks'][:, 0])[..., None],
      batch['landmarks'],
    )


def sheet_of(points: Array, landmarks: Array) -> Array:
  """To which of `truth.SHEETS` points of a face belong: points [..., 2], down and to the right, and
  landmarks [68, 2], to the right and down -> int [...]. Lines go on at the height of their ends."""
  y, x = points[..., 0], points[..., 1]

  def below(line: Array) -> Array:
    return y > jnp.interp(x, line[:, 0], line[:, 1])

  sheet = jnp.where(below(landmarks[np.array(truth.EYE_LINE)]), truth.CHEEK, truth.BROW)
  sheet = jnp.where(below(landmarks[np.array(truth.LIP_LINE)].mean(1)), truth.JAW, sheet)
  for outline in truth.EYE_OUTLINES:
    corners = landmarks[np.array(outline)]
    edges = jnp.roll(corners, -1, 0) - corners
    inside = [
      (y - corner[1]) * edge[0] > (x - corner[0]) * edge[1] for corner, edge in zip(corners, edges)
    ]
    sheet = jnp.where(functools.reduce(jnp.logical_and, inside), truth.EYES, sheet)
  return sheet
