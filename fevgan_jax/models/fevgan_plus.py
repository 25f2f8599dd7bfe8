"""FEV-GAN+: FEV-GAN with a decoder that moves the input's own pixels.

FEV-GAN paints every pixel of 32 frames, and little of an unseen person is left. Here the decoder
says where each pixel comes from and how the light on it changes, and paints only what the picture
does not show: teeth, a tongue, the white of an eye that widens. Encoders and critic are FEV-GAN's.

A face is four sheets (layered motion: Wang and Adelson, 1994): the skin above the line through the
eyes, the skin between that and the lips, what hangs on the jaw below them, and the eyeballs. Each
moves smoothly; what is sharp about a movement is which sheet a pixel shows.

Everybody smiles alike, more or less: the decoder has a movement of each label that it learns by
heart, and says of a picture in what it differs.

The colors of a clip tell little of this: painting a lip is as good as moving it, and easier to
learn. Where a data set knows what moved, what was hidden and how the light changed (rendered faces
do), four terms of the objective teach it. On others the objective is FEV-GAN's.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from einops import rearrange
from jax.scipy.ndimage import map_coordinates

from fevgan_jax.faces import crop, truth
from fevgan_jax.faces.labels import NUM_LABELS
from fevgan_jax.faces.truth import EDGES, SHEETS
from fevgan_jax.identity import IdentityEncoder
from fevgan_jax.models import fevgan
from fevgan_jax.models.parts.layers import UpConv, normal_init
from fevgan_jax.models.parts.recipe import Config
from fevgan_jax.models.parts.system import Example, Generated, System, Term
from fevgan_jax.models.parts.warp import warp

Array = jax.Array

LARGEST = 12 / 64  # displacement at intensity 1, in parts of the picture's side
LARGEST_SHADING = 1.5  # logarithm of a factor
HIDDEN_WEIGHT = 3.0  # of a hidden point in the sheets' term
BEGINNING = 8  # frames over which a movement ramps up
PAINTED = 4.0  # what is painted is all there once a quarter of a usual expression is
LEARNED = 10.0  # factor on what is learned by heart, whose parameters so learn that much faster
USUAL = 8, 32, 32  # frames, rows and columns of it
SHARP = 4.0  # factor on the part of it that says which sheet a pixel shows


class MotionDecoder(fevgan.VideoDecoder):
  """Fused features to what happens to a picture; the layers of FEV-GAN's decoder but for the last.

  The sheets' displacements and the shading are smooth: they are read off the layer before the last,
  on a grid of half the side and half the frames, and interpolated. Which sheet a pixel shows is
  sharp, and comes from the last layer as well. What is learned by heart is added to both.
  """

  @nn.compact
  def __call__(self, features: Array, image: Array, label: Array, train: bool) -> Generated:
    """features [batch, G, G, channels], image [batch, S, S, 3] in [-1, 1] -> a video [batch, 32, S,
    S, 3], whose frame 0 is the image, and at intensity 0 every frame. Its extras, all [batch, 32,
    S, S, ...]: 'moves' [..., 4, 2], the displacement of each sheet, and 'displacement' [..., 2],
    which a pixel has of them, in pixels; 'sheets' [..., 5], what part of a pixel shows which of
    SHEETS, and what part none; 'shading' [..., 1], the logarithm of a factor; 'mask' [..., 1] in
    [0, 1], what part is painted, and 'color' [..., 3] in [-1, 1]."""
    side = image.shape[1]
    grown = self.width, self.first, self.repeat_edges, self.norm
    x = fevgan.grow(features, side, *grown, train)
    fine = UpConv(len(SHEETS) + 3, repeat_edges=self.repeat_edges)(x)
    # float32 throughout: bfloat16 would round displacements to fractions of a pixel.
    moving = 2 * len(SHEETS)
    smooth = moving + 1 + len(SHEETS)
    said = nn.Dense(smooth, kernel_init=normal_init)(x).astype(jnp.float32)
    usual = self.param('usual', nn.initializers.zeros, (NUM_LABELS, *USUAL, smooth), jnp.float32)
    amount = label.sum(-1, keepdims=True)
    mixture = (label / jnp.maximum(amount, 1e-6)).astype(jnp.float32)
    by_heart = LEARNED * jnp.tensordot(mixture, usual, 1)
    size = *fine.shape[:-1], smooth
    said, by_heart = (jax.image.resize(field, size, 'linear') for field in (said, by_heart))
    said += by_heart
    # Nothing has happened yet in frame 0, and nothing can have jumped in the next.
    begun = jnp.minimum(jnp.arange(fine.shape[1]) / BEGINNING, 1)
    amount = rearrange(begun * amount, 'b t -> b t 1 1 1')
    moves = amount * LARGEST * side * jnp.tanh(said[..., :moving])
    moves = rearrange(moves, 'b t h w (sheet yx) -> b t h w sheet yx', yx=2)
    shading = amount * LARGEST_SHADING * jnp.tanh(said[..., moving : moving + 1])
    # What is not the first sheet; little is hidden at first.
    others = SHARP * said[..., moving + 1 :] + fine[..., :-3] - jnp.array([0, 0, 0, 2])
    logits = jnp.pad(others, [(0, 0)] * 4 + [(1, 0)])
    sheets, shown = nn.softmax(logits), nn.softmax(logits[..., :-1])
    displacement = (shown[..., None] * moves).sum(-2)
    # A factor on the distance from black, which is -1; exact where nothing changes.
    factor = jnp.exp(shading)
    moved = warp(image, displacement) * factor.astype(image.dtype)
    moved += (factor - 1).astype(image.dtype)
    mask = (sheets[..., -1:] * jnp.minimum(PAINTED * amount, 1)).astype(image.dtype)
    color = jnp.tanh(fine[..., -3:])
    return Generated(
      (1 - mask) * moved + mask * color,
      {
        'displacement': displacement,
        'moves': moves,
        'sheets': sheets,
        'shading': shading,
        'mask': mask,
        'color': color,
      },
    )


def displacement_term(example: Example, generated: Generated, *_) -> Array:
  """Mean |displacement of its sheet - true one| over the points that frame 0 shows, in pixels of
  the 64-pixel template."""
  if example.truth is None:
    return jnp.zeros(())
  known = example.truth
  its = jax.nn.one_hot(known.sheet, len(SHEETS))[..., 0, :, None]
  of_sheet = (its * generated.extras['moves']).sum(-2)
  error = jnp.abs(of_sheet - known.displacement).mean(-1, keepdims=True)
  return masked_mean(error * (crop.SIDE / error.shape[-2]), known.visible)


def edges_term(example: Example, generated: Generated, *_) -> Array:
  """Mean |displacement of a sheet - true one| at the landmarks along its edges, lids and lips, in
  pixels of the 64-pixel template. They are few, and nothing is seen as well."""
  if example.truth is None:
    return jnp.zeros(())
  landmarks, moves = example.truth.landmarks[..., ::-1], generated.extras['moves']

  @jax.vmap
  @jax.vmap
  def read(field: Array, points: Array) -> Array:
    at = (points - 0.5).T
    return jnp.stack([map_coordinates(x, at, 1, 'nearest') for x in jnp.moveaxis(field, -1, 0)], -1)

  errors = []
  for sheet, edge in EDGES.items():
    points = landmarks[..., np.array(edge), :]
    errors.append(jnp.abs(read(moves[..., sheet, :], points) - (points[:, :1] - points)))
  return jnp.concatenate(errors, 2).mean() * (crop.SIDE / moves.shape[2])


def sheets_term(example: Example, generated: Generated, *_) -> Array:
  """Cross-entropy of what a pixel shows: a sheet, or what was hidden in frame 0. Hidden points are
  few, and count HIDDEN_WEIGHT times."""
  if example.truth is None:
    return jnp.zeros(())
  known = example.truth
  shows = jnp.where(known.hidden, len(SHEETS), known.sheet)[..., 0]
  right = jax.nn.one_hot(shows, len(SHEETS) + 1) * generated.extras['sheets']
  entropy = -jnp.log(right.sum(-1, keepdims=True) + 1e-4)
  return masked_mean(entropy, known.visible + HIDDEN_WEIGHT * known.hidden)


def shading_term(example: Example, generated: Generated, *_) -> Array:
  """Mean |logarithm of the light's change - true one| over the points that frame 0 shows."""
  if example.truth is None:
    return jnp.zeros(())
  error = jnp.abs(generated.extras['shading'] - example.truth.shading)
  return masked_mean(error, example.truth.visible)


