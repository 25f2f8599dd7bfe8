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

With k = 4 and s = 2 an axis has 2 taps, so that 2 neighbors c need 3 blocks and 4 products. Three
are enough (Winograd's minimal filtering, for networks by Lavin and Gray, 2016):

    m        = (b[c] + b[c + 1]) (W[0] + W[1]) / 2
    n        = (b[c + 1] - b[c]) (W[1] - W[0]) / 2
    y[c]     = m + n
    y[c + 1] = m - n + (b[c + 2] - b[c]) W[1]

In general y = A' [(B' b) (G W)] for three small matrices: one matrix product for every point of a
tile of neighbors, 27 for the 8 neighbors of three axes where 64 were. A convolution is linear in
both arguments, and its gradients are the same three steps transposed:

    b  = B [(A y) (G W)']
    dW = G' [(B' b)' (A y)]

Nothing is multiplied by zeros. A tile's points and products hold 27 / 8 of what goes in and comes
out, so a large batch is worked through in chunks. On GPU and TPU the vendor's convolutions are used
instead.

Arrays are channels last: fine [batch, *space, F], coarse [batch, *space, C], kernel [*window, F,
C], for any number of spatial axes. Both operations take the kernel in this one layout.
"""

import contextlib
import contextvars
import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Array = jax.Array
Padding = tuple[tuple[int, int], ...]

# Bytes of points and products at a time. A convolution and its gradients have points in common, but
# not across chunks: a batch of 4 should fit.
CHUNK = 2**28
# So many tiles must share the matrices G W, which are larger than the kernel: where there are
# fewer, tiles are halved.
MIN_TILES = 64
# Where polynomials are evaluated, beside infinity, by the number of points, infinity included. Of
# 0, 1, 2, 1/2 and their negatives these are among those that round least; pairs with 1/2 would
# round less than the first row, with more sums.
POINTS = {3: (1, -1), 4: (0, 1, -1), 5: (0, -1, 0.5, 2), 6: (0, 1, -1, 0.5, -2)}


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


# Each of the three maps is linear in both arguments, so that their gradients are one another.


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _down(x: Array, kernel: Array, strides: tuple[int, ...], padding: Padding, tile: int) -> Array:
  sizes = {'strides': strides, 'padding': padding, 'tile': tile}
  return _by_platform(x, kernel, cpu=_down_by_products, default=_down_by_xla, **sizes)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4, 5))
def _up(
  y: Array,
  kernel: Array,
  strides: tuple[int, ...],
  padding: Padding,
  fine: tuple[int, ...],
  tile: int,
) -> Array:
  sizes = {'strides': strides, 'padding': padding, 'fine': fine, 'tile': tile}
  return _by_platform(y, kernel, cpu=_up_by_products, default=_up_by_xla, **sizes)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4, 5))
def _kernel_gradient(
  x: Array,
  y: Array,
  window: tuple[int, ...],
  strides: tuple[int, ...],
  padding: Padding,
  tile: int,
) -> Array:
  sizes = {'window': window, 'strides': strides, 'padding': padding, 'tile': tile}
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

  def exact(*arrays, **sizes):  # half precision has no digits to lose in sums of blocks
    dtype = arrays[0].dtype
    arrays = [array.astype(jnp.promote_types(dtype, jnp.float32)) for array in arrays]
    return cpu(*arrays, **sizes).astype(dtype)

  if _always_by_products.get():
    return exact(*arrays, **sizes)
  branches = {'cpu': exact, 'default': default}
  return lax.platform_dependent(
    *arrays, **{name: functools.partial(branch, **sizes) for name, branch in branches.items()}
  )


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


# XLA's own, for GPU and TPU.


def _down_by_xla(x: Array, kernel: Array, *, strides, padding, tile=1) -> Array:
  del tile
  space = 'DHW'[-len(strides) :]
  layouts = (f'N{space}C', f'{space}IO', f'N{space}C')
  return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=layouts)


def _up_by_xla(y: Array, kernel: Array, *, strides, padding, fine, tile=1) -> Array:
  del tile
  x = jax.ShapeDtypeStruct((y.shape[0], *fine, kernel.shape[-2]), y.dtype)
  down = functools.partial(_down_by_xla, kernel=kernel, strides=strides, padding=padding)
  return jax.linear_transpose(down, x)(y)[0]


def _kernel_gradient_by_xla(x: Array, y: Array, *, window, strides, padding, tile=1) -> Array:
  del tile
  kernel = jax.ShapeDtypeStruct((*window, x.shape[-1], y.shape[-1]), x.dtype)
  down = lambda kernel: _down_by_xla(x, kernel, strides=strides, padding=padding)  # noqa: E731
  return jax.linear_transpose(down, kernel)(y)[0]


# Matrix products, for CPU.


def _down_by_products(x: Array, kernel: Array, *, strides, padding, tile) -> Array:
  window = kernel.shape[:-2]
  coarse = [
    (n + sum(p) - k) // s + 1 for n, p, k, s in zip(x.shape[1:-1], padding, window, strides)
  ]
  axes = _axes(window, strides, padding, x.shape[1:-1], coarse, tile, len(x))
  weights = _weights(kernel, axes)

  def down(x):
    return _places(_product(_points(x, axes), weights, (2, 1)), axes)

  y = _in_chunks(down, _size(axes, kernel), x)
  return y.reshape(-1, *y.shape[2:])


def _up_by_products(y: Array, kernel: Array, *, strides, padding, fine, tile) -> Array:
  axes = _axes(kernel.shape[:-2], strides, padding, fine, y.shape[1:-1], tile, len(y))
  weights = _weights(kernel, axes)

  def up(y):
    return _transposed_points(_product(_transposed_places(y, axes), weights, (2, 2)), axes)

  x = _in_chunks(up, _size(axes, kernel), y)
  return x.reshape(-1, *x.shape[2:])


def _kernel_gradient_by_products(x: Array, y: Array, *, window, strides, padding, tile) -> Array:
  axes = _axes(window, strides, padding, x.shape[1:-1], y.shape[1:-1], tile, len(y))
  kernel = jax.ShapeDtypeStruct((*window, x.shape[-1], y.shape[-1]), x.dtype)
  x_is_narrow = math.prod(axis.stride for axis in axes) * x.shape[-1] < y.shape[-1]

  def gradient(x, y):  # a product is up to three times as fast with the narrow factor first
    factors = _points(x, axes), _transposed_places(y, axes)
    return _product(*(factors if x_is_narrow else factors[::-1]), (1, 1))

  products = _in_chunks(gradient, _size(axes, kernel), x, y).sum(0)
  taps = jnp.tensordot(_matrix(axes, 2, x.dtype).T, products, 1)
  taps = taps if x_is_narrow else taps.swapaxes(1, 2)  # fewer to turn than products
  return jax.linear_transpose(functools.partial(_taps, axes=axes), kernel)(taps)[0]


def _product(a: Array, b: Array, contracted: tuple[int, int]) -> Array:
  """One matrix product per point."""
  return lax.dot_general(a, b, (tuple((axis,) for axis in contracted), ((0,), (0,))))


@dataclasses.dataclass(frozen=True)
class Axis:
  """One axis, cut into tiles.

  Attributes:
    window, stride, before: places of the window, its stride, and zeros before the first place.
    fine, coarse: places.
    tile: coarse places that share products; 1 has a product for every tap.
  """

  window: int
  stride: int
  before: int
  fine: int
  coarse: int
  tile: int

  @property
  def taps(self) -> int:
    """Blocks that the window spans."""
    return -(-self.window // self.stride)

  @property
  def points(self) -> int:
    return self.tile + self.taps - 1

  @property
  def tiles(self) -> int:
    return -(-self.coarse // self.tile)

  @property
  def reached(self) -> int:
    """Tiles of blocks that windows reach into, whole ones."""
    return self.tiles + -(-(self.taps - 1) // self.tile)

  @functools.cached_property
  def matrices(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A' [tile, points], B' [points, blocks], G [points, taps], by the rule of Toom and Cook.

    The product of two polynomials is known from its values at as many points as it has
    coefficients, one of them at infinity. The transpose of that is this correlation.
    """
    if self.tile == 1:
      return np.ones((1, self.taps)), np.eye(self.taps), np.eye(self.taps)
    finite = np.array(POINTS[self.points])
    scales = np.array([np.prod(point - finite[finite != point]) for point in finite] + [1])

    def values(coefficients: int) -> np.ndarray:  # at each point, of the powers
      return np.vstack(
        [np.vander(finite, coefficients, increasing=True), np.eye(coefficients)[-1:]]
      )

    inverse = np.linalg.inv(values(self.points).T) * scales[:, None]
    inverse = inverse.round(9)  # zeros are exact, and `_sum` leaves them out
    return values(self.tile).T, inverse, values(self.taps) / scales[:, None]


