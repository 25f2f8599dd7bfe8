"""Reads a PyTorch state dict (`.pth`) without PyTorch and without running anything that is in it.

A `.pth` file is a pickle, and an ordinary unpickler calls whatever the pickle names. Ours knows the
few names that a dictionary of tensors needs and refuses every other. Both layouts are read: the zip
archive (PyTorch 1.6 and later) and the older sequence of pickles with the numbers behind them.
"""

import collections
import dataclasses
import io
import pathlib
import pickle
import zipfile
from typing import Any

import numpy as np

from fevgan_jax.identity.torch7_file import strided

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
DTYPES = {
  'FloatStorage': '<f4',
  'DoubleStorage': '<f8',
  'HalfStorage': '<f2',
  'LongStorage': '<i8',
  'IntStorage': '<i4',
  'ShortStorage': '<i2',
  'ByteStorage': '<u1',
  'CharStorage': '<i1',
  'BoolStorage': '?',
}


@dataclasses.dataclass(frozen=True)
class Storage:
  """Where numbers lie in the file."""

  key: str
  dtype: str
  size: int


@dataclasses.dataclass(frozen=True)
class Tensor:
  """A view of a storage that has not been read yet."""

  storage: Storage
  offset: int
  shape: tuple[int, ...]
  strides: tuple[int, ...]


def read_state_dict(path: pathlib.Path) -> dict[str, np.ndarray]:
  """The tensors of a state dict by name; of a checkpoint, those under 'state_dict'.

  Raises:
    ValueError: no state dict, a damaged file, or one that asks for code to be run.
  """
  try:
    with path.open('rb') as file:
      zipped = file.read(2) == b'PK'
      file.seek(0)
      content, storages = _read_zip(file) if zipped else _read_legacy(file)
  except (pickle.UnpicklingError, EOFError, UnicodeDecodeError) as error:
    raise ValueError(f'the PyTorch file is refused: {error}') from error
  if isinstance(content, dict) and isinstance(content.get('state_dict'), dict):
    content = content['state_dict']
  if not isinstance(content, dict):
    raise ValueError(f'the PyTorch file holds a {type(content).__name__}, not a state dict')
  return {
    name: strided(storages[tensor.storage.key], tensor.offset, tensor.shape, tensor.strides)
    for name, tensor in content.items()
    if isinstance(tensor, Tensor)
  }


def _read_zip(file: io.BufferedReader) -> tuple[Any, dict[str, np.ndarray]]:
  """`NAME/data.pkl` beside `NAME/data/KEY` for each storage."""
  with zipfile.ZipFile(file) as archive:
    pickles = [name for name in archive.namelist() if name.endswith('/data.pkl')]
    if len(pickles) != 1:
      raise ValueError("a zip archive without 'data.pkl' is no PyTorch file")
    if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
      raise ValueError('PyTorch compresses nothing')  # and what is small stays small
    folder = pickles[0].removesuffix('data.pkl')
    unpickler = _Unpickler(io.BytesIO(archive.read(pickles[0])))
    content = unpickler.load()
    return content, {
      key: np.frombuffer(archive.read(f'{folder}data/{key}'), storage.dtype)
      for key, storage in unpickler.storages.items()
    }


def _read_legacy(file: io.BufferedReader) -> tuple[Any, dict[str, np.ndarray]]:
  """Five pickles (magic, version, system, content, storage keys), then size and numbers per key."""
  if _Unpickler(file).load() != LEGACY_MAGIC:
    raise ValueError('a pickle that PyTorch did not write')
  for _ in ('version', 'system'):
    _Unpickler(file).load()
  unpickler = _Unpickler(file)
  content, keys, storages = unpickler.load(), _Unpickler(file).load(), {}
  for key in keys:
    size, dtype = int.from_bytes(file.read(8), 'little'), np.dtype(unpickler.storages[key].dtype)
    numbers = file.read(size * dtype.itemsize) if size == unpickler.storages[key].size else b''
    if len(numbers) != size * dtype.itemsize:
      raise ValueError('the PyTorch file is damaged or cut short')
    storages[key] = np.frombuffer(numbers, dtype)
  return content, storages


def _rebuild_tensor(storage: Storage, offset: int, shape: tuple, strides: tuple, *_: Any) -> Tensor:
  return Tensor(storage, offset, shape, strides)


def _rebuild_parameter(tensor: Tensor, *_: Any) -> Tensor:
  return tensor


ALLOWED = {
  ('collections', 'OrderedDict'): collections.OrderedDict,
  ('torch._utils', '_rebuild_tensor'): _rebuild_tensor,
  ('torch._utils', '_rebuild_tensor_v2'): _rebuild_tensor,
  ('torch._utils', '_rebuild_parameter'): _rebuild_parameter,
  **{('torch', name): dtype for name, dtype in DTYPES.items()},
}


class _Unpickler(pickle.Unpickler):
  """Only names in ALLOWED, and none of them does anything; storages are noted, not read."""

  def __init__(self, file: Any):
    super().__init__(file)
    self.storages: dict[str, Storage] = {}

  def find_class(self, module: str, name: str) -> Any:
    if (module, name) not in ALLOWED:
      raise pickle.UnpicklingError(f"it asks for '{module}.{name}', which no state dict needs")
    return ALLOWED[module, name]

  def persistent_load(self, pid: Any) -> Storage:
    kind, dtype, key, _, size, *_ = pid
    if kind != 'storage' or dtype not in DTYPES.values():
      raise pickle.UnpicklingError(f"an unknown persistent object '{kind}'")
    return self.storages.setdefault(key, Storage(key, dtype, size))