def masked_mean(values: Array, where: Array) -> Array:
  """The mean over some pixels of each clip, then over clips, so that it does not matter how many
  devices share them: values [batch, ...], bool or weights of the same shape -> a scalar."""
  axes = tuple(range(1, values.ndim))
  return ((values * where).sum(axes) / jnp.maximum(where.sum(axes), 1)).mean()


def defaults() -> Config:
  """FEV-GAN's, with layers for movement in place of detail, which the picture has, and the weights
  of what is learned from the truth."""
  config = fevgan.defaults()
  config.model.spatial_growth = 2
  config.model.first = 'time'
  config.loss.displacement = 20.0
  config.loss.edges = 10.0
  config.loss.sheets = 10.0
  config.loss.shading = 50.0
  return config


def build(
  config: Config,
  identity: IdentityEncoder | None,
  optimizer: optax.GradientTransformation,
  axis_name: str | None,
) -> System:
  """FEV-GAN with another decoder and four terms more."""
  system = fevgan.build(config, identity, optimizer, axis_name, MotionDecoder)
  taught = {
    'displacement': Term(config.loss.displacement, displacement_term),
    'edges': Term(config.loss.edges, edges_term),
    'sheets': Term(config.loss.sheets, sheets_term),
    'shading': Term(config.loss.shading, shading_term),
  }
  return dataclasses.replace(system, terms={**system.terms, **taught})


def short_run(config: Config) -> None:
  """FEV-GAN's, with less weight on what moves: what rests need not be painted."""
  fevgan.short_run(config)
  config.loss.motion_weight = 0.5


RECIPE = dataclasses.replace(
  fevgan.RECIPE,
  title='FEV-GAN+',
  conditions=('image', 'label', 'intensity'),
  supervision=tuple(truth.KNOWN),
  defaults=defaults,
  build=build,
  short_run=short_run,
  options={},
  moves_pixels=True,
  paper={},
  preferred={},
)
