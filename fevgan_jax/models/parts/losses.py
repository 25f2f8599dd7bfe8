"""The terms of the objective, one equation of the paper each. All are means, so that weights do
not depend on sizes."""

from collections.abc import Callable
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax

Array = jax.Array


def critic_loss(real_logits: Array, fake_logits: Array) -> Array:
  """Binary cross-entropy of a critic, Algorithm 1, line 10 (without its constant 1).

  -log sigmoid(real) - log(1 - sigmoid(fake)), in the form that does not overflow.

  Args:
    real_logits: [batch, ...], of real clips.
    fake_logits: [batch, ...], of generated clips.

  Returns:
    A scalar, at least 0.
  """
  chex.assert_equal_shape([real_logits, fake_logits])
  real = optax.sigmoid_binary_cross_entropy(real_logits, jnp.ones_like(real_logits))
  fake = optax.sigmoid_binary_cross_entropy(fake_logits, jnp.zeros_like(fake_logits))
  return real.mean() + fake.mean()


def adversarial_loss(fake_logits: Array) -> Array:
  """-log sigmoid(fake), the generator's non-saturating side of eq. (3). [batch, ...] -> scalar,
  at least 0."""
  return optax.sigmoid_binary_cross_entropy(fake_logits, jnp.ones_like(fake_logits)).mean()


def wasserstein_critic_loss(real_logits: Array, fake_logits: Array) -> Array:
  """Mean fake - mean real: the negative distance that a Lipschitz critic sees (Arjovsky et al.,
  2017). [batch, ...] each -> scalar."""
  return fake_logits.mean() - real_logits.mean()


def wasserstein_loss(fake_logits: Array) -> Array:
  """The generator's side of it: - mean fake. [batch, ...] -> scalar."""
  return -fake_logits.mean()


class Game(NamedTuple):
  """The two sides of a critic and its generator.

  Attributes:
    critic: (logits of real clips, logits of generated ones) -> scalar.
    generator: (logits of generated clips) -> scalar.
  """

  critic: Callable[[Array, Array], Array]
  generator: Callable[[Array], Array]


CROSS_ENTROPY = Game(critic_loss, adversarial_loss)
WASSERSTEIN = Game(wasserstein_critic_loss, wasserstein_loss)


def gradient_penalty(gradients: Array) -> Array:
  """How far a critic's slope is from 1 (Gulrajani et al., 2017): the mean of (|gradient| - 1)^2
  over a batch of gradients [batch, ...] with respect to what it judges, norms being those of all
  numbers together."""
  norms = jnp.sqrt((gradients**2).sum(range(1, gradients.ndim)) + 1e-12)
  return ((norms - 1) ** 2).mean()


def label_loss(label_logits: Array, label: Array) -> Array:
  """Cross-entropy of the label, of a critic that classifies: MoCoGAN's, and on generated clips the
  bound on mutual information of InfoGAN.

  Args:
    label_logits: [batch, parts, labels], one classification of each part of a clip.
    label: [batch, labels], one-hot.

  Returns:
    A scalar, at least 0.
  """
  chex.assert_rank([label_logits, label], [3, 2])
  return optax.softmax_cross_entropy(label_logits, label[:, None]).mean()


def reconstruction_loss(real: Array, fake: Array, *, motion_weight: float = 0.0) -> Array:
  """Mean |real - fake| over a clip, eq. (4).

  Most of a face hardly moves. With a motion weight w, a pixel that differs by d from the real
  clip's first frame counts 1 + w d / mean(d) times, the mean being that of its clip: faint and
  strong expressions alike are then not drowned by what stays.

  Args:
    real: [batch, time, height, width, 3] in [-1, 1].
    fake: like `real`.
    motion_weight: w; 0 is the paper's.

  Returns:
    A scalar, at least 0.
  """
  chex.assert_equal_shape([real, fake])
  motion = jnp.abs(real - real[:, :1])
  motion /= motion.mean((1, 2, 3, 4), keepdims=True) + 1e-6
  weights = 1 + motion_weight * motion
  return (weights * jnp.abs(real - fake)).mean()


def first_frame_loss(image: Array, fake: Array) -> Array:
  """Mean |image - first frame| of C-VGAN, whose clips should begin with the picture they are given.

  Args:
    image: [batch, height, width, 3] in [-1, 1].
    fake: [batch, time, height, width, 3], generated.

  Returns:
    A scalar, at least 0.
  """
  chex.assert_equal_shape([image, fake[:, 0]])
  return jnp.abs(image - fake[:, 0]).mean()


def mask_loss(mask: Array) -> Array:
  """Mean |mask| of VGAN, whose background should show all that rests. [batch, time, height, width,
  1] in [0, 1] -> scalar, at least 0."""
  return jnp.abs(mask).mean()


def identity_loss(features: Array, frame_features: Array) -> Array:
  """Mean |difference| between the face features of a reference and of generated frames, eq. (5).

  The paper sums over frames; the mean keeps the weight independent of how many are compared.

  Args:
    features: [batch, frames or 1, height, width, channels], of the reference.
    frame_features: [batch, frames, height, width, channels], of the generated frames.

  Returns:
    A scalar, at least 0.
  """
  chex.assert_rank([features, frame_features], 5)
  return jnp.abs(features - frame_features).mean()
