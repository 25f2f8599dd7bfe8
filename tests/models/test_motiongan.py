"""MotionGAN and TextureGAN: sizes, what is known of motions, landmarks and their maps, and what
the critic of motions is taught."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import after_steps, count, narrow

from configs import base
from fevgan_jax import models
from fevgan_jax.data import datasets
from fevgan_jax.faces import crop
from fevgan_jax.models import motiongan
from fevgan_jax.models.parts import hypersphere
from fevgan_jax.runtime.errors import UserError
from fevgan_jax.training import state as states
from fevgan_jax.training import train


def example_of(system, clips: int = 2, seed: int = 0):
  """Faces whose landmarks wander a little."""
  rng = np.random.default_rng(seed)
  steps = rng.normal(0, 0.2, (clips, 32, 68, 2)).astype(np.float32)
  batch = {
    'video': rng.integers(0, 256, (clips, 32, 64, 64, 3), np.uint8),
    'label': np.arange(clips) % 6,
    'landmarks': crop.TEMPLATE.astype(np.float32) + np.cumsum(steps, 1),
  }
  return batch, system.example(None, jax.tree.map(jnp.asarray, batch))


def test_sizes():
  config = base.get_config('motiongan')
  system = models.build(config, None)
  _, example = example_of(system)
  fresh = jax.eval_shape(lambda: states.create(system, example, jax.random.key(0)))
  # Published, 17.9 M: a label of 36 numbers there, of 6 here. 17x4 places of 1,024 channels first.
  layers, channels = [], 1024
  for _ in range(3):
    layers.append(9 * (channels + 6) * channels // 2)
    channels //= 2
  layers += [(128 + 6 + 1) * 17 * 4 * 1024, 9 * 134 * 64 + 64, 9 * 70 + 1]
  assert count(fresh.generator.params['motion']) == sum(layers) == 15_719_735
  more = 30 * (17 * 4 * 1024 + 9 * (512 + 256 + 128 + 64 + 1))  # 30 numbers more at every layer
  assert sum(layers) + more == pytest.approx(17.9e6, rel=0.01)
  assert count(fresh.generator.params['texture']) == pytest.approx(29e6, rel=0.02)


def test_shapes_know_neither_place_nor_size():
  rng = np.random.default_rng(0)
  landmarks = rng.uniform(0, 64, (3, 68, 2)).astype(np.float32)
  shape = motiongan.shape(landmarks)
  assert shape.shape == (3, 136)
  np.testing.assert_allclose((shape**2).sum(-1), 1, rtol=1e-5)
  np.testing.assert_allclose(motiongan.shape(3 * landmarks + 7), shape, atol=1e-6)


def test_landmarks_make_a_motion_again():
  # Of a face that neither drifts nor grows.
  rng = np.random.default_rng(0)
  clip = crop.TEMPLATE + np.cumsum(rng.normal(0, 0.2, (1, 32, 68, 2)), 1)
  clip += (crop.TEMPLATE - clip).mean((2,), keepdims=True)
  clip = clip.mean(2, keepdims=True) + (clip - clip.mean(2, keepdims=True)) / np.asarray(
    motiongan.size(clip)
  )[..., None, None] * float(motiongan.size(crop.TEMPLATE))
  clip = jnp.asarray(clip, jnp.float32)
  function, length = hypersphere.of_curve(motiongan.shape(clip))
  again = motiongan.moved(clip[:, 0], hypersphere.to_curve(function, length))
  np.testing.assert_allclose(again, clip, atol=1e-3)


def test_maps_show_each_part_where_it_is():
  landmarks = np.full((1, 68, 2), -20, np.float32)  # out of sight
  landmarks[0, 0] = 10.5, 20.5  # the jaw's first point, at the center of column 10 and row 20
  landmarks[0, 36] = 40.5, 30.5  # the corner of an eye belongs to both edges of the lids
  drawn = np.asarray(motiongan.maps(landmarks, 64))
  assert drawn.shape == (1, 64, 64, 9)
  assert drawn[0, 20, 10, 0] == pytest.approx(1)
  assert drawn[0, 20, 11, 0] == pytest.approx(np.exp(-0.5))
  assert drawn[0, 22, 11, 0] == pytest.approx(np.exp(-2.5))
  assert (drawn[0, 30, 40] > 0.9).nonzero()[0].tolist() == [3, 4]
  assert sorted({point for part in motiongan.PARTS for point in part}) == [*range(68)]


def known(batches: list) -> tuple:
  """What is known after batches of labels, functions and how far they go."""
  module = motiongan.Known(None)
  variables = module.init(jax.random.key(0), *batches[0])
  for batch in batches:
    (mean, lengths), variables = module.apply(variables, *batch, mutable=['batch_stats'])
  again = module.apply(variables, batches[0][0])
  np.testing.assert_array_equal(again[0], mean)
  np.testing.assert_array_equal(again[1], lengths)
  return mean, lengths


def test_the_mean_motion_and_how_far_a_label_goes_are_learned():
  rng = np.random.default_rng(0)
  middle = hypersphere.normalized(jnp.asarray(rng.normal(size=(31, 136)), jnp.float32))
  ways = hypersphere.tangent(middle, jnp.asarray(rng.normal(size=(40, 31, 136)), jnp.float32))
  ways = 0.8 * hypersphere.normalized(ways)
  functions = hypersphere.exp(middle, jnp.concatenate([ways, -ways]))  # whose mean is the middle
  order = rng.permutation(80).reshape(20, 4)
  labels = jax.nn.one_hot(np.array([0, 0, 2, 3]), 6) * jnp.array([1.0, 0.5, 1.0, 1.2])[:, None]
  lengths = jnp.array([2.0, 1.0, 3.0, 6.0])
  mean, found = known([(labels, functions[of], lengths) for of in order])
  assert hypersphere.angle(mean, middle) < 0.1 < hypersphere.angle(functions[0], middle)
  # Per unit of intensity: (2 + 1) / 1.5, 3 / 1 and 6 / 1.2.
  np.testing.assert_allclose(found, [2, 0, 3, 5, 0, 0], rtol=1e-5)


@pytest.fixture(scope='module')
def trained(data_dir):
  """A narrow system after some steps on real clips."""
  config = narrow('motiongan', data_dir)
  config.model.width = config.model.texture_width = 16
  config.critic.width = config.critic.texture_width = 8
  config.critic.steps = 2
  config.model.noise = 4
  system = models.build(config, None)
  source = datasets.Clips(datasets.prepare(config), 'train')
  clips = [source[i] for i in (0, 2, 4, 7, 9, 11)]  # of two people
  batch = {
    name: np.stack([clip[name] for clip in clips])
    for name in ('video', 'label', 'landmarks', 'intensity')
  }
  state = train.create_state(system, None, config, clips[0])
  state, metrics = after_steps(system, state, batch, 12)
  return system, state, batch, metrics


@pytest.mark.slow
def test_it_learns(trained):
  _, state, _, metrics = trained
  assert np.isfinite([[*values.values()] for values in metrics]).all()
  for name in ('texture', 'landmarks', 'angle'):
    key = f'generator/{name}'
    assert metrics[-1][key] < metrics[0][key], name
  assert metrics[-1]['motion_critic/slope'] != metrics[0]['motion_critic/slope']
  assert state.generator.batch_stats['known']['steps'] == 12


@pytest.mark.slow
def test_clips_are_of_the_person_and_the_label_and_rest_at_intensity_0(trained):
  system, state, batch, _ = trained
  generate = jax.jit(functools.partial(system.generated, state.generator.variables, None))
  image = np.repeat(batch['video'][:1, 0], 2, 0)
  labels = np.array([0, 3])

  def clips(*args, intensity=1.0):
    return np.asarray(generate(*args, intensity=intensity).video)

  one = clips(image, labels, jax.random.key(0))
  assert one.shape == (2, 32, 64, 64, 3)
  assert (one[0] != one[1]).any()
  assert (one != clips(image, labels, jax.random.key(1))).any()
  rests = clips(image, labels, jax.random.key(0), intensity=0.0)
  assert (rests == rests[:, :1]).all()
  other = clips(batch['video'][5:, 0].repeat(2, 0), labels, jax.random.key(0))
  assert (other != one).any()


@pytest.mark.slow
def test_each_critic_is_shown_what_is_its_own(trained):
  system, state, batch, _ = trained
  example = system.example(None, jax.tree.map(jnp.asarray, batch))
  generated, updated = system.generator.apply(
    state.generator.variables,
    example.image,
    example.label,
    None,
    train=False,
    rngs={'noise': jax.random.key(0)},
    mutable=['batch_stats'],
    **system.guidance(example),
  )
  real, fake = system.critics['motion_critic'].pair(example, generated)
  assert real.shape == fake.shape == (6, 31, 136)
  # Tangent vectors at the mean, which lead to the clips' own motions, and as far away as is said.
  mean = hypersphere.normalized(updated['batch_stats']['known']['mean'])
  functions, _ = hypersphere.of_curve(motiongan.shape(example.landmarks))
  np.testing.assert_allclose(hypersphere.exp(mean, real), functions, atol=1e-4)
  angle = hypersphere.angle(functions, hypersphere.exp(mean, fake))
  np.testing.assert_allclose(generated.extras['angle'], angle, atol=1e-3)
  real, fake = system.critics['texture_critic'].pair(example, generated)
  assert real.shape == fake.shape == (6 * 4, 64, 64, 3 + 9 + 9 + 3)
  np.testing.assert_array_equal(real[..., :-3], fake[..., :-3])
  # The real frame beside what it was painted from, which shows the landmarks of that frame.
  times = generated.extras['chosen'].argmax(-1)
  for k in range(4):
    np.testing.assert_array_equal(real[k, ..., -3:], example.video[0, times[0, k]])
    drawn = motiongan.maps(example.landmarks[:1, times[0, k]], 64)[0]
    np.testing.assert_allclose(real[k, ..., 12:21], drawn, atol=1e-6)


@pytest.mark.slow
def test_the_critic_of_motions_takes_its_steps(trained):
  _, state, _, _ = trained
  counts = {name: int(critic.opt_state[0].count) for name, critic in state.critics.items()}
  assert counts == {'motion_critic': 12 * 2, 'texture_critic': 12}


def test_clips_without_landmarks_are_refused(data_dir):
  config = narrow('motiongan', data_dir)
  with pytest.raises(UserError, match='^motiongan: learns from landmarks, which the clips of syn'):
    train.check_given(config, {'video': None, 'label': 0})
