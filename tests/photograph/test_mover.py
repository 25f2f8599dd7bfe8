"""The photograph moved at its own size: what moves, by how much, and what stays."""

import numpy as np
import pytest
import skimage.data

from fevgan_jax.faces import detect
from fevgan_jax.photograph import mover
from fevgan_jax.photograph.motion import Motion, go_on, mirrored


@pytest.fixture(scope='module')
def astronaut() -> tuple[np.ndarray, np.ndarray]:
  image = skimage.data.astronaut()
  return image, detect.landmarks(image)


@pytest.fixture
def shown(astronaut) -> mover.Scene:
  return mover.scene(*astronaut, 'whole')


def animated(shown: mover.Scene, moving: Motion) -> np.ndarray:
  return mover.Mover(shown, moving.moves.shape[1]).animate(moving)


def motion(side: int = 64, displacement=0.0, shading: float = 0.0, **sheets: tuple) -> Motion:
  """One frame, the same everywhere: sheets have the displacement if they are not named."""
  moves = np.zeros((1, side, side, 4, 2), np.float32)
  for number, name in enumerate(('brow', 'cheek', 'jaw', 'eyes')):
    moves[..., number, :] = sheets.get(name, displacement)
  return Motion(moves, np.full((1, side, side, 1), shading, np.float32), np.zeros(1))


def at_mouth(shown: mover.Scene, down: float) -> tuple[int, int]:
  """Row and column, so many pixels of the template below the middle of the lips."""
  middle = shown.landmarks[[62, 66]].mean(0)
  x, y = middle + down * np.linalg.inv(shown.to_template[:, :2])[:, 1]
  return int(y), int(x)


def test_without_movement_the_photograph_stays(shown):
  (frame,) = animated(shown, motion())
  np.testing.assert_array_equal(frame, shown.pixels[shown.view])


def test_face_and_whole_show_parts_of_the_photograph(astronaut):
  image, points = astronaut
  face = mover.scene(image, points, 'face')
  low = np.round(points[0] - face.landmarks[0]).astype(int)
  height, width = face.pixels.shape[:2]
  np.testing.assert_array_equal(
    face.pixels, image[low[1] : low[1] + height, low[0] : low[0] + width]
  )
  # What is shown moves as in the whole photograph: nothing smears at its border.
  moving = motion(displacement=(3.0, -2.0))
  (part,) = animated(face, moving)
  (frame,) = animated(mover.scene(image, points, 'whole'), moving)
  rows, columns = (slice(of.start + at, of.stop + at) for of, at in zip(face.view, low[::-1]))
  assert part.shape[0] < height  # more may move in than is shown
  np.testing.assert_allclose(part, frame[rows, columns].astype(int), atol=6)
  whole = mover.scene(image, points, 'whole', largest=256)
  assert whole.pixels.shape == (256, 256, 3)
  np.testing.assert_allclose(whole.landmarks, points / 2)


@pytest.mark.parametrize('side', [64, 128])
def test_pixels_inside_the_face_move_by_the_displacement_and_those_far_away_rest(shown, side):
  scale = detect.enlargement(shown.landmarks, 64)
  template = 4 * scale  # four pixels of the photograph
  (frame,) = animated(shown, motion(side, displacement=(0, template * side / 64)))
  nose = shown.landmarks[30].astype(int)
  matrix = np.linalg.inv(shown.to_template[:, :2])
  x, y = np.round(matrix @ [template, 0]).astype(int)
  box = slice(nose[1] - 4, nose[1] + 4), slice(nose[0] - 4, nose[0] + 4)
  source = slice(box[0].start + y, box[0].stop + y), slice(box[1].start + x, box[1].stop + x)
  error = np.abs(frame[box].astype(int) - shown.pixels[source]).mean()
  assert error < 0.35 * np.abs(frame[box].astype(int) - shown.pixels[box]).mean()
  np.testing.assert_array_equal(frame[-100:, :100], shown.pixels[-100:, :100])


def test_a_photograph_may_end_above_the_mouth(shown):
  top = int(shown.landmarks[48:60, 1].min()) - 20
  cut = mover.Scene(shown.pixels[:top], shown.landmarks)
  (frame,) = animated(cut, motion(displacement=1.0))
  assert frame.shape == cut.pixels.shape and (frame != cut.pixels).any()


def test_light_is_a_factor(shown):
  (frame,) = animated(shown, motion(shading=np.log(0.5)))
  x, y = shown.landmarks[30].astype(int)
  np.testing.assert_allclose(frame[y, x], shown.pixels[y, x] / 2, atol=1)


