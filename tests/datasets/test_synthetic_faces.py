"""The rendered data set: rasterizer, crop, people, takes, and a small set prepared for real."""

import dataclasses
import os
import pathlib
import sys

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
if str(ROOT / 'datasets') not in sys.path:
  sys.path.insert(0, str(ROOT / 'datasets'))

from fevgan_jax.faces import crop  # noqa: E402
from fevgan_jax.faces.labels import EXPRESSIONS  # noqa: E402
from synthetic_faces import (  # noqa: E402
  action_units,
  asset,
  clips,
  lighting,
  performance,
  person,
  renderer,
)
from synthetic_faces import synthetic_faces_dataset_builder as builder_module  # noqa: E402
from synthetic_faces.raster import rasterize  # noqa: E402

# Faces towards the camera run counter-clockwise as seen: down the left edge first (y points down).
CORNERS = np.array([(0, 0), (0, 4), (4, 0)])


@pytest.fixture(scope='module')
def people() -> list[person.Person]:
  return [person.draw(seed) for seed in range(3)]


def still(who: person.Person, units: np.ndarray | None = None) -> performance.Take:
  """One frame that looks straight ahead, doing `units` [18]."""
  units = np.zeros(18) if units is None else units
  return performance.Take('fear', units[None], 0 * units[None], np.zeros((1, 3)), who.light)


# The rasterizer.


def test_a_triangle_covers_the_pixels_whose_centers_it_holds():
  pixel, triangle, weights, depth = rasterize(
    CORNERS, np.array([0.0, 8.0, 16.0]), np.array([[0, 1, 2]]), 4
  )
  # Centers (c + 0.5, r + 0.5) with c + r + 1 <= 4: four in the first row, then three, two and one.
  np.testing.assert_array_equal(pixel, [0, 1, 2, 3, 4, 5, 6, 8, 9, 12])
  assert (triangle == 0).all()
  # At (0.5, 0.5) the second corner weighs y / 4 and the third x / 4.
  np.testing.assert_allclose(weights[0], [0.75, 0.125, 0.125], atol=1e-6)
  np.testing.assert_allclose(depth[0], 0.125 * 8 + 0.125 * 16, atol=1e-5)
  # At (2.5, 0.5), pixel 2: 0.125 and 0.625.
  np.testing.assert_allclose(weights[2], [0.25, 0.125, 0.625], atol=1e-6)


def test_triangles_that_face_away_are_left_out():
  pixel, *_ = rasterize(CORNERS, np.zeros(3), np.array([[0, 2, 1]]), 4)
  assert len(pixel) == 0


def test_the_nearer_triangle_wins_whatever_the_order():
  points, depth = np.concatenate([CORNERS, CORNERS]), np.array([1.0, 1, 1, 2, 2, 2])
  for triangles, nearer in (([[0, 1, 2], [3, 4, 5]], 1), ([[3, 4, 5], [0, 1, 2]], 0)):
    _, triangle, _, z = rasterize(points, depth, np.array(triangles), 4)
    assert (triangle == nearer).all() and (z == 2).all()


def test_only_pixels_that_are_wanted_come_back():
  keep = np.zeros(16, bool)
  keep[[1, 15]] = True  # the triangle covers 1 and not 15
  pixel, *_ = rasterize(CORNERS, np.zeros(3), np.array([[0, 1, 2]]), 4, keep)
  np.testing.assert_array_equal(pixel, [1])


