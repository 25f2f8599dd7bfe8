"""Readers of VGG-Face files: every layout gives the same network, and nothing is executed."""

import io
import os
import pickle
import zipfile

import jax
import numpy as np
import pytest
import weight_files

from fevgan_jax import identity
from fevgan_jax.identity import pytorch_file, torch7_file
from fevgan_jax.runtime.errors import UserError

LAYOUTS = {
  'vgg-face.mat': weight_files.matconvnet,
  'vgg_face.mat': weight_files.matconvnet_old,
  'rcmalli_vggface_tf_vgg16.h5': weight_files.keras,
  'vgg_face_weights.h5': weight_files.keras_numbered,
  'VGG_FACE.t7': weight_files.torch7,
  'of_rank_4.t7': lambda *args: weight_files.torch7(*args, matrices=False, long='<i'),
  'vgg_face_dag.pth': weight_files.pytorch_legacy,
  'zipped.pth': weight_files.pytorch,
}


@pytest.fixture(scope='module')
def weights():
  return weight_files.random()


@pytest.fixture(scope='module')
def expected(weights):
  """A picture, and its features by the weights as they were before any file was written."""
  image = jax.random.uniform(jax.random.key(0), (1, 64, 64, 3), minval=-1)
  params = {name: {'kernel': kernel, 'bias': bias} for name, (kernel, bias) in weights.items()}
  return image, identity._vgg_face(params, image)


@pytest.mark.parametrize('name', LAYOUTS)
def test_every_layout_gives_the_same_network(name, weights, expected, tmp_path):
  path = tmp_path / 'weights'  # a file is known by its content
  LAYOUTS[name](path, weights)
  path = path.with_suffix('.mat') if path.with_suffix('.mat').exists() else path  # savemat's habit
  encoder, params = identity.load('vgg_face', str(path))
  for layer, (kernel, bias) in weights.items():
    np.testing.assert_array_equal(params[layer]['kernel'], kernel)
    np.testing.assert_array_equal(params[layer]['bias'], bias)
  image, features = expected
  np.testing.assert_array_equal(encoder.apply(params, image), features)
  os.truncate(path, path.stat().st_size // 2)
  with pytest.raises(UserError, match="identity network 'vgg_face': cannot read") as caught:
    identity.load('vgg_face', str(path))
  assert '\n' not in str(caught.value)
  path.unlink()


class Malicious:
  """What pickle would run on loading: a file appears."""

  def __init__(self, path):
    self.path = path

  def __reduce__(self):
    return os.system, (f'touch {self.path}',)


@pytest.mark.parametrize('layout', ['zip', 'legacy', 'bare'])
def test_code_in_a_pickle_is_refused_and_not_run(layout, tmp_path):
  trace, path = tmp_path / 'executed', tmp_path / 'vgg_face.pth'
  content = pickle.dumps({'conv1_1.weight': Malicious(trace)}, 2)
  if layout == 'zip':
    with zipfile.ZipFile(path, 'w') as archive:
      archive.writestr('archive/data.pkl', content)
  else:
    heads = (pytorch_file.LEGACY_MAGIC, 1001, {}) if layout == 'legacy' else ()
    path.write_bytes(b''.join(pickle.dumps(head, 2) for head in heads) + content)
  with pytest.raises(UserError, match=r"refused: it asks for '\w+\.system'"):
    identity.load('vgg_face', str(path))
  assert not trace.exists()
  pickle.loads(content)  # the trap does work
  assert trace.exists()


@pytest.mark.parametrize(
  'module, name',
  [
    ('builtins', 'eval'),
    ('torch', 'load'),
    ('torch._utils', '__builtins__'),
    ('numpy', 'load'),
    ('collections', 'OrderedDict.__init__'),
    ('fevgan_jax.identity.pytorch_file', 'pathlib'),
  ],
)
def test_unpickler_knows_no_other_name(module, name):
  with pytest.raises(pickle.UnpicklingError, match='no state dict needs'):
    pytorch_file._Unpickler(io.BytesIO()).find_class(module, name)


def test_function_in_a_torch7_file_is_refused(tmp_path):
  path = tmp_path / 'code.t7'
  path.write_bytes(b'\x04\0\0\0\x01\0\0\0\x03\0\0\0V 1\x05\0\0\0nn.Id\x06\0\0\0' + bytes(40))
  with pytest.raises(UserError, match='type 6, which may be code, is refused'):
    identity.load('vgg_face', str(path))


@pytest.mark.parametrize(
  'weights, words',
  [
    ({'conv1_1': (3, 3, 3, 64)}, "no layer 'conv1_2'"),
    (
      {'conv1_1': (5, 5, 3, 64)},
      r"'conv1_1' has a kernel of \(5, 5, 3, 64\) and 64 biases, "
      r'expected \(3, 3, 3, 64\) and 64',
    ),
    ({'features': (3, 3, 3, 64)}, "no layer 'conv1_1'"),
  ],
)
def test_another_network_is_told(weights, words, tmp_path):
  path = tmp_path / 'other.pth'
  weight_files.pytorch(
    path,
    {
      name: (np.zeros(shape, np.float32), np.zeros(64, np.float32))
      for name, shape in weights.items()
    },
  )
  with pytest.raises(UserError, match=words):
    identity.load('vgg_face', str(path))


@pytest.mark.parametrize(
  'offset, shape, strides',
  [(0, [5], [1]), (-1, [2], [1]), (2, [2, 2], [2, 1]), (0, [2, -1], [1, 1]), (0, [2], [10**12])],
)
def test_tensor_that_leaves_its_storage_is_refused(offset, shape, strides):
  with pytest.raises(ValueError):
    torch7_file.strided(np.zeros(4, np.float32), offset, shape, strides)


def test_transposed_tensor_is_read_through_its_strides():
  # 0 1 2 / 3 4 5 stored by columns, behind one number that belongs to something else.
  storage = np.array([9, 0, 3, 1, 4, 2, 5], np.float32)
  assert torch7_file.strided(storage, 1, [2, 3], [1, 2]).tolist() == [[0, 1, 2], [3, 4, 5]]
