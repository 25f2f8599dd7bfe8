"""The two convolutions against XLA's own, in value and gradient, on a CPU and as other platforms
compute them, and a case worked out by hand."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fevgan_jax.runtime import conv

# window, strides, padding, fine space: FEV-GAN's layers, then those of other systems, then uneven
# ones.
CASES = [
  ((4, 4, 4), (2, 2, 2), ((1, 1),) * 3, (8, 6, 4)),
  ((2, 1, 1), (1, 1, 1), ((0, 0),) * 3, (2, 4, 4)),
  ((2, 4, 4), (1, 1, 1), ((0, 0),) * 3, (2, 4, 4)),
  ((4, 1, 1), (2, 1, 1), ((1, 1), (0, 0), (0, 0)), (8, 3, 3)),
  ((1, 4, 4), (1, 2, 2), ((0, 0), (1, 1), (1, 1)), (3, 6, 8)),
  ((4, 4), (2, 2), ((1, 1),) * 2, (8, 6)),
  ((7, 7), (2, 2), ((0, 0),) * 2, (13, 15)),
  ((3, 3), (2, 2), ((1, 1),) * 2, (7, 8)),
  ((1, 1), (2, 2), ((0, 0),) * 2, (8, 8)),
  ((4, 1), (3, 1), ((0, 0),) * 2, (6, 3)),  # one place, behind which two are left over
  ((4, 4), (2, 2), ((1, 1),) * 2, (2, 6)),  # one place, and zeros on both sides
  ((3, 3), (1, 1), ((1, 1),) * 2, (8, 5)),
]


def inputs(window, strides, padding, fine, features=3, channels=5):
  rng = np.random.default_rng(0)
  coarse = [(n + sum(p) - k) // s + 1 for n, p, k, s in zip(fine, padding, window, strides)]
  return (
    rng.normal(size=(2, *fine, features)).astype(np.float32),
    rng.normal(size=(2, *coarse, channels)).astype(np.float32),
    rng.normal(size=(*window, features, channels)).astype(np.float32),
  )


def assert_close(a, b, tolerance=2e-6):
  """Within a share of the largest value. XLA's own are off by 4e-7."""
  for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
    np.testing.assert_allclose(x, y, rtol=0, atol=tolerance * np.abs(y).max())


# All layers in one go, and a few in chunks of one example each.
WAYS = [(case, conv.CHUNK) for case in CASES] + [(CASES[i], 1) for i in (0, 4, 5)]


def test_one_axis_by_hand():
  # x = 1 2 3 4, zero at both ends, window 1 10 100 1000 every second place:
  # y[0] = 0*1 + 1*10 + 2*100 + 3*1000 = 3210, y[1] = 2*1 + 3*10 + 4*100 + 0*1000 = 432.
  x = jnp.array([1.0, 2.0, 3.0, 4.0]).reshape(1, 4, 1)
  kernel = jnp.array([1.0, 10.0, 100.0, 1000.0]).reshape(4, 1, 1)
  y = conv.strided_conv(x, kernel, (2,), ((1, 1),))
  assert y.ravel().tolist() == [3210.0, 432.0]
  # Back: y[0] = 1 reaches x[-1..2] with the whole window, y[1] = 2 reaches x[1..4]; places -1 and
  # 4 are cut off.
  back = conv.transposed_conv(jnp.array([1.0, 2.0]).reshape(1, 2, 1), kernel, (2,), ((1, 1),))
  assert back.ravel().tolist() == [10.0, 100.0 + 2.0, 1000.0 + 20.0, 200.0]


@functools.partial(jax.jit, static_argnums=0)
def value_and_gradients(function, slope, *arguments):
  """function(*arguments), and the gradients of its product with a slope of its shape."""
  value, pull_back = jax.vjp(function, *arguments)
  return value, pull_back(slope)


def both_ways(window, strides, padding, fine, channels=5):
  """Of a case, per direction: ours, XLA's, and arguments of `value_and_gradients`."""
  x, y, kernel = inputs(window, strides, padding, fine, channels=channels)
  reached = tuple(
    (m - 1) * s + k - sum(p) for m, s, k, p in zip(y.shape[1:-1], strides, window, padding)
  )
  sizes = {'strides': strides, 'padding': padding}
  return {
    'down': (
      functools.partial(conv.strided_conv, **sizes),
      functools.partial(conv._down_by_xla, **sizes),
      (y, x, kernel),
    ),
    'up': (
      functools.partial(conv.transposed_conv, **sizes),
      functools.partial(conv._up_by_xla, **sizes, fine=reached),
      (x[(slice(None), *map(slice, reached))], y, kernel),
    ),
  }


