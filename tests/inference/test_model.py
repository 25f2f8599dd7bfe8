"""The Python interface: what a user's script sees."""

import subprocess
import sys

import numpy as np
import pytest
import skimage.data
from PIL import Image

import fevgan_jax
from fevgan_jax.runtime import media
from fevgan_jax.runtime.errors import UserError


@pytest.fixture(scope='module')
def model():
  return fevgan_jax.load()


@pytest.fixture(scope='module')
def face(model) -> np.ndarray:
  """The crop of a real photograph."""
  return model.crop(skimage.data.astronaut())


def test_importing_it_imports_nothing_heavy():
  code = "import sys, fevgan_jax; assert not {'jax', 'numpy', 'cv2'} & {*sys.modules}"
  subprocess.run([sys.executable, '-c', code], check=True)


def test_one_clip_or_a_table_of_them(model, face):
  clip = model(face, 'fear', 0.5, cropped=True)
  assert (clip.shape, clip.dtype) == ((32, 64, 64, 3), np.uint8)
  table = model(face, ['anger', 'fear'], intensity=[0.0, 0.5], cropped=True)
  assert table.shape == (2, 2, 32, 64, 64, 3)
  assert np.abs(table[1, 1].astype(int) - clip).max() <= 1  # one grey level, by rounding
  assert (table[:, 0] == table[:, 0, :1]).all()  # intensity 0 is the still face
  assert np.abs(table[0, 1, -1].astype(int) - table[1, 1, -1]).mean() > 1
  assert model(face, 'fear', [1.0], cropped=True).shape == (1, 32, 64, 64, 3)
  assert model(face, ['fear'], cropped=True).shape == (1, 32, 64, 64, 3)


def test_the_photograph_itself_moves_at_its_own_size(model):
  image = skimage.data.astronaut()
  clips = model.animate(image, ['happiness', 'surprise'], frame='whole')
  assert (clips.shape, clips.dtype) == ((2, 32, 512, 512, 3), np.uint8)
  np.testing.assert_array_equal(clips[:, 0], np.stack([image, image]))
  corner = image[-200:, :100]
  np.testing.assert_array_equal(
    clips[:, :, -200:, :100], np.broadcast_to(corner, clips[:, :, -200:, :100].shape)
  )
  mouth = slice(140, 170), slice(200, 250)
  change = np.abs(clips[:, -1].astype(int) - image)
  assert change[:, *mouth].mean() > 5 > change.mean()
  clip = model.animate(image, 'happiness', 0.0, largest=100)
  assert clip.shape[0] == 32 and max(clip.shape[1:3]) == 100
  assert (clip == clip[:1]).all()  # intensity 0 is the still face
  with pytest.raises(UserError, match="frame: 'crop', expected face or whole"):
    model.animate(image, 'fear', frame='crop')
  with pytest.raises(UserError, match='frame: fevgan paints the crop alone.*fevgan_plus would'):
    fevgan_jax.load('fevgan').animate(image, 'fear')


def test_a_picture_may_be_anywhere(model, face, tmp_path):
  photograph = Image.fromarray(skimage.data.astronaut())
  photograph.save(tmp_path / 'astronaut.png')
  for picture in (photograph, str(tmp_path / 'astronaut.png'), tmp_path / 'astronaut.png'):
    assert (model.crop(picture) == face).all()
  turned = photograph.rotate(90, expand=True)
  turned.getexif()[0x0112] = 6  # to be turned clockwise
  assert (model.crop(turned) == face).all()


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (('joy',), "expression: 'joy', expected one of anger, disgust"),
    (('fear', 2.0), 'intensity: 2, expected 0 .still. to 1.2'),
    (('fear', [1.0, -0.1]), 'intensity: -0.1, expected 0'),
  ],
)
def test_what_cannot_be_shown(model, face, arguments, message):
  with pytest.raises(UserError, match=message):
    model(face, *arguments, cropped=True)


def test_what_is_no_picture(model, face):
  with pytest.raises(UserError, match='picture: float64 .64, 64, 3., expected uint8'):
    model(face / 255, 'fear')
  with pytest.raises(UserError, match='picture: a crop of .32, 32, 3., expected .64, 64, 3.'):
    model(face[::2, ::2], 'fear', cropped=True)
  with pytest.raises(UserError, match='picture: no face found'):
    model(np.zeros((99, 99, 3), np.uint8), 'fear')


def test_weights_that_are_not_there(tmp_path):
  with pytest.raises(UserError, match='vgan: no weights of it come with the project'):
    fevgan_jax.load('vgan')
  with pytest.raises(UserError, match='nowhere: no checkpoints there'):
    fevgan_jax.load(tmp_path / 'nowhere')


def test_videos_are_written_by_their_ending(face, tmp_path):
  clip = np.stack([face, face[::-1]] * 4)
  fevgan_jax.write_video(tmp_path / 'a.mp4', clip)
  assert len(list(media.read_video(tmp_path / 'a.mp4'))) == 8
  fevgan_jax.write_video(str(tmp_path / 'a.GIF'), clip, fps=10)
  with Image.open(tmp_path / 'a.GIF') as gif:
    assert (gif.n_frames, gif.info['duration']) == (8, 100)
  with pytest.raises(UserError, match='a.avi: expected a name that ends in .mp4 or .gif'):
    fevgan_jax.write_video(tmp_path / 'a.avi', clip)
