"""Pictures and clips on disk: reads photographs and videos; writes PNG, GIF, MP4; lays clips out on
a page.

Images are uint8 RGB [height, width, 3], clips uint8 [time, height, width, 3]. A file appears under
its name only when it is complete.
"""

import io
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence

import cv2
import imageio_ffmpeg
import numpy as np
from einops import rearrange, repeat
from PIL import Image, ImageDraw, ImageFont, ImageOps, UnidentifiedImageError

from fevgan_jax.runtime.errors import UserError
from fevgan_jax.runtime.files import replacing

FPS = 25
# Names of files that are taken for pictures and for videos.
PICTURES = ('.bmp', '.jpeg', '.jpg', '.png', '.ppm', '.tif', '.tiff', '.webp')
VIDEOS = ('.3gp', '.avi', '.flv', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.webm', '.wmv')

LAST_FRAME = 800  # milliseconds that a page's clip rests on its apex
CELL = 128  # pixels a side of a frame on a page: smaller ones are enlarged by a whole factor
MOVIE_SIDE = 256  # smaller movies are enlarged: players show 64 pixels as a stamp


# A file, or what of it is in memory already: uint8 [height, width, 3].
Picture = str | os.PathLike | Image.Image | np.ndarray


def pixels(picture: Picture) -> np.ndarray:
  """A color picture as uint8 [height, width, 3], wherever it is; a file as `read_image` reads it.

  Raises:
    UserError: it is none.
  """
  if isinstance(picture, str | os.PathLike):
    return read_image(picture)
  if isinstance(picture, Image.Image):
    return _to_rgb(ImageOps.exif_transpose(picture), 'picture')
  if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
    raise UserError(
      f'picture: {picture.dtype} {list(picture.shape)}, expected uint8 [height, width, 3]'
    )
  return picture


def name_of(picture: Picture) -> str | os.PathLike:
  """What messages call a picture: its file, if it has one."""
  return picture if isinstance(picture, str | os.PathLike) else 'picture'


def read_image(path: str | os.PathLike, *, grey: bool = False) -> np.ndarray:
  """A color picture as uint8 [height, width, 3], turned upright as its EXIF entry says.

  Palettes, CMYK and the like are converted, transparent parts are laid on white. Of an animation,
  the first frame.

  Args:
    path: of the file.
    grey: whether a picture without color is taken too: its channel is given three times.

  Raises:
    UserError: the file is missing, is no picture, is damaged, or has no three color channels.
  """
  try:
    with Image.open(path) as file:
      image = ImageOps.exif_transpose(file)
      image.load()
  except UnidentifiedImageError:
    raise UserError(f'{path}: not a picture: expected a JPEG or PNG file.') from None
  except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
    reason = getattr(error, 'strerror', None) or error
    raise UserError(f'{path}: cannot be read ({reason}): expected a JPEG or PNG file.') from None
  return _to_rgb(image, path, grey)


def _to_rgb(image: Image.Image, name: str | os.PathLike, grey: bool = False) -> np.ndarray:
  if not grey and len(image.getbands()) < 3 and image.mode not in ('P', 'PA'):
    raise UserError(
      f'{name}: a picture without three color channels (mode {image.mode}): expected RGB; '
      'give a color photograph.'
    )
  if image.has_transparency_data:
    image = image.convert('RGBA')
    image = Image.alpha_composite(Image.new('RGBA', image.size, 'white'), image)
  return np.asarray(image.convert('RGB'))


def read_video(path: str | os.PathLike) -> Iterator[np.ndarray]:
  """The frames of a video, uint8 [height, width, 3], one at a time and equally spaced in time.

  They are turned upright as the file says; where the rate changes, frames are repeated or left out.

  Raises:
    UserError: the file is missing, is no video, or is damaged.
  """
  command = [
    imageio_ffmpeg.get_ffmpeg_exe(),
    '-v',
    'error',
    '-nostdin',
    '-i',
    f'file:{path}',
    '-map',
    '0:v:0',
    '-fps_mode',
    'cfr',
    '-f',
    'image2pipe',
    '-c:v',
    'ppm',
    '-pix_fmt',
    'rgb24',
    '-',
  ]
  with (
    tempfile.TemporaryFile() as complaints,
    subprocess.Popen(command, stdout=subprocess.PIPE, stderr=complaints) as ffmpeg,
  ):
    try:
      # Each frame is a header of three lines, 'P6', 'WIDTH HEIGHT' and '255', and its bytes.
      while ffmpeg.stdout.readline():
        width, height = map(int, ffmpeg.stdout.readline().split())
        ffmpeg.stdout.readline()
        data = ffmpeg.stdout.read(width * height * 3)
        yield np.frombuffer(data, np.uint8).reshape(height, width, 3)
    except GeneratorExit:  # the reader has seen enough
      ffmpeg.kill()
      raise
    if ffmpeg.wait():
      complaints.seek(0)
      reason = complaints.read().decode(errors='replace').strip().splitlines()[-1:]
      raise UserError(
        f'{path}: cannot be read ({" ".join(reason) or "ffmpeg failed"}): expected a video file.'
      )


def write_png(path: str | os.PathLike, image: np.ndarray) -> None:
  """Writes uint8 [height, width, 3]."""
  _check(image, rank=3)
  with replacing(path) as temporary:
    Image.fromarray(image).save(temporary, format='PNG')


def write_gif(path: str | os.PathLike, clip: np.ndarray, *, fps: float = FPS) -> None:
  """Writes uint8 [time, height, width, 3] as a GIF that repeats forever.

  All frames share one palette of 256 colors, without dithering, so that what stands still does not
  flicker. A GIF counts time in hundredths of a second; 25 frames per second are exact.
  """
  _check(clip, rank=4)
  clip = _enlarge(clip)
  palette = Image.fromarray(rearrange(clip, 't h w c -> (t h) w c')).quantize(
    256, Image.Quantize.MEDIANCUT
  )
  frames = [
    Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE) for frame in clip
  ]
  with replacing(path) as temporary:
    frames[0].save(
      temporary, format='GIF', save_all=True, append_images=frames[1:], duration=1000 / fps, loop=0
    )


