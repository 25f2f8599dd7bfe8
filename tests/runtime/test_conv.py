"""The two convolutions against XLA's own, in value and gradient, in every way that they are
computed, and a case worked out by hand."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rounding import GROWTH, assert_equal_up_to_rounding

from fevgan_jax.runtime import conv, conv_taps, conv_tiles, conv_xla

# window, strides, padding, fine space: FEV-GAN's layers, then those of other systems, then uneven
# ones. Every second one is slow, for the time that compiling takes.
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
  ((4, 1), (2, 3), ((1, 1), (2, 0)), (12, 10)),  # a window shorter than its stride
  ((3, 4), (1, 2), ((-1, 0), (2, -1)), (9, 11)),  # places cut off in place of zeros
]
ALL_CASES = [
  pytest.param(case, marks=pytest.mark.slow if i % 2 else ()) for i, case in enumerate(CASES)
]


def inputs(window, strides, padding, fine, features=3, channels=5):
  rng = np.random.default_rng(0)
  coarse = [(n + sum(p) - k) // s + 1 for n, p, k, s in zip(fine, padding, window, strides)]
  return (
    rng.normal(size=(2, *fine, features)).astype(np.float32),
    rng.normal(size=(2, *coarse, channels)).astype(np.float32),
    rng.normal(size=(*window, features, channels)).astype(np.float32),
  )


def assert_close(actual, expected, arguments, tile: int = 2):
  """Asserts that values and gradients for these arguments (slope, input, kernel) are equal up to
  rounding, each on its own scale."""
  slope, x, kernel = arguments
  # Terms of a value, at most: the window times the channels of its input. Of a kernel's gradient:
  # all places.
  terms = max(
    kernel.size // min(kernel.shape[-2:]), x.size // x.shape[-1], slope.size // slope.shape[-1]
  )
  growth = GROWTH[tile] ** (kernel.ndim - 2)
  for ours, theirs in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
    assert_equal_up_to_rounding(ours, theirs, terms=terms, growth=growth)


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


def both_ways(window, strides, padding, fine, features=3, channels=5):
  """Of a case, per direction: ours, XLA's, and arguments of `value_and_gradients`."""
  x, y, kernel = inputs(window, strides, padding, fine, features, channels)
  reached = tuple(
    (m - 1) * s + k - sum(p) for m, s, k, p in zip(y.shape[1:-1], strides, window, padding)
  )
  sizes = {'strides': strides, 'padding': padding}
  return {
    'down': (
      functools.partial(conv.strided_conv, **sizes),
      functools.partial(conv_xla.strided_conv, **sizes),
      (y, x, kernel),
    ),
    'up': (
      functools.partial(conv.transposed_conv, **sizes),
      functools.partial(conv_xla.transposed_conv, **sizes, fine=reached),
      (x[(slice(None), *map(slice, reached))], y, kernel),
    ),
  }


def as_elsewhere(monkeypatch):
  """From now on functions are traced as GPU and TPU compute them."""
  other = lambda operation, axes, *arrays, **sizes: operation.xla(*arrays, **sizes)  # noqa: E731
  monkeypatch.setattr(conv, '_by_platform', other)


KINDS = {
  'convolution': 'convolution',
  'dot_general': 'products',
  'custom_call @fevgan_convolve': 'compiled',
  'custom_call @fevgan_kernel_gradient': 'compiled',
}


def operations(function, *arguments, platform='cpu') -> set[str]:
  """What it consists of on a platform."""
  text = jax.jit(function).trace(*arguments).lower(lowering_platforms=(platform,)).as_text()
  return {kind for name, kind in KINDS.items() if f'stablehlo.{name}' in text}


@pytest.mark.parametrize('direction', ['down', 'up'])
@pytest.mark.parametrize('case', ALL_CASES)
@pytest.mark.parametrize('features, channels', [(3, 5), (48, 16)])  # in whole vectors, and not
# Products are shared, and are not, as below.
@pytest.mark.usefixtures('compiler')
@pytest.mark.parametrize('tiles', [1, pytest.param(1000, marks=pytest.mark.slow)])
def test_equals_xla(tiles, features, channels, case, direction, monkeypatch):
  monkeypatch.setattr(conv_tiles, 'MIN_TILES', tiles)
  ours, xla, arguments = both_ways(*case, features, channels)[direction]
  values = (value_and_gradients(function, *arguments) for function in (ours, xla))
  assert_close(*values, arguments)


@pytest.mark.parametrize('direction', ['down', 'up'])
@pytest.mark.parametrize('case', ALL_CASES)
@pytest.mark.parametrize(
  # Fewer channels than the fine side has in a block, and more; in one go, and each example for
  # itself.
  'channels, chunk',
  [
    (5, conv_taps.CHUNK),
    (40, 1),
    pytest.param(5, 1, marks=pytest.mark.slow),
    pytest.param(40, conv_taps.CHUNK, marks=pytest.mark.slow),
  ],
)
def test_products_of_taps_equal_xla(channels, chunk, case, direction, monkeypatch):
  monkeypatch.setattr(conv_taps, 'CHUNK', chunk)
  ours, xla, arguments = both_ways(*case, channels=channels)[direction]
  with conv.by_products():
    values = [value_and_gradients(function, *arguments) for function in (ours, xla)]
  assert_close(*values, arguments, tile=1)


