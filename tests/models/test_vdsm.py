"""VDSM: sizes as published, its parts by hand, what its stages may move, and clips of a label."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from networks import after_steps, count, narrow

from configs import base
from fevgan_jax import models
from fevgan_jax.models import vdsm
from fevgan_jax.training import state as states


def batch_of(clips: int = 3, frames: int = 4) -> dict:
  rng = np.random.default_rng(0)
  return {
    'video': rng.integers(0, 256, (clips, frames, 64, 64, 3), np.uint8),
    'label': np.arange(clips),
  }


def test_sizes_as_published():
  system = models.build(base.get_config('vdsm'), None)
  example = jax.eval_shape(lambda: system.example(None, batch_of(frames=32)))
  fresh = jax.eval_shape(lambda e: states.create(system, e, jax.random.key(0)), example)
  params = fresh.generator.params
  assert count(params['encoder']) == 431_002
  assert count(params['experts']) == 15 * 3_125_187
  assert count(params['person']) == 480
  # 22.08 M, whose LSTMs have two biases where ours have one, and a layer that nothing reads.
  assert count((params['action'], params['dynamics'])) == pytest.approx(22.08e6, rel=3e-3)
  assert not fresh.critics


def test_weights_and_temperature_change_as_in_its_code():
  # Of 250 epochs, at the ends, and where their code is said to have these values.
  def at(epoch: float, of: np.ndarray) -> float:
    return np.interp(epoch / 250, vdsm.SHARES, of)

  assert [at(epoch, vdsm.TEMPERATURES) for epoch in (0, 10, 50, 75, 125, 250)] == pytest.approx(
    [1, 1.17, 4.22, 7.0, 10, 10], abs=0.2
  )
  assert [at(epoch, vdsm.OF_PEOPLE) for epoch in (0, 25, 50, 84, 250)] == pytest.approx(
    [0.1, 0.29, 0.69, 1, 1], abs=0.02
  )
  assert [at(epoch, vdsm.of_poses()) for epoch in (0, 10, 50, 100, 150, 249)] == pytest.approx(
    [30, 26, 13, 2.8, 0.005, 1], rel=0.06
  )


def test_densities_are_scipys():
  rng = np.random.default_rng(0)
  x, mean, deviation = rng.normal(size=(3, 2, 5))
  deviation = np.exp(deviation)
  theirs = scipy.stats.norm.logpdf(x, mean, deviation).sum(-1)
  np.testing.assert_allclose(vdsm.log_density(x, (mean, deviation)), theirs, rtol=1e-5)
  theirs = scipy.stats.norm.logpdf(x, 0, 0.5).sum(-1)
  np.testing.assert_allclose(vdsm.log_density(x, (0.0, 0.5)), theirs, rtol=1e-5)


def test_blur_by_hand():
  # A single pixel of 64 in the middle of a row of 7: taps 1, 3, 3, 1 of 8, every second place.
  x = np.zeros((1, 7, 7, 1), np.float32)
  x[0, 3, 3] = 64
  blurred = np.asarray(vdsm.blur_pool(x))[0, :, :, 0]
  assert blurred.shape == (4, 4)
  # Place i sees the pixels 2 i - 1 to 2 i + 2.
  np.testing.assert_allclose(blurred[1], [0, 9, 3 * 1, 0], atol=1e-5)
  np.testing.assert_allclose(blurred[2], [0, 3, 1, 0], atol=1e-5)
  np.testing.assert_allclose(vdsm.blur_pool(np.ones((1, 63, 63, 2), np.float32)), 1, rtol=1e-6)


@pytest.mark.slow
def test_the_kernels_of_experts_are_mixed_not_their_pictures():
  rng = np.random.default_rng(0)
  layers = vdsm.Experts(8).init_with_output(jax.random.key(0))[0]
  layers = [(30 * kernel, rng.normal(size=bias.shape)) for kernel, bias in layers]
  pose = jnp.asarray(rng.normal(size=(1, 2, 30)), jnp.float32)
  run = jax.jit(lambda mixture: vdsm.decode(layers, pose, mixture))
  first, second = (run(jnp.eye(15)[i : i + 1]) for i in (0, 1))
  assert first.shape == (1, 2, 64, 64, 3)
  half = run((jnp.eye(15)[:1] + jnp.eye(15)[1:2]) / 2)
  assert np.abs(half - (first + second) / 2).max() > 1e-3
  # A mixture of equal experts is each of them; the code that it is given beside the pose is not.
  same = [tuple(jnp.broadcast_to(x[:1], x.shape) for x in layer) for layer in layers]
  same[0] = (same[0][0].at[..., 30:].set(0), same[0][1])
  one, other = (vdsm.decode(same, pose, jnp.eye(15)[i : i + 1]) for i in (0, 7))
  np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.fixture(scope='module')
def trained():
  config = narrow('vdsm')
  config.model.steps = 4
  system = models.build(config, None)
  system = dataclasses.replace(system, generator=system.generator.clone(frames=4))
  batch = batch_of()
  example = jax.tree.map(jnp.asarray, batch)
  state = jax.jit(
    lambda batch: states.create(system, system.example(None, batch), jax.random.key(0))
  )(example)
  state, metrics = after_steps(system, state, batch, 6)
  return system, state, batch, metrics


@pytest.mark.slow
def test_it_learns(trained):
  _, state, _, metrics = trained
  assert np.isfinite([[*values.values()] for values in metrics]).all()
  assert metrics[0]['generator/frames_likelihood'] == pytest.approx(np.log(2), abs=1e-3)
  assert metrics[-1]['generator/frames_likelihood'] < metrics[0]['generator/frames_likelihood']
  assert state.generator.batch_stats['steps'] == 6
  counts = 1 - vdsm.MEMORY**6
  np.testing.assert_allclose(
    state.generator.batch_stats['counts'], [counts / (1 - vdsm.MEMORY)] * 3 + [0] * 3, rtol=1e-5
  )


@pytest.mark.slow
def test_the_second_stage_does_not_move_the_first(trained):
  system, state, batch, _ = trained
  example = system.example(None, jax.tree.map(jnp.asarray, batch))

  def extras(params) -> dict[str, jax.Array]:
    variables = {'params': params, 'batch_stats': state.generator.batch_stats}
    generated, _ = system.generator.apply(
      variables,
      example.image,
      example.label,
      None,
      train=True,
      video=example.video,
      rngs={'noise': jax.random.key(0)},
      mutable=['batch_stats'],
    )
    return {
      name: generated.extras[name].mean() for name in ('frames_likelihood', 'clip_likelihood')
    }

  slopes = jax.jit(jax.jacrev(extras))(state.generator.params)
  moved = {
    name: {part for part, tree in of.items() if any(np.any(x) for x in jax.tree.leaves(tree))}
    for name, of in slopes.items()
  }
  assert moved == {
    'frames_likelihood': {'encoder', 'person', 'experts'},
    'clip_likelihood': {'action', 'dynamics'},
  }


@pytest.mark.slow
def test_clips_are_of_a_picture_and_a_label(trained):
  system, state, batch, _ = trained
  # The few steps above have hardly begun: with experts and actions that differ.
  rng = np.random.default_rng(0)

  def drawn(x: jax.Array) -> np.ndarray:
    return rng.normal(0, 0.3, x.shape).astype(np.float32)

  variables = jax.tree.map(lambda x: x, state.generator.variables)
  variables['params']['experts'] = jax.tree.map(drawn, variables['params']['experts'])
  variables['batch_stats']['actions'] = 50 * drawn(variables['batch_stats']['actions'])
  generate = jax.jit(functools.partial(system.generated, variables, None))
  image, labels = np.repeat(batch['video'][:1, 0], 2, 0), np.array([0, 1])
  clips = generate(image, labels, jax.random.key(0)).video
  assert clips.shape == (2, 4, 64, 64, 3)
  assert (clips[0] != clips[1]).any()
  again = generate(image, labels, jax.random.key(1)).video
  np.testing.assert_array_equal(again, clips)  # nothing is drawn
  other = generate(batch['video'][1:, 0], labels, jax.random.key(0)).video
  assert (other[0] != clips[0]).any()