def write_mp4(path: str | os.PathLike, clip: np.ndarray, *, fps: float = FPS) -> None:
  """Writes uint8 [time, height, width, 3] as H.264 in 4:2:0, which every player shows.

  Raises:
    UserError: ffmpeg cannot: the frames are too large for H.264, or the disk is full.
  """
  _check(clip, rank=4)
  clip = _enlarge(clip)
  odd = [(0, side % 2) for side in clip.shape[1:3]]  # 4:2:0 needs even sides
  clip = np.pad(clip, [(0, 0), *odd, (0, 0)], mode='edge')
  height, width = clip.shape[1:3]
  size = f'{width}x{height}'
  raw = ['-f', 'rawvideo', '-pix_fmt', 'rgb24', '-s', size, '-r', str(fps), '-i', '-']
  coded = ['-c:v', 'libx264', '-pix_fmt', 'yuv420p', '-crf', '16', '-movflags', '+faststart']
  with replacing(path) as temporary:
    ffmpeg = subprocess.run(
      [imageio_ffmpeg.get_ffmpeg_exe(), '-v', 'error', *raw, *coded, temporary],
      input=np.ascontiguousarray(clip).data,
      capture_output=True,
    )
    if ffmpeg.returncode:
      # The first line is the cause, behind '[component @ address]'; the others follow from it.
      cause, *_ = ffmpeg.stderr.decode(errors='replace').splitlines() or ['ffmpeg failed']
      raise UserError(
        f'{path}: a clip of {size} pixels cannot be written ({cause.rpartition("] ")[2]}): make '
        'room on the disk, or write smaller frames.'
      )


def webp(clip: np.ndarray, *, fps: float = FPS) -> bytes:
  """uint8 [time, height, width, 3] as an animation for a page's own text: it rests for a moment on
  the last frame, and repeats forever."""
  _check(clip, rank=4)
  frames = [Image.fromarray(frame) for frame in clip]
  file = io.BytesIO()
  durations = [round(1000 / fps)] * (len(frames) - 1) + [LAST_FRAME]
  frames[0].save(
    file,
    format='WEBP',
    save_all=True,
    append_images=frames[1:],
    duration=durations,
    loop=0,
    quality=85,
  )
  return file.getvalue()


