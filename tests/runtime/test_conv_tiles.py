"""Convolutions with fewer products: the small matrices, and the work that is compiled."""

import concurrent.futures
import functools
import os
import pathlib
import platform
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rounding import GROWTH, assert_equal_up_to_rounding

from fevgan_jax.runtime import conv, conv_taps, conv_tiles, conv_xla

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.parametrize('tile, taps', [(1, 4), (2, 2), (2, 3), (4, 2), (4, 3)])
def test_tiles_of_one_axis_are_correlations(tile, taps):
  rng = np.random.default_rng(0)
  blocks, window = rng.normal(size=tile + taps - 1), rng.normal(size=taps)
  axis = conv_tiles.Axis(window=taps, stride=1, before=0, fine=8, coarse=8, tile=tile)
  of_places, of_blocks, of_window = axis.matrices
  y = of_places @ ((of_blocks @ blocks) * (of_window @ window))
  np.testing.assert_allclose(y, np.correlate(blocks, window), rtol=0, atol=1e-12)


@pytest.mark.parametrize('tile, taps', [(1, 4), (2, 2), (2, 3), (4, 2), (4, 3)])
def test_growth_of_rounding_errors(tile, taps):
  # Products of unit variance in place of the terms of each sum: taps of them in a value, `tile` in
  # the gradient of a tap, and their share of the tile's blocks in the gradient of a block.
  axis = conv_tiles.Axis(window=taps, stride=1, before=0, fine=8, coarse=8, tile=tile)
  of_places, of_blocks, of_window = (matrix**2 for matrix in axis.matrices)
  places, blocks, window = of_places.sum(0), of_blocks.sum(1), of_window.sum(1)
  of_value = (of_places @ (blocks * window)).max() / taps
  of_tap = (of_window.T @ (places * blocks)).max() / tile
  of_block = (of_blocks.T @ (places * window)).max() / (tile * taps / axis.points)
  assert max(of_value, of_tap, of_block) ** 0.5 <= GROWTH[tile]


def test_two_places_of_two_taps_by_hand():
  # b = 1 2 3, w = 10 100: y[0] = 1*10 + 2*100 = 210, y[1] = 2*10 + 3*100 = 320.
  # At 1: (1+2) * 110/2 = 165; at -1: (2-1) * 90/2 = 45; at infinity: (3-1) * 100 = 200.
  of_places, of_blocks, of_window = conv_tiles.Axis(2, 1, 0, 8, 8, 2).matrices
  products = (of_blocks @ [1, 2, 3]) * (of_window @ [10, 100])
  assert products.tolist() == [165, 45, 200]
  # 165 + 45 and 165 - 45 + 200
  assert (of_places @ products).tolist() == [210, 320]


def test_tiles_are_halved_until_there_are_enough():
  axes = functools.partial(conv_tiles.axes, (3, 3), (1, 1), ((1, 1),) * 2)
  # 8x8 places have 4 tiles of 4x4, 16 of 2x2; a batch of 4 has 16 of 4x4.
  assert [a.tile for a in axes((8, 8), (8, 8), 4, 1)] == [2, 2]
  assert [a.tile for a in axes((8, 8), (8, 8), 4, 4)] == [4, 4]
  assert [a.tile for a in axes((4, 4), (4, 4), 4, 1)] == [1, 1]
  assert not conv_tiles.shares_products(axes((4, 4), (4, 4), 4, 1))


def arrays(window, strides, padding, fine, features, channels, batch=2):
  rng = np.random.default_rng(0)
  coarse = conv_taps.coarse(fine, window, strides, padding)
  shapes = (batch, *fine, features), (batch, *coarse, channels), (*window, features, channels)
  return [jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes]


