"""What a system is: a generator, its critics, and the terms of the generator's objective.

A description without state. `step.train_step` needs nothing else, so that a new system is one file
in `models/` and the step, the loop and the evaluation stay as they are.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax

from fevgan_jax.faces.labels import NUM_LABELS
from fevgan_jax.identity import IdentityEncoder
from fevgan_jax.models.parts.ground_truth import Truth
from fevgan_jax.models.parts.losses import CROSS_ENTROPY, Game

Array = jax.Array


@flax.struct.dataclass
class Example:
  """A batch as the networks see it.

  Attributes:
    video: [batch, time, height, width, 3] in [-1, 1], the real clip.
    label: [batch, 6], one-hot; of a graded system times the clip's intensity.
    features: [batch, 4, 4, channels] of the first frame, by the frozen face network; None without
      one.
    truth: what a renderer knows of the clip, of a system that learns from it and a data set that
      has it; else None.
    landmarks: [batch, time, 68, 2] in pixels, to the right and down; likewise.
  """

  video: Array
  label: Array
  features: Array | None
  truth: Truth | None = None
  landmarks: Array | None = None

  @property
  def image(self) -> Array:
    """[batch, height, width, 3]: the neutral face is the clip's first frame."""
    return self.video[:, 0]


@flax.struct.dataclass
class Generated:
  """What a generator returns: video [batch, time, height, width, 3] in [-1, 1], and named extras
  for the terms."""

  video: Array
  extras: dict[str, Array] = flax.struct.field(default_factory=dict)


@flax.struct.dataclass
class Verdict:
  """What a critic says of a view.

  Attributes:
    logits: [batch, ...], real against generated; of a critic that judges a view part by part, one
      of each part. Losses are means over all.
    label_logits: [batch, ..., 6], which label it sees; None of a critic that does not classify.
  """

  logits: Array
  label_logits: Array | None = None


def videos(example: Example, generated: Generated) -> tuple[Array, Array]:
  """What most critics judge."""
  return example.video, generated.video


def whole_clip(video: Array, rng: Array) -> Array:
  """The view of a critic that judges all frames."""
  del rng
  return video


@dataclasses.dataclass(frozen=True)
class Critic:
  """A network that tells real from generated.

  Attributes:
    module: (view of a clip, label as in `Example`, train) -> logits [batch, ...], or a Verdict if
      it classifies too.
    optimizer: updates its parameters.
    view: (video, rng) -> what of the clip it judges.
    label_weight: of the cross-entropy of the label in the losses of one that classifies: of real
      clips in its own, of generated ones in the generator's.
    pair: (example, generated) -> the real and the generated video, or what else it judges.
    game: its loss and the generator's.
    gradient_penalty: weight of `losses.gradient_penalty`, between real and generated views.
    steps: of its optimizer for one of the generator's, on the same batch.
  """

  module: nn.Module
  optimizer: optax.GradientTransformation
  view: Callable[[Array, Array], Array] = whole_clip
  label_weight: float = 0.0
  pair: Callable[[Example, Generated], tuple[Array, Array]] = videos
  game: Game = CROSS_ENTROPY
  gradient_penalty: float = 0.0
  steps: int = 1


@dataclasses.dataclass(frozen=True)
class Term:
  """A weighted term of the generator's objective beside the adversarial one.

  Attributes:
    weight: its lambda.
    loss: (example, generated, encode, rng) -> scalar, `encode` being the frozen face network,
      [batch, height, width, 3] -> [batch, 4, 4, channels].
  """

  weight: float
  loss: Callable[[Example, Generated, Callable[[Array], Array], Array], Array]


