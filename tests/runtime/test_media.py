import io
import os
import re
import subprocess

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from fevgan_jax.runtime import media
from fevgan_jax.runtime.errors import UserError


@pytest.fixture
def clip() -> np.ndarray:
  """[6, 20, 28, 3]: smooth colors that change with time."""
  t, y, x = np.mgrid[:6, :20, :28]
  return np.stack([40 * t, 10 * y, 9 * x], axis=-1).astype(np.uint8)


def read_mp4(path, height: int, width: int) -> tuple[str, np.ndarray]:
  """What ffmpeg says of a file, and its frames; imageio's reader leaves pipes open."""
  ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
  command = [ffmpeg, '-i', path, '-f', 'rawvideo', '-pix_fmt', 'rgb24', '-']
  result = subprocess.run(command, capture_output=True, check=True)
  frames = np.frombuffer(result.stdout, np.uint8).reshape(-1, height, width, 3)
  return result.stderr.decode(), frames


def test_png_round_trip(tmp_path, clip):
  media.write_png(tmp_path / 'new' / 'folder' / 'a.png', clip[2])
  np.testing.assert_array_equal(media.read_image(tmp_path / 'new' / 'folder' / 'a.png'), clip[2])


def test_exif_orientation_is_applied(tmp_path):
  # Orientation 6: the picture is to be turned clockwise, so its left column becomes the top row.
  picture = np.zeros([2, 3, 3], np.uint8)
  picture[:, 0] = 255
  image = Image.fromarray(picture)
  exif = image.getexif()
  exif[0x0112] = 6
  image.save(tmp_path / 'a.png', exif=exif)
  read = media.read_image(tmp_path / 'a.png')
  assert read.shape == (3, 2, 3)
  assert read[0].min() == 255 and not read[1:].any()


def test_palettes_and_cmyk_are_converted(tmp_path):
  red = np.full([4, 4, 3], (255, 0, 0), np.uint8)
  Image.fromarray(red).quantize(2).save(tmp_path / 'palette.png')
  Image.fromarray(red).convert('CMYK').save(tmp_path / 'cmyk.tif')
  for name in ('palette.png', 'cmyk.tif'):
    np.testing.assert_array_equal(media.read_image(tmp_path / name), red)


def test_transparent_parts_are_laid_on_white(tmp_path):
  # Black at opacity 51 / 255 = 1/5 leaves 4/5 of the white: 204.
  picture = np.array([[(0, 0, 0, 0), (10, 20, 30, 255), (0, 0, 0, 51)]], np.uint8)
  Image.fromarray(picture).save(tmp_path / 'a.png')
  read = media.read_image(tmp_path / 'a.png')[0].tolist()
  assert read == [[255] * 3, [10, 20, 30], [204] * 3]


@pytest.mark.parametrize('mode', ['1', 'L', 'LA', 'I;16', 'F'])
def test_a_picture_without_color_is_refused(tmp_path, mode):
  Image.new(mode, (8, 8)).save(tmp_path / 'grey.tif')
  with pytest.raises(UserError, match='grey.tif: a picture without three color channels'):
    media.read_image(tmp_path / 'grey.tif')


def test_what_cannot_be_read_is_one_line(tmp_path):
  (tmp_path / 'notes.png').write_text('no picture')
  noise = np.random.default_rng(0).integers(256, size=[64, 64, 3], dtype=np.uint8)
  media.write_png(tmp_path / 'whole.png', noise)
  (tmp_path / 'half.png').write_bytes((tmp_path / 'whole.png').read_bytes()[:5000])
  for name, reason in {
    'missing.png': r'cannot be read \(No such file or directory\)',
    'notes.png': 'not a picture',
    'half.png': r'cannot be read \(image file is truncated.*\)',
    '.': 'not a file',
  }.items():
    with pytest.raises(UserError, match=f'{reason}: expected a JPEG or PNG') as error:
      media.read_image(tmp_path / name)
    assert '\n' not in str(error.value) and str(tmp_path) in str(error.value)


def test_a_pipe_is_refused_at_once(tmp_path):
  os.mkfifo(tmp_path / 'pipe.png')
  for path in (tmp_path / 'pipe.png', '/dev/zero', tmp_path):
    with pytest.raises(UserError, match='not a file: expected a JPEG or PNG'):
      media.read_image(path)


def test_gif_keeps_frames_speed_and_colors(tmp_path, clip):
  media.write_gif(tmp_path / 'a.gif', clip)
  with Image.open(tmp_path / 'a.gif') as gif:
    assert (gif.n_frames, gif.info['duration'], gif.info['loop']) == (6, 40, 0)
    assert gif.size == (252, 180)  # 28 x 20, nine times
    for index, frame in enumerate(clip):
      gif.seek(index)
      small = gif.convert('RGB').resize((28, 20), Image.Resampling.BOX)
      assert np.abs(np.asarray(small) - frame.astype(float)).mean() < 8  # 256 colors of a cube


def test_mp4_keeps_frames_speed_and_colors(tmp_path, clip):
  media.write_mp4(tmp_path / 'a.mp4', clip)
  report, frames = read_mp4(tmp_path / 'a.mp4', 180, 252)
  assert all(word in report for word in ('Video: h264', 'yuv420p', '252x180', '25 fps'))
  assert len(frames) == 6
  for frame, original in zip(frames, clip):
    small = Image.fromarray(frame).resize((28, 20), Image.Resampling.BOX)
    assert np.abs(np.asarray(small) - original.astype(float)).mean() < 5