@pytest.mark.parametrize('direction', ['down', 'up'])
@pytest.mark.parametrize('case', [CASES[i] for i in (0, 4, 6, 9)])
def test_other_platforms_compute_the_same(case, direction, monkeypatch):
  ours, _, arguments = both_ways(*case)[direction]
  on_cpu = value_and_gradients(ours, *arguments)
  as_elsewhere(monkeypatch)
  elsewhere = lambda *arguments: ours(*arguments)  # not yet traced  # noqa: E731
  assert operations(elsewhere, *arguments[1:]) == {'convolution'}
  assert_close(value_and_gradients(elsewhere, *arguments), on_cpu, arguments)


@pytest.mark.usefixtures('compiler')
@pytest.mark.parametrize('direction', ['down', 'up'])
def test_vendors_convolutions_are_left_to_all_but_the_cpu(direction, monkeypatch):
  monkeypatch.setattr(conv_tiles, 'MIN_TILES', 1)
  ours, _, (slope, x, kernel) = both_ways(*CASES[0])[direction]
  of_x = lambda *arguments: value_and_gradients(ours, *arguments)[1][0]  # noqa: E731
  of_kernel = lambda *arguments: value_and_gradients(ours, *arguments)[1][1]  # noqa: E731
  for function in (of_x, of_kernel, lambda slope, *arguments: ours(*arguments)):
    at = functools.partial(operations, function, slope, x, kernel)
    assert at(platform='cpu') == {'compiled'}
    assert at(platform='cuda') == at(platform='tpu') == {'convolution'}


@pytest.mark.usefixtures('compiler')
@pytest.mark.parametrize('direction', ['down', 'up'])
def test_programs_for_elsewhere_have_nothing_that_was_compiled_here(direction, monkeypatch):
  monkeypatch.setattr(conv_tiles, 'MIN_TILES', 1)
  ours, _, (slope, *arguments) = both_ways(*CASES[0])[direction]

  @jax.jit
  def gradients(*arguments):
    return jax.vjp(ours, *arguments)[1](slope)

  assert operations(gradients, *arguments) == {'compiled'}  # traced once: not for what follows
  with conv.portable():
    assert operations(gradients, *arguments) == {'products'}
    assert operations(gradients, *arguments, platform='cuda') == {'convolution'}
  with conv.by_products():
    assert operations(gradients, *arguments, platform='cuda') == {'products'}
  assert operations(gradients, *arguments) == {'compiled'}


def test_batch_is_cut_into_equal_chunks(monkeypatch):
  # 6 examples of 10 float32 each, 100 bytes at a time: 2 examples, 3 chunks. 30 bytes: one by one.
  x = jnp.arange(60.0).reshape(6, 10)
  for limit, chunks in ((100, 3), (30, 6), (1000, 1)):
    monkeypatch.setattr(conv_taps, 'CHUNK', limit)
    parts = conv_taps._in_chunks(lambda part: part, 10, x)
    assert parts.shape == (chunks, 6 // chunks, 10)
    assert (parts.reshape(6, 10) == x).all()


@pytest.mark.parametrize('elsewhere', [False, True])
def test_second_derivative_is_the_derivative_of_the_first(elsewhere, monkeypatch):
  monkeypatch.setattr(conv_tiles, 'MIN_TILES', 1)
  if elsewhere:
    as_elsewhere(monkeypatch)
  ours, xla, (_, x, kernel) = both_ways(*CASES[0])['down']

  @functools.partial(jax.jit, static_argnums=0)
  def second(function, x, kernel):
    first = jax.grad(lambda *arguments: jnp.sin(function(*arguments)).sum(), (0, 1))
    return jax.grad(lambda *arguments: sum((g**2).sum() for g in first(*arguments)), (0, 1))(
      x, kernel
    )

  # Three sums follow each other, of which each takes the errors of the one before.
  for one, other in zip(second(ours, x, kernel), second(xla, x, kernel), strict=True):
    terms, growth = 3 * x.size, 3 * GROWTH[2] ** 3
    assert_equal_up_to_rounding(one, other, terms=terms, growth=growth)


def test_half_precision_is_computed_in_float32():
  _, x, kernel = both_ways(*CASES[0])['down'][2]
  ours = functools.partial(conv.strided_conv, strides=(2,) * 3, padding=((1, 1),) * 3)
  half = [jnp.asarray(array, jnp.bfloat16) for array in (x, kernel)]
  y = jax.jit(ours)(*half)
  assert y.dtype == jnp.bfloat16
  exact = jax.jit(ours)(*(array.astype(jnp.float32) for array in half))
  np.testing.assert_array_equal(y, exact.astype(jnp.bfloat16))


@pytest.mark.parametrize(
  'strides, padding, window',
  [((1,), ((1, 1),) * 2, (3, 3)), ((1, 1), ((1, 1),), (3, 3)), ((1,) * 3, ((1, 1),) * 3, (3, 3))],
)
def test_axes_that_do_not_match_are_refused(strides, padding, window):
  x, y = jnp.zeros((1, 4, 4, 3)), jnp.zeros((1, 4, 4, 5))
  kernel = jnp.zeros((*window, 3, 5))
  for function, array in ((conv.strided_conv, x), (conv.transposed_conv, y)):
    with pytest.raises(ValueError, match='spatial axes'):
      function(array, kernel, strides, padding)


def test_tiles_of_other_sizes_are_refused():
  with pytest.raises(ValueError, match='tile 3'):
    conv.strided_conv(jnp.zeros((1, 4, 3)), jnp.zeros((3, 3, 5)), (1,), ((1, 1),), tile=3)


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
