"""Strided convolution and its transpose, each the other's gradient, as matrix products on a CPU.

XLA's own transposed 3-D convolution, and the input gradient of its strided one, run 60 to 100
times slower than they should on a CPU: both are lowered to a convolution over an input dilated
with zeros, for which no fast path exists. Here the same sums are written so that only matrix
products, shifts and sums remain.

Let x be the fine grid, y the coarse one, s the stride, p the padding before, and one axis for
brevity:

    y[c] = sum_j x[c s + j - p] w[j]          `strided_conv`
    x[c s + j - p] += y[c] w[j]               `transposed_conv`, its adjoint

Write j = t s + r with 0 <= r < s, and cut the padded fine grid into blocks of s values,
b[g, r] = x[g s + r - p]. With W[t] the rows w[t s + r], one matrix [s F, C] per tap t,

    y[c] = sum_t b[c + t] W[t]
    b[c + t] += y[c] W[t]'
    dW[t] = sum_c b[c + t]' y[c]              the gradient of both with respect to the kernel

With k = 4 and s = 2 three axes have 8 taps. The first two are one matrix product for all taps at
once and a sum of shifted slices of it; the third is one product per tap. Nothing is multiplied by
zeros, and no window is gathered. The products of all taps are larger than what goes in or comes
out, so a batch is worked through in chunks whose products fit into a CPU's cache. On GPU and TPU
the vendor's convolutions are used instead.

Arrays are channels last: fine [batch, *space, F], coarse [batch, *space, C], kernel [*window, F,
C], for any number of spatial axes. Both operations take the kernel in this one layout.
"""

import contextlib
import contextvars
import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import chex
import jax
import jax.numpy as jnp
from jax import lax

Array = jax.Array
Padding = tuple[tuple[int, int], ...]

# Bytes of products at a time, about the last cache of a CPU. Measured from 2**24 to no limit, the
# time hardly changes; the memory of a step at batch 4 falls by a third.
CHUNK = 2**25


def strided_conv(
  x: Array, kernel: Array, strides: Sequence[int], padding: Sequence[tuple[int, int]]
) -> Array:
  """Fine to coarse: the convolution (cross-correlation) of deep learning, without bias.

  Args:
    x: [batch, *space, F].
    kernel: [*window, F, C].
    strides: one per spatial axis.
    padding: zeros (before, after) per spatial axis.

  Returns:
    [batch, *coarse space, C], coarse = (space + before + after - window) // stride + 1.
  """
  chex.assert_equal(x.shape[-1], kernel.shape[-2])
  return _down(x, kernel, tuple(strides), tuple(map(tuple, padding)))


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
  window = kernel.shape[:-2]
  fine = tuple(
    (m - 1) * s + k - sum(p) for m, s, k, p in zip(y.shape[1:-1], strides, window, padding)
  )
  return _up(y, kernel, tuple(strides), tuple(map(tuple, padding)), fine)


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
  return strided_conv(x, kernel, window_strides, padding)


# Each of the three maps is linear in both arguments, so that their gradients are one another.


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _down(x: Array, kernel: Array, strides: tuple[int, ...], padding: Padding) -> Array:
  sizes = {'strides': strides, 'padding': padding}
  return _by_platform(x, kernel, cpu=_down_by_products, default=_down_by_xla, **sizes)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _up(
  y: Array, kernel: Array, strides: tuple[int, ...], padding: Padding, fine: tuple[int, ...]
) -> Array:
  sizes = {'strides': strides, 'padding': padding, 'fine': fine}
  return _by_platform(y, kernel, cpu=_up_by_products, default=_up_by_xla, **sizes)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _kernel_gradient(
  x: Array, y: Array, window: tuple[int, ...], strides: tuple[int, ...], padding: Padding
) -> Array:
  sizes = {'window': window, 'strides': strides, 'padding': padding}
  return _by_platform(
    x, y, cpu=_kernel_gradient_by_products, default=_kernel_gradient_by_xla, **sizes
  )


_always_by_products = contextvars.ContextVar('always_by_products', default=False)


@contextlib.contextmanager
def by_products() -> Iterator[None]:
  """What is traced in the block has matrix products on every platform: a program for runtimes that
  have no transposed convolution of three dimensions."""
  token = _always_by_products.set(True)
  try:
    yield
  finally:
    _always_by_products.reset(token)


def _by_platform(
  *arrays: Array, cpu: Callable[..., Array], default: Callable[..., Array], **sizes
) -> Array:
  """One of two functions of the same arrays and sizes: `cpu` where the program is compiled for one,
  `default` everywhere else."""
  if _always_by_products.get():
    return cpu(*arrays, **sizes)
  branches = {'cpu': cpu, 'default': default}
  return lax.platform_dependent(
    *arrays, **{name: functools.partial(branch, **sizes) for name, branch in branches.items()}
  )


def _down_forward(x, kernel, strides, padding):
  return _down(x, kernel, strides, padding), (x, kernel)


