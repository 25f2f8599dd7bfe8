"""Strided convolution, its transpose and the kernel's gradient on a CPU, with fewer products.

conv_taps.py cuts an axis into blocks b and the window into taps W, y[c] = sum_t b[c + t] W[t]. With
two taps, 2 neighbors c need 3 blocks and 4 products. Three are enough (Winograd's minimal
filtering, for networks by Lavin and Gray, 2016):

    m        = (b[c] + b[c + 1]) (W[0] + W[1]) / 2
    n        = (b[c + 1] - b[c]) (W[1] - W[0]) / 2
    y[c]     = m + n
    y[c + 1] = m - n + (b[c + 2] - b[c]) W[1]

In general y = A' [(B' b) (G W)] for three small matrices: one matrix product for every point of a
tile of neighbors, 27 for the 8 neighbors of three axes where 64 were. The kernel's gradient is the
same transposed, dW = G' [(B' b)' (A y)], and a transposed convolution is one convolution for each
phase r of the stride, with the taps W[t, r] backwards.

The work is done by conv_tiles.cc, which is compiled where it runs. Shapes and arguments are those
of conv.py.
"""

import dataclasses
import functools
import itertools
import math
import pathlib
import threading
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from fevgan_jax.runtime import conv_taps, native

Array = jax.Array
Padding = tuple[tuple[int, int], ...]

# So many tiles must share the matrices G W, which are larger than the kernel: where there are
# fewer, tiles are halved.
MIN_TILES = 16
# Where polynomials are evaluated, beside infinity, by the number of points, infinity included. Of
# 0, 1, 2, 1/2 and their negatives these are among those that round least; pairs with 1/2 would
# round less than the first row, with more sums.
POINTS = {3: (1, -1), 4: (0, 1, -1), 5: (0, -1, 0.5, 2), 6: (0, 1, -1, 0.5, -2)}
# Channels come in multiples of it: what the longest vectors hold.
WIDTH = 16
# conv_tiles.cc has room for so many.
AXES, MOST_POINTS = 3, 16
HANDLERS = ('convolve', 'kernel_gradient')


_lock = threading.Lock()


def compiled() -> bool:
  """Compiles the work, at first, and makes it known to XLA. False where it cannot be compiled."""
  with _lock:
    return _compiled()


@functools.cache
def _compiled() -> bool:
  library = native.library(pathlib.Path(__file__).with_suffix('.cc'))
  if library is None:
    logging.warning('networks take twice as long on this CPU')
    return False
  for name in HANDLERS:
    handler = jax.ffi.pycapsule(getattr(library, name))
    jax.ffi.register_ffi_target(f'fevgan_{name}', handler, platform='cpu')
  return True


class Side(NamedTuple):
  """One side of a convolution along one axis: place i * step + r + offset belongs to block i, for
  0 <= r < phases. There is nothing at places outside 0 <= place < size."""

  size: int
  step: int
  phases: int
  offset: int