def sheet(
  clips: np.ndarray,
  names: Sequence[str],
  *,
  inputs: np.ndarray | None = None,
  columns: int = 8,
  scale: int | None = None,
) -> np.ndarray:
  """A contact sheet: one clip per row, evenly spaced frames from the first to the last.

  Args:
    clips: uint8 [rows, time, height, width, 3].
    names: of the rows, at the left; a name may have several lines.
    inputs: uint8 [rows, height, width, 3], shown in a column of their own at the left.
    columns: number of frames shown, at most `time` of them.
    scale: the pixels of a frame are shown this many times as large; by default as often as a frame
      fits into CELL.

  Returns:
    uint8 [sheet height, sheet width, 3].
  """
  times = np.linspace(0, clips.shape[1] - 1, min(columns, clips.shape[1])).round().astype(int)
  cells, titles = clips[:, times], [f'frame {time}' for time in times]
  if inputs is not None:
    cells, titles = np.concatenate([inputs[:, None], cells], axis=1), ['input', *titles]
  return _page(cells[:, :, None], names, titles, scale)[0]


def grid(
  clips: np.ndarray, names: Sequence[str], titles: Sequence[str], *, scale: int | None = None
) -> np.ndarray:
  """Several clips that play side by side, as one clip for `write_gif` or `write_mp4`.

  Args:
    clips: uint8 [rows, columns, time, height, width, 3], say people by expressions.
    names: of the rows, at the left.
    titles: of the columns, above.
    scale: the pixels of a frame are shown this many times as large; by default as often as a frame
      fits into CELL.

  Returns:
    uint8 [time, grid height, grid width, 3].
  """
  return _page(clips, names, titles, scale)


def _page(
  clips: np.ndarray, names: Sequence[str], titles: Sequence[str], scale: int | None
) -> np.ndarray:
  """Lays [rows, columns, time, height, width, 3] out on white, with names left and titles above."""
  _check(clips, rank=6)
  if clips.shape[:2] != (len(names), len(titles)):
    raise ValueError(
      f'{clips.shape[:2]} clips, but {len(names)} names of rows and {len(titles)} of columns'
    )
  scale = scale or max(1, CELL // max(clips.shape[3:5]))
  clips = repeat(clips, 'r c t h w rgb -> r c t (h y) (w x) rgb', y=scale, x=scale)
  rows, columns, _, height, width, _ = clips.shape
  gap = max(2, height // 32)
  font = ImageFont.load_default(max(10, width // 9))
  ruler = ImageDraw.Draw(Image.new('RGB', (1, 1)))

  def extent(text: str) -> tuple[int, int]:
    left, top, right, bottom = ruler.multiline_textbbox((0, 0), text, font=font)
    return int(right - left), int(bottom - top)

  left = max(extent(name)[0] for name in names) + 2 * gap
  top = max(extent(title)[1] for title in ('Ag', *titles)) + 3 * gap
  width = max(width, *(extent(title)[0] + gap for title in titles))
  page = Image.new('RGB', (left + columns * (width + gap), top + rows * (height + gap)), 'white')
  draw = ImageDraw.Draw(page)
  for row, name in enumerate(names):
    middle = top + row * (height + gap) + height // 2
    draw.multiline_text((left - gap, middle), name, 'black', font, anchor='rm', align='right')
  for column, title in enumerate(titles):
    middle = left + column * (width + gap) + width // 2
    draw.multiline_text((middle, top - gap), title, 'black', font, anchor='md', align='center')
  pages = repeat(np.asarray(page), 'h w c -> t h w c', t=clips.shape[2]).copy()
  for row in range(rows):
    for column in range(columns):
      clip = clips[row, column]
      y = top + row * (height + gap)
      x = left + column * (width + gap) + (width - clip.shape[2]) // 2
      pages[:, y : y + height, x : x + clip.shape[2]] = clip
  return pages


def fit(clip: np.ndarray, largest: int) -> np.ndarray:
  """A clip, uint8 [time, height, width, 3], reduced until no side has more than so many pixels."""
  height, width = clip.shape[1:3]
  scale = largest / max(height, width)
  if scale >= 1:
    return clip
  size = max(1, round(width * scale)), max(1, round(height * scale))
  return np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in clip])


def _enlarge(clip: np.ndarray) -> np.ndarray:
  """Smoothly enlarges a small clip by a whole factor, to a longer side of about MOVIE_SIDE."""
  height, width = clip.shape[1:3]
  factor = max(1, MOVIE_SIDE // max(height, width))
  size = (width * factor, height * factor)
  return np.stack(
    [np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.LANCZOS)) for frame in clip]
  )


def _check(array: np.ndarray, rank: int) -> None:
  """Pictures reach this module as bytes; floats would be written as noise."""
  if array.dtype != np.uint8 or array.ndim != rank or array.shape[-1] != 3 or array.size == 0:
    raise ValueError(
      f'expected uint8 of rank {rank} with 3 channels last, not {array.dtype} {array.shape}'
    )
