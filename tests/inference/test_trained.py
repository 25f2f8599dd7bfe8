"""Weight files that are none."""

import json
import pickle

import pytest

from fevgan_jax.inference import trained
from fevgan_jax.runtime.errors import UserError


def broken(whole: bytes) -> dict[str, bytes]:
  """Files made from one that is whole: the length of a header, the header in JSON, arrays."""
  length = int.from_bytes(whole[:8], 'little')
  header, arrays = json.loads(whole[8 : 8 + length]), whole[8 + length :]
  config = json.loads(header['__metadata__']['config'])
  first = next(name for name in header if name != '__metadata__')

  def of(header: dict, arrays: bytes = arrays) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, 'little') + text + arrays

  def with_config(config: str) -> bytes:
    return of(header | {'__metadata__': {'config': config}})

  return {
    'empty': b'',
    'cut off': whole[: len(whole) // 2],
    'a huge header': (2**60).to_bytes(8, 'little') + whole[8:],
    'no header': whole[:8] + b'x' * length + arrays,
    'a pickle': pickle.dumps(print),
    'no config': of({name: value for name, value in header.items() if name != '__metadata__'}),
    'no JSON': with_config('{"system": '),
    'another type': with_config('[]'),
    'no system': with_config('{}'),
    'another system': with_config(json.dumps(config | {'system': 'other'})),
    'the system of other weights': with_config(json.dumps(config | {'system': 'vgan'})),
    'another width': with_config(json.dumps(config | {'model': {'width': 31}})),
    'a width that is none': with_config(json.dumps(config | {'model': {'width': 'x'}})),
    'a section that is none': with_config(json.dumps(config | {'model': 3})),
    'an array less': of({name: value for name, value in header.items() if name != first}),
    'an array by another name': of(
      {name.replace('params', 'other'): value for name, value in header.items()}
    ),
    'not a number': of(header, b'\xff' * len(arrays)),
  }


def test_a_broken_file_is_one_line(tmp_path):
  for name, content in broken(trained.shipped('fevgan').read_bytes()).items():
    (tmp_path / trained.WEIGHTS_FILE).write_bytes(content)
    with pytest.raises(UserError) as told:
      trained.load(tmp_path)
    assert str(told.value).count('\n') == 0, name