def as_elsewhere(monkeypatch):
  """From now on functions are traced as GPU and TPU compute them."""
  other = lambda *arrays, cpu, default, **sizes: default(*arrays, **sizes)  # noqa: E731
  monkeypatch.setattr(conv, '_by_platform', other)


def operations(function, *arguments, platform='cpu') -> set[str]:
  """Which of the two it is compiled to: convolutions, matrix products, or both."""
  text = jax.jit(function).trace(*arguments).lower(lowering_platforms=(platform,)).as_text()
  return {name for name in ('convolution', 'dot_general') if f'stablehlo.{name}' in text}


@pytest.mark.parametrize('direction', ['down', 'up'])
@pytest.mark.parametrize('case, chunk', WAYS)
@pytest.mark.parametrize('tiles', [1, 1000])
def test_equals_xla(tiles, case, chunk, direction, monkeypatch):
  monkeypatch.setattr(conv, 'MIN_TILES', tiles)
  monkeypatch.setattr(conv, 'CHUNK', chunk)
  ours, xla, arguments = both_ways(*case)[direction]
  assert_close(value_and_gradients(ours, *arguments), value_and_gradients(xla, *arguments))


@pytest.mark.parametrize('tile, taps', [(1, 4), (2, 2), (2, 3), (4, 2), (4, 3)])
def test_tiles_of_one_axis_are_correlations(tile, taps):
  rng = np.random.default_rng(0)
  blocks, window = rng.normal(size=tile + taps - 1), rng.normal(size=taps)
  axis = conv.Axis(window=taps, stride=1, before=0, fine=8, coarse=8, tile=tile)
  of_places, of_blocks, of_window = axis.matrices
  y = of_places @ ((of_blocks @ blocks) * (of_window @ window))
  np.testing.assert_allclose(y, np.correlate(blocks, window), rtol=0, atol=1e-12)


def test_two_places_of_two_taps_by_hand():
  # b = 1 2 3, w = 10 100: y[0] = 1*10 + 2*100 = 210, y[1] = 2*10 + 3*100 = 320.
  # At 1: (1+2) * 110/2 = 165; at -1: (2-1) * 90/2 = 45; at infinity: (3-1) * 100 = 200.
  of_places, of_blocks, of_window = conv.Axis(2, 1, 0, 8, 8, 2).matrices
  products = (of_blocks @ [1, 2, 3]) * (of_window @ [10, 100])
  assert products.tolist() == [165, 45, 200]
  # 165 + 45 and 165 - 45 + 200
  assert (of_places @ products).tolist() == [210, 320]


@pytest.mark.parametrize('chunk', [conv.CHUNK, 1])
def test_fewer_channels_on_the_fine_side(chunk, monkeypatch):
  monkeypatch.setattr(conv, 'MIN_TILES', 1)
  monkeypatch.setattr(conv, 'CHUNK', chunk)
  ours, xla, arguments = both_ways(*CASES[5], channels=16)['down']  # of 12 numbers a block
  assert_close(value_and_gradients(ours, *arguments), value_and_gradients(xla, *arguments))


@pytest.mark.parametrize('window, stride', [(3, 1), (4, 2)])
@pytest.mark.parametrize('space', [(8, 8), (10, 10), (16, 6)])  # the last tile whole and not
@pytest.mark.parametrize('tiles', [1, 9])  # 9: for some of them tiles of 4x4 are too few
def test_larger_tiles_equal_xla(tiles, space, window, stride, monkeypatch):
  monkeypatch.setattr(conv, 'MIN_TILES', tiles)
  sizes = {'strides': (stride,) * 2, 'padding': ((1, 1),) * 2}
  x, slope, kernel = inputs((window,) * 2, *sizes.values(), space, 32, 16)
  ours = functools.partial(conv.strided_conv, **sizes, tile=4)
  xla = functools.partial(conv._down_by_xla, **sizes)
  arguments = slope, x, kernel
  assert_close(value_and_gradients(ours, *arguments), value_and_gradients(xla, *arguments), 1e-5)


