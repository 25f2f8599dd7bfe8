"""Files and words from strangers, damaged at random: each is taken, or refused in one line.

    python tests/fuzz.py --seconds 60 --seed 0

Mutates real weight files of every layout, pictures, videos, votes, metrics, prepared data and
command lines, and adds bombs, traps and other made-up files. Anything is lost that raises another
error than the one that is shown as a line, takes 30 seconds or a gigabyte of memory, or writes a
file outside its folder. A case that was lost is repeated by its number: --case 123.
"""

import argparse
import collections
import contextlib
import importlib
import io
import json
import os
import pathlib
import pickle
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import zipfile
import zlib

import h5py
import numpy as np
from PIL import Image

ROOT = pathlib.Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'tests' / 'support')]

import weight_files  # noqa: E402
from absl import flags, logging  # noqa: E402

from configs import synthetic_faces  # noqa: E402
from fevgan_jax import command_line, identity  # noqa: E402
from fevgan_jax.data import datasets  # noqa: E402
from fevgan_jax.evaluation import study  # noqa: E402
from fevgan_jax.inference import trained  # noqa: E402
from fevgan_jax.runtime import media  # noqa: E402
from fevgan_jax.runtime.errors import REFUSALS, UserError  # noqa: E402
from fevgan_jax.training import journal, weights_file  # noqa: E402

SECONDS, MEGABYTES = 30, 1024  # that a case may take
KEY = {'study': 'ab12', 'systems': [{'name': 'A', 'system': 'fevgan'}], 'dataset': 'x'}
KEY['questions'] = [{'subject': 'a', 'label': 'fear', 'shown': ['A', 'B']}] * 4
PICTURES = ('png', 'jpeg', 'webp', 'gif', 'tiff', 'bmp', 'ppm')
LAYOUTS = {
  'mat': weight_files.matconvnet,
  'old.mat': weight_files.matconvnet_old,
  'h5': weight_files.keras,
  'numbered.h5': weight_files.keras_numbered,
  't7': weight_files.torch7,
  'pth': weight_files.pytorch,
  'legacy.pth': weight_files.pytorch_legacy,
}
WORDS = (
  *(f'--{name}' for name in ('config', 'mode', 'workdir', 'image', 'expression', 'intensity')),
  *(f'--{name}' for name in ('curve', 'frames', 'frame', 'votes', 'workdirs', 'pairs', 'port')),
  *('configs/mug.py', 'configs/synthetic_faces.py:fevgan,full', 'configs/base.py', 'main.py', ':'),
  *('train', 'evaluate', 'generate', 'tally', 'fear:0.5,anger:0.5', 'a,b', '0,1,0', '-1', '1e999'),
  *('--config.model.width', '--config.epochs', '--config.nothing', '--config.batch_size=0', '12'),
  *('--coordinator', 'host:1', '--processes', '--process', 'nan', '', '=', '--', '-', 'é\n', '%s'),
)


class Trap:
  """A pickle that would run code."""

  def __reduce__(self):
    return os.system, ('touch executed',)


def ballot() -> dict:
  """What a rater of the study with KEY sends."""
  sides = ['left', 'right', 'left', 'left']
  checksum = study.checksum('|'.join([KEY['study'], '7', *sides]))
  return {'study': KEY['study'], 'rater': 7, 'sides': sides, 'checksum': checksum}


def originals(folder: pathlib.Path) -> dict[str, pathlib.Path]:
  """Whole files, by what reads them and their layout."""
  files = {}

  def new(reader: str, name: str) -> pathlib.Path:
    files[f'{reader} {name}'] = path = folder / f'{reader}.{name}'
    return path

  weights = weight_files.random()
  for name, write in LAYOUTS.items():
    write(new('face network', name), weights)
  shutil.copy(trained.shipped('fevgan_plus'), new('generator', 'safetensors'))
  rng = np.random.default_rng(0)
  clip = rng.integers(0, 256, (8, 48, 64, 3), np.uint8)
  for name in PICTURES:
    Image.fromarray(clip[0]).save(new('picture', name), format=name)
  media.write_mp4(new('video', 'mp4'), clip)
  media.write_gif(new('video', 'gif'), clip)
  new('votes', 'json').write_text(json.dumps(ballot()))
  new('key', 'json').write_text(json.dumps(KEY))
  lines = [json.dumps({'step': i, 'loss': i / 3}) + '\n' for i in range(9)]
  new('metrics', 'jsonl').write_text(''.join(lines))
  config = synthetic_faces.get_config('fevgan')
  config.dataset.config, config.dataset.data_dir = 'tiny', str(folder / 'data')
  prepared = datasets.prepare(config).data_path
  for path in prepared.iterdir():
    files[f'prepared {path.name}'] = path
  made_up(new)
  return files