def assert_equals_xla(case, tile=2, batch=2):
  window, strides, padding, fine, _, _ = case
  x, y, kernel = arrays(*case, batch=batch)
  axes = conv_tiles.axes(window, strides, padding, fine, y.shape[1:-1], tile, batch)
  assert conv_tiles.shares_products(axes) and conv_tiles.compiled()
  sizes = {'strides': strides, 'padding': padding}
  growth = np.prod([GROWTH[axis.tile] for axis in axes])
  places = y.size // y.shape[-1]
  for name, pair, terms, more in (
    ('strided_conv', (x, kernel), kernel.size // kernel.shape[-1], {}),
    ('transposed_conv', (y, kernel), kernel.size // kernel.shape[-2], {'fine': fine}),
    ('kernel_gradient', (x, y), places, {'window': window}),
  ):
    ours = jax.jit(lambda *pair, name=name: getattr(conv_tiles, name)(*pair, axes))(*pair)
    xla = jax.jit(functools.partial(getattr(conv_xla, name), **sizes, **more))(*pair)
    assert_equal_up_to_rounding(ours, xla, terms=terms, growth=growth)


@pytest.mark.usefixtures('compiler')
@pytest.mark.parametrize('window, stride', [(3, 1), (4, 2)])
@pytest.mark.parametrize('space', [(8, 8), (10, 10), (16, 6)])  # the last tile whole and not
@pytest.mark.parametrize('tiles', [1, 8])  # 8: for some of them tiles of 4x4 are too few
def test_larger_tiles_equal_xla(tiles, space, window, stride, monkeypatch):
  monkeypatch.setattr(conv_tiles, 'MIN_TILES', tiles)
  case = (window,) * 2, (stride,) * 2, ((1, 1),) * 2, space, 32, 16
  assert_equals_xla(case, tile=4)


LARGE = [  # many groups of tiles, few with large weights, several slices, one axis, odd ends
  ((4, 4, 4), (2, 2, 2), ((1, 1),) * 3, (16, 32, 32), 32, 64),
  ((4, 4, 4), (2, 2, 2), ((1, 1),) * 3, (32, 32, 32), 3, 32),
  pytest.param(((4, 4, 4), (2, 2, 2), ((1, 1),) * 3, (4, 8, 8), 128, 256), marks=pytest.mark.slow),
  ((3, 3), (1, 1), ((1, 1),) * 2, (16, 16), 256, 256),
  ((4,), (2,), ((1, 1),), (200,), 16, 48),
  ((5, 4), (2, 3), ((2, 1), (0, 3)), (37, 41), 16, 16),
  ((3, 3, 3), (1, 1, 1), ((1, 1),) * 3, (9, 10, 11), 16, 80),
]


@pytest.mark.usefixtures('compiler')
@pytest.mark.parametrize('case', LARGE)
def test_large_arrays_equal_xla(case):
  assert_equals_xla(case, batch=4)


def test_examples_of_a_map_are_convolved_each_with_its_own_kernel():
  case = (4, 4), (2, 2), ((1, 1),) * 2, (32, 32), 16, 16
  x, _, kernel = arrays(*case)
  kernels = jnp.stack([kernel, 2 * kernel])
  of_one = functools.partial(conv.strided_conv, strides=(2, 2), padding=((1, 1),) * 2)
  mapped = jax.jit(jax.vmap(of_one))(x[:, None], kernels)
  np.testing.assert_array_equal(mapped[0], of_one(x[:1], kernel))
  np.testing.assert_array_equal(mapped[1], of_one(x[1:], 2 * kernel))


@pytest.mark.usefixtures('compiler')
def test_larger_tiles_in_value_and_gradients():
  x, slope, kernel = arrays((3, 3), (1, 1), ((1, 1),) * 2, (16, 16), 32, 64)

  @functools.partial(jax.jit, static_argnums=0)
  def both(function, x, kernel):
    y, pull_back = jax.vjp(function, x, kernel)
    return y, *pull_back(slope)

  sizes = {'strides': (1, 1), 'padding': ((1, 1),) * 2}
  ours = both(functools.partial(conv.strided_conv, **sizes, tile=4), x, kernel)
  exact = both(functools.partial(conv_xla.strided_conv, **sizes), x, kernel)
  small = both(functools.partial(conv.strided_conv, **sizes, tile=2), x, kernel)
  for a, b, c in zip(ours, exact, small, strict=True):
    assert_equal_up_to_rounding(a, b, terms=9 * 64, growth=GROWTH[4] ** 2)
    assert (np.asarray(a) != np.asarray(c)).any()  # tiles are really larger, everywhere


def test_windows_of_many_taps_are_left_to_others():
  axes = conv_tiles.axes((40, 4), (2, 2), ((0, 0), (1, 1)), (80, 64), (21, 32), 2, 4)
  assert [axis.points for axis in axes] == [20, 3]  # more than there is room for
  assert not conv_tiles.shares_products(axes)


def test_axes_with_fewer_places_than_a_tile():
  axes = conv_tiles.axes((3,) * 3, (1,) * 3, ((1, 1),) * 3, (1, 3, 16), (1, 3, 16), 4, 64)
  assert [axis.tile for axis in axes] == [1, 2, 4]


def test_gradients_of_a_map_over_kernels():
  x, _, kernel = arrays((4, 4), (2, 2), ((1, 1),) * 2, (32, 32), 16, 16)
  kernels = jnp.stack([kernel, 2 * kernel])
  of_one = functools.partial(conv.strided_conv, strides=(2, 2), padding=((1, 1),) * 2)
  loss = lambda x, kernel: (of_one(x, kernel) ** 2).sum()  # noqa: E731
  mapped = jax.jit(jax.vmap(jax.grad(loss, 1)))(x[:, None], kernels)
  for i in range(2):
    alone = jax.jit(jax.grad(loss, 1))(x[i : i + 1], kernels[i])
    np.testing.assert_array_equal(mapped[i], alone)


def test_two_threads_at_once():
  case = (4, 4, 4), (2, 2, 2), ((1, 1),) * 3, (16, 16, 16), 16, 32
  x, _, kernel = arrays(*case)
  of = jax.jit(functools.partial(conv.strided_conv, strides=(2,) * 3, padding=((1, 1),) * 3))
  alone = np.asarray(of(x, kernel))
  with concurrent.futures.ThreadPoolExecutor(4) as pool:
    for y in pool.map(lambda _: np.asarray(of(x, kernel)), range(40)):
      np.testing.assert_array_equal(y, alone)


OTHERWISE = """
import os, sys
os.sched_setaffinity(0, map(int, sys.argv[2:]))
sys.path.insert(0, sys.argv[1])
import hashlib, jax, numpy as np
from fevgan_jax.runtime import conv, conv_tiles
assert conv_tiles.compiled()
rng = np.random.default_rng(0)
for fine, features, channels in ((16, 3, 32), (32, 16, 48), (8, 64, 128)):  # slices, groups, panels
  x = rng.normal(size=(2, fine, fine, fine, features)).astype('f')
  kernel = rng.normal(size=(4, 4, 4, features, channels)).astype('f')
  of = jax.jit(lambda *pair: conv.strided_conv(*pair, (2, 2, 2), ((1, 1),) * 3))
  y, back = jax.vjp(of, x, kernel)
  for array in (y, *jax.jit(back)(y)):
    print(hashlib.sha256(array).hexdigest(), *np.asarray(array).ravel()[:: array.size // 100])
"""


def otherwise(cores: list[int], **environment: str) -> list[list[str]]:
  words = [sys.executable, '-c', OTHERWISE, str(ROOT), *map(str, cores)]
  environment = {**os.environ, **environment}
  done = subprocess.run(words, env=environment, check=True, capture_output=True, text=True)
  return [line.split() for line in done.stdout.splitlines()]


CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else []


@pytest.mark.usefixtures('compiler')
@pytest.mark.slow
@pytest.mark.skipif(len(CORES) < 2, reason='needs two cores')
def test_sums_do_not_depend_on_the_number_of_threads():
  on_all = otherwise(CORES)
  assert len(on_all) == 9
  assert on_all == otherwise(CORES[:1])


@pytest.mark.usefixtures('compiler')
@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != 'x86_64' or not CORES, reason='needs such a processor')
@pytest.mark.parametrize('without', ['-mno-avx512f', '-mno-avx'])
def test_processors_with_shorter_vectors_compute_the_same(without, tmp_path):
  compiler = os.environ.get('CXX', 'c++')
  shorter = otherwise(CORES, CXX=f'{compiler} {without}', XDG_CACHE_HOME=str(tmp_path))
  for a, b in zip(shorter, otherwise(CORES), strict=True):
    a, b = (np.array(line[1:], float) for line in (a, b))
    # Kernel gradients have the most terms: two clips of 16 places along each of three axes.
    assert_equal_up_to_rounding(a, b, terms=2 * 16**3, growth=GROWTH[2] ** 3)
