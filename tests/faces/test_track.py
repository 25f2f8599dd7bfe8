import numpy as np
import pytest
import scenes

from fevgan_jax.faces import crop, detect, track


def test_gaps_are_crossed_in_a_straight_line_and_held_at_the_ends():
  # x grows by 3 a frame where it is known, at times 1, 2, 4 and 5; far from ends and bends a
  # symmetric smoothing leaves a straight line alone.
  times = np.arange(24)
  known = [None if time in (0, 11, 12, 23) else np.full((68, 2), 3.0 * time) for time in times]
  result = track.steady(known, times)
  np.testing.assert_allclose(result[5:19, 0, 0], 3 * times[5:19], atol=1e-6)
  assert 3 < result[0, 0, 0] < 6 and 63 < result[-1, 0, 0] < 66


def test_times_count_where_frames_are_missing():
  points = [np.full((68, 2), 10.0 * time) for time in range(20)]
  del points[8:12]
  points[8 - 1] = None  # frame 7 shows no face; its neighbors are 6 and 12
  times = [*range(8), *range(12, 20)]
  assert track.steady(points, times)[7, 0, 0] == pytest.approx(70, abs=15)


def test_smoothing_halves_white_noise():
  # A Gaussian of deviation 1 keeps 1 / sqrt(2 sqrt(pi)) = 0.53 of it.
  rng = np.random.default_rng(0)
  noise = rng.normal(size=(400, 68, 2))
  assert track.steady(list(noise), np.arange(400)).std() == pytest.approx(0.53, abs=0.02)


@pytest.mark.parametrize('camera', [scenes.MUG, scenes.OULU], ids=['448x448', '320x240'])
def test_a_still_face_stays_still(camera):
  """The same face with a camera's noise in every frame: its nose must not move in the crop."""
  faces, landmarks = scenes.performance(1_000_003, None, 1)
  rng, tracker, found = np.random.default_rng(0), track.Tracker(), []
  for _ in range(12):
    image, points = scenes.photograph(faces[0], landmarks[0], camera, noise=4, rng=rng)
    found.append(tracker(image))
  steady = track.steady(found, range(12))
  noses = np.array([crop.transform(crop.similarity(frame), points[30]) for frame in steady])
  assert noses.std(0).max() < 0.1  # pixels of 64
  assert np.abs(noses - noses.mean(0)).max() < 0.3
  aligned = np.array([crop.transform(crop.similarity(frame), frame) for frame in steady])
  assert aligned[:, :17].std(0).max() < 0.3  # nor the mask's edge


def test_the_first_face_is_followed():
  """Two people: the larger one is followed, also when the other has come nearer."""

  def scene(seed: int, scale: float, place: tuple[float, float]) -> np.ndarray:
    faces, landmarks = scenes.performance(seed, None, 1)
    return scenes.photograph(faces[0], landmarks[0], (240, 320, scale, place))[0]

  tracker = track.Tracker()
  far, near = scene(1_000_001, 0.5, (60, 60)), scene(1_000_001, 0.85, (40, 10))
  followed, moved = (scene(1_000_000, 0.7, place) for place in ((60, 30), (70, 35)))
  first = tracker(np.concatenate([far, followed], 1))
  then = tracker(np.concatenate([near, moved], 1))
  assert first[:, 0].min() > 320
  np.testing.assert_allclose((then - first).mean(0), (10, 5), atol=2)


def test_a_frame_without_a_face_is_none_and_the_next_is_found():
  faces, landmarks = scenes.performance(1_000_000, None, 1)
  image, points = scenes.photograph(faces[0], landmarks[0], scenes.OULU)
  tracker = track.Tracker()
  wall = np.full_like(image, 90)
  found = [tracker(picture) for picture in (wall, image, wall, np.roll(image, 40, axis=1))]
  assert found[0] is None and found[2] is None
  np.testing.assert_allclose(found[3] - found[1], np.tile([40.0, 0.0], (68, 1)), atol=6)
  assert detect.faces(wall) == []


def test_a_clip_without_a_face_is_not_searched_thoroughly_for_ever(monkeypatch):
  searched = []
  faces = detect.faces
  monkeypatch.setattr(
    detect, 'faces', lambda image, searches: searched.append(*searches) or faces(image, searches)
  )
  tracker = track.Tracker()
  for _ in range(5):
    assert tracker(np.full((60, 80, 3), 90, np.uint8)) is None
  assert searched == [*detect.SEARCHES * 3, *detect.SEARCHES[:1] * 2]
