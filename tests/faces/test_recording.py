"""Recordings of every kind to clips: what is refused says why, what is not is aligned."""

import io
import pathlib
import subprocess

import imageio_ffmpeg
import numpy as np
import pytest
import scenes
from PIL import Image

from fevgan_jax.faces import crop, detect, recording
from fevgan_jax.faces.recording import Recording, Refused
from fevgan_jax.runtime import media


@pytest.fixture(scope='module')
def files() -> list[bytes]:
  """A smile in nine pictures of 320x240."""
  return scenes.frames(1_000_003, 'happiness', scenes.OULU, 9)


def of(folder: pathlib.Path, files: list[bytes], **keywords) -> Recording:
  """A recording of these pictures, written to a folder."""
  folder.mkdir(parents=True, exist_ok=True)
  for i, file in enumerate(files):
    (folder / f'{i}.jpeg').write_bytes(file)
  paths = tuple(str(folder / f'{i}.jpeg') for i in range(len(files)))
  return Recording('P001', 'happiness', 'take', paths, **keywords)


def decoded(file: bytes) -> np.ndarray:
  return np.asarray(Image.open(io.BytesIO(file)))


def test_nine_frames_become_a_clip(tmp_path, files):
  clip, landmarks = recording.clip(of(tmp_path, files), frames=17, size=64)
  assert clip.shape == (17, 64, 64, 3) and clip.dtype == np.uint8
  # 17 moments of 9 frames: every second is a recorded frame, those between are means of two.
  middle = (clip[:-2:2].astype(float) + clip[2::2]) / 2
  assert np.abs(clip[1::2] - middle).max() <= 1
  for at, file in ((0, files[0]), (-1, files[-1])):
    alone = crop.crop(decoded(file), detect.landmarks(decoded(file)))
    assert np.abs(clip[at] - alone.astype(float)).mean() < 4
  # Those that the faces were aligned by, in the crop's pixels: a smile is broader than before.
  assert landmarks.shape == (17, 68, 2) and landmarks.dtype == np.float32
  np.testing.assert_allclose(landmarks[1::2], (landmarks[:-2:2] + landmarks[2::2]) / 2, atol=1e-4)
  for at, file in ((0, files[0]), (-1, files[-1])):
    alone = detect.landmarks(decoded(file))
    alone = crop.transform(crop.similarity(alone), alone)
    assert np.abs(landmarks[at] - alone).mean() < 0.7
  width = landmarks[:, 54, 0] - landmarks[:, 48, 0]
  assert width[-1] > width[0] + 1


def test_the_first_half_ends_at_the_middle(tmp_path, files):
  there_and_back = files + files[-2::-1]  # 17, the middle one is the ninth
  recorded = of(tmp_path, there_and_back, first_half=True)
  assert len(list(recording.pictures(recorded))) == 9
  np.testing.assert_array_equal(
    recording.clip(recorded, 4).video, recording.clip(of(tmp_path, there_and_back[:9]), 4).video
  )
  assert [recording.half(count) for count in (1, 2, 3, 4)] == [1, 1, 2, 2]


