"""Strided convolution and its transpose, each the other's gradient, as matrix products on a CPU.

XLA's own transposed 3-D convolution, and the input gradient of its strided one, run 60 to 100
times slower than they should on a CPU: both are lowered to a convolution over an input dilated
with zeros, for which no fast path exists.

Let x be the fine grid, y the coarse one, s the stride, p the padding before, and one axis for
brevity:

    y[c] = sum_j x[c s + j - p] w[j]          `strided_conv`
    x[c s + j - p] += y[c] w[j]               `transposed_conv`, its adjoint

conv_taps.py has them as matrix products in pure JAX, conv_tiles.py with fewer products, in C++ that
is compiled where it runs. On GPU and TPU the vendor's convolutions are used instead.

Arrays are channels last: fine [batch, *space, F], coarse [batch, *space, C], kernel [*window, F,
C], for one to three spatial axes. Both operations take the kernel in this one layout.
"""

import contextlib
import functools
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
from jax import lax

from fevgan_jax.runtime import conv_taps, conv_tiles, conv_xla

Array = jax.Array
Padding = tuple[tuple[int, int], ...]


def strided_conv(
  x: Array,
  kernel: Array,
  strides: Sequence[int],
  padding: Sequence[tuple[int, int]],
  tile: int = 2,
) -> Array:
  """Fine to coarse: the convolution (cross-correlation) of deep learning, without bias.

  Args:
    x: [batch, *space, F].
    kernel: [*window, F, C].
    strides: one per spatial axis.
    padding: zeros (before, after) per spatial axis.
    tile: the most places per axis that share products on a CPU, 1, 2 or 4. 4 helps a window of 3
      taps, but is right to 1e-5 of the largest value instead of 1e-6: for networks that are not
      trained.

  Returns:
    [batch, *coarse space, C], coarse = (space + before + after - window) // stride + 1.
  """
  chex.assert_equal(x.shape[-1], kernel.shape[-2])
  _check(x, kernel, strides, padding)
  if tile not in (1, 2, 4):
    raise ValueError(f'tile {tile}: expected 1, 2 or 4')
  return _down(x, kernel, tuple(strides), tuple(map(tuple, padding)), tile)


def transposed_conv(
  y: Array, kernel: Array, strides: Sequence[int], padding: Sequence[tuple[int, int]]
) -> Array:
  """Coarse to fine: the adjoint of `strided_conv` in x, also called fractionally strided
  convolution.

  Args:
    y: [batch, *space, C].
    kernel: [*window, F, C].
    strides: one per spatial axis.
    padding: what `strided_conv` would have padded, cut off here, (before, after) per spatial axis.

  Returns:
    [batch, *fine space, F], fine = (space - 1) stride + window - before - after.
  """
  chex.assert_equal(y.shape[-1], kernel.shape[-1])
  _check(y, kernel, strides, padding)
  window = kernel.shape[:-2]
  fine = tuple(
    (m - 1) * s + k - sum(p) for m, s, k, p in zip(y.shape[1:-1], strides, window, padding)
  )
  return _up(y, kernel, tuple(strides), tuple(map(tuple, padding)), fine, 2)


def general_conv(
  x: Array,
  kernel: Array,
  window_strides: Sequence[int],
  padding: Sequence[tuple[int, int]],
  *,
  lhs_dilation: Sequence[int],
  rhs_dilation: Sequence[int],
  dimension_numbers: lax.ConvDimensionNumbers,
  feature_group_count: int,
  precision: lax.PrecisionLike,
  tile: int = 2,
) -> Array:
  """`strided_conv` in the form of `lax.conv_general_dilated`, for `flax.linen.Conv`, whose arrays
  are channels last too.

  Raises:
    ValueError: `strided_conv` cannot do it: a padding by name, dilation, groups of channels, or
      another precision than the platform's.
  """
  del dimension_numbers
  if isinstance(padding, str):
    raise ValueError(f'padding {padding!r}: expected numbers')
  if set(lhs_dilation) | set(rhs_dilation) != {1}:
    raise ValueError(f'dilation {lhs_dilation} of input, {rhs_dilation} of kernel: expected none')
  if feature_group_count != 1:
    raise ValueError(f'{feature_group_count} groups of channels: expected one')
  if precision is not None:
    raise ValueError(f'precision {precision}: expected None')
  return strided_conv(x, kernel, window_strides, padding, tile)


def _check(
  array: Array, kernel: Array, strides: Sequence[int], padding: Sequence[tuple[int, int]]
) -> None:
  axes = kernel.ndim - 2
  if not 1 <= axes <= 3 or not array.ndim - 2 == len(strides) == len(padding) == axes:
    raise ValueError(
      f'{array.ndim - 2} spatial axes, window of {axes}, {len(strides)} strides, {len(padding)} '
      'paddings: expected as many of each, 1 to 3'
    )
  chex.assert_equal(array.dtype, kernel.dtype)


class Operation(NamedTuple):
  """One of three maps, computed in three ways."""

  xla: Callable[..., Array]
  taps: Callable[..., Array]
  tiles: Callable[..., Array]


