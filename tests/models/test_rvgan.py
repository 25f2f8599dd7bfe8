"""RV-GAN: shapes, sizes, one cell by hand, and how a clip goes on from frame to frame."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import count, filled, shapes_of

from configs import base
from fevgan_jax.models import rvgan


def test_shapes_and_sizes_as_published():
  config = base.get_config('rvgan')
  assert (config.batch_size, config.optimizer.learning_rate, config.optimizer.b1) == (8, 2e-4, 0.5)
  fresh, generated, verdicts = shapes_of(config)
  assert generated.video.shape == (2, 32, 64, 64, 3)
  assert verdicts['video_critic'].shape == (2, 17)
  # 61.95 M: of each cell 16 taps from its input and 9 from its past to four gates, and two
  # normalizations with two numbers for each channel and place of these.
  cells = ((128, 512, 4), (512, 512, 8), (512, 256, 16), (256, 128, 32), (128, 64, 64))
  generator = 9 * 64 * 3
  for come, features, side in cells:
    generator += 4 * features * (16 * come + 9 * features + 4 * side**2)
  assert count(fresh.generator.params) == generator == pytest.approx(61.95e6, rel=1e-3)


def test_a_moment_by_hand():
  # Of a past of 0 only the normalization's bias is left in the gates.
  moment = rvgan.Moment(1)
  state, come = (jnp.full((1, 4, 4, 1), 2.0), jnp.zeros((1, 4, 4, 1))), jnp.zeros((1, 4, 4, 4))
  params = moment.init(jax.random.key(0), state, come)['params']
  gates = jnp.array([0.5, -1.0, 1.5, 0.0])  # of what is admitted, kept, new, and said
  params['LayerNorm_0']['bias'] = jnp.broadcast_to(gates, (4, 4, 4))
  come = come.at[..., 2].set(0.5)
  (kept, said), heard = moment.apply({'params': params}, state, come)
  np.testing.assert_array_equal(said, heard)
  # sigmoid(-1 + 1) * 2 + sigmoid(0.5) * tanh(2) = 1 + 0.6225 * 0.9640 = 1.6001, and half of its
  # hyperbolic tangent, 0.9217.
  np.testing.assert_allclose(kept, np.full((1, 4, 4, 1), 1.6001), atol=1e-4)
  np.testing.assert_allclose(said, np.full((1, 4, 4, 1), 0.4608), atol=1e-4)


def test_inputs_are_normalized_over_all_of_a_map():
  cell = rvgan.Cell(2, 8, 3)
  x = np.random.default_rng(0).normal(size=(2, 3, 4, 4, 3)).astype(np.float32)
  said = jax.jit(functools.partial(cell.apply, cell.init(jax.random.key(0), x)))
  np.testing.assert_allclose(said(x), said(7 * x), atol=1e-3)


@pytest.mark.slow
def test_a_clip_goes_on_from_frame_to_frame():
  images, labels = jnp.zeros((2, 64, 64, 3)), jnp.zeros((2, 6))
  keys = {'params': jax.random.key(0), 'noise': jax.random.key(0)}
  short, long = (rvgan.Generator(1, 8, frames) for frames in (2, 4))
  variables = filled(
    jax.eval_shape(functools.partial(short.init, keys, images, labels, None, False))
  )

  def clips(generator, number):
    noise = {'noise': jax.random.key(number)}
    return generator.apply(variables, images, labels, None, False, rngs=noise).video

  first, whole = clips(short, 1), jax.jit(functools.partial(clips, long))(1)
  assert whole.shape == (2, 4, 64, 64, 3)
  np.testing.assert_allclose(whole[:, :2], first, atol=1e-5)
  assert (jnp.abs(whole[:, 1:] - whole[:, :-1]).max((0, 2, 3, 4)) > 0).all()  # it moves
  assert jnp.abs(whole[0] - whole[1]).max() > 0  # two draws
  assert jnp.abs(whole[:, :2] - clips(short, 2)).max() > 0