def test_unreadable_frames_are_bridged(tmp_path, files):
  damaged = [*files]
  damaged[3] = files[3][: len(files[3]) // 2]
  damaged[6] = b''
  whole = recording.clip(of(tmp_path / 'whole', files), 9).video
  bridged = recording.clip(of(tmp_path / 'damaged', damaged), 9).video
  # The fourth of nine moments is now the mean of the third and the fifth.
  middle = (bridged[2].astype(float) + bridged[4]) / 2
  assert np.abs(bridged[3] - middle).max() <= 1
  assert np.abs(bridged - whole.astype(float)).mean() < 2


def test_a_frame_without_a_face_is_bridged(tmp_path, files):
  dark = [*files]
  dark[4] = scenes.jpeg(np.full((240, 320, 3), 20, np.uint8))
  clip = recording.clip(of(tmp_path, dark), 9).video
  assert clip[4].max() < 40  # its own pixels, where the face is expected
  assert np.abs(clip[3] - clip[5].astype(float)).mean() < 8


def refusals(files: list[bytes]) -> dict[str, list[bytes]]:
  wall = scenes.jpeg(np.full((240, 320, 3), 90, np.uint8))
  grey = [scenes.jpeg(np.asarray(Image.fromarray(decoded(file)).convert('L'))) for file in files]
  # A seventh of the size, where an eighth is still found.
  tiny = [
    np.asarray(Image.fromarray(decoded(file)).resize((46, 34), Image.Resampling.BOX))
    for file in files
  ]
  tiny = [scenes.jpeg(np.pad(picture, ((60, 60), (60, 60), (0, 0)), 'edge')) for picture in tiny]
  return {
    '0 frames, expected at least 5': [],
    '1 frames, expected at least 5': files[:1],
    '3 of 9 frames cannot be read, such as .*1.jpeg: cannot be read .*truncated': [
      files[0],
      *(file[:2000] for file in files[1:4]),
      *files[4:],
    ],
    '3 of 9 frames cannot be read, such as .*0.jpeg: not a picture': [b'', b'', b'', *files[3:]],
    '9 of 9 .* without three color channels': grey,
    'a face in 4 of 9 frames, expected at least half': [*files[:4], *[wall] * 5],
    r'the face is too small: enlarged 2\.\d times to fill 64 pixels': tiny,
  }


def test_what_is_refused_says_why(tmp_path, files):
  for number, (reason, pictures) in enumerate(refusals(files).items()):
    with pytest.raises(Refused, match=f'^{reason}') as refused:
      recording.clip(of(tmp_path / str(number), pictures))
    assert '\n' not in str(refused.value)


def test_infrared_needs_no_color(tmp_path, files):
  grey = [scenes.jpeg(np.asarray(Image.fromarray(decoded(file)).convert('L'))) for file in files]
  clip = recording.clip(of(tmp_path, grey, grey=True), 5).video
  assert (clip == clip[..., :1]).all() and clip.max() > 100


def test_a_video_is_read_upright(tmp_path, files):
  """A film that was taken with the camera on its side, as its file says."""
  path = tmp_path / 'мои видео' / 'ein Lächeln.mp4'
  pictures = np.stack([decoded(file) for file in files])
  media.write_mp4(path.with_name('sideways.mp4'), pictures.transpose(0, 2, 1, 3)[:, ::-1])
  subprocess.run(
    [
      imageio_ffmpeg.get_ffmpeg_exe(),
      '-v',
      'error',
      '-display_rotation',
      '-90',
      '-i',
      path.with_name('sideways.mp4'),
      '-c',
      'copy',
      path,
    ],
    check=True,
  )
  read = list(media.read_video(path))
  assert len(read) == 9 and read[0].shape == (240, 320, 3)
  assert np.abs(read[-1] - pictures[-1].astype(float)).mean() < 4
  clip = recording.clip(Recording('Zoë', 'happiness', 'ein Lächeln.mp4', (str(path),)), 9).video
  whole = recording.clip(of(tmp_path / 'whole', files), 9).video
  assert np.abs(clip - whole.astype(float)).mean() < 4
  there = Recording('Zoë', 'happiness', 'half', (str(path),), first_half=True)
  assert len(list(recording.pictures(there))) == 5


def test_a_damaged_video_is_refused(tmp_path, files):
  media.write_mp4(tmp_path / 'a.mp4', np.stack([decoded(file) for file in files]))
  whole = (tmp_path / 'a.mp4').read_bytes()
  for content in (b'', b'no video', whole[:200]):
    (tmp_path / 'half.mp4').write_bytes(content)
    with pytest.raises(Refused, match='half.mp4: cannot be read .*: expected a video') as refused:
      recording.clip(Recording('a', 'anger', 'half.mp4', (str(tmp_path / 'half.mp4'),)))
    assert '\n' not in str(refused.value)
