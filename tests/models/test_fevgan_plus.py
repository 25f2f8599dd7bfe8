"""FEV-GAN+: shapes, sizes, where it starts from, and what an intensity does."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import count, norm, shapes_of

from configs import base
from fevgan_jax import models
from fevgan_jax.faces import truth
from fevgan_jax.models import fevgan, fevgan_plus
from fevgan_jax.models.parts.ground_truth import Truth, sheet_of
from fevgan_jax.models.parts.system import Example, Generated
from fevgan_jax.models.parts.warp import warp


def test_shapes_and_sizes_are_fevgans_but_for_the_last_layer():
  fresh, generated, verdicts = shapes_of(base.get_config('fevgan_plus'), 1024)
  assert generated.video.shape == (2, 32, 64, 64, 3)
  assert generated.extras['displacement'].shape == (2, 32, 64, 64, 2)
  assert generated.extras['mask'].shape == (2, 32, 64, 64, 1)
  assert verdicts['critic'].shape == (2,)
  config = base.get_config()
  config.model.first, config.model.spatial_growth = 'time', 2
  fevgan = shapes_of(config, 1024).state
  # The last layer says four channels more, which sheet a pixel shows; what is smooth about that,
  # four displacements and shading are 13 of 64 channels, and have a part learned by heart.
  more = 4 * 64 * 64 + 4 + 13 * 64 + 13 + 6 * 8 * 32 * 32 * 13
  assert count(fresh.generator.params) - count(fevgan.generator.params) == more
  assert count(fresh.critics) == count(fevgan.critics)


@pytest.fixture(scope='module')
def decode():
  """(what is hidden, displacement, features, image, label, shading) -> clips of a narrow decoder
  whose last layers say the same everywhere: all is the first sheet, or, for a positive first
  argument, hidden."""
  decoder = fevgan_plus.MotionDecoder(1, 'time', True, norm)
  shapes = (2, 4, 4, 8), (2, 64, 64, 3), (2, 6)
  inputs = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
  init = functools.partial(decoder.init, train=False)
  variables = jax.tree.map(
    lambda x: jnp.ones(x.shape), jax.eval_shape(init, jax.random.key(0), *inputs)
  )

  @jax.jit
  def call(hidden, displacement, features, image, label, shading=0.0):
    moves = jnp.arctanh(displacement / (64 * fevgan_plus.LARGEST))
    light = jnp.arctanh(shading / fevgan_plus.LARGEST_SHADING)
    fixed = {
      'UpConv_4': {'bias': jnp.zeros(7).at[:4].set(jnp.array([-1e4, -1e4, -1e4, hidden]))},
      'Dense_0': {'bias': jnp.zeros(13).at[:2].set(moves).at[8].set(light)},
    }
    for name, values in fixed.items():
      values['kernel'] = 0 * variables['params'][name]['kernel']
    params = variables['params'] | fixed | {'usual': 0 * variables['params']['usual']}
    return decoder.apply(variables | {'params': params}, features, image, label, train=False)

  return call


@pytest.fixture
def inputs():
  keys = jax.random.split(jax.random.key(0))
  image = jax.random.uniform(keys[0], (2, 64, 64, 3), minval=-1, maxval=1)
  return jax.random.normal(keys[1], (2, 4, 4, 8)), image


def test_pixels_of_the_image_move_until_they_are_where_they_shall_be(decode, inputs):
  _, image = inputs
  moved = jnp.array([3.0, -2.0])
  clips = decode(-1e4, moved, *inputs, jnp.eye(6)[:2])
  assert clips.extras['mask'].max() == 0
  # A frame t before the eighth has t / 8 of it, later ones all; nothing is painted.
  share = np.minimum(np.arange(32) / 8, 1)
  expected = share[:, None] * np.array(moved)
  np.testing.assert_allclose(clips.extras['displacement'][1, :, 5, 7], expected, atol=1e-5)
  np.testing.assert_allclose(clips.video, warp(image, clips.extras['displacement']), atol=1e-6)
  np.testing.assert_array_equal(clips.video[:, 0], image)
  np.testing.assert_allclose(clips.video[:, 31, 10, 10], image[:, 13, 8], atol=1e-4)


def test_what_is_painted_hides_the_image(decode, inputs):
  clips = decode(1e4, jnp.zeros(2), *inputs, jnp.eye(6)[:2])
  # Paint is all there once a quarter of the movement is, in frame 2 of 8.
  np.testing.assert_array_equal(clips.extras['mask'][0, :, 0, 0, 0], np.arange(32).clip(max=2) / 2)
  np.testing.assert_array_equal(clips.video[:, 2:], jnp.zeros((2, 30, 64, 64, 3)))  # tanh 0
  np.testing.assert_allclose(clips.video[:, 1], inputs[1] / 2, rtol=1e-6)


def test_light_is_a_factor_on_what_moved(decode, inputs):
  clips = decode(-1e4, jnp.zeros(2), *inputs, jnp.eye(6)[:2], np.log(0.5))
  # Half of the light from frame 8 on, its logarithm growing before; black is -1.
  share = np.exp(np.log(0.5) * np.minimum(np.arange(32) / 8, 1))[:, None, None, None]
  expected = (np.asarray(inputs[1])[:, None] + 1) * share - 1
  np.testing.assert_allclose(clips.video, expected, atol=1e-5)


@pytest.fixture
def example():
  """A clip of 2x2 pixels and two frames: in the second one point was hidden, one is unknown."""
  batch = {
    'displacement': np.zeros((1, 2, 2, 2, 2), np.int8),
    'visibility': np.full((1, 2, 2, 2), truth.VISIBLE, np.uint8),
    'shading': np.zeros((1, 2, 2, 2), np.int8),
  }
  batch['landmarks'] = np.zeros((1, 2, 68, 2), np.float32)
  batch['landmarks'][:, :, 48:68] = 0, 1  # the mouth is between the rows of pixels
  batch['displacement'][0, 1, 0, 0] = 20, -10  # tenths of a pixel of the template's 64
  batch['visibility'][0, 1, 1] = truth.HIDDEN, truth.UNKNOWN
  batch['shading'][0, 1, 0, 1] = -32  # one stop less light
  return Example(jnp.zeros((1, 2, 2, 2, 3)), jnp.zeros((1, 6)), None, Truth.of(batch))


def test_truth_is_in_pixels_of_the_picture_and_factors_of_what_is_stored(example):
  known = example.truth
  np.testing.assert_allclose(known.displacement[0, 1, 0, 0], np.array([2, -1]) * 2 / 64)
  assert known.shading[0, 1, 0, 1, 0] == pytest.approx(-np.log(2) / 2.2)
  assert known.visible.sum() == 6 and known.hidden.sum() == 1
  assert Truth.of({'video': None}) is None


def test_sheets_are_told_apart_by_the_landmarks_of_frame_0():
  landmarks = np.zeros((68, 2), np.float32)
  # An eye, a square from (2, 2) to (4, 4), as six points; the other one is a point.
  landmarks[36:42] = (2, 3), (2, 2), (4, 2), (4, 3), (4, 4), (2, 4)
  landmarks[42:48] = 6, 3
  # The line between the lips falls from (2, 10) to (4, 8), in the middle of two lips.
  landmarks[[60, 64]] = (2, 10), (4, 8)
  for upper, lower, x in ((61, 67, 2.5), (62, 66, 3), (63, 65, 3.5)):
    landmarks[upper], landmarks[lower] = (x, 12 - x - 1), (x, 12 - x + 1)
  points = {(3, 3): truth.EYES, (5, 2.9): truth.BROW, (5, 3.1): truth.CHEEK}
  points |= {(3, 8.9): truth.CHEEK, (1, 9.9): truth.CHEEK, (9, 7.9): truth.CHEEK}
  points |= {(3, 9.1): truth.JAW, (1, 10.1): truth.JAW, (9, 8.1): truth.JAW}
  found = sheet_of(np.array([(y, x) for x, y in points], np.float32), landmarks)
  assert found.tolist() == [*points.values()]


def test_a_points_sheet_is_that_of_where_it_was(example):
  # Rows of pixels lie above and below the mouth. One point has come up from below: by 20 tenths of
  # a pixel of 64, 0.06 of these. It counts as above; a movement of 320 tenths comes from below.
  cheek, jaw = truth.CHEEK, truth.JAW  # the eyes lie above the picture
  assert example.truth.sheet[0, 0, :, :, 0].tolist() == [[cheek, cheek], [jaw, jaw]]
  assert example.truth.sheet[0, 1, 0, 0, 0] == cheek
  batch = {
    'displacement': np.full((1, 1, 2, 2, 2), 127, np.int8),
    'visibility': np.full((1, 1, 2, 2), truth.VISIBLE, np.uint8),
    'shading': np.zeros((1, 1, 2, 2), np.int8),
    'landmarks': np.zeros((1, 1, 68, 2), np.float32),
  }
  batch['landmarks'][:, :, 48:68] = 0, 0.8  # 0.5 + 12.7 / 32 lies below it
  assert (Truth.of(batch).sheet == truth.JAW).all()


def test_terms_of_the_truth_by_hand(example):
  shape = (1, 2, 2, 2)
  moves = jnp.zeros((*shape, 4, 2)).at[..., truth.BROW, :].set(100.0)
  moves = moves.at[0, 1, 1, :, truth.CHEEK].set(100.0).at[0, :, 0, :, truth.JAW].set(100.0)
  moves = moves.at[0, 0, 1, 1, truth.JAW].set(32 / 64)
  said = Generated(
    example.video,
    {
      'moves': moves,
      'sheets': jnp.full((*shape, 5), 0.25).at[0, 1, 1, 0].set(jnp.array([0.1, 0.1, 0.1, 0, 0.7])),
      'shading': jnp.zeros((*shape, 1)).at[0, 1, 1].set(100.0),
    },
  )
  # Of six visible points one of the cheek is off by 2 and 1 pixels of the template, and one of the
  # jaw by 16 and 16; what is said of the others, and of a sheet elsewhere, does not count.
  expected = (1.5 + 16) / 6
  assert fevgan_plus.displacement_term(example, said) == pytest.approx(expected, rel=1e-5)
  assert fevgan_plus.shading_term(example, said) == pytest.approx(np.log(2) / 2.2 / 6)
  # Six points show a sheet, which was given a quarter, and one, which counts three times, none.
  entropy = (6 * -np.log(0.25) + 3 * -np.log(0.7)) / 9
  assert fevgan_plus.sheets_term(example, said) == pytest.approx(entropy, rel=1e-3)
  unknown = dataclasses.replace(example, truth=None)
  for name in ('displacement', 'edges', 'shading', 'sheets'):
    assert getattr(fevgan_plus, f'{name}_term')(unknown, said) == 0


def test_edges_are_taught_by_where_landmarks_go():
  batch = {
    'displacement': np.zeros((1, 2, 64, 64, 2), np.int8),
    'visibility': np.zeros((1, 2, 64, 64), np.uint8),
    'shading': np.zeros((1, 2, 64, 64), np.int8),
    'landmarks': np.full((1, 2, 68, 2), 20.0, np.float32),
  }
  batch['landmarks'][0, 1, 65:68] += 3, 5  # the lower lip goes 3 to the right and 5 down
  seen = Example(jnp.zeros((1, 2, 64, 64, 3)), jnp.zeros((1, 6)), None, Truth.of(batch))
  moves = np.zeros((1, 2, 64, 64, 4, 2), np.float32)
  # Three of 26 points are wrong in one of two frames, by 5 and 3 pixels.
  still = Generated(seen.video, {'moves': jnp.array(moves)})
  assert fevgan_plus.edges_term(seen, still) == pytest.approx((5 + 3) / 2 * 3 / 26 / 2)
  moves[0, 1, 24:26, 22:24, truth.JAW] = -5, -3  # about where the lip is then
  right = Generated(seen.video, {'moves': jnp.array(moves)})
  assert fevgan_plus.edges_term(seen, right) == pytest.approx(0, abs=1e-6)


def test_intensity_is_how_far_pixels_move(decode, inputs):
  labels = jnp.eye(6)[:2]
  travel = [
    decode(0.0, jnp.array([2.0, 0.0]), *inputs, amount * labels).extras for amount in (0, 0.5, 1.2)
  ]
  np.testing.assert_allclose(
    [t['displacement'][0, -1, 0, 0, 0] for t in travel], [0, 1, 2.4], rtol=1e-4
  )
  mask = 1 / (1 + np.exp(2))  # all there at half of the intensity
  np.testing.assert_allclose(
    [t['mask'][0, -1, 0, 0, 0] for t in travel], [0, mask, mask], rtol=1e-5
  )
  still = decode(0.0, jnp.array([2.0, 0.0]), *inputs, 0 * labels).video
  np.testing.assert_array_equal(still, jnp.broadcast_to(inputs[1][:, None], still.shape))


def test_graded_systems_use_the_intensity_and_others_do_not(batch):
  batch = {key: value[:2] for key, value in batch.items()}
  batch['intensity'] = np.array([0.5, 1.1], np.float32)
  seen = {}
  for name in ('fevgan', 'fevgan_plus'):
    config = base.get_config(name)
    fevgan.no_identity(config)
    system = models.build(config, None)
    seen[name] = system.example(None, batch).label
    without = {key: value for key, value in batch.items() if key != 'intensity'}
    np.testing.assert_array_equal(system.example(None, without).label, jnp.eye(6)[batch['label']])
  np.testing.assert_array_equal(seen['fevgan'], jnp.eye(6)[batch['label']])
  np.testing.assert_allclose(
    seen['fevgan_plus'], np.eye(6)[batch['label']] * [[0.5], [1.1]], rtol=1e-6
  )


@pytest.mark.slow
def test_half_precision_keeps_the_picture_and_the_parts_of_pixels():
  config = base.get_config('fevgan_plus')
  fevgan.no_identity(config)
  config.model.width = config.model.spatial_width = config.critic.width = 1
  config.precision = 'bfloat16'
  system = models.build(config, None)
  images = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), np.uint8)
  labels = np.zeros(1, np.int32)
  keys = {'params': jax.random.key(0), 'noise': jax.random.key(0)}
  inputs = jnp.zeros((1, 64, 64, 3)), jnp.zeros((1, 6)), None
  variables = jax.jit(functools.partial(system.generator.init, train=False))(keys, *inputs)
  clips = jax.jit(system.generate)(variables, None, images, labels, jax.random.key(0), 0.7)
  np.testing.assert_array_equal(clips[:, 0], images)
  halves = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, jnp.bfloat16), (variables, inputs))
  apply = functools.partial(system.generator.apply, train=False)
  generated = jax.eval_shape(lambda v, i: apply(v, *i), *halves)
  assert generated.video.dtype == jnp.bfloat16
  assert generated.extras['displacement'].dtype == jnp.float32