@pytest.mark.parametrize('direction', ['down', 'up'])
@pytest.mark.parametrize('case', [CASES[i] for i in (0, 4, 6, 9)])
def test_other_platforms_compute_the_same(case, direction, monkeypatch):
  ours, _, arguments = both_ways(*case)[direction]
  on_cpu = value_and_gradients(ours, *arguments)
  as_elsewhere(monkeypatch)
  elsewhere = lambda *arguments: ours(*arguments)  # not yet traced  # noqa: E731
  assert operations(elsewhere, *arguments[1:]) == {'convolution'}
  assert_close(value_and_gradients(elsewhere, *arguments), on_cpu)


@pytest.mark.parametrize('direction', ['down', 'up'])
def test_vendors_convolutions_are_left_to_all_but_the_cpu(direction):
  ours, _, (slope, x, kernel) = both_ways(*CASES[0])[direction]
  of_x = lambda *arguments: value_and_gradients(ours, *arguments)[1][0]  # noqa: E731
  of_kernel = lambda *arguments: value_and_gradients(ours, *arguments)[1][1]  # noqa: E731
  for function in (of_x, of_kernel, lambda slope, *arguments: ours(*arguments)):
    at = functools.partial(operations, function, slope, x, kernel)
    assert at(platform='cpu') == {'dot_general'}
    assert at(platform='cuda') == at(platform='tpu') == {'convolution'}


def test_batch_is_cut_into_equal_chunks(monkeypatch):
  # 6 examples of 10 float32 each, 100 bytes at a time: 2 examples, 3 chunks. 30 bytes: one by one.
  x = jnp.arange(60.0).reshape(6, 10)
  for limit, chunks in ((100, 3), (30, 6), (1000, 1)):
    monkeypatch.setattr(conv, 'CHUNK', limit)
    parts = conv._in_chunks(lambda part: part, 10, x)
    assert parts.shape == (chunks, 6 // chunks, 10)
    assert (parts.reshape(6, 10) == x).all()


@pytest.mark.parametrize('elsewhere', [False, True])
def test_second_derivative_is_the_derivative_of_the_first(elsewhere, monkeypatch):
  monkeypatch.setattr(conv, 'MIN_TILES', 1)
  if elsewhere:
    as_elsewhere(monkeypatch)
  ours, xla, (_, x, kernel) = both_ways(*CASES[0])['down']

  @functools.partial(jax.jit, static_argnums=0)
  def second(function, x, kernel):
    first = jax.grad(lambda *arguments: jnp.sin(function(*arguments)).sum(), (0, 1))
    return jax.grad(lambda *arguments: sum((g**2).sum() for g in first(*arguments)), (0, 1))(
      x, kernel
    )

  assert_close(second(ours, x, kernel), second(xla, x, kernel), 1e-5)


def test_channels_that_do_not_match_are_refused():
  with pytest.raises(AssertionError):
    conv.strided_conv(jnp.zeros((1, 4, 4, 3)), jnp.zeros((4, 4, 2, 5)), (2, 2), ((1, 1),) * 2)


def test_form_of_xlas_convolution():
  x, _, kernel = inputs(*CASES[5])
  layer = nn.Conv(5, (4, 4), 2, padding=1, conv_general_dilated_cls=lambda: conv.general_conv)
  params = {'kernel': kernel, 'bias': jnp.arange(5.0)}
  expected = conv.strided_conv(x, kernel, *CASES[5][1:3]) + jnp.arange(5.0)
  assert (layer.apply({'params': params}, x) == expected).all()


@pytest.mark.parametrize(
  'options, message',
  [
    ({'padding': 'SAME'}, "padding 'SAME'"),
    ({'input_dilation': (2, 1)}, 'dilation'),
    ({'kernel_dilation': 2}, 'dilation'),
    ({'feature_group_count': 3}, '3 groups'),
    ({'precision': 'highest'}, 'precision'),
  ],
)
def test_what_it_cannot_do_is_refused(options, message):
  general = {'padding': 1, 'conv_general_dilated_cls': lambda: conv.general_conv}
  layer = nn.Conv(6, (4, 4), 2, **(general | options))
  with pytest.raises(ValueError, match=message):
    jax.eval_shape(layer.init, jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
