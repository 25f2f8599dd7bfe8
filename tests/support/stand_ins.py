"""Stand-ins for licensed data sets: rendered people in the layout of MUG or Oulu-CASIA.

    python tests/support/stand_ins.py mug FOLDER --people 13
    python tests/support/stand_ins.py oulu_casia FOLDER --people 6

FOLDER is then a `--config.dataset.manual_dir`. The irregularities are those of the real sets: for
MUG sessions, takes named nsg and end, short takes, gaps in the numbers of takes and frames, numbers
that go on from the take before, and files that are no frames; for Oulu-CASIA wrapping folders, two
editions with different frame numbers, infrared pictures without color, almost black ones, and the
aligned crops beside the original images. A quarter of a second per picture that is rendered, six
pictures per person and expression, on all cores.
"""

import argparse
import functools
import io
import pathlib
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image

sys.path[:0] = [
  str(pathlib.Path(__file__).resolve().parents[2]),
  str(pathlib.Path(__file__).parent),
]

import scenes  # noqa: E402

from fevgan_jax.faces.labels import EXPRESSIONS  # noqa: E402
from fevgan_jax.runtime import workers  # noqa: E402

MUG_PEOPLE = (
  '001 002 006 007 008 010 013 014 017 020 021 027 028 030 031 032 033 034 036 037 038 039 040 042 '
  '043 044 045 046 048 049 052 055 060 061 062 063 064 065 066 070 071 072 073 074 075 076 077 078 '
  '079 082 083 084'
).split()
OULU_PEOPLE = [f'P{number:03d}' for number in range(1, 81)]
# Shares of public MUG takes: how many per subject and expression, and by their suffix.
TAKES = (1, 2, 3, 4, 5, 6), (0.065, 0.17, 0.55, 0.16, 0.04, 0.015)
SUFFIXES = ('', 'nsg', 'end'), (0.825, 0.15, 0.025)
BRIGHTNESS = {'Strong': 1.0, 'Weak': 0.4, 'Dark': 0.05}


class Pictures(NamedTuple):
  """A folder of pictures to be written.

  Attributes:
    place: the folder, relative to the top.
    label: the expression that it shows.
    names: of the files.
    back: whether the face returns to neutral.
    like: changes a picture, a JPEG file, to that of another camera.
  """

  place: str
  label: str
  names: list[str]
  back: bool = False
  like: Callable[[bytes], bytes] = bytes


def mug(person: str) -> Iterator[Pictures]:
  """Yields a subject's takes; the irregularities are with the first three."""
  rng = np.random.default_rng(int(person))
  for label in EXPRESSIONS:
    numbers = sorted(rng.permutation(8)[: rng.choice(TAKES[0], p=TAKES[1])])
    start = 0
    for number in numbers:
      count, suffix = int(rng.integers(42, 99)), rng.choice(SUFFIXES[0], p=SUFFIXES[1])
      session = f'session{number % 2}/' if person in ('002', '049') else ''
      place = f'subjects3/{person}/{session}{label}/take{number:03d}{suffix}'
      yield Pictures(place, label, scenes.mug_names(count, start), back=True)
      start = start + count if rng.uniform() < 0.05 else 0
  if person == '001':
    gap = [name for name in scenes.mug_names(66) if name != 'img_0020.jpg']
    for place, names in {
      'disgust/take009': gap,
      'fear/take009': scenes.mug_names(11),
      'happiness/take009end': scenes.mug_names(60),
      'neutral/take000': scenes.mug_names(50),
      'mixed/take000': scenes.mug_names(50),
      'sadness/take009': [],
    }.items():
      label = place.partition('/')[0]
      label = label if label in EXPRESSIONS else 'fear'
      yield Pictures(f'subjects3/001/{place}', label, names, back=True)


def oulu_casia(person: str) -> Iterator[Pictures]:
  """Yields a person's sequences of three configurations, and aligned crops."""
  rng = np.random.default_rng(int(person[1:]))
  for label in EXPRESSIONS:
    names = scenes.oulu_names(int(rng.integers(9, 40)), start=3 if rng.uniform() < 0.3 else 0)
    for camera, light in (('VL', 'Strong'), ('VL', 'Dark'), ('NI', 'Strong')):
      place = f'B_OriginalImg/OriginalImg/{camera}/{light}/{person}/{label.capitalize()}'
      yield Pictures(place, label, names, like=functools.partial(taken, camera=camera, light=light))
    crops = f'PreProcess Img/VL_Acropped/Strong/{person}/{label.capitalize()}'
    yield Pictures(crops, label, names)


def taken(file: bytes, camera: str, light: str) -> bytes:
  """A picture as Oulu-CASIA's cameras take it: infrared without color, dark with noise."""
  picture = Image.open(io.BytesIO(file))
  pixels = np.asarray(picture.convert('L' if camera == 'NI' else 'RGB'), np.float32)
  noise = np.random.default_rng(0).normal(0, 2, pixels.shape)
  return scenes.jpeg((BRIGHTNESS[light] * pixels + noise).clip(0, 255).astype(np.uint8))


LAYOUTS = {'mug': mug, 'oulu_casia': oulu_casia}
CAMERAS = {'mug': scenes.MUG, 'oulu_casia': scenes.OULU}


def chosen(name: str, count: int) -> list[str]:
  """The first people of the data set, about a fifth of them from its test split."""
  module = scenes.builder(name)
  people = {'mug': MUG_PEOPLE, 'oulu_casia': OULU_PEOPLE}[name]
  test = list(module.PUBLIC_TEST if name == 'mug' else module.TEST_PEOPLE)
  train = [person for person in people if person not in test]
  tested = min(len(test), max(1, round(count / 5)))
  return sorted([*test[:tested], *train[: count - tested]])


def write_person(
  name: str,
  person: str,
  top: pathlib.Path,
  render: Callable[..., list[bytes]] = scenes.frames,
) -> None:
  """Writes a person's folders.

  Args:
    name: 'mug' or 'oulu_casia'.
    person: name of the subject; the number in it is the seed of the rendered person.
    top: where to write.
    render: returns six JPEG files of a seed, a label and a camera, from neutral to the apex.
  """
  seed = int(person.strip('P'))
  for pictures in LAYOUTS[name](person):
    files = render(seed, pictures.label, CAMERAS[name])
    folder = top / pictures.place
    scenes.write(folder, pictures.names, [pictures.like(file) for file in files], pictures.back)
    if not pictures.names:
      continue
    (folder / 'Thumbs.db').write_bytes(b'')
    if name == 'mug':
      (folder / f'{folder.name}.avi').write_bytes(b'RIFF')
      (folder / f'._{pictures.names[0]}').write_bytes(b'a resource fork')


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('name', choices=LAYOUTS)
  parser.add_argument('folder', type=pathlib.Path)
  parser.add_argument('--people', type=int, default=13)
  arguments = parser.parse_args()
  people = chosen(arguments.name, arguments.people)
  with workers.pool(min(workers.available_cores(), len(people))) as pool:
    waiting = [
      pool.submit(write_person, arguments.name, person, arguments.folder) for person in people
    ]
    for person, done in zip(people, waiting):
      done.result()
      print(person, flush=True)


if __name__ == '__main__':
  main()
