"""Convolutions with fewer products: the small matrices, and the work that is compiled."""

import functools
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

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


def assert_equals_xla(case, tolerance, tile=2, batch=2):
  window, strides, padding, fine, _, _ = case
  x, y, kernel = arrays(*case, batch=batch)
  axes = conv_tiles.axes(window, strides, padding, fine, y.shape[1:-1], tile, batch)
  assert conv_tiles.shares_products(axes) and conv_tiles.compiled()
  sizes = {'strides': strides, 'padding': padding}
  for name, pair, more in (
    ('strided_conv', (x, kernel), {}),
    ('transposed_conv', (y, kernel), {'fine': fine}),
    ('kernel_gradient', (x, y), {'window': window}),
  ):
    ours = jax.jit(lambda *pair, name=name: getattr(conv_tiles, name)(*pair, axes))(*pair)
    xla = jax.jit(functools.partial(getattr(conv_xla, name), **sizes, **more))(*pair)
    np.testing.assert_allclose(ours, xla, rtol=0, atol=tolerance * np.abs(xla).max())


@pytest.mark.parametrize('window, stride', [(3, 1), (4, 2)])
@pytest.mark.parametrize('space', [(8, 8), (10, 10), (16, 6)])  # the last tile whole and not
@pytest.mark.parametrize('tiles', [1, 8])  # 8: for some of them tiles of 4x4 are too few
def test_larger_tiles_equal_xla(tiles, space, window, stride, monkeypatch):
  monkeypatch.setattr(conv_tiles, 'MIN_TILES', tiles)
  case = (window,) * 2, (stride,) * 2, ((1, 1),) * 2, space, 32, 16
  assert_equals_xla(case, 1e-5, tile=4)


LARGE = [  # many groups of tiles, few with large weights, several slices, one axis, odd ends
  ((4, 4, 4), (2, 2, 2), ((1, 1),) * 3, (16, 32, 32), 32, 64),
  ((4, 4, 4), (2, 2, 2), ((1, 1),) * 3, (32, 32, 32), 3, 32),
  ((4, 4, 4), (2, 2, 2), ((1, 1),) * 3, (4, 8, 8), 128, 256),
  ((3, 3), (1, 1), ((1, 1),) * 2, (16, 16), 256, 256),
  ((4,), (2,), ((1, 1),), (200,), 16, 48),
  ((5, 4), (2, 3), ((2, 1), (0, 3)), (37, 41), 16, 16),
  ((3, 3, 3), (1, 1, 1), ((1, 1),) * 3, (9, 10, 11), 16, 80),
]


@pytest.mark.parametrize('case', LARGE)
def test_large_arrays_equal_xla(case):
  assert_equals_xla(case, 2e-6, batch=4)


def test_examples_of_a_map_are_convolved_each_with_its_own_kernel():
  case = (4, 4), (2, 2), ((1, 1),) * 2, (32, 32), 16, 16
  x, _, kernel = arrays(*case)
  kernels = jnp.stack([kernel, 2 * kernel])
  of_one = functools.partial(conv.strided_conv, strides=(2, 2), padding=((1, 1),) * 2)
  mapped = jax.jit(jax.vmap(of_one))(x[:, None], kernels)
  np.testing.assert_array_equal(mapped[0], of_one(x[:1], kernel))
  np.testing.assert_array_equal(mapped[1], of_one(x[1:], 2 * kernel))


SUMS = """
import os, sys
os.sched_setaffinity(0, map(int, sys.argv[2:]))
sys.path.insert(0, sys.argv[1])
import jax, numpy as np
from fevgan_jax.runtime import conv
rng = np.random.default_rng(0)
x, kernel = (rng.normal(size=n).astype('f') for n in ((4, 16, 32, 32, 3), (4, 4, 4, 3, 32)))
of = lambda *pair: conv.strided_conv(*pair, (2, 2, 2), ((1, 1),) * 3)
y, back = jax.vjp(jax.jit(of), x, kernel)
print(*(np.asarray(a).tobytes().hex()[:4000] for a in (y, *jax.jit(back)(y))))
"""


@pytest.mark.skipif(not hasattr(os, 'sched_setaffinity'), reason='needs a set of cores')
def test_sums_do_not_depend_on_the_number_of_threads():
  def on(cores):
    words = [sys.executable, '-c', SUMS, str(ROOT), *map(str, cores)]
    return subprocess.run(words, check=True, capture_output=True).stdout

  cores = list(os.sched_getaffinity(0))
  on_all = on(cores)
  assert len(on_all) > 10000
  assert on_all == on(cores[:1])
