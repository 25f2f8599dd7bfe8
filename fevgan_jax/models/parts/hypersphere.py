"""Motions as points of a hypersphere: square-root velocity functions (Srivastava, Klassen, Joshi
and Jermyn, "Shape Analysis of Elastic Curves in Euclidean Spaces", 2011), and the geometry of the
sphere that they lie on.

A curve beta of N + 1 points has the velocities d_t = N (beta_{t+1} - beta_t) and the length L, the
mean of |d_t|. Its function is q_t = d_t / sqrt(L |d_t|), which has norm 1 in the inner product
<a, b> = sum_t a_t . b_t / N: what is left is where and when it moves, not how far. With forward
differences the way back is exact.

Curves are [..., N + 1, dimensions], functions and tangent vectors [..., N, dimensions].
"""

import jax
import jax.numpy as jnp

Array = jax.Array

NEARLY_ONE = 1 - 1e-6  # a cosine; at 1 itself the slope of its angle is infinite
TINY = 1e-12


def inner(a: Array, b: Array) -> Array:
  """<a, b>: [...]."""
  return (a * b).sum(-1).mean(-1)


def norm(a: Array) -> Array:
  """sqrt(<a, a>): [...], with a slope at 0."""
  return jnp.sqrt(inner(a, a) + TINY)


def of_curve(curve: Array) -> tuple[Array, Array]:
  """The function of a curve, and its length, [...]. Of a curve that rests the function is 0, which
  is no point of the sphere."""
  velocity = (curve.shape[-2] - 1) * jnp.diff(curve, axis=-2)
  speed = jnp.linalg.norm(velocity, axis=-1, keepdims=True)
  length = speed.mean((-2, -1))
  scale = speed * length[..., None, None]
  moves = scale > TINY
  return jnp.where(moves, velocity / jnp.sqrt(jnp.where(moves, scale, 1)), 0), length


def to_curve(function: Array, length: Array) -> Array:
  """The curve of a function and a length, from 0 on."""
  speed = jnp.linalg.norm(function, axis=-1, keepdims=True)
  steps = function * speed * length[..., None, None] / function.shape[-2]
  return jnp.concatenate([jnp.zeros_like(steps[..., :1, :]), jnp.cumsum(steps, axis=-2)], -2)


def angle(p: Array, q: Array) -> Array:
  """The distance on the sphere, arccos <p, q>: [...] in radians."""
  return jnp.arccos(jnp.clip(inner(p, q), -NEARLY_ONE, NEARLY_ONE))


def log(p: Array, q: Array) -> Array:
  """The tangent vector at p that leads to q along the great circle."""
  cosine = jnp.clip(inner(p, q), -NEARLY_ONE, NEARLY_ONE)
  stretch = jnp.arccos(cosine) / jnp.sqrt((1 - cosine) * (1 + cosine))
  return stretch[..., None, None] * tangent(p, q)


def exp(p: Array, v: Array) -> Array:
  """Where the tangent vector v at p leads to: log's inverse within half a turn."""
  length = norm(v)[..., None, None]
  return jnp.cos(length) * p + jnp.sinc(length / jnp.pi) * v


def tangent(p: Array, a: Array) -> Array:
  """The part of a that is tangent to the sphere at p."""
  return a - inner(p, a)[..., None, None] * p


def normalized(a: Array) -> Array:
  """The point of the sphere in the direction of a."""
  return a / norm(a)[..., None, None]