def test_a_jaw_that_drops_takes_the_lower_lip_along_and_opens_the_mouth(shown):
  (frame,) = animated(shown, motion(jaw=(-6.0, 0.0)))
  before, after = ([*map(int, x[at_mouth(shown, 2.5)])] for x in (shown.pixels, frame))
  assert sum(after) < sum(before) - 100  # it was lip, and is the dark behind the teeth
  # The chin and the lip below it come from six pixels higher, and nothing above the mouth moves.
  for down in (4, 7):
    found, source = frame[at_mouth(shown, 6 + down)], shown.pixels[at_mouth(shown, down)]
    np.testing.assert_allclose(found.astype(int), source, atol=25)
  nose, left, right = (shown.landmarks[i].astype(int) for i in (30, 36, 45))
  face = slice(left[1] - 10, nose[1]), slice(left[0], right[0])
  np.testing.assert_array_equal(frame[face], shown.pixels[face])


def test_what_a_mouth_opens_on_is_grey_in_a_grey_photograph(shown):
  grey = np.repeat(shown.pixels.mean(-1, keepdims=True).astype(np.uint8), 3, -1)
  red = []
  for pixels in (shown.pixels, grey):
    scene = mover.Scene(pixels, shown.landmarks)
    (frame,) = animated(scene, motion(jaw=(-6.0, 0.0)))
    pixel = frame[at_mouth(shown, 3.5)].astype(int)
    red.append(pixel[0] - pixel[2])
  assert red[0] > 10 and red[1] == 0


def test_lids_move_and_eyeballs_rest(shown):
  (frame,) = animated(shown, motion(brow=(0.6, 0.0)))
  eye, brow = (shown.landmarks[part].mean(0).astype(int) for part in (slice(36, 42), slice(19, 21)))
  np.testing.assert_array_equal(frame[eye[1], eye[0]], shown.pixels[eye[1], eye[0]])
  assert np.abs(frame.astype(int) - shown.pixels)[brow[1] - 4 : brow[1] + 4, brow[0]].max() > 20


def test_a_tilted_head_moves_along_its_own_axes(astronaut):
  image, _ = astronaut
  turned = np.rot90(image).copy()  # the head lies on its side
  points = detect.landmarks(image)
  lying = np.stack([points[:, 1], image.shape[1] - points[:, 0]], 1)
  upright, tilted = (
    animated(mover.scene(picture, at, 'whole'), motion(displacement=(2.0, 0.0)))[0]
    for picture, at in ((image, points), (turned, lying))
  )
  error = np.abs(np.rot90(upright).astype(int) - tilted).mean()
  assert error < 0.5
  assert np.abs(tilted.astype(int) - turned).mean() > 4 * error


def test_a_mirrored_motion_is_that_of_the_mirror_image(astronaut):
  image, points = astronaut
  flipped = points * [-1, 1] + [image.shape[1], 0]
  order = [*range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1)]
  order += [45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40]
  order += [*range(54, 47, -1), *range(59, 54, -1), 64, 63, 62, 61, 60, 67, 66, 65]
  rng = np.random.default_rng(0)
  noise = go_on(rng.normal(size=(64, 64, 9)), np.ones((64, 64)))
  moves = 8 * noise[None, ..., :8].reshape(1, 64, 64, 4, 2)
  moving = Motion(moves, noise[None, ..., 8:], np.zeros(1))
  one = animated(mover.scene(image, points, 'whole'), moving)
  mirror = mover.scene(image[:, ::-1].copy(), flipped[order], 'whole')
  said = mirrored({'moves': moving.moves[None], 'shading': moving.shading[None]})
  other = animated(mirror, Motion(*(x[0] for x in said.values()), moving.closed))[:, :, ::-1]
  assert np.abs(one.astype(int) - other).mean() < 1
  assert np.abs(one.astype(int) - image).mean() > 3


def test_a_head_that_turns_takes_the_nose_along_and_leaves_the_background(shown):
  moves = mover.Mover(shown, 64)
  (frame,) = moves.animate(motion(), np.array([[0.1, 0.0]]))
  (rests,) = moves.animate(motion(), np.zeros((1, 2)))
  np.testing.assert_array_equal(rests, shown.pixels)
  nose = shown.landmarks[30].astype(int)
  # The tip of the nose, 22 pixels of the template in front of the ears, goes 2.2 to the right.
  step = round(2.2 * detect.enlargement(shown.landmarks, 64) ** -1)
  box = slice(nose[1] - 5, nose[1] + 5), slice(nose[0] - 5, nose[0] + 5)
  source = box[0], slice(box[1].start - step, box[1].stop - step)
  error = np.abs(frame[box].astype(int) - shown.pixels[source]).mean()
  assert error < 0.5 * np.abs(frame[box].astype(int) - shown.pixels[box]).mean()
  np.testing.assert_array_equal(frame[-100:, :100], shown.pixels[-100:, :100])
