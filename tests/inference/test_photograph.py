"""The photograph moved at its own size: what moves, by how much, and what stays."""

import numpy as np
import pytest
import skimage.data

from fevgan_jax.faces import detect
from fevgan_jax.inference import photograph
from fevgan_jax.inference.photograph import MARGIN, SIDE, Fade, Motion


@pytest.fixture(scope='module')
def astronaut() -> tuple[np.ndarray, np.ndarray]:
  image = skimage.data.astronaut()
  return image, detect.landmarks(image)


@pytest.fixture
def shown(astronaut) -> photograph.Scene:
  return photograph.scene(*astronaut, 'whole')


def animated(shown: photograph.Scene, moving: Motion) -> np.ndarray:
  return photograph.Mover(shown, moving.mask.shape[1]).animate(moving)


def motion(side: int = 64, frames: int = 1, **values: float | tuple) -> Motion:
  """The same everywhere; nothing but what is named."""
  channels = {'displacement': 2, 'shading': 1, 'mask': 1, 'color': 3}
  return Motion(
    *(
      np.full((frames, side, side, count), values.get(name, 0), np.float32)
      for name, count in channels.items()
    )
  )


def test_without_movement_the_photograph_stays(shown):
  (frame,) = animated(shown, motion())
  np.testing.assert_array_equal(frame, shown.pixels[shown.view])


def test_face_and_whole_show_parts_of_the_photograph(astronaut):
  image, points = astronaut
  face = photograph.scene(image, points, 'face')
  low = np.round(points[0] - face.landmarks[0]).astype(int)
  height, width = face.pixels.shape[:2]
  np.testing.assert_array_equal(
    face.pixels, image[low[1] : low[1] + height, low[0] : low[0] + width]
  )
  # What is shown moves as in the whole photograph: nothing smears at its border.
  moving = motion(displacement=(3.0, -2.0))
  (part,) = animated(face, moving)
  (frame,) = animated(photograph.scene(image, points, 'whole'), moving)
  rows, columns = (slice(of.start + at, of.stop + at) for of, at in zip(face.view, low[::-1]))
  assert part.shape[0] < height  # more may move in than is shown
  np.testing.assert_allclose(part, frame[rows, columns].astype(int), atol=6)
  whole = photograph.scene(image, points, 'whole', largest=256)
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
  cut = photograph.Scene(shown.pixels[:top], shown.landmarks)
  (frame,) = animated(cut, motion(mask=1.0, displacement=1.0))
  assert frame.shape == cut.pixels.shape and (frame != cut.pixels).any()


def test_light_is_a_factor(shown):
  (frame,) = animated(shown, motion(shading=np.log(0.5)))
  x, y = shown.landmarks[30].astype(int)
  np.testing.assert_allclose(frame[y, x], shown.pixels[y, x] / 2, atol=1)


def test_only_the_mouth_is_painted(shown):
  (frame,) = animated(shown, motion(mask=1.0, color=1.0))
  x, y = shown.landmarks[48:60].mean(0).astype(int)
  assert frame[y, x].min() > 225  # teeth, nearly white
  for point in (19, 24, 37, 44, 8):  # brows, eyes, chin
    x, y = shown.landmarks[point].astype(int)
    np.testing.assert_array_equal(frame[y, x], shown.pixels[y, x])


def test_what_is_painted_has_the_hue_of_the_skin(shown):
  # Blue paint of a quarter of the light: in a color photograph it is red, in a grey one grey.
  blue = motion(mask=1.0)
  blue.color[:] = -1, -1, 0.5
  grey = np.repeat(shown.pixels.mean(-1, keepdims=True).astype(np.uint8), 3, -1)
  x, y = shown.landmarks[48:60].mean(0).astype(int)
  for pixels, is_red in ((shown.pixels, True), (grey, False)):
    (frame,) = animated(photograph.Scene(pixels, shown.landmarks), blue)
    red, green, blue_ = frame[y, x].astype(int)
    assert (red > green + 10 and red > blue_ + 10) == is_red
    assert 40 < frame[y, x].mean() < 90
  assert len({*frame[y, x].tolist()}) == 1


def test_colors_that_are_not_painted_leave_no_trace(shown):
  one, other = motion(), motion(color=1.0)
  for moving in (one, other):
    moving.mask[:, 38:44, 28:36] = 1.0
    moving.color[:, 38:44, 28:36] = -0.9
  frames = [animated(shown, moving)[0].astype(int) for moving in (one, other)]
  assert np.abs(frames[0] - frames[1]).max() <= 1
  assert np.abs(frames[0] - shown.pixels).max() > 100


def test_a_movement_fades_like_a_soap_film():
  known = np.zeros((SIDE, SIDE), bool)
  known[MARGIN:-MARGIN, MARGIN:-MARGIN] = True
  rng = np.random.default_rng(0)
  values = rng.normal(size=(SIDE, SIDE, 2))
  film = Fade(known)(values)
  np.testing.assert_allclose(film[known], values[known], rtol=1e-6)
  # Every free value is the mean of its four neighbors, which are zero beyond the border.
  padded = np.pad(film, [(1, 1), (1, 1), (0, 0)])
  mean = (padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]) / 4
  np.testing.assert_allclose(film[~known], mean[~known], atol=1e-5)


def test_a_tilted_head_moves_along_its_own_axes(astronaut):
  image, _ = astronaut
  turned = np.rot90(image).copy()  # the head lies on its side
  points = detect.landmarks(image)
  lying = np.stack([points[:, 1], image.shape[1] - points[:, 0]], 1)
  upright, tilted = (
    animated(photograph.scene(picture, at, 'whole'), motion(displacement=(2.0, 0.0)))[0]
    for picture, at in ((image, points), (turned, lying))
  )
  error = np.abs(np.rot90(upright).astype(int) - tilted).mean()
  assert error < 0.5
  assert np.abs(tilted.astype(int) - turned).mean() > 4 * error
