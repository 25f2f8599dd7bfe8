import logging
import re

import numpy as np
import pytest
import scenes
from PIL import Image
from skimage import data

from fevgan_jax.faces import crop, detect
from fevgan_jax.runtime import media
from fevgan_jax.runtime.errors import UserError


@pytest.fixture(scope='module')
def photograph() -> np.ndarray:
  return data.astronaut()


@pytest.fixture(scope='module')
def points(photograph) -> np.ndarray:
  return detect.landmarks(photograph)


def test_landmarks_lie_on_the_face(photograph, points):
  # Read off the enlarged photograph by eye.
  assert points.shape == (68, 2)
  for found, place in (
    (points[36:42].mean(0), (203.5, 101)),  # the pupil at the left in the picture
    (points[42:48].mean(0), (247, 103.5)),
    (points[48], (203, 140)),  # the mouth's corners
    (points[54], (244.5, 141)),
    (points[8], (225, 178)),  # the chin
  ):
    np.testing.assert_allclose(found, place, atol=5)


@pytest.mark.parametrize(('degrees', 'scale'), [(15, 1), (-15, 1), (0, 2.3), (8, 0.5)])
def test_the_crop_does_not_depend_on_how_the_camera_was_held(photograph, points, degrees, scale):
  face = crop.crop(photograph, points)
  side = round(512 * scale)
  turned = np.asarray(
    Image.fromarray(photograph)
    .resize((side, side), Image.Resampling.LANCZOS)
    .rotate(degrees, Image.Resampling.BICUBIC)
  )
  again = crop.crop(turned, detect.landmarks(turned))
  assert np.abs(again - face.astype(float)).mean() < 2  # grey levels; one pixel off it is 5


def test_a_small_face_in_a_large_picture_is_found(photograph):
  large = np.full([1500, 2000, 3], 90, np.uint8)
  large[900:1412, 300:812] = photograph  # 88 pixels of 2000: too few after the first reduction
  np.testing.assert_allclose(
    detect.landmarks(large), detect.landmarks(photograph) + (300, 900), atol=3
  )


def test_the_largest_of_several_faces_is_used_and_said(photograph, points, caplog):
  head = photograph[40:220, 140:320]
  large = np.asarray(Image.fromarray(head).resize((270, 270), Image.Resampling.BICUBIC))
  both = np.full([270, 450, 3], 128, np.uint8)
  both[:180, :180], both[:, 180:] = head, large
  with caplog.at_level(logging.WARNING):
    found = detect.landmarks(both, name='us.jpg')
  np.testing.assert_allclose(found, (points - (140, 40)) * 1.5 + (180, 0), atol=4)
  assert 'us.jpg: 2 faces found; the largest is used.' in caplog.text


def test_a_face_at_the_edge_is_said(photograph, caplog):
  with caplog.at_level(logging.WARNING):
    detect.landmarks(photograph[:, 195:])
  assert 'an edge of the picture cuts the face off' in caplog.text


@pytest.mark.parametrize('shape', [(64, 64), (3, 2000)])
def test_no_face_is_one_line(shape):
  with pytest.raises(UserError, match='^wall.png: no face found: expected one upright') as error:
    detect.landmarks(np.full([*shape, 3], 128, np.uint8), name='wall.png')
  assert '\n' not in str(error.value)


def test_face_of_a_file(tmp_path, photograph, points, caplog):
  media.write_png(tmp_path / 'astronaut.png', photograph)
  face = detect.face(tmp_path / 'astronaut.png', 32)
  np.testing.assert_array_equal(face, crop.crop(photograph, points, 32))
  # She shows her teeth, and nothing else is to be said about a good photograph.
  assert [record.message.partition(': ')[2] for record in caplog.records] == [
    'the mouth is open: expected a neutral face, with which every clip begins; the result will '
    'be less like the person.'
  ]