STRIDED = Operation(conv_xla.strided_conv, conv_taps.strided_conv, conv_tiles.strided_conv)
TRANSPOSED = Operation(
  conv_xla.transposed_conv, conv_taps.transposed_conv, conv_tiles.transposed_conv
)
KERNEL_GRADIENT = Operation(
  conv_xla.kernel_gradient, conv_taps.kernel_gradient, conv_tiles.kernel_gradient
)
# Each of them is linear in both arguments, so that their gradients are one another.


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _down(x: Array, kernel: Array, strides: tuple[int, ...], padding: Padding, tile: int) -> Array:
  window, fine = kernel.shape[:-2], x.shape[1:-1]
  coarse = conv_taps.coarse(fine, window, strides, padding)
  axes = conv_tiles.axes(window, strides, padding, fine, coarse, tile, len(x))
  return _by_platform(STRIDED, axes, x, kernel, strides=strides, padding=padding)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4, 5))
def _up(
  y: Array,
  kernel: Array,
  strides: tuple[int, ...],
  padding: Padding,
  fine: tuple[int, ...],
  tile: int,
) -> Array:
  axes = conv_tiles.axes(kernel.shape[:-2], strides, padding, fine, y.shape[1:-1], tile, len(y))
  sizes = {'strides': strides, 'padding': padding, 'fine': fine}
  return _by_platform(TRANSPOSED, axes, y, kernel, **sizes)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4, 5))
def _kernel_gradient(
  x: Array,
  y: Array,
  window: tuple[int, ...],
  strides: tuple[int, ...],
  padding: Padding,
  tile: int,
) -> Array:
  axes = conv_tiles.axes(window, strides, padding, x.shape[1:-1], y.shape[1:-1], tile, len(y))
  sizes = {'window': window, 'strides': strides, 'padding': padding}
  return _by_platform(KERNEL_GRADIENT, axes, x, y, **sizes)


# What programs that are traced now may consist of. None: anything; 'portable': nothing that was
# compiled here; 'products': matrix products alone.
_limits = jax.make_user_context(None)


def portable() -> contextlib.AbstractContextManager[None]:
  """What is traced in the block is a program for other machines, too: nothing in it was compiled
  here."""
  return _limits('portable')


def by_products() -> contextlib.AbstractContextManager[None]:
  """What is traced in the block has matrix products on every platform: a program for runtimes that
  have no transposed convolution of three dimensions."""
  return _limits('products')


def compile_ahead() -> None:
  """Starts to compile the C++ in the background, where it will be used: it takes one core for some
  seconds, which the first trace of a convolution would wait for."""
  if jax.default_backend() == 'cpu':
    threading.Thread(target=conv_tiles.compiled, daemon=True).start()


def _by_platform(
  operation: Operation, axes: Sequence[conv_tiles.Axis], *arrays: Array, **sizes
) -> Array:
  """Computes an operation in the way that is fastest where the program is compiled for."""
  limits, dtype = _limits.value, arrays[0].dtype

  def on_cpu(*arrays: Array) -> Array:
    # Half precision is too coarse for sums of blocks.
    wide = [array.astype(jnp.promote_types(dtype, jnp.float32)) for array in arrays]
    # Beside a GPU nothing is compiled: this branch is traced there, too, and hardly ever runs.
    compiles = limits is None and jax.default_backend() == 'cpu'
    suits = wide[0].dtype == jnp.float32 and conv_tiles.shares_products(axes)
    if compiles and suits and conv_tiles.compiled():
      result = operation.tiles(*wide, axes)
    elif limits != 'products' and operation is STRIDED and len(axes) == 2:
      result = operation.xla(*wide, **sizes)  # of pictures: as fast as it can be
    else:
      result = operation.taps(*wide, **sizes)
    return result.astype(dtype)

  if limits == 'products':
    return on_cpu(*arrays)
  by_xla = functools.partial(operation.xla, **sizes)
  return lax.platform_dependent(*arrays, cpu=on_cpu, default=by_xla)


def _down_forward(x, kernel, strides, padding, tile):
  return _down(x, kernel, strides, padding, tile), (x, kernel)


def _down_backward(strides, padding, tile, residuals, dy):
  x, kernel = residuals
  return (
    _up(dy, kernel, strides, padding, x.shape[1:-1], tile),
    _kernel_gradient(x, dy, kernel.shape[:-2], strides, padding, tile),
  )


def _up_forward(y, kernel, strides, padding, fine, tile):
  return _up(y, kernel, strides, padding, fine, tile), (y, kernel)


def _up_backward(strides, padding, fine, tile, residuals, dx):
  del fine
  y, kernel = residuals
  return (
    _down(dx, kernel, strides, padding, tile),
    _kernel_gradient(dx, y, kernel.shape[:-2], strides, padding, tile),
  )


def _kernel_gradient_forward(x, y, window, strides, padding, tile):
  return _kernel_gradient(x, y, window, strides, padding, tile), (x, y)


def _kernel_gradient_backward(window, strides, padding, tile, residuals, dkernel):
  del window
  x, y = residuals
  return (
    _up(y, dkernel, strides, padding, x.shape[1:-1], tile),
    _down(x, dkernel, strides, padding, tile),
  )


_down.defvjp(_down_forward, _down_backward)
_up.defvjp(_up_forward, _up_backward)
_kernel_gradient.defvjp(_kernel_gradient_forward, _kernel_gradient_backward)