@dataclasses.dataclass(frozen=True)
class System:
  """Everything that training needs to know.

  Attributes:
    generator: module, (image, label, features, train), as in `Example` -> Generated; draws noise,
      if any, from the random stream 'noise'.
    given: of an `Example`, what the generator is also given in training, by keyword and in float32,
      whatever `dtype` is.
    optimizer: updates the generator's parameters.
    critics: by name.
    terms: by name.
    adversarial_weight: of every critic's verdict in the generator's objective.
    judges_before_update: whether the generator is judged by the critics as they were before the
      step, or as the step has updated them.
    graded: whether labels are multiplied by how strong an expression is, 1 being usual, and 0 the
      still face.
    identity: the frozen face network; its parameters are an argument of the step. None without one.
    dtype: what the networks compute in. Parameters, optimizer states, batch statistics and losses
      are float32 whatever it is: `apply` rounds on the way in, and converts back on the way out.
    axis_name: the device axis over which statistics and gradients are averaged; None on one device.
  """

  generator: nn.Module
  optimizer: optax.GradientTransformation
  critics: Mapping[str, Critic]
  terms: Mapping[str, Term]
  adversarial_weight: float = 1.0
  judges_before_update: bool = False
  graded: bool = False
  given: Sequence[str] = ()
  identity: IdentityEncoder | None = None
  dtype: jnp.dtype = jnp.float32
  axis_name: str | None = None

  def encode(self, frozen, images: Array) -> Array | None:
    """Face features [batch, 4, 4, channels] of images [batch, height, width, 3] in [-1, 1]."""
    if self.identity is None:
      return None
    return self.identity.apply(*cast((frozen, images), self.dtype)).astype(jnp.float32)

  def apply(self, module: nn.Module, variables, *inputs, **options):
    """`module.apply`, with parameters and inputs in `dtype`, options as they are; the result is
    float32 again."""
    variables = {**variables, 'params': cast(variables['params'], self.dtype)}
    return cast(module.apply(variables, *cast(inputs, self.dtype), **options), jnp.float32)

  def example(self, frozen, batch: Mapping[str, Array]) -> Example:
    """A batch as stored (uint8 video, integer label, intensity if it is known) to what the networks
    see."""
    video = to_signed(batch['video'])
    label = self.condition(batch['label'], batch.get('intensity', 1.0))
    features = self.encode(frozen, video[:, 0])
    return Example(video, label, features, Truth.of(batch), batch.get('landmarks'))

  def guidance(self, example: Example) -> dict[str, Array]:
    """What the generator is given in training, and has to do without when it is used."""
    return {name: getattr(example, name) for name in self.given}

  def condition(self, labels: Array, intensity: Array | float) -> Array:
    """Labels, int [batch] or mixtures of them, float [batch, 6], and intensities, [batch] or one
    for all -> [batch, 6]."""
    label = labels if labels.ndim == 2 else jax.nn.one_hot(labels, NUM_LABELS)
    return jnp.expand_dims(intensity, -1) * label if self.graded else label

  def generated(
    self,
    variables,
    frozen,
    images: Array,
    labels: Array,
    rng: Array,
    intensity: Array | float = 1.0,
  ) -> Generated:
    """For use, not for training: stored statistics, nothing updated.

    Args:
      variables: the generator's {'params', 'batch_stats'}.
      frozen: parameters of the face network, or None.
      images: uint8 [batch, height, width, 3].
      labels: int [batch], or mixtures of them, float [batch, 6].
      rng: key for a generator that draws noise.
      intensity: [batch] or one for all; only a graded system's clips depend on it.
    """
    images = to_signed(images)
    return self.apply(
      self.generator,
      variables,
      images,
      self.condition(labels, intensity),
      self.encode(frozen, images),
      train=False,
      rngs={'noise': rng},
    )

  def generate(self, *args, **options) -> Array:
    """The clips of `generated`: uint8 [batch, time, height, width, 3]."""
    return to_uint8(self.generated(*args, **options).video)


def cast(tree, dtype: jnp.dtype):
  """Every array of a tree in this floating-point type."""
  return jax.tree.map(lambda x: x.astype(dtype), tree)


def to_signed(pixels: Array) -> Array:
  """uint8 to float32 in [-1, 1]."""
  return pixels.astype(jnp.float32) / 127.5 - 1


@jax.jit
def to_uint8(pixels: Array) -> Array:
  """Float in [-1, 1] to uint8."""
  return jnp.round((jnp.clip(pixels, -1, 1) + 1) * 127.5).astype(jnp.uint8)
