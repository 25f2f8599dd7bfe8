"""Reads Torch7's binary serialization (`.t7`): tables, numbers, texts, tensors and nn modules.

The format of torch7's File.lua: each object is a 32-bit tag and its content; tables and Torch
objects carry a 32-bit index, under which later references find them. Functions are refused.
"""

import dataclasses
import mmap
import pathlib
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

NIL, NUMBER, STRING, TABLE, TORCH, BOOLEAN = range(6)
DTYPES = {
  'Float': '<f4',
  'Cuda': '<f4',
  'Double': '<f8',
  'Long': '<i8',
  'Int': '<i4',
  'Short': '<i2',
  'Byte': '<u1',
  'Char': '<i1',
}
DEPTH = 100  # of nested objects; VGG-Face has 5


@dataclasses.dataclass
class Module:
  """An object of a Torch class that is not a tensor, such as 'nn.SpatialConvolution'."""

  name: str
  fields: dict[Any, Any]


def read(path: pathlib.Path) -> Any:
  """The object in the file; tensors as read-only arrays that lie in the file until they are used.

  Raises:
    ValueError: the file is no Torch7 file, is cut short, or holds a function.
  """
  with path.open('rb') as file:
    data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
  try:
    return _Reader(data, long='<q').object()
  except (ValueError, TypeError) as error:
    try:  # written where a C long has 32 bits
      return _Reader(data, long='<i').object()
    except (ValueError, TypeError):
      raise error from None


def modules(node: Any) -> Iterator[Module]:
  """A module and all that it contains, in the order of the forward pass."""
  if isinstance(node, Module):
    yield node
    children = node.fields.get('modules', {})
    for number in sorted(children):
      yield from modules(children[number])


class _Reader:
  """A position in the data, and the objects read so far by index."""

  def __init__(self, data: mmap.mmap, long: str):
    self.data, self.long, self.position, self.depth = data, long, 0, 0
    self.known: dict[int, Any] = {}

  def number(self, form: str) -> Any:
    return struct.unpack(form, self.take(struct.calcsize(form)))[0]

  def take(self, size: int) -> bytes:
    if not 0 <= size <= len(self.data) - self.position:
      raise ValueError('the Torch7 file is damaged or cut short')
    self.position += size
    return self.data[self.position - size : self.position]

  def text(self) -> str:
    return self.take(self.number('<i')).decode('latin-1')

  def object(self) -> Any:
    self.depth += 1
    if self.depth > DEPTH:
      raise ValueError('the Torch7 file nests its objects too deeply')
    tag = self.number('<i')
    if tag == NIL:
      value = None
    elif tag == NUMBER:
      value = self.number('<d')
    elif tag == STRING:
      value = self.text()
    elif tag == BOOLEAN:
      value = self.number('<i') != 0
    elif tag in (TABLE, TORCH):
      index = self.number('<i')
      if index not in self.known:
        (self.table if tag == TABLE else self.torch)(index)
      value = self.known[index]
    else:
      raise ValueError(f'a Torch7 object of type {tag}, which may be code, is refused')
    self.depth -= 1
    return value

  def table(self, index: int) -> None:
    table = self.known[index] = {}
    for _ in range(self.number('<i')):
      key = self.object()
      table[key] = self.object()

  def torch(self, index: int) -> None:
    name = self.text()
    if name.startswith('V '):  # a version comes before the name
      name = self.text()
    kind = name.removeprefix('torch.')
    if kind.endswith('Storage'):
      self.known[index] = self.storage(kind.removesuffix('Storage'))
    elif kind.endswith('Tensor'):
      self.known[index] = self.tensor()
    else:
      module = self.known[index] = Module(name, {})
      fields = self.object()
      module.fields = fields if isinstance(fields, dict) else {}

  def storage(self, kind: str) -> np.ndarray:
    if kind not in DTYPES:
      raise ValueError(f"a Torch7 storage of unknown kind '{kind}'")
    dtype, size = np.dtype(DTYPES[kind]), self.number(self.long)
    start = self.position
    if not 0 <= size <= (len(self.data) - start) // dtype.itemsize:
      raise ValueError('the Torch7 file is damaged or cut short')
    self.position += size * dtype.itemsize
    return np.frombuffer(self.data, dtype, size, start)

  def tensor(self) -> np.ndarray:
    rank = self.number('<i')
    if not 0 <= rank <= 8:
      raise ValueError(f'a Torch7 tensor of rank {rank}')
    shape = [self.number(self.long) for _ in range(rank)]
    strides = [self.number(self.long) for _ in range(rank)]
    offset, storage = self.number(self.long) - 1, self.object()  # Lua counts from 1
    return strided(storage, offset, shape, strides) if rank else np.zeros(0, np.float32)


def strided(storage: np.ndarray, offset: int, shape: list[int], strides: list[int]) -> np.ndarray:
  """A view of a flat storage; strides count elements.

  Raises:
    ValueError: the view would leave the storage.
  """
  last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides))
  if not isinstance(storage, np.ndarray) or offset < 0 or min([*shape, *strides], default=0) < 0:
    raise ValueError('a tensor without a storage, or with negative sizes')
  if 0 not in shape and last >= len(storage):
    raise ValueError(f'a tensor of shape {tuple(shape)} in a storage of {len(storage)} numbers')
  return np.lib.stride_tricks.as_strided(
    storage[offset:], shape, [stride * storage.itemsize for stride in strides], writeable=False
  )
