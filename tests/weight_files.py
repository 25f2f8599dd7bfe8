"""Writes VGG-Face weights in the layouts of the published files, by hand where no library does.

`weights` is always {layer: (kernel [3, 3, in, out] for RGB, bias [out])} in the network's order.
"""

import pickle
import struct
import zipfile

import h5py
import numpy as np
import scipy.io

from fevgan_jax.identity import vgg_face


def random():
  """Random weights of the real shapes, scaled so that activations keep their size."""
  rng, weights, inputs = np.random.default_rng(0), {}, 3
  for stage in vgg_face.STAGES:
    for name, channels in stage:
      kernel = rng.standard_normal((3, 3, inputs, channels), np.float32) * (2 / (9 * inputs))**0.5
      weights[name] = kernel, rng.standard_normal(channels, np.float32)
      inputs = channels
  return weights


def _bgr(weights):
  """Kernels as Caffe has them: the first one expects blue, green, red."""
  return {name: (kernel[:, :, ::-1] if name == 'conv1_1' else kernel, bias)
          for name, (kernel, bias) in weights.items()}


def matconvnet(path, weights):
  """vgg-face.mat: the variable `layers` of structs with `weights`; others between and behind."""
  layers = []
  for name, (kernel, bias) in weights.items():
    pair = np.empty((1, 2), object)
    pair[0] = kernel, bias[:, None]
    layers += [{'name': name, 'type': 'conv', 'weights': pair, 'stride': 1.0, 'pad': 1.0},
               {'name': name.replace('conv', 'relu'), 'type': 'relu'}]
  layers.append({'name': 'fc6', 'type': 'conv', 'weights': pair})
  scipy.io.savemat(path, {'layers': _cells(layers), 'meta': {'version': 1.0}})


def matconvnet_old(path, weights):
  """The elder vgg_face.mat: `net.layers`, each with `filters` and `biases`."""
  layers = [{'type': 'conv', 'name': name, 'filters': kernel, 'biases': bias[None]}
            for name, (kernel, bias) in weights.items()]
  scipy.io.savemat(path, {'net': {'layers': _cells(layers)}})


def _cells(layers):
  cells = np.empty((1, len(layers)), object)
  cells[0] = layers
  return cells


def keras(path, weights):
  """rcmalli_vggface_tf_vgg16.h5: `save_weights` of a functional model, BGR, with its top."""
  layers = {'input_1': {}}
  for name, (kernel, bias) in _bgr(weights).items():
    layers[name] = {f'{name}/kernel:0': kernel, f'{name}/bias:0': bias}
  layers |= {'flatten': {}, 'fc6': {'fc6/kernel:0': np.ones((5, 4)), 'fc6/bias:0': np.ones(4)}}
  with h5py.File(path, 'w') as file:
    _keras_layers(file, layers)


def keras_numbered(path, weights):
  """vgg_face_weights.h5 of deepface: a whole Sequential model, layers numbered, RGB."""
  layers = {}
  for number, (kernel, bias) in enumerate(weights.values(), start=1):
    name = f'conv2d_{number}'
    layers |= {f'zero_padding2d_{number}': {},
               name: {f'{name}/kernel:0': kernel, f'{name}/bias:0': bias}}
  layers['fc6'] = {'fc6/kernel:0': np.ones((7, 7, 2, 4)), 'fc6/bias:0': np.ones(4)}
  with h5py.File(path, 'w') as file:
    _keras_layers(file.create_group('model_weights'), layers)


def _keras_layers(root, layers):
  root.attrs['layer_names'] = np.array([name.encode() for name in layers])
  for name, arrays in layers.items():
    group = root.create_group(name)
    group.attrs['weight_names'] = np.array([key.encode() for key in arrays], 'S40')
    for key, array in arrays.items():
      group[key] = np.asarray(array, np.float32)


def torch7(path, weights, *, matrices=True, long='<q'):
  """VGG_FACE.t7: an nn.Sequential, BGR; kernels [out, 9 in] of SpatialConvolutionMM, or rank 4."""
  with open(path, 'wb') as file:
    _Torch7(file, long).sequential(_bgr(weights), matrices)


