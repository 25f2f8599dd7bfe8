"""Rendered faces as a camera records them: pictures with a background, in folders of a data set.

A performance is rendered once per person and label; what needs more frames repeats its files.
"""

import functools
import importlib
import io
import os
import pathlib
import sys
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

sys.path.append(str(pathlib.Path(__file__).resolve().parents[2] / 'datasets'))

from fevgan_jax.faces import crop  # noqa: E402
from fevgan_jax.faces.labels import EXPRESSIONS  # noqa: E402
from synthetic_faces import person, renderer  # noqa: E402
from synthetic_faces.performance import Take, perform  # noqa: E402

SIDE = 256  # of a rendered face

# Height, width, pixels per pixel of a rendered face, and its place.
MUG = (448, 448, 1.0, (95, 85))  # half of the real size, for speed
OULU = (240, 320, 0.7, (80, 30))


@functools.cache
def performance(
  seed: int, label: str | None, frames: int = 6, side: int = SIDE, turned: float = 0
) -> tuple[np.ndarray, np.ndarray]:
  """Faces uint8 [frames, side, side, 3] and landmarks, from neutral to the apex; None: neutral,
  turned by so many degrees."""
  who = person.draw(seed)
  take = perform(who, label or 'fear', 0, frames)
  if label is None:
    still = np.zeros_like(take.action_units)
    pose = np.tile(np.radians([turned, 0, 0]), (frames, 1))
    take = Take('fear', still, still, pose, take.light)
  return renderer.render(renderer.frames(who, take, side, samples=1))


def photograph(
  face: np.ndarray,
  landmarks: np.ndarray,
  camera: tuple = MUG,
  shift: tuple[float, float] = (0, 0),
  noise: float = 3,
  rng: np.random.Generator | None = None,
) -> tuple[np.ndarray, np.ndarray]:
  """A face before a blue wall, with a camera's noise: uint8 [height, width, 3], and landmarks."""
  height, width, scale, place = camera
  x, y = np.add(place, shift)
  inverse = (1 / scale, 0, -x / scale, 0, 1 / scale, -y / scale)
  mask = Image.new('L', face.shape[1::-1])
  ImageDraw.Draw(mask).polygon(
    [tuple(corner) for corner in crop.hull(landmarks, len(face))], fill=255
  )

  def placed(image: Image.Image) -> np.ndarray:
    return np.asarray(
      image.transform((width, height), Image.Transform.AFFINE, inverse, Image.Resampling.BILINEAR),
      np.float32,
    )

  wall = np.full((height, width, 3), (50, 80, 150), np.float32)
  wall += np.linspace(0, 30, width, dtype=np.float32)[:, None]
  opacity = placed(mask)[..., None] / 255
  image = wall + opacity * (placed(Image.fromarray(face)) - wall)
  rng = rng or np.random.default_rng(0)
  image += noise * rng.standard_normal(image.shape, np.float32)
  return image.clip(0, 255).astype(np.uint8), landmarks * scale + (x, y)


def jpeg(image: np.ndarray) -> bytes:
  file = io.BytesIO()
  Image.fromarray(image).save(file, 'JPEG', quality=90)
  return file.getvalue()


@functools.cache
def frames(seed: int, label: str | None, camera: tuple = MUG, count: int = 6) -> list[bytes]:
  """A performance as JPEG files; the head drifts by a few pixels."""
  faces, landmarks = performance(seed, label, count)
  return [
    jpeg(photograph(face, points, camera, (2.5 * i, -1.5 * i))[0])
    for i, (face, points) in enumerate(zip(faces, landmarks))
  ]


def write(
  folder: pathlib.Path, names: Sequence[str], files: Sequence[bytes], back: bool = False
) -> None:
  """Spreads the files evenly over `names`, in their order, and back again for `back`; repetitions
  are links."""
  folder.mkdir(parents=True, exist_ok=True)
  times = np.linspace(0, 1, len(names))
  times = 1 - np.abs(1 - 2 * times) if back else times
  first = {}
  for name, i in zip(names, (times * (len(files) - 1)).round().astype(int)):
    if i in first:
      os.link(first[i], folder / name)
    else:
      first[i] = folder / name
      first[i].write_bytes(files[i])


def mug_names(count: int, start: int = 0) -> list[str]:
  return [f'img_{i:04d}.jpg' for i in range(start, start + count)]


def oulu_names(count: int, start: int = 0) -> list[str]:
  return [f'{i:03d}.jpeg' for i in range(start, start + count)]


def builder(name: str):
  """The module of a TFDS builder."""
  return importlib.import_module(f'{name}.{name}_dataset_builder')


def config_of(module, manual_dir: pathlib.Path, data_dir: pathlib.Path):
  """The config of a file in configs/ for files there, with no network that one has to apply for."""
  config = module.get_config('fevgan,no_identity')
  config.dataset.data_dir = str(data_dir)
  config.dataset.manual_dir = str(manual_dir)
  return config


def table(source) -> dict[tuple[str, str, str], np.ndarray]:
  """A prepared split: videos by subject, label and take."""
  return {
    (clip['subject'].decode(), EXPRESSIONS[clip['label']], clip['take'].decode()): clip['video']
    for clip in source
  }