def test_rasterizer_agrees_with_a_loop_over_pixels():
  rng = np.random.default_rng(0)
  side, points, depth = 12, rng.uniform(-4, 16, (30, 2)), rng.uniform(0, 1, 30)
  triangles = rng.permutation(30).reshape(10, 3)
  expected = {}
  for number, corners in enumerate(triangles):
    system = np.vstack([points[corners].T, np.ones(3)])  # @ weights = (x, y, 1)
    if np.linalg.det(system) >= 0:
      continue
    for at in range(side * side):
      weights = np.linalg.solve(system, [at % side + 0.5, at // side + 0.5, 1])
      if weights.min() >= 0 and weights @ depth[corners] > expected.get(at, (0, -1))[1]:
        expected[at] = number, weights @ depth[corners]
  pixel, triangle, _, z = rasterize(points, depth, triangles, side)
  assert dict(zip(pixel.tolist(), triangle.tolist())) == {at: n for at, (n, _) in expected.items()}
  np.testing.assert_allclose(z, [expected[at][1] for at in pixel], atol=1e-5)


# The crop.


def test_mask_is_the_hull_of_the_crop():
  rng = np.random.default_rng(1)
  hull = crop.hull(crop.TEMPLATE + rng.normal(0, 0.5, (68, 2)))
  line = (np.arange(192) + 0.5) / 3
  samples = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
  np.testing.assert_array_equal(renderer.hull_mask(hull, 64, 3), crop.inside(hull, samples))


def test_mean_head_is_the_template_of_the_crop(people):
  head = asset.head()
  mean = dataclasses.replace(people[0], vertices=head.mean.astype(np.float32), glasses=None)
  frame = renderer.Frame(mean, still(mean), 0, 64, 1)
  np.testing.assert_allclose(frame.landmarks, crop.TEMPLATE, atol=0.02)


def test_twice_the_size_is_twice_the_landmarks(people):
  small, large = (renderer.Frame(people[0], still(people[0]), 0, size, 1) for size in (64, 128))
  np.testing.assert_allclose(large.landmarks, 2 * small.landmarks, atol=1e-4)


def test_landmarks_lie_on_a_lit_face(people):
  for who in people:
    frame = renderer.Frame(who, still(who), 0, 64, 2)
    picture = frame.draw()
    assert picture.shape == (64, 64, 3) and picture.dtype == np.uint8
    assert not picture[[0, -1]].any() and not picture[:, [0, -1]].any()
    inner = frame.landmarks[17:]
    assert crop.inside(crop.hull(frame.landmarks), inner).all()
    lit = picture.max(-1)[inner[:, 1].astype(int), inner[:, 0].astype(int)]
    assert (lit > 10).all()
    # The middles of the eyes are as far from the nose's bridge on the left as on the right.
    left, right = frame.landmarks[36:42].mean(0), frame.landmarks[42:48].mean(0)
    bridge = frame.landmarks[27]
    assert abs((bridge - left)[0] - (right - bridge)[0]) < 2
    assert left[1] < frame.landmarks[33, 1] < frame.landmarks[51, 1] < frame.landmarks[8, 1]


@pytest.mark.slow
def test_dropped_jaws_stay_inside_the_frame():
  for seed in range(builder_module.FIRST_TEST_SEED, builder_module.FIRST_TEST_SEED + 100):
    who = person.draw(seed)
    take = performance.perform(who, 'surprise', 0, 2)
    assert crop.hull(renderer.Frame(who, take, 1, 64, 1).landmarks)[:, 1].max() < 63


# People and takes.


def test_a_seed_is_a_person(people):
  again = person.draw(0)
  np.testing.assert_array_equal(again.vertices, people[0].vertices)
  np.testing.assert_array_equal(again.skin.albedo, people[0].skin.albedo)
  assert again.light == people[0].light
  assert np.abs(people[0].vertices - people[1].vertices).max() > 0.05  # half a centimetre


def test_every_displacement_is_in_the_asset():
  assert {*person.displacements(), *action_units.displacements()} == set(asset.head().names)


def test_minimum_jerk():
  # 0.5^3 (10 - 7.5 + 1.5) = 0.5; 0.25^3 (10 - 3.75 + 0.375) = 0.103515625.
  np.testing.assert_allclose(
    performance.minimum_jerk(np.array([-1, 0, 0.25, 0.5, 1, 2])), [0, 0, 0.103515625, 0.5, 1, 1]
  )


@pytest.mark.parametrize('label', EXPRESSIONS)
def test_takes_go_from_neutral_to_their_expression(people, label):
  for who in people:
    for number in range(4):
      take = performance.perform(who, label, number, 32)
      assert not take.action_units[0].any() and not take.lopsided[0].any()
      assert (take.action_units >= 0).all()
      apex = dict(zip(action_units.ACTION_UNITS, take.action_units[-1]))
      for unit, value in apex.items():
        mean, _ = performance.APEX[label].get(unit, (0, 0))
        assert value > 0.25 if mean > 0.6 else value >= 0
        assert mean or value < 1e-6  # a blink, number 43, is over by then


def test_stronger_takes_are_the_same_movement_larger(people):
  usual = performance.perform(people[0], 'disgust', 0, 8)
  least, greatest = (strength / performance.TYPICAL for strength in performance.STRENGTHS)
  assert least <= usual.intensity <= greatest and (least + greatest) / 2 == pytest.approx(1)
  half = usual.intensity / 2
  take = performance.perform(people[0], 'disgust', 0, 8, (half * performance.TYPICAL,) * 2)
  assert take.intensity == pytest.approx(half)
  np.testing.assert_allclose(take.action_units, usual.action_units / 2, atol=1e-12)
  np.testing.assert_array_equal(take.pose, usual.pose)
  none = performance.perform(people[0], 'disgust', 0, 8, (0.0, 0.0))
  assert none.intensity == 0 and not none.action_units.any()


def test_frame_0_is_the_neutral_face(people):
  who, head = people[0], asset.head()
  for label in EXPRESSIONS:
    take = performance.perform(who, label, 0, 2)
    start = renderer.deform(who, head, take.action_units[0], take.lopsided[0])
    np.testing.assert_array_equal(start, who.vertices)


def test_pose_and_light_of_frame_0_do_not_know_the_label(people, monkeypatch):
  draws = np.random.default_rng
  monkeypatch.setattr(np.random, 'default_rng', lambda seed: draws(7))  # the same for every label
  first, *others = (performance.perform(people[0], label, 0, 8) for label in EXPRESSIONS)
  for take in others:
    assert take.light == first.light
    np.testing.assert_array_equal(take.pose[0], first.pose[0])


def test_more_frames_are_the_same_movement(people):
  few, many = (performance.perform(people[1], 'sadness', 3, frames) for frames in (5, 9))
  np.testing.assert_allclose(many.action_units[::2], few.action_units, atol=1e-12)
  np.testing.assert_allclose(many.pose[::2], few.pose, atol=1e-12)


def test_expressions_move_what_they_should(people):
  """In pixels of the crop, y down: mouth corners rise, brows rise, the chin sinks."""
  for who in people:
    rest = renderer.Frame(who, still(who), 0, 64, 1).landmarks

    def moved(unit: int, points: slice | list[int], who=who, rest=rest) -> float:
      units = np.zeros(18)
      units[action_units.ACTION_UNITS.index(unit)] = 1
      return (renderer.Frame(who, still(who, units), 0, 64, 1).landmarks - rest)[points, 1].mean()

    assert moved(12, [48, 54]) < -0.5
    assert moved(15, [48, 54]) > 0.3
    assert moved(2, slice(17, 27)) < -1
    assert moved(4, [20, 21, 22, 23]) > 0.5
    assert moved(26, [8]) > 2


# Light.


def test_spherical_harmonics_are_orthonormal():
  i = np.arange(2000) + 0.5  # the mean over a Fibonacci sphere, times its surface
  polar, turn = np.arccos(1 - i / 1000), np.pi * (1 + 5**0.5) * i
  ring = np.sin(polar)
  values = lighting.spherical_harmonics(
    np.stack([np.cos(turn) * ring, np.sin(turn) * ring, np.cos(polar)], 1)
  )
  np.testing.assert_allclose(values.T @ values * (4 * np.pi / 2000), np.eye(9), atol=2e-3)


def test_srgb_there_and_back():
  values = np.linspace(0, 1, 11)
  np.testing.assert_allclose(lighting.to_srgb(lighting.to_linear(values)), values, atol=1e-6)


# The data set.


def test_bytes_do_not_depend_on_the_number_of_processes():
  before = dict(os.environ)
  one, two = (list(clips.clips_of_people([0, 1, 2], 1, 16, 2, processes)) for processes in (1, 2))
  assert len(one) == 3 * len(EXPRESSIONS)
  assert [clip['subject'] for clip in one] == ['0000000'] * 6 + ['0000001'] * 6 + ['0000002'] * 6
  for a, b in zip(one, two, strict=True):
    assert all(np.array_equal(a[name], b[name]) for name in a)
  assert dict(os.environ) == before


def test_a_prepared_set_reads_back(tmp_path):
  config = builder_module.Config(
    name='mini', train_people=1, test_people=1, takes=2, size=32, frames=3, processes=1
  )
  builder = builder_module.Builder(data_dir=tmp_path, config=config)
  builder.download_and_prepare(file_format='array_record')
  assert builder.info.features['label'].names == list(EXPRESSIONS)
  subjects = {}
  for split, seed in (('train', 0), ('test', builder_module.FIRST_TEST_SEED)):
    source = builder.as_data_source(split)
    assert len(source) == 12
    subjects[split] = {example['subject'] for example in source}
    rendered = clips.clips_of_person(seed, 2, 32, 3)
    expected = {(clip['label'], clip['take']): clip for clip in rendered}
    for example in source:
      clip = expected[EXPRESSIONS[example['label']], example['take'].decode()]
      for name in ('video', 'landmarks', 'action_units'):
        assert example[name].dtype == clip[name].dtype
        np.testing.assert_array_equal(example[name], clip[name])
      assert example['intensity'] == clip['intensity']
  assert subjects == {'train': {b'0000000'}, 'test': {b'1000000'}}


def test_configs_share_no_person_between_splits():
  train, test, validation = set(), set(), set()
  for config in builder_module.Builder.BUILDER_CONFIGS:
    train |= set(range(config.train_people))
    of_config = validation if config.name.startswith('validation') else test
    of_config |= set(range(config.first_test_seed, config.first_test_seed + config.test_people))
  assert not train & test and not (train | test) & validation and validation
  assert builder_module.Builder.BUILDER_CONFIGS[0].name == 'quick'


@pytest.mark.parametrize(
  'field, value, message',
  [
    ('train_people', 1_000_001, 'train_people is 1000001, expected at most 1000000'),
    ('test_people', 0, 'test_people is 0, expected at least 1'),
    ('frames', 1, 'frames is 1, expected at least 2'),
    ('strengths', (1, 0.5), 'strengths is .1, 0.5., expected two numbers'),
  ],
)
def test_impossible_configs_say_why(field, value, message):
  with pytest.raises(ValueError, match=message):
    builder_module.Config(name='wrong', **{'train_people': 1, 'test_people': 1, field: value})