def test_files_say_where_they_are_from(tmp_path, clip):
  words = 'Synthetic: made by nobody'
  media.write_mp4(tmp_path / 'a.mp4', clip, comment=words)
  assert re.search(f'comment +: {words}', read_mp4(tmp_path / 'a.mp4', 180, 252)[0])
  media.write_gif(tmp_path / 'a.gif', clip, comment=words)
  media.write_png(tmp_path / 'a.png', clip[0], comment=words)
  with Image.open(tmp_path / 'a.gif') as gif, Image.open(tmp_path / 'a.png') as png:
    assert gif.info['comment'] == words.encode() and png.info['Comment'] == words


def test_mp4_of_odd_sides_is_padded(tmp_path):
  grey = np.full([2, 201, 303, 3], 120, np.uint8)
  media.write_mp4(tmp_path / 'a.mp4', grey, fps=10)
  report, frames = read_mp4(tmp_path / 'a.mp4', 202, 304)
  assert '304x202' in report and '10 fps' in report and len(frames) == 2
  assert np.abs(frames - 120.0).max() < 3


def test_what_ffmpeg_refuses_is_one_line_and_keeps_the_old_file(tmp_path):
  (tmp_path / 'a.mp4').write_bytes(b'old')
  wide = np.zeros([1, 2, 20_000, 3], np.uint8)  # H.264 ends at 16384 pixels
  with pytest.raises(UserError, match=r'20000x2 .*\(invalid width.*\): make room') as error:
    media.write_mp4(tmp_path / 'a.mp4', wide)
  assert '\n' not in str(error.value) and str(tmp_path / 'a.mp4') in str(error.value)
  assert (tmp_path / 'a.mp4').read_bytes() == b'old'
  assert [file.name for file in tmp_path.iterdir()] == ['a.mp4']


def test_sheet_shows_input_and_evenly_spaced_frames():
  # Frame t of clip r has the grey level 10 r + t. Of 32 frames, 4 columns show 0, 10, 21 and 31.
  rows, times = np.arange(2), np.arange(32)
  grey = (100 + 40 * rows[:, None] + times)[..., None, None, None]
  clips = np.broadcast_to(grey, [2, 32, 16, 16, 3]).astype(np.uint8)
  inputs = np.full([2, 16, 16, 3], 90, np.uint8)
  page = media.sheet(clips, ['one', 'two\nlines'], inputs=inputs, columns=4)
  assert page.dtype == np.uint8
  shown = {(100 + 40 * row + time) for row in rows for time in (0, 10, 21, 31)} | {90}
  areas = {level: (page == level).all(-1).sum() for level in shown}
  assert all(area >= 32 * 32 for area in areas.values())  # twice as large in both directions
  assert areas[90] >= 2 * 32 * 32
  assert not (page == 101).all(-1).sum() >= 32 * 32
  assert (page[0] == 255).all()


def test_sheet_of_a_clip_shorter_than_the_columns():
  clips = np.zeros([1, 3, 16, 16, 3], np.uint8)
  page = media.sheet(clips, [''], columns=8, scale=1)
  same = media.sheet(clips, [''], columns=3, scale=1)
  np.testing.assert_array_equal(page, same)


def test_grid_plays_clips_side_by_side(clip):
  clips = np.stack([[clip, 255 - clip, clip], [clip, clip, clip]])
  page = media.grid(clips, ['F01', 'F02'], ['anger', 'fear', 'surprise'], scale=3)
  assert page.shape[0] == 6 and page.dtype == np.uint8
  inverse = (255 - clip).repeat(3, axis=1).repeat(3, axis=2)
  windows = np.lib.stride_tricks.sliding_window_view(page[2], inverse[2].shape).squeeze(2)
  corner = inverse[2, 0, 0]
  candidates = np.argwhere((page[2] == corner).all(-1))
  found = [
    (y, x)
    for y, x in candidates
    if y < len(windows) and x < windows.shape[1] and (windows[y, x] == inverse[2]).all()
  ]
  assert len(found) == 1
  ((y, x),) = found
  np.testing.assert_array_equal(page[:, y : y + 60, x : x + 84], inverse)


def test_names_must_fit_the_clips(clip):
  with pytest.raises(ValueError, match='but 2 names of rows and 1 of columns'):
    media.grid(clip[None, None], ['a', 'b'], ['c'])


def test_floats_are_refused(tmp_path, clip):
  for write, name in ((media.write_gif, 'a.gif'), (media.write_mp4, 'a.mp4')):
    with pytest.raises(ValueError, match='expected uint8 of rank 4 .* not float64'):
      write(tmp_path / name, clip / 255)
  with pytest.raises(ValueError, match='expected uint8 of rank 3'):
    media.write_png(tmp_path / 'a.png', clip)
  assert not list(tmp_path.iterdir())


def test_a_pages_clip_plays_and_rests_on_its_last_frame():
  clip = np.zeros((3, 8, 10, 3), np.uint8)
  clip[1], clip[2] = 120, 240
  with Image.open(io.BytesIO(media.webp(clip))) as animation:
    assert (animation.n_frames, animation.size, animation.info['loop']) == (3, (10, 8), 0)
    means, durations = [], []
    for i in range(3):
      animation.seek(i)
      means.append(np.asarray(animation.convert('RGB')).mean())
      durations.append(animation.info['duration'])
  np.testing.assert_allclose(means, [0, 120, 240], atol=3)
  assert durations == [40, 40, 800]


def test_titles_may_have_several_lines():
  clips = np.zeros((1, 1, 1, 64, 64, 3), np.uint8)
  one, two = (media.grid(clips, ['row'], [title]) for title in ('title', 'title\nof two lines'))
  assert two.shape[1] > one.shape[1] + 8