def made_up(new) -> None:
  """Files that no mutation would find."""
  for name in ('pth', 'mat', 'h5'):
    new('face network', f'trap.{name}').write_bytes(pickle.dumps(Trap()))
  with zipfile.ZipFile(new('face network', 'bomb.pth'), 'w', zipfile.ZIP_DEFLATED) as file:
    with file.open('archive/data.pkl', 'w', force_zip64=True) as inside:
      for _ in range(4096):
        inside.write(bytes(2**20))
  with zipfile.ZipFile(new('face network', 'trap2.pth'), 'w') as file:
    file.writestr('archive/data.pkl', pickle.dumps(Trap()))
  with h5py.File(new('face network', 'bomb.h5'), 'w') as file:
    file.attrs['layer_names'] = [b'conv1_1']
    layer = file.create_group('conv1_1')
    layer.attrs['weight_names'] = [b'kernel:0', b'bias:0']
    for name in ('kernel:0', 'bias:0'):
      layer.create_dataset(name, (3, 3, 2**20, 2**12), 'f4', chunks=(1, 1, 1024, 1024))
  head = b'MATLAB 5.0 MAT-file'.ljust(124) + (0x0100).to_bytes(2, 'little') + b'IM'
  zeros = zlib.compress(bytes(2**30), 9)
  compressed = (15).to_bytes(4, 'little') + len(zeros).to_bytes(4, 'little') + zeros
  new('face network', 'bomb.mat').write_bytes(head + compressed)
  zeros = zlib.compress(bytes(3 * 15000 + 1) * 14000, 9)
  side = (15000).to_bytes(4, 'big') + (14000).to_bytes(4, 'big')
  chunks = [(b'IHDR', side + b'\x08\x02\0\0\0'), (b'IDAT', zeros), (b'IEND', b'')]
  picture = b'\x89PNG\r\n\x1a\n' + b''.join(
    len(data).to_bytes(4, 'big') + kind + data + zlib.crc32(kind + data).to_bytes(4, 'big')
    for kind, data in chunks
  )
  new('picture', 'bomb.png').write_bytes(picture)
  new('video', 'words.mp4').write_text('no video')
  new('video', 'none.mp4').write_bytes(b'')
  deep = '[' * 100_000
  for reader in ('votes', 'key', 'metrics'):
    new(reader, 'deep.json').write_text(deep)
    new(reader, 'huge.json').write_text('{"step": ' + '9' * 10_000 + '}')
  new('generator', 'deep.safetensors').write_bytes((10**5).to_bytes(8, 'little') + deep.encode())


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
  """One to four times: a bit, a byte, a number, a piece less, twice, moved or of zeros."""
  data = bytearray(content)
  for _ in range(rng.integers(1, 5)):
    # Headers are at the beginning and the end.
    near = int(min(len(data), rng.choice([64, 4096, 2**62])))
    at = int(rng.integers(max(near, 1)))
    at = len(data) - at - 1 if rng.integers(4) == 0 else at
    at = min(max(at, 0), max(len(data) - 1, 0))
    length = int(rng.integers(1, 65))
    match rng.integers(8):
      case 0 if data:
        data[at] ^= 1 << int(rng.integers(8))
      case 1 if data:
        data[at] = int(rng.choice([0, 1, 0x7F, 0x80, 0xFF, 0x30, 0x7B, 0x22]))
      case 2:
        data[at : at + 4] = [0, 1, 2**31 - 1, 2**32 - 1][rng.integers(4)].to_bytes(4, 'little')
      case 3:
        data[at : at + 8] = [2**40, 2**63 - 1, 2**64 - 1][rng.integers(3)].to_bytes(8, 'little')
      case 4:
        del data[at : at + length]
      case 5:
        data[at:at] = data[at : at + length]
      case 6:
        data[at : at + length] = bytes(length)
      case 7:
        del data[at:]
  return bytes(data)