@pytest.mark.parametrize(
  ('label', 'mouth'), [(None, ''), ('surprise', 'is open'), ('happiness', '(is open|smiles)')]
)
def test_a_mouth_that_is_not_neutral_is_noticed(label, mouth):
  for seed in (1_000_000, 1_000_001, 1_000_002):
    faces, landmarks = scenes.performance(seed, label, 2)
    image, _ = scenes.photograph(faces[-1], landmarks[-1], scenes.OULU)
    assert re.fullmatch(mouth, detect.mouth(detect.landmarks(image)))


def test_a_smile_that_shows_teeth_is_known_by_its_width():
  def mouth(raised: float, parted: float, width: float) -> np.ndarray:
    points = crop.TEMPLATE.copy()
    points[[48, 54], 1] = points[[51, 57], 1].mean() - raised
    points[[61, 62, 63], 1], points[[65, 66, 67], 1] = 43 - parted / 2, 43 + parted / 2
    points[[48, 54], 0] = 32 - width / 2, 32 + width / 2
    return points

  assert not detect.smiles(crop.TEMPLATE)
  assert detect.smiles(mouth(2.0, 0.0, 14.0))
  assert detect.smiles(mouth(1.4, 3.0, 17.0))
  assert not detect.smiles(mouth(1.4, 3.0, 14.0))  # speaks
  assert not detect.smiles(mouth(1.4, 0.5, 17.0))  # a wide mouth
  # In a photograph four times as large, too.
  assert detect.smiles(4 * mouth(1.4, 3.0, 17.0) + 100)


def test_landmarks_of_rendered_test_people():
  """Against the mesh's own, whose jaw is another: the 51 inner points, in outer eye distances."""
  errors = []
  for seed in (1_000_000, 1_000_001, 1_000_002):
    for label in (None, 'disgust', 'surprise'):
      faces, landmarks = scenes.performance(seed, label, 2)
      for camera in (scenes.MUG, scenes.OULU):
        image, points = scenes.photograph(faces[-1], landmarks[-1], camera)
        found = detect.landmarks(image)
        eyes = np.linalg.norm(points[45] - points[36])
        errors.append(np.linalg.norm(found - points, axis=1)[17:].mean() / eyes)
  assert np.mean(errors) < 0.07 and np.max(errors) < 0.12


def test_a_large_photograph_that_was_taken_sideways(tmp_path, photograph, points):
  # 12 megapixels; EXIF orientation 6: to be turned clockwise.
  large = Image.fromarray(photograph).resize((3000, 3000)).crop((0, 0, 3000, 4000))
  sideways = large.transpose(Image.Transpose.ROTATE_90)
  exif = sideways.getexif()
  exif[0x0112] = 6
  path = tmp_path / 'мой снимок.jpg'
  sideways.save(path, exif=exif, quality=90)
  face = detect.face(path)
  assert np.abs(face - crop.crop(photograph, points).astype(float)).mean() < 3


def test_a_face_too_small_for_the_crop_is_refused(tmp_path, photograph):
  small = Image.fromarray(photograph).resize((256, 256), Image.Resampling.LANCZOS)
  small.save(tmp_path / 'small.png')
  assert detect.face(tmp_path / 'small.png').shape == (64, 64, 3)
  with pytest.raises(UserError, match='small.png: the face is too small: .* fill 256 pixels'):
    detect.face(tmp_path / 'small.png', 256)


@pytest.mark.parametrize('degrees', [-40, -20, 0, 20, 40])
def test_a_head_that_is_turned_too_far_is_refused(degrees):
  for seed in (1_000_000, 1_000_001, 1_000_002):
    faces, landmarks = scenes.performance(seed, None, 1, turned=degrees)
    assert detect.turn(landmarks[0]) == pytest.approx(degrees, abs=4)
    image, _ = scenes.photograph(faces[0], landmarks[0], (896, 896, 2.0, (190, 170)))
    if abs(degrees) < 30:
      assert detect.turn(detect.checked(image, 64, name='head')) == pytest.approx(degrees, abs=4)
    else:
      words = '^head: the head is turned to one side by [23][0-9] degrees or more, expected 25'
      with pytest.raises(UserError, match=words):
        detect.checked(image, 64, name='head')