def _down_backward(strides, padding, residuals, dy):
  x, kernel = residuals
  return (
    _up(dy, kernel, strides, padding, x.shape[1:-1]),
    _kernel_gradient(x, dy, kernel.shape[:-2], strides, padding),
  )


def _up_forward(y, kernel, strides, padding, fine):
  return _up(y, kernel, strides, padding, fine), (y, kernel)


def _up_backward(strides, padding, fine, residuals, dx):
  del fine
  y, kernel = residuals
  return (
    _down(dx, kernel, strides, padding),
    _kernel_gradient(dx, y, kernel.shape[:-2], strides, padding),
  )


def _kernel_gradient_forward(x, y, window, strides, padding):
  return _kernel_gradient(x, y, window, strides, padding), (x, y)


def _kernel_gradient_backward(window, strides, padding, residuals, dkernel):
  del window
  x, y = residuals
  return (_up(y, dkernel, strides, padding, x.shape[1:-1]), _down(x, dkernel, strides, padding))


_down.defvjp(_down_forward, _down_backward)
_up.defvjp(_up_forward, _up_backward)
_kernel_gradient.defvjp(_kernel_gradient_forward, _kernel_gradient_backward)


# XLA's own, for GPU and TPU.


def _down_by_xla(x: Array, kernel: Array, *, strides, padding) -> Array:
  space = 'DHW'[-len(strides) :]
  layouts = (f'N{space}C', f'{space}IO', f'N{space}C')
  return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=layouts)


def _up_by_xla(y: Array, kernel: Array, *, strides, padding, fine) -> Array:
  x = jax.ShapeDtypeStruct((y.shape[0], *fine, kernel.shape[-2]), y.dtype)
  down = functools.partial(_down_by_xla, kernel=kernel, strides=strides, padding=padding)
  return jax.linear_transpose(down, x)(y)[0]


def _kernel_gradient_by_xla(x: Array, y: Array, *, window, strides, padding) -> Array:
  kernel = jax.ShapeDtypeStruct((*window, x.shape[-1], y.shape[-1]), x.dtype)
  down = lambda kernel: _down_by_xla(x, kernel, strides=strides, padding=padding)  # noqa: E731
  return jax.linear_transpose(down, kernel)(y)[0]


# Matrix products, for CPU.


def _down_by_products(x: Array, kernel: Array, *, strides, padding) -> Array:
  *window, _, channels = kernel.shape
  space = tuple(
    (n + sum(p) - k) // s + 1 for n, p, k, s in zip(x.shape[1:-1], padding, window, strides)
  )
  strides = _strides(strides, window, space)
  taps = _taps(window, strides)
  grid = [m + t - 1 for m, t in zip(space, taps)]
  matrix = _tap_matrices(kernel, strides)
  matrix = matrix.transpose(1, 0, 2).reshape(matrix.shape[1], -1)  # [s F, taps C]

  def down(x):
    products = _to_blocks(x, strides, padding, grid) @ matrix
    products = products.reshape(*products.shape[:-1], math.prod(taps), channels)
    return sum(_shifted(products[..., i, :], tap, space) for i, tap in enumerate(_offsets(taps)))

  y = _in_chunks(down, math.prod(grid) * matrix.shape[1], x)
  return y.reshape(-1, *y.shape[2:])


def _up_by_products(y: Array, kernel: Array, *, strides, padding, fine) -> Array:
  *window, features, channels = kernel.shape
  strides = _strides(strides, window, y.shape[1:-1])
  taps = _taps(window, strides)
  matrix = _tap_matrices(kernel, strides).reshape(-1, channels).T  # [C, taps s F]

  def up(y):
    products = y @ matrix
    products = products.reshape(*y.shape[:-1], math.prod(taps), -1)
    blocks = sum(_padded(products[..., i, :], tap, taps) for i, tap in enumerate(_offsets(taps)))
    return _from_blocks(blocks, strides, padding, fine, features)

  x = _in_chunks(up, math.prod(y.shape[1:-1]) * matrix.shape[1], y)
  return x.reshape(-1, *x.shape[2:])


def _kernel_gradient_by_products(x: Array, y: Array, *, window, strides, padding) -> Array:
  strides = _strides(strides, window, y.shape[1:-1])
  taps = _taps(window, strides)
  space, rows = y.shape[1:-1], tuple(range(y.ndim - 1))
  grid = [m + t - 1 for m, t in zip(space, taps)]
  width = math.prod(strides) * x.shape[-1]

  def gradient(x, y):
    blocks = _to_blocks(x, strides, padding, grid)

    def tap_matrix(tap):  # shifts whichever of the two is the smaller copy
      if width <= y.shape[-1]:
        pair = _shifted(blocks, tap, space), y
      else:
        pair = blocks, _padded(y, tap, taps)
      return lax.dot_general(*pair, ((rows, rows), ((), ())))

    return jnp.stack([tap_matrix(tap) for tap in _offsets(taps)])

  copies = math.prod(grid) * math.prod(taps) * min(width, y.shape[-1])
  matrices = _in_chunks(gradient, copies, x, y).sum(0)
  return _from_tap_matrices(matrices, window, strides, x.shape[-1])