def read(reader: str, path: pathlib.Path, rng: np.random.Generator) -> None:
  """Reads a file as a user's command would."""
  match reader:
    case 'face network':
      identity.load('vgg_face', str(path))
    case 'generator':
      _, saved = weights_file.read(path)
      trained.restored_config(saved, {}, path)
    case 'picture':
      media.read_image(path)
    case 'video':
      for _ in media.read_video(path):
        pass
    case 'votes':
      study.read_ballot(path, KEY)
    case 'key':
      shutil.copy(path, path.parent / study.KEY)
      (path.parent / 'votes.json').write_text(json.dumps(ballot()))
      study.tally([path.parent / 'votes.json'], path.parent)
    case 'metrics':
      (path.parent / 'metrics.jsonl').write_bytes(path.read_bytes())
      journal.draw(path.parent)
    case 'prepared':
      config = synthetic_faces.get_config('fevgan')
      config.dataset.config, config.dataset.data_dir = 'tiny', str(path.parents[3])
      ready = datasets.prepare(config)
      for split in ('train', 'test'):
        clips = datasets.Clips(ready, split)
        clips[int(rng.integers(len(clips)))]


def one(number: int, seed: int, files: dict[str, pathlib.Path], folder: pathlib.Path) -> str:
  """Does one case in an empty folder; returns what it was.

  Raises:
    Exception: it was lost.
  """
  rng = np.random.default_rng([seed, number])
  names = sorted(files)
  made = [name for name in names if 'trap' in name or 'bomb' in name or 'deep' in name]
  if number < len(made):
    name = made[number]
  elif rng.integers(5) == 0:
    name = 'command line'
  else:
    kinds = sorted({name.split()[0] for name in names})
    kind = rng.choice(kinds)
    name = rng.choice([name for name in names if name.split()[0] == kind])
  if name == 'command line':
    words = [str(word) for word in rng.choice(WORDS, rng.integers(1, 7))]
    with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()):
      refused(lambda: command_line.parse(['main.py', *words]))
    return name
  original = files[name]
  reader = name.removesuffix(original.name).strip() if name.startswith('prepared') else name
  reader = 'prepared' if name.startswith('prepared') else reader.rpartition(' ')[0]
  path = folder / original.name
  if reader == 'prepared':
    tree = original.parents[3]
    shutil.copytree(tree, folder / 'data')
    path = folder / 'data' / original.relative_to(tree)
  content = original.read_bytes()
  path.write_bytes(content if name in made else mutated(content, rng))
  with contextlib.chdir(folder):
    refused(lambda: read(reader, path, rng))
  return reader


def refused(act) -> None:
  """Does it; what is shown as a line is no error."""
  try:
    act()
  except UserError as error:
    assert str(error), 'a line without words'
  except OSError as error:
    if error.errno not in REFUSALS:
      raise


def peak() -> int:
  """The process's largest memory so far, in megabytes."""
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def late(*unused) -> None:
  raise TimeoutError(f'{SECONDS} seconds are over')


def main() -> int:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--seconds', type=float, default=60)
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument('--case', type=int, help='this one alone')
  words = parser.parse_args()
  flags.FLAGS.mark_as_parsed()
  logging.set_verbosity(logging.FATAL)
  signal.signal(signal.SIGALRM, late)
  counts, lost = collections.Counter(), 0
  importlib.import_module('matplotlib.figure')
  with tempfile.TemporaryDirectory(prefix='fuzz_') as name:
    base = pathlib.Path(name)
    (base / 'originals').mkdir()
    files = originals(base / 'originals')
    before = sorted(path.name for path in base.iterdir())
    end, number = time.monotonic() + words.seconds, words.case or 0
    while time.monotonic() < end:
      folder = base / 'case'
      folder.mkdir()
      memory = peak()
      signal.alarm(SECONDS)
      try:
        kind = one(number, words.seed, files, folder)
        assert peak() - memory < MEGABYTES, f'{peak() - memory} MB of memory'
        assert not list(base.rglob('executed')), 'a file has run code'
        counts[kind] += 1
      except BaseException as error:  # noqa: BLE001
        if isinstance(error, KeyboardInterrupt):
          raise
        lost += 1
        print(f'LOST: --seed {words.seed} --case {number}', flush=True)
        traceback.print_exc(limit=-6)
      finally:
        signal.alarm(0)
      shutil.rmtree(folder)
      left = sorted(path.name for path in base.iterdir())
      assert left == before, f'case {number} left {left}'
      number += 1
      if words.case is not None:
        break
  told = ', '.join(f'{kind} {count}' for kind, count in sorted(counts.items()))
  print(f'{counts.total() + lost} cases, {lost} lost: {told}; {peak()} MB')
  return lost > 0


if __name__ == '__main__':
  sys.exit(main())
