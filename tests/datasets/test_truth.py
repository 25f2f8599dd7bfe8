"""What the renderer says of movement, visibility and light, against what it draws."""

import cv2
import numpy as np
import pytest
import scenes  # noqa: F401  # finds the data sets

from fevgan_jax.faces import crop, truth
from synthetic_faces import person, renderer
from synthetic_faces import truth as truth_of
from synthetic_faces.performance import perform


@pytest.fixture(scope='module')
def scene():
  """Four frames of a surprise without glasses: their landmarks, pixels and truth."""
  who = person.draw(3)
  assert not who.glasses
  frames = renderer.frames(who, perform(who, 'surprise', 0, 4))
  return *renderer.render(frames), truth_of.of_clip(frames)


def test_nothing_has_happened_in_frame_0(scene):
  video, _, known = scene
  for name, kind in truth.FEATURES.items():
    assert known[name].dtype == kind
    assert known[name].shape == video.shape[:3] + (2,) * (name == 'displacement')
  assert not known['displacement'][0].any() and not known['shading'][0].any()
  assert set(np.unique(known['visibility'][0])) == {truth.UNKNOWN, truth.VISIBLE}
  # What is drawn is known, but for the mask's edge.
  assert (video[0].any(-1) ^ (known['visibility'][0] == truth.VISIBLE)).mean() < 0.05


def test_landmarks_came_from_where_they_were(scene):
  _, landmarks, known = scene
  for point in (30, 33, 8, 57, 19, 24):  # nose, chin, lower lip, brows
    column, row = np.floor(landmarks[-1, point]).astype(int)
    if point in (8, 57):
      row -= 1  # inside the mask, and not past the lip's edge
    moved = (landmarks[0, point] - landmarks[-1, point])[::-1]
    found = known['displacement'][-1, row, column] * truth.DISPLACEMENT_UNIT
    np.testing.assert_allclose(found, moved, atol=0.7)


def test_what_a_mouth_opens_on_was_hidden_and_cheeks_were_not(scene):
  _, landmarks, known = scene
  hidden = known['visibility'][-1] == truth.HIDDEN
  column, row = landmarks[-1, [62, 66]].mean(0).astype(int)  # between the inner lips
  assert hidden[row, column]
  lips = crop.inside(
    cv2.convexHull(landmarks[-1, 48:60].astype(np.float32))[:, 0],
    np.argwhere(hidden)[:, ::-1] + 0.5,
  )
  assert 0.6 < lips.mean()  # the others: eyes that widen, the face's edge
  assert not hidden[30:36, 15:20].any()


def test_moved_and_shaded_pixels_are_the_picture(scene):
  video, _, known = scene
  first, last = video[0].astype(np.float32), video[-1].astype(np.float32)
  row, column = np.moveaxis(known['displacement'][-1] * np.float32(truth.DISPLACEMENT_UNIT), -1, 0)
  y, x = np.mgrid[:64, :64].astype(np.float32)
  moved = cv2.remap(first, x + column, y + row, cv2.INTER_LINEAR)
  stops = known['shading'][-1] * truth.SHADING_UNIT
  shaded = moved * 2 ** (stops / 2.2)[..., None]
  visible = known['visibility'][-1] == truth.VISIBLE

  def error(candidate: np.ndarray) -> float:
    return np.abs(candidate - last)[visible].mean()

  assert error(moved) < 0.5 * error(first)
  assert error(shaded) < 0.85 * error(moved)


def test_a_larger_picture_moves_as_far_in_the_templates_pixels():
  who = person.draw(3)
  take = perform(who, 'surprise', 0, 2)
  small, large = (
    truth_of.of_clip(renderer.frames(who, take, side, 1))['displacement'][-1] for side in (64, 128)
  )
  known = (small[16:48, 20:44] != 0).any(-1)
  difference = np.abs(small[16:48, 20:44].astype(int) - large[32:96:2, 40:88:2])
  assert np.median(difference[known]) <= 1