def _in_chunks(f: Callable[..., Array], products: int, *arrays: Array) -> Array:
  """f of a part of the batch at a time: [batch, ...] each -> [chunks, *shape of f's result].

  Args:
    f: of arrays [part of the batch, ...].
    products: numbers that it holds at once for one example.
    *arrays: [batch, ...].
  """
  batch = arrays[0].shape[0]
  most = max(CHUNK // (products * arrays[0].dtype.itemsize), 1)
  size = max(n for n in range(1, batch + 1) if batch % n == 0 and n <= most)
  if size == batch:
    return f(*arrays)[None]
  parts = [array.reshape(-1, size, *array.shape[1:]) for array in arrays]
  return lax.map(lambda part: f(*part), parts)


def _strides(
  strides: Sequence[int], window: Sequence[int], space: Sequence[int]
) -> tuple[int, ...]:
  """No stride is ever taken along an axis with one coarse place: it may be the window's length, and
  all of it is one tap."""
  return tuple(k if m == 1 else s for s, k, m in zip(strides, window, space))


def _taps(window: Sequence[int], strides: Sequence[int]) -> tuple[int, ...]:
  """Blocks that the window spans, per axis."""
  return tuple(-(-k // s) for k, s in zip(window, strides))


def _offsets(taps: Sequence[int]) -> list[tuple[int, ...]]:
  return list(itertools.product(*map(range, taps)))


def _shifted(blocks: Array, tap: Sequence[int], space: Sequence[int]) -> Array:
  """b[c + t] for every coarse c: [batch, *blocks, n] -> [batch, *space, n]."""
  stop = [t + m for t, m in zip(tap, space)]
  return lax.slice(blocks, (0, *tap, 0), (blocks.shape[0], *stop, blocks.shape[-1]))


def _padded(y: Array, tap: Sequence[int], taps: Sequence[int]) -> Array:
  """The adjoint of `_shifted`: [batch, *space, n] -> [batch, *blocks, n], zero where no c
  reaches."""
  return jnp.pad(y, [(0, 0), *((t, q - 1 - t) for t, q in zip(tap, taps)), (0, 0)])


def _to_blocks(x: Array, strides: Sequence[int], padding: Padding, blocks: Sequence[int]) -> Array:
  """The padded fine grid in blocks: [batch, *fine, F] -> [batch, *blocks, prod(strides) * F]."""
  axes = len(strides)
  pads = [
    (p[0], s * g - p[0] - n, 0) for p, s, g, n in zip(padding, strides, blocks, x.shape[1:-1])
  ]
  x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *pads, (0, 0, 0)])
  x = x.reshape(x.shape[0], *itertools.chain(*zip(blocks, strides)), x.shape[-1])
  order = [0, *range(1, 2 * axes, 2), *range(2, 2 * axes + 1, 2), 2 * axes + 1]
  return x.transpose(order).reshape(x.shape[0], *blocks, -1)


def _from_blocks(
  blocks: Array, strides: Sequence[int], padding: Padding, fine: Sequence[int], features: int
) -> Array:
  """The inverse of `_to_blocks`; what lies beyond the last block is zero."""
  axes = len(strides)
  batch, *grid, _ = blocks.shape
  x = blocks.reshape(batch, *grid, *strides, features)
  order = [0, *itertools.chain(*((1 + i, 1 + axes + i) for i in range(axes))), 2 * axes + 1]
  x = x.transpose(order).reshape(batch, *(g * s for g, s in zip(grid, strides)), features)
  cuts = [(-p[0], p[0] + n - g * s, 0) for p, n, g, s in zip(padding, fine, grid, strides)]
  return lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *cuts, (0, 0, 0)])


def _tap_matrices(kernel: Array, strides: Sequence[int]) -> Array:
  """W[t]: [*window, F, C] -> [taps, prod(strides) * F, C], zero where the window ends inside a
  block."""
  *window, features, channels = kernel.shape
  axes, taps = len(window), _taps(window, strides)
  pads = [(0, q * s - k) for q, s, k in zip(taps, strides, window)]
  kernel = jnp.pad(kernel, [*pads, (0, 0), (0, 0)])
  kernel = kernel.reshape(*itertools.chain(*zip(taps, strides)), features, channels)
  order = [*range(0, 2 * axes, 2), *range(1, 2 * axes, 2), 2 * axes, 2 * axes + 1]
  return kernel.transpose(order).reshape(math.prod(taps), -1, channels)


def _from_tap_matrices(
  matrices: Array, window: Sequence[int], strides: Sequence[int], features: int
) -> Array:
  """The adjoint of `_tap_matrices`."""
  axes, taps = len(window), _taps(window, strides)
  kernel = matrices.reshape(*taps, *strides, features, matrices.shape[-1])
  order = [*itertools.chain(*((i, axes + i) for i in range(axes))), 2 * axes, 2 * axes + 1]
  kernel = kernel.transpose(order).reshape(
    *(q * s for q, s in zip(taps, strides)), features, matrices.shape[-1]
  )
  return kernel[tuple(slice(k) for k in window)]