def _axes(
  window: Sequence[int],
  strides: Sequence[int],
  padding: Padding,
  fine: Sequence[int],
  coarse: Sequence[int],
  tile: int,
  batch: int,
) -> list[Axis]:
  while tile > 1 and batch * math.prod(-(-m // tile) for m in coarse) < MIN_TILES:
    tile //= 2
  axes = []
  for k, s, (before, _), n, m in zip(window, strides, padding, fine, coarse):
    s = k if m == 1 else s  # no stride is ever taken: all of the window is one tap
    shares = 1 < -(-k // s) <= 3 and m >= tile > 1  # more taps round too much
    axes.append(Axis(k, s, before, n, m, tile if shares else 1))
  return axes


def _size(axes: Sequence[Axis], kernel: Array) -> int:
  """Numbers that points and products of one example are."""
  features, channels = kernel.shape[-2:]
  width = math.prod(axis.stride for axis in axes) * features + channels
  return math.prod(axis.points * axis.tiles for axis in axes) * width


def _points(x: Array, axes: Sequence[Axis]) -> Array:
  """B' b: [batch, *fine, F] -> [points, batch * tiles, prod(strides) * F]."""
  n = len(axes)
  pads = [(a.before, a.reached * a.tile * a.stride - a.before - a.fine, 0) for a in axes]
  x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *pads, (0, 0, 0)])
  cut = itertools.chain(*((a.reached * a.tile, a.stride) for a in axes))
  x = x.reshape(len(x), *cut, x.shape[-1])
  x = x.transpose(0, *range(1, 2 * n, 2), *range(2, 2 * n + 1, 2), 2 * n + 1)
  x = x.reshape(*x.shape[: n + 1], -1)
  for i, axis in enumerate(axes):  # points of the axes before i, batch, tiles of these, blocks
    at = 2 * i + 1
    x = x.reshape(*x.shape[:at], axis.reached, axis.tile, *x.shape[at + 1 :])
    blocks = []
    for j in range(axis.points):
      tiles = lax.slice_in_dim(x, j // axis.tile, j // axis.tile + axis.tiles, axis=at)
      blocks.append(lax.index_in_dim(tiles, j % axis.tile, at + 1, keepdims=False))
    x = jnp.stack([_sum(row, blocks) for row in axis.matrices[1]], i)
  return x.reshape(math.prod(x.shape[:n]), -1, x.shape[-1])


def _transposed_points(products: Array, axes: Sequence[Axis]) -> Array:
  """B of the products: [points, batch * tiles, prod(strides) * F] -> [batch, *fine, F]."""
  n = len(axes)
  points, tiles, strides = zip(*((a.points, a.tiles, a.stride) for a in axes))
  x = products.reshape(*points, -1, *tiles, products.shape[-1])
  for i, axis in reversed(list(enumerate(axes))):
    at = 2 * i + 1
    products = [lax.index_in_dim(x, j, i, keepdims=False) for j in range(axis.points)]
    blocks = []
    for place in range(axis.tile):  # of every tile; a tile's last blocks are the next one's first
      reaching = []
      for j in range(place, axis.points, axis.tile):
        before = j // axis.tile
        pads = [(0, 0, 0)] * (x.ndim - 1)
        pads[at] = (before, axis.reached - axis.tiles - before, 0)
        block = _sum(axis.matrices[1][:, j], products)
        reaching.append(lax.pad(block, jnp.zeros((), x.dtype), pads))
      blocks.append(sum(reaching[1:], reaching[0]))
    x = jnp.stack(blocks, at + 1)
    x = x.reshape(*x.shape[:at], -1, *x.shape[at + 2 :])
  x = x.reshape(*x.shape[:-1], *strides, x.shape[-1] // math.prod(strides))
  pairs = itertools.chain(*((i + 1, n + i + 1) for i in range(n)))
  x = x.transpose(0, *pairs, 2 * n + 1)
  x = x.reshape(len(x), *(a.reached * a.tile * a.stride for a in axes), x.shape[-1])
  cuts = [(-a.before, a.before + a.fine - a.reached * a.tile * a.stride, 0) for a in axes]
  return lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *cuts, (0, 0, 0)])


def _places(products: Array, axes: Sequence[Axis]) -> Array:
  """A' of the products: [points, batch * tiles, C] -> [batch, *coarse, C]."""
  n, channels = len(axes), products.shape[-1]
  y = _matrix(axes, 0, products.dtype) @ products.reshape(len(products), -1)
  y = y.reshape(*(a.tile for a in axes), -1, *(a.tiles for a in axes), channels)
  pairs = itertools.chain(*((n + 1 + i, i) for i in range(n)))
  y = y.transpose(n, *pairs, 2 * n + 1)
  y = y.reshape(len(y), *(a.tiles * a.tile for a in axes), channels)
  return y[(slice(None), *(slice(a.coarse) for a in axes))]


def _transposed_places(y: Array, axes: Sequence[Axis]) -> Array:
  """A y: [batch, *coarse, C] -> [points, batch * tiles, C]."""
  n, channels = len(axes), y.shape[-1]
  y = jnp.pad(y, [(0, 0), *((0, a.tiles * a.tile - a.coarse) for a in axes), (0, 0)])
  y = y.reshape(len(y), *itertools.chain(*((a.tiles, a.tile) for a in axes)), channels)
  y = y.transpose(*range(2, 2 * n + 1, 2), 0, *range(1, 2 * n, 2), 2 * n + 1)
  matrix = _matrix(axes, 0, y.dtype).T
  return (matrix @ y.reshape(matrix.shape[1], -1)).reshape(len(matrix), -1, channels)


def _weights(kernel: Array, axes: Sequence[Axis]) -> Array:
  """G W: [*window, F, C] -> [points, prod(strides) * F, C]."""
  return jnp.tensordot(_matrix(axes, 2, kernel.dtype), _taps(kernel, axes), 1)


def _taps(kernel: Array, axes: Sequence[Axis]) -> Array:
  """W: [*window, F, C] -> [taps, prod(strides) * F, C]; zero where the window ends in a block."""
  n, channels = len(axes), kernel.shape[-1]
  pads = [(0, a.taps * a.stride - a.window) for a in axes]
  kernel = jnp.pad(kernel, [*pads, (0, 0), (0, 0)])
  kernel = kernel.reshape(*itertools.chain(*((a.taps, a.stride) for a in axes)), *kernel.shape[-2:])
  kernel = kernel.transpose(*range(0, 2 * n, 2), *range(1, 2 * n, 2), 2 * n, 2 * n + 1)
  return kernel.reshape(math.prod(kernel.shape[:n]), -1, channels)


def _matrix(axes: Sequence[Axis], which: int, dtype: jnp.dtype) -> Array:
  """One of the three matrices, for all axes together."""
  return jnp.asarray(functools.reduce(np.kron, (axis.matrices[which] for axis in axes)), dtype)


def _sum(row: np.ndarray, arrays: Sequence[Array]) -> Array:
  """The arrays times the numbers of a row, of which many are 0, 1 or -1."""
  terms = [x if c == 1 else c * x for c, x in zip(row.tolist(), arrays) if c]
  return sum(terms[1:], terms[0])


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
