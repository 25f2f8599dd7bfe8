import numpy as np
import pytest
from skimage import data

from fevgan_jax.faces import crop


def rotated(degrees: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
  angle = np.radians(degrees)
  c, s = scale * np.cos(angle), scale * np.sin(angle)
  return np.array([[c, -s, shift[0]], [s, c, shift[1]]])


@pytest.mark.parametrize('size', [64, 128])
def test_similarity_undoes_rotation_scale_and_shift(size):
  landmarks = crop.transform(rotated(27, 3.5, (120, -40)), crop.TEMPLATE)
  aligned = crop.transform(crop.similarity(landmarks, size), landmarks)
  np.testing.assert_allclose(aligned, crop.TEMPLATE * size / 64, atol=1e-9)


def test_similarity_ignores_what_expressions_move():
  landmarks = crop.TEMPLATE.copy()
  landmarks[17:27] -= 5  # brows
  landmarks[48:] += 5  # mouth
  landmarks[[8, 37, 43]] += 3  # chin, upper lids
  np.testing.assert_allclose(crop.similarity(landmarks), np.eye(2, 3), atol=1e-12)


def test_similarity_is_the_least_squares_optimum():
  rng = np.random.default_rng(0)
  landmarks = crop.TEMPLATE * 4 + rng.normal(size=(68, 2)) * 3
  source, target = landmarks[crop.RIGID], crop.TEMPLATE[crop.RIGID]
  # The same problem, linear in (a, b, shift x, shift y): x' = a x - b y + u, y' = b x + a y + v.
  x, y, one, zero = *source.T, np.ones(len(source)), np.zeros(len(source))
  system = np.concatenate([np.stack([x, -y, one, zero], 1), np.stack([y, x, zero, one], 1)])
  a, b, u, v = np.linalg.lstsq(system, target.T.ravel())[0]
  np.testing.assert_allclose(crop.similarity(landmarks), [[a, -b, u], [b, a, v]], atol=1e-9)


def test_the_template_is_symmetric_and_inside_the_frame():
  np.testing.assert_allclose(crop.TEMPLATE[:17, 0] + crop.TEMPLATE[16::-1, 0], 64, atol=0.021)
  assert (crop.hull(crop.TEMPLATE) > 0).all() and (crop.hull(crop.TEMPLATE) < 64).all()


def test_inside_a_triangle_either_way_round():
  triangle = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]])
  points = np.array([[1.0, 1.0], [3.0, 3.0], [-1.0, 1.0], [2.0, 2.0]])  # the last on an edge
  for polygon in (triangle, triangle[::-1]):
    assert crop.inside(polygon, points).tolist() == [True, False, False, True]


def test_raised_brows_do_not_move_the_mask():
  raised = crop.TEMPLATE.copy()
  raised[17:27, 1] -= 6
  np.testing.assert_array_equal(crop.hull(raised), crop.hull(crop.TEMPLATE))


def test_black_outside_the_hull_and_the_picture_inside():
  white = np.full([256, 256, 3], 255, np.uint8)
  mask = crop.crop(white, crop.TEMPLATE * 4)
  y, x = np.mgrid[:64, :64] + 0.5
  inside = crop.inside(crop.hull(crop.TEMPLATE), np.stack([x.ravel(), y.ravel()], 1))
  sure = np.abs(mask[..., 0] / 255 - inside.reshape(64, 64)) < 0.5
  assert sure.mean() > 0.99  # edge pixels that the hull halves may go either way
  assert mask[32, 32].tolist() == [255] * 3 and not mask[:2].any() and not mask[53:].any()
  # Every feature is kept: at least two pixels around brows, eyes, nose and mouth.
  for point in crop.TEMPLATE[17:]:
    column, row = point.astype(int)
    assert mask[row - 2 : row + 3, column - 2 : column + 3].min() == 255


def test_each_pixel_is_the_mean_of_its_area():
  # 2 x 2 pixels of the picture per pixel of the crop. A crop pixel takes one sample in the middle
  # of each: (0 + 40 + 80 + 120) / 4 = 60.
  tile = np.array([[0, 40], [80, 120]], np.uint8)
  picture = np.repeat(np.tile(tile, (64, 64))[..., None], 3, axis=2)
  assert crop.crop(picture, crop.TEMPLATE * 2)[32, 32].tolist() == [60] * 3


def test_a_pixel_center_is_at_one_half():
  # One white pixel, at column 30 and row 20 of a picture that is the crop itself, stays there.
  picture = np.zeros([64, 64, 3], np.uint8)
  picture[20, 30] = 255
  cropped = crop.crop(picture, crop.TEMPLATE)[..., 0].astype(float)
  y, x = np.mgrid[:64, :64] + 0.5
  assert (cropped * x).sum() / cropped.sum() == pytest.approx(30.5)
  assert (cropped * y).sum() / cropped.sum() == pytest.approx(20.5)


@pytest.mark.parametrize('factor', [2, 5, 16])
def test_resolution_of_the_picture_does_not_matter(factor):
  # Each pixel becomes factor x factor pixels; from 8 pixels per crop pixel on, the picture is
  # reduced first.
  picture, landmarks = data.astronaut()[:256, 96:352], crop.TEMPLATE * 2 + [75, 60]
  large = picture.repeat(factor, 0).repeat(factor, 1)
  difference = crop.crop(large, landmarks * factor) - crop.crop(picture, landmarks).astype(float)
  assert np.abs(difference).mean() < 1


def test_what_has_the_templates_size_is_not_copied():
  clips = np.zeros([2, 3, 64, 64, 3], np.uint8)
  assert crop.at_template_size(clips) is clips


def test_larger_crops_are_averaged():
  # Four pixels each, (0 + 40 + 80 + 120) / 4 = 60; of 192 pixels nine each, 0 to 80, mean 40.
  fours = np.tile(np.array([[0, 40], [80, 120]], np.uint8), (64, 64))
  nines = np.tile(np.arange(0, 90, 10, dtype=np.uint8).reshape(3, 3), (64, 64))
  for grey, mean in ((fours, 60), (nines, 40)):
    frames = crop.at_template_size(np.stack([grey] * 3, -1)[None, None])
    assert frames.shape == (1, 1, 64, 64, 3) and frames.dtype == np.uint8
    assert (frames == mean).all()


def test_smaller_crops_are_interpolated():
  # A ramp of 8 levels a pixel has 4 a pixel at twice the size; a pixel's center is at one half.
  ramp = np.broadcast_to(8 * np.arange(32, dtype=np.uint8)[:, None], (32, 32, 3))
  (frame,) = crop.at_template_size(ramp[None])
  np.testing.assert_array_equal(frame[5, 1:-1, 0], 4 * np.arange(1, 63) - 2)


@pytest.mark.parametrize(
  'images',
  [
    np.zeros((1, 64, 64, 3), np.float32),
    np.zeros((1, 64, 32, 3), np.uint8),
    np.zeros((1, 3, 64, 64), np.uint8),
  ],
)
def test_what_is_no_crop_is_refused(images):
  with pytest.raises(ValueError, match=r'crops: .* expected uint8 \[..., side, side, 3\]'):
    crop.at_template_size(images)


def test_the_mask_of_a_symmetric_face_is_symmetric():
  # What of a pixel lies inside is asked at the centers of its samples, not at their corners.
  points = crop.TEMPLATE * 4
  white = np.full((256, 256, 3), 255, np.uint8)
  masked = crop.crop(white, points)
  np.testing.assert_allclose(masked, masked[:, ::-1].astype(int), atol=1)
  assert (masked[0] == 0).all() and (masked[30, 20:44] == 255).all()
