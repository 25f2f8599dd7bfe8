"""Exported generators make the same clips, without this code where that is promised."""

import json
import subprocess
import sys

import jax
import numpy as np
import pytest

import fevgan_jax
from fevgan_jax.inference import export


def test_safetensors_are_read_by_load(model, face, tmp_path):
  files = export.export('safetensors', tmp_path / 'mine')
  assert [file.name for file in files] == ['model.safetensors', 'config.json', 'README.md']
  config = json.loads(files[1].read_text())
  assert config == model.generator.config.to_dict()
  assert files[2].read_text().startswith('---\nlicense: apache-2.0\n')
  again = fevgan_jax.load(tmp_path / 'mine')
  clips = [one(face, 'fear', 0.7, cropped=True) for one in (model, again)]
  np.testing.assert_array_equal(*clips)


JAX_PROGRAM = """
import sys
import jax, numpy as np
from jax import export

_, program, inputs, output = sys.argv
call = export.deserialize(bytearray(open(program, 'rb').read())).call
np.save(output, call(*np.load(inputs).values()))
assert not {'flax', 'fevgan_jax', 'optax', 'dlib'} & {*sys.modules}
"""


ONNX_PROGRAM = """
import sys
import numpy as np, onnxruntime

_, program, inputs, output = sys.argv
session = onnxruntime.InferenceSession(program, providers=['CPUExecutionProvider'])
(clips,) = session.run(['clip'], dict(np.load(inputs)))
np.save(output, clips)
assert not {'jax', 'flax', 'fevgan_jax', 'dlib'} & {*sys.modules}
"""


@pytest.mark.slow
@pytest.mark.parametrize(
  'kind, needs, program',
  [
    ('stablehlo', ['flatbuffers'], JAX_PROGRAM),
    ('onnx', ['jax2onnx', 'onnxruntime'], ONNX_PROGRAM),
  ],
)
def test_a_program_needs_none_of_this_code(kind, needs, program, model, face, tmp_path):
  for module in needs:
    pytest.importorskip(module, reason='see the extras export and test')
  file, description = export.export(kind, tmp_path)
  described = json.loads(description.read_text())
  assert described['output']['clip']['shape'] == ['batch', 32, 64, 64, 3]
  rng = np.random.default_rng(0)
  labels, intensities = rng.integers(6, size=5), np.float32(rng.uniform(0, 1.2, 5))
  inputs = {
    'picture': np.stack([np.roll(face, 2 * i, axis=1) for i in range(5)]),
    'condition': np.eye(6, dtype=np.float32)[labels],
    'intensity': intensities,
  }
  assert [*described['inputs']] == [*inputs]
  np.savez(tmp_path / 'inputs.npz', **inputs)
  command = [sys.executable, '-c', program, file, tmp_path / 'inputs.npz', tmp_path / 'out.npy']
  subprocess.run(command, check=True, cwd=tmp_path)
  clips = np.load(tmp_path / 'out.npy').astype(int)
  expected = model.generator.generate(inputs['picture'], labels, jax.random.key(0), intensities)
  assert clips.shape == (5, 32, 64, 64, 3)
  # Within one grey level, but for single pixels where the compiler rounds to another one.
  assert np.abs(clips - expected).max() <= 1
