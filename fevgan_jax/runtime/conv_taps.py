"""Strided convolution, its transpose and the kernel's gradient as sums over taps, in pure JAX.

What runs on a CPU where conv_tiles.py does not: without a compiler, for a few places, for windows
of many taps, and in programs for other machines.

Let x be the fine grid, y the coarse one, s the stride, p the padding before, and one axis for
brevity. Write a place of the window as j = t s + r with 0 <= r < s, and cut the padded fine grid
into blocks of s values, b[g, r] = x[g s + r - p]. With W[t] the rows w[t s + r], one matrix
[s F, C] per tap t,

    y[c] = sum_t b[c + t] W[t]                `strided_conv`
    b[c + t] += y[c] W[t]'                    `transposed_conv`
    dW[t] = sum_c b[c + t]' y[c]              `kernel_gradient`

With a window of 4 and strides of 2 three axes have 8 taps. Nothing is multiplied by zeros, and no
window is gathered. Shapes and arguments are those of conv.py.
"""

import functools
import itertools
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import lax

Array = jax.Array
Padding = tuple[tuple[int, int], ...]

# Bytes of products at a time, about the last cache of a CPU.
CHUNK = 2**25


def strided_conv(x: Array, kernel: Array, *, strides, padding) -> Array:
  space = coarse(x.shape[1:-1], kernel.shape[:-2], strides, padding)
  taps, strides = taps_and_strides(kernel.shape[:-2], strides, space)
  grid = [m + t - 1 for m, t in zip(space, taps)]
  matrix = to_taps(kernel, taps, strides)
  matrix = matrix.transpose(1, 0, 2).reshape(matrix.shape[1], -1)  # [s F, taps C]

  def products(x: Array) -> Array:
    each = to_blocks(x, strides, padding, grid) @ matrix
    each = each.reshape(*each.shape[:-1], math.prod(taps), -1)
    return sum(_shifted(each[..., i, :], tap, space) for i, tap in enumerate(_offsets(taps)))

  y = _in_chunks(products, math.prod(grid) * matrix.shape[1], x)
  return y.reshape(-1, *y.shape[2:])


def transposed_conv(y: Array, kernel: Array, *, strides, padding, fine) -> Array:
  *window, features, channels = kernel.shape
  taps, strides = taps_and_strides(window, strides, y.shape[1:-1])
  matrix = to_taps(kernel, taps, strides).reshape(-1, channels).T  # [C, taps s F]

  def products(y: Array) -> Array:
    each = (y @ matrix).reshape(*y.shape[:-1], math.prod(taps), -1)
    blocks = sum(_padded(each[..., i, :], tap, taps) for i, tap in enumerate(_offsets(taps)))
    return from_blocks(blocks, strides, padding, fine, features)

  x = _in_chunks(products, math.prod(y.shape[1:-1]) * matrix.shape[1], y)
  return x.reshape(-1, *x.shape[2:])


def kernel_gradient(x: Array, y: Array, *, window, strides, padding) -> Array:
  taps, strides = taps_and_strides(window, strides, y.shape[1:-1])
  space, rows = y.shape[1:-1], tuple(range(y.ndim - 1))
  grid = [m + t - 1 for m, t in zip(space, taps)]
  width = math.prod(strides) * x.shape[-1]

  def products(x: Array, y: Array) -> Array:
    blocks = to_blocks(x, strides, padding, grid)

    def of_tap(tap):  # shifts whichever of the two is the smaller copy
      if width <= y.shape[-1]:
        pair = _shifted(blocks, tap, space), y
      else:
        pair = blocks, _padded(y, tap, taps)
      return lax.dot_general(*pair, ((rows, rows), ((), ())))

    return jnp.stack([of_tap(tap) for tap in _offsets(taps)])

  copies = math.prod(grid) * math.prod(taps) * min(width, y.shape[-1])
  matrices = _in_chunks(products, copies, x, y).sum(0)
  return from_taps(matrices, window, taps, strides, x.shape[-1])


def coarse(
  fine: Sequence[int], window: Sequence[int], strides: Sequence[int], padding: Padding
) -> tuple[int, ...]:
  """Places of the coarse grid."""
  return tuple((n + sum(p) - k) // s + 1 for n, p, k, s in zip(fine, padding, window, strides))


def taps_and_strides(
  window: Sequence[int], strides: Sequence[int], space: Sequence[int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
  """Blocks that the window spans, and their length, per axis. No stride is ever taken along an axis
  with one coarse place: it may be the window's length, and all of it is one tap."""
  strides = tuple(k if m == 1 else s for s, k, m in zip(strides, window, space))
  return tuple(-(-k // s) for k, s in zip(window, strides)), strides


def to_blocks(x: Array, strides: Sequence[int], padding: Padding, grid: Sequence[int]) -> Array:
  """The padded fine grid in blocks: [batch, *fine, F] -> [batch, *grid, prod(strides) * F]."""
  axes = len(strides)
  pads = [(p[0], s * g - p[0] - n, 0) for p, s, g, n in zip(padding, strides, grid, x.shape[1:-1])]
  x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *pads, (0, 0, 0)])
  x = x.reshape(x.shape[0], *itertools.chain(*zip(grid, strides)), x.shape[-1])
  order = [0, *range(1, 2 * axes, 2), *range(2, 2 * axes + 1, 2), 2 * axes + 1]
  return x.transpose(order).reshape(x.shape[0], *grid, -1)


def from_blocks(
  blocks: Array, strides: Sequence[int], padding: Padding, fine: Sequence[int], features: int
) -> Array:
  """The transpose of `to_blocks`."""
  x = jax.ShapeDtypeStruct((len(blocks), *fine, features), blocks.dtype)
  cut = functools.partial(to_blocks, strides=strides, padding=padding, grid=blocks.shape[1:-1])
  return jax.linear_transpose(cut, x)(blocks)[0]


def to_taps(kernel: Array, taps: Sequence[int], strides: Sequence[int]) -> Array:
  """W: [*window, F, C] -> [taps, prod(strides) * F, C]; zero where the window ends in a block."""
  blocks = to_blocks(
    kernel.reshape(1, *kernel.shape[:-2], -1), strides, ((0, 0),) * len(taps), taps
  )
  return blocks.reshape(math.prod(taps), -1, kernel.shape[-1])


def from_taps(
  matrices: Array,
  window: Sequence[int],
  taps: Sequence[int],
  strides: Sequence[int],
  features: int,
) -> Array:
  """The transpose of `to_taps`."""
  kernel = jax.ShapeDtypeStruct((*window, features, matrices.shape[-1]), matrices.dtype)
  cut = functools.partial(to_taps, taps=taps, strides=strides)
  return jax.linear_transpose(cut, kernel)(matrices)[0]


def _offsets(taps: Sequence[int]) -> list[tuple[int, ...]]:
  return list(itertools.product(*map(range, taps)))


def _shifted(blocks: Array, tap: Sequence[int], space: Sequence[int]) -> Array:
  """b[c + t] for every coarse c: [batch, *blocks, n] -> [batch, *space, n]."""
  stop = [t + m for t, m in zip(tap, space)]
  return lax.slice(blocks, (0, *tap, 0), (blocks.shape[0], *stop, blocks.shape[-1]))


def _padded(y: Array, tap: Sequence[int], taps: Sequence[int]) -> Array:
  """The transpose of `_shifted`: [batch, *space, n] -> [batch, *blocks, n]."""
  return jnp.pad(y, [(0, 0), *((t, q - 1 - t) for t, q in zip(tap, taps)), (0, 0)])


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
