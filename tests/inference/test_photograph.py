"""The photograph moved at its own size: what moves, by how much, and what stays."""

import numpy as np
import pytest
import skimage.data

from fevgan_jax.faces import crop, detect
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
  return photograph.Mover(shown, moving.upper.shape[1]).animate(moving)


def motion(side: int = 64, displacement=0, **values: float | tuple) -> Motion:
  """One frame, the same everywhere; nothing but what is named. Both sheets have the displacement if
  they have none of their own."""
  values = {'upper': displacement, 'lower': displacement, **values}
  channels = {'upper': 2, 'lower': 2, 'shading': 1}
  return Motion(
    *(
      np.full((1, side, side, count), values.get(name, 0), np.float32)
      for name, count in channels.items()
    )
  )


def at_mouth(shown: photograph.Scene, down: float) -> tuple[int, int]:
  """Row and column, so many pixels of the template below the middle of the lips."""
  middle = shown.landmarks[[62, 66]].mean(0)
  x, y = middle + down * np.linalg.inv(shown.to_template[:, :2])[:, 1]
  return int(y), int(x)


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
  (frame,) = animated(cut, motion(displacement=1.0))
  assert frame.shape == cut.pixels.shape and (frame != cut.pixels).any()


def test_light_is_a_factor(shown):
  (frame,) = animated(shown, motion(shading=np.log(0.5)))
  x, y = shown.landmarks[30].astype(int)
  np.testing.assert_allclose(frame[y, x], shown.pixels[y, x] / 2, atol=1)


def test_a_jaw_that_drops_takes_the_lower_lip_along_and_opens_the_mouth(shown):
  (frame,) = animated(shown, motion(lower=(-6.0, 0.0)))
  before, after = ([*map(int, x[at_mouth(shown, 2.5)])] for x in (shown.pixels, frame))
  assert sum(after) < sum(before) - 100  # it was lip, and is the dark behind the teeth
  # The chin and the lip below it come from six pixels higher, and nothing above the mouth moves.
  for down in (4, 7):
    found, source = frame[at_mouth(shown, 6 + down)], shown.pixels[at_mouth(shown, down)]
    np.testing.assert_allclose(found.astype(int), source, atol=25)
  nose = shown.landmarks[30].astype(int)
  np.testing.assert_array_equal(frame[: nose[1]], shown.pixels[: nose[1]])


def test_what_a_mouth_opens_on_is_grey_in_a_grey_photograph(shown):
  grey = np.repeat(shown.pixels.mean(-1, keepdims=True).astype(np.uint8), 3, -1)
  red = []
  for pixels in (shown.pixels, grey):
    scene = photograph.Scene(pixels, shown.landmarks)
    (frame,) = animated(scene, motion(lower=(-6.0, 0.0)))
    pixel = frame[at_mouth(shown, 3.5)].astype(int)
    red.append(pixel[0] - pixel[2])
  assert red[0] > 10 and red[1] == 0


def test_lids_move_and_eyeballs_rest(shown):
  (frame,) = animated(shown, motion(upper=(0.6, 0.0)))
  eye, brow = (shown.landmarks[part].mean(0).astype(int) for part in (slice(36, 42), slice(19, 21)))
  np.testing.assert_array_equal(frame[eye[1], eye[0]], shown.pixels[eye[1], eye[0]])
  assert np.abs(frame.astype(int) - shown.pixels)[brow[1] - 4 : brow[1] + 4, brow[0]].max() > 20


def test_a_sheet_is_read_where_it_is_seen():
  extras = {
    'upper': np.full((1, 64, 64, 2), 2.0),
    'lower': np.zeros((1, 64, 64, 2)),
    'shading': np.zeros((1, 64, 64, 1)),
    'sheets': np.zeros((1, 64, 64, 4)),
  }
  extras['lower'][:, 40:] = -5.0
  extras['sheets'][:, :30, :, 0] = extras['sheets'][:, 40:, :, 1] = 1
  extras['sheets'][:, 30:40, :, 3] = 1
  extras['shading'][:, 30:40] = 9.0
  moving = Motion.of(extras)
  # The lower sheet goes on above its edge in row 40 as it begins there.
  np.testing.assert_allclose(moving.lower[0, 32:, :, 0], -5, atol=0.1)
  np.testing.assert_allclose(moving.upper[0, :40], 2, atol=0.01)
  np.testing.assert_allclose(moving.shading, 0, atol=0.1)


def test_a_mirrored_motion_is_that_of_the_mirror_image(astronaut):
  image, points = astronaut
  flipped = points * [-1, 1] + [image.shape[1], 0]
  order = [*range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1)]
  order += [45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40]
  order += [*range(54, 47, -1), *range(59, 54, -1), 64, 63, 62, 61, 60, 67, 66, 65]
  rng = np.random.default_rng(0)
  values = (rng.normal(size=(1, 64, 64, count)).astype(np.float32) for count in (2, 2, 1))
  moving = Motion(*(4 * photograph.go_on(x[0], np.ones((64, 64)))[None] for x in values))
  one = animated(photograph.scene(image, points, 'whole'), moving)
  mirror = photograph.scene(image[:, ::-1].copy(), flipped[order], 'whole')
  other = animated(mirror, moving.mirrored())[:, :, ::-1]
  assert np.abs(one.astype(int) - other).mean() < 1
  assert np.abs(one.astype(int) - image).mean() > 3


def test_a_smile_goes_before_another_expression_comes(astronaut):
  _, points = astronaut  # who smiles
  frames = 32
  still = Motion(*(np.zeros((frames, 64, 64, count), np.float32) for count in (2, 2, 1)))
  smile = still._replace(upper=still.upper.copy(), lower=still.lower.copy())
  # A smile takes what is beside the middle of the face up by six pixels.
  beside = np.abs(np.arange(64) - 32) > 4
  smile.upper[-1, :, beside, 0] = smile.lower[-1, :, beside, 0] = 6.0
  calm = still.without_smile(smile, points, 1.0)
  assert not calm.upper[0].any() and not calm.upper[:, :24].any()
  corner = calm.upper[:, 42, 20, 0]
  assert (np.diff(corner) <= 0).all() and corner[13:].std() == 0
  # The corners go down by what they are higher than those of a neutral face.
  neutral = np.mean(crop.TEMPLATE[[51, 57], 1]) - np.mean(crop.TEMPLATE[[48, 54], 1])
  assert corner[-1] == pytest.approx(-(detect.smile(points) - neutral), rel=0.02)
  half = still.without_smile(smile, points, 0.5)
  np.testing.assert_allclose(half.upper, calm.upper / 2)
  # It is not the smile's opposite where a face does not smile.
  assert not still.without_smile(smile, crop.TEMPLATE, 1.0).upper.any()


def test_a_field_goes_on_where_it_is_not_seen():
  ramp = np.tile(np.arange(64.0)[None, :, None], (64, 1, 2))
  seen = np.ones((64, 64))
  seen[20:30, 20:30] = 0
  changed = np.where(seen[..., None] > 0, ramp, -1e3)
  filled = photograph.go_on(changed, seen)
  np.testing.assert_allclose(filled[24:26, 20:30], ramp[24:26, 20:30], atol=3.5)
  np.testing.assert_allclose(filled[5:15, 5:-5], ramp[5:15, 5:-5], atol=0.2)


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