class Cut(NamedTuple):
  """What conv_tiles.cc is told of one axis: places of a tile, its points, how many tiles there are,
  and what is read and written."""

  tile: int
  points: int
  tiles: int
  x: Side
  y: Side

  def numbers(self) -> list[int]:
    return [self.tile, self.points, self.tiles, *self.x, *self.y]


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
  def blocks(self) -> int:
    """Those that windows reach into."""
    return self.coarse + self.taps - 1

  @property
  def points(self) -> int:
    return self.tile + self.taps - 1

  def whole(self) -> Cut:
    """From the fine side to the coarse one, all phases of the stride at once."""
    return self._to_coarse(Side(self.fine, self.stride, self.stride, -self.before))

  def of_phase(self, phase: int) -> Cut:
    """The same, of one phase."""
    return self._to_coarse(Side(self.fine, self.stride, 1, phase - self.before))

  def _to_coarse(self, fine: Side) -> Cut:
    tiles = -(-self.coarse // self.tile)
    return Cut(self.tile, self.points, tiles, fine, Side(self.coarse, 1, 1, 0))

  def transposed(self, phase: int) -> Cut:
    """From the coarse side to the places of one phase of the fine one."""
    first = (phase - self.before) % self.stride  # place of that phase, which lies in block `block`
    block = (first + self.before - phase) // self.stride
    tiles = -(-self.fine // (self.stride * self.tile))
    coarse = Side(self.coarse, 1, 1, block + 1 - self.taps)
    return Cut(self.tile, self.points, tiles, coarse, Side(self.fine, self.stride, 1, first))

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
    return values(self.tile).T, inverse.round(9), values(self.taps) / scales[:, None]


def axes(
  window: Sequence[int],
  strides: Sequence[int],
  padding: Padding,
  fine: Sequence[int],
  coarse: Sequence[int],
  tile: int,
  batch: int,
) -> list[Axis]:
  """The axes of a convolution whose tiles have `tile` places at most, along each of them."""
  while tile > 1 and batch * math.prod(-(-m // tile) for m in coarse) < MIN_TILES:
    tile //= 2
  taps, strides = conv_taps.taps_and_strides(window, strides, coarse)
  result = []
  for k, t, s, (before, _), n, m in zip(window, taps, strides, padding, fine, coarse):
    own = tile if 1 < t <= 3 else 1  # more taps round too much
    while own > m:
      own //= 2
    result.append(Axis(k, s, before, n, m, own))
  return result


def shares_products(axes: Sequence[Axis]) -> bool:
  fits = len(axes) <= AXES and all(axis.points <= MOST_POINTS for axis in axes)
  return fits and any(axis.tile > 1 for axis in axes)


def strided_conv(x: Array, kernel: Array, axes: Sequence[Axis]) -> Array:
  features, channels = kernel.shape[-2:]
  if features % WIDTH:
    return strided_conv(_whole_blocks(x, axes), _whole_taps(kernel, axes), _plain(axes))
  shape = (len(x), *(axis.coarse for axis in axes), _wide(channels))
  y = _call(
    'convolve',
    shape,
    x,
    _widened(kernel),
    axes,
    {(0,) * len(axes): [axis.whole() for axis in axes]},
  )
  return y[..., :channels]


def transposed_conv(y: Array, kernel: Array, axes: Sequence[Axis]) -> Array:
  features, fine = kernel.shape[-2], [axis.fine for axis in axes]
  if features % WIDTH:
    blocks = transposed_conv(y, _whole_taps(kernel, axes), _plain(axes))
    strides = [axis.stride for axis in axes]
    blocks = blocks[..., : math.prod(strides) * features]
    padding = [(axis.before, 0) for axis in axes]
    return conv_taps.from_blocks(blocks, strides, padding, fine, features)
  parts = {phases: [a.transposed(r) for a, r in zip(axes, phases)] for phases in _phases(axes)}
  shape = (len(y), *fine, features)
  return _call('convolve', shape, _widened(y), _widened(kernel), axes, parts, transposed=True)


def kernel_gradient(x: Array, y: Array, axes: Sequence[Axis]) -> Array:
  features, channels = x.shape[-1], y.shape[-1]
  window = [axis.window for axis in axes]
  if features % WIDTH:
    strides, taps = [axis.stride for axis in axes], [axis.taps for axis in axes]
    matrices = kernel_gradient(_whole_blocks(x, axes), y, _plain(axes))
    matrices = matrices.reshape(math.prod(taps), -1, channels)
    matrices = matrices[:, : math.prod(strides) * features]
    return conv_taps.from_taps(matrices, window, taps, strides, features)
  parts = {phases: [axis.of_phase(r) for axis, r in zip(axes, phases)] for phases in _phases(axes)}
  shape = (*window, features, _wide(channels))
  return _call('kernel_gradient', shape, x, _widened(y), axes, parts)[..., :channels]


def _phases(axes: Sequence[Axis]) -> list[tuple[int, ...]]:
  return list(itertools.product(*(range(axis.stride) for axis in axes)))


def _call(
  name: str,
  shape: tuple[int, ...],
  a: Array,
  b: Array,
  axes: Sequence[Axis],
  parts: dict[tuple[int, ...], Sequence[Cut]],
  transposed: bool = False,
) -> Array:
  """Calls conv_tiles.cc, which knows three axes and reads what is told in this order."""
  missing = AXES - len(axes)
  one = Axis(window=1, stride=1, before=0, fine=1, coarse=1, tile=1)
  axes = [one] * missing + list(axes)
  sizes = [transposed, *(axis.window for axis in axes), *(axis.stride for axis in axes)]
  for phases, part in parts.items():
    sizes += [0] * missing + list(phases)
    sizes += itertools.chain(*(cut.numbers() for cut in [one.whole()] * missing + list(part)))
  matrices = []
  for axis in axes:
    places, blocks, taps = axis.matrices
    matrices += [blocks, places.T, places, taps, taps.T]
  return jax.ffi.ffi_call(
    f'fevgan_{name}', jax.ShapeDtypeStruct(shape, a.dtype), vmap_method='sequential'
  )(
    a,
    b,
    sizes=np.array(sizes, np.int64),
    matrices=np.concatenate([matrix.ravel() for matrix in matrices]).astype(np.float32),
  )


# Few channels, as of pictures: the blocks of a stride are what is convolved, without strides.


def _whole_blocks(x: Array, axes: Sequence[Axis]) -> Array:
  strides, grid = [axis.stride for axis in axes], [axis.blocks for axis in axes]
  return _widened(conv_taps.to_blocks(x, strides, [(axis.before, 0) for axis in axes], grid))


def _whole_taps(kernel: Array, axes: Sequence[Axis]) -> Array:
  taps = [axis.taps for axis in axes]
  matrices = conv_taps.to_taps(kernel, taps, [axis.stride for axis in axes])
  return _widened(matrices.reshape(*taps, *matrices.shape[1:]), -2)


def _plain(axes: Sequence[Axis]) -> list[Axis]:
  return [Axis(axis.taps, 1, 0, axis.blocks, axis.coarse, axis.tile) for axis in axes]


def _wide(channels: int) -> int:
  return -(-channels // WIDTH) * WIDTH


def _widened(array: Array, axis: int = -1) -> Array:
  """Zeros behind the channels."""
  pads = [(0, 0)] * array.ndim
  pads[axis] = (0, _wide(array.shape[axis]) - array.shape[axis])
  return jnp.pad(array, pads) if pads[axis][1] else array