class _Torch7:
  def __init__(self, file, long):
    self.file, self.long, self.index = file, long, 0

  def put(self, form, *values):
    self.file.write(struct.pack(form, *values))

  def begin(self, tag):
    self.index += 1
    self.put('<ii', tag, self.index)

  def text(self, text):
    self.put(f'<i{len(text)}s', len(text), text.encode())

  def key(self, key):
    if isinstance(key, str):
      self.put('<i', 2)
      self.text(key)
    else:
      self.put('<id', 1, key)

  def begin_torch(self, name):
    self.begin(4)
    self.text('V 1')
    self.text(name)

  def begin_table(self, size):
    self.begin(3)
    self.put('<i', size)

  def tensor(self, array):
    self.begin_torch('torch.FloatTensor')
    strides = [stride // 4 for stride in array.strides]
    self.put('<i', array.ndim)
    for value in (*array.shape, *strides, 1):
      self.put(self.long, value)
    self.begin_torch('torch.FloatStorage')
    self.put(self.long, array.size)
    self.file.write(array.tobytes())

  def sequential(self, weights, matrices):
    self.begin_torch('nn.Sequential')
    self.begin_table(2)
    self.key('train')
    self.put('<ii', 5, 0)  # false
    self.key('modules')
    self.begin_table(2 * len(weights))
    for number, (kernel, bias) in enumerate(weights.values()):
      kernel = np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
      self.key(2 * number + 1)
      self.begin_torch('nn.SpatialConvolutionMM' if matrices else 'nn.SpatialConvolution')
      self.begin_table(5)
      self.key('weight')
      self.tensor(kernel.reshape(len(kernel), -1) if matrices else kernel)
      self.key('bias')
      self.tensor(bias)
      self.key('gradBias')  # the same object as the bias: a reference
      self.put('<ii', 4, self.index - 1)
      self.key('kW')
      self.put('<id', 1, 3)
      self.key('_type')
      self.key('torch.FloatTensor')
      self.key(2 * number + 2)
      self.begin_torch('nn.ReLU')
      self.begin_table(1)
      self.key('finput')
      self.put('<i', 0)  # nil


def pytorch(path, weights):
  """vgg_face_dag.pth as PyTorch 1.6 and later would write it: a zip archive."""
  arrays = _state_dict(weights)
  with zipfile.ZipFile(path, 'w') as archive:
    archive.writestr('vgg_face_dag/data.pkl', _state_dict_pickle(arrays))
    archive.writestr('vgg_face_dag/version', '3\n')
    for number, array in enumerate(arrays.values()):
      archive.writestr(f'vgg_face_dag/data/{number}', array.tobytes())


def pytorch_legacy(path, weights):
  """vgg_face_dag.pth itself, of 2018: five pickles and the storages."""
  arrays = _state_dict(weights)
  with open(path, 'wb') as file:
    for head in (0x1950a86a20f9469cfc6c, 1001, {'protocol_version': 1001, 'little_endian': True}):
      file.write(pickle.dumps(head, 2))
    file.write(_state_dict_pickle(arrays, legacy=True))
    file.write(pickle.dumps([str(number) for number in range(len(arrays))], 2))
    for array in arrays.values():
      file.write(struct.pack('<q', array.size) + array.tobytes())


def _state_dict(weights):
  arrays = {}
  for name, (kernel, bias) in weights.items():
    arrays |= {f'{name}.weight': np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)),
               f'{name}.bias': bias}
  return arrays


def _state_dict_pickle(arrays, legacy=False):
  """The opcodes of a pickled OrderedDict of tensors, protocol 2, as torch.save writes them."""
  dictionary = b'ccollections\nOrderedDict\n)R'
  text = lambda value: b'X' + struct.pack('<i', len(value)) + value.encode()  # noqa: E731
  number = lambda value: b'J' + struct.pack('<i', value)  # noqa: E731
  numbers = lambda values: b'(' + b''.join(map(number, values)) + b't'  # noqa: E731
  items = b''
  for key, (name, array) in enumerate(arrays.items()):
    storage = (b'(' + text('storage') + b'ctorch\nFloatStorage\n' + text(str(key)) + text('cpu')
               + number(array.size) + (b'N' if legacy else b'') + b'tQ')
    strides = [stride // 4 for stride in array.strides]
    items += (text(name) + b'ctorch._utils\n_rebuild_tensor_v2\n(' + storage + number(0)
              + numbers(array.shape) + numbers(strides) + b'\x89' + dictionary + b'tR')
  return b'\x80\x02' + dictionary + b'(' + items + b'u.'
