"""Writes weights of face networks in the layouts of the published files, by hand where no library
does: VGG-Face's, and OpenFace's at the end.

`weights` is always VGG-Face's {layer: (kernel [3, 3, in, out] for RGB, bias [out])}, in the
network's order.
"""

import pickle
import struct
import zipfile

import h5py
import numpy as np
import scipy.io

from fevgan_jax.identity import vgg_face
from fevgan_jax.identity.torch7_file import Module


def random():
  """Random weights of the real shapes, scaled so that activations keep their size."""
  rng, weights, inputs = np.random.default_rng(0), {}, 3
  for stage in vgg_face.STAGES:
    for name, channels in stage:
      kernel = rng.standard_normal((3, 3, inputs, channels), np.float32) * (2 / (9 * inputs)) ** 0.5
      weights[name] = kernel, rng.standard_normal(channels, np.float32)
      inputs = channels
  return weights


def _bgr(weights):
  """Kernels as Caffe has them: the first one expects blue, green, red."""
  return {
    name: (kernel[:, :, ::-1] if name == 'conv1_1' else kernel, bias)
    for name, (kernel, bias) in weights.items()
  }


def matconvnet(path, weights):
  """vgg-face.mat: the variable `layers` of structs with `weights`; others between and behind."""
  layers = []
  for name, (kernel, bias) in weights.items():
    pair = np.empty((1, 2), object)
    pair[0] = kernel, bias[:, None]
    layers += [
      {'name': name, 'type': 'conv', 'weights': pair, 'stride': 1.0, 'pad': 1.0},
      {'name': name.replace('conv', 'relu'), 'type': 'relu'},
    ]
  layers.append({'name': 'fc6', 'type': 'conv', 'weights': pair})
  scipy.io.savemat(path, {'layers': _cells(layers), 'meta': {'version': 1.0}})


def matconvnet_old(path, weights):
  """The elder vgg_face.mat: `net.layers`, each with `filters` and `biases`."""
  layers = [
    {'type': 'conv', 'name': name, 'filters': kernel, 'biases': bias[None]}
    for name, (kernel, bias) in weights.items()
  ]
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
    layers |= {
      f'zero_padding2d_{number}': {},
      name: {f'{name}/kernel:0': kernel, f'{name}/bias:0': bias},
    }
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
    for head in (0x1950A86A20F9469CFC6C, 1001, {'protocol_version': 1001, 'little_endian': True}):
      file.write(pickle.dumps(head, 2))
    file.write(_state_dict_pickle(arrays, legacy=True))
    file.write(pickle.dumps([str(number) for number in range(len(arrays))], 2))
    for array in arrays.values():
      file.write(struct.pack('<q', array.size) + array.tobytes())


def _state_dict(weights):
  arrays = {}
  for name, (kernel, bias) in weights.items():
    arrays |= {
      f'{name}.weight': np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)),
      f'{name}.bias': bias,
    }
  return arrays


def _state_dict_pickle(arrays, legacy=False):
  """The opcodes of a pickled OrderedDict of tensors, protocol 2, as torch.save writes them."""
  dictionary = b'ccollections\nOrderedDict\n)R'
  text = lambda value: b'X' + struct.pack('<i', len(value)) + value.encode()  # noqa: E731
  number = lambda value: b'J' + struct.pack('<i', value)  # noqa: E731
  numbers = lambda values: b'(' + b''.join(map(number, values)) + b't'  # noqa: E731
  items = b''
  for key, (name, array) in enumerate(arrays.items()):
    storage = (
      b'('
      + text('storage')
      + b'ctorch\nFloatStorage\n'
      + text(str(key))
      + text('cpu')
      + number(array.size)
      + (b'N' if legacy else b'')
      + b'tQ'
    )
    strides = [stride // 4 for stride in array.strides]
    items += (
      text(name)
      + b'ctorch._utils\n_rebuild_tensor_v2\n('
      + storage
      + number(0)
      + numbers(array.shape)
      + numbers(strides)
      + b'\x89'
      + dictionary
      + b'tR'
    )
  return b'\x80\x02' + dictionary + b'(' + items + b'u.'


def openface(path, network=None):
  """nn4.small2.v1.t7 with random weights, or another network of Torch modules."""
  with open(path, 'wb') as file:
    _Torch7Modules(file, '<q').value(network or nn4_small2())


class _Torch7Modules(_Torch7):
  """Any `torch7_file.Module`: fields in their order, tuples as torch.LongStorage."""

  def __init__(self, file, long):
    super().__init__(file, long)
    self.written = {}

  def value(self, value):
    if isinstance(value, Module) and id(value) in self.written:
      self.put('<ii', 4, self.written[id(value)])
    elif isinstance(value, Module):
      self.begin_torch(value.name)
      self.written[id(value)] = self.index
      self.value(value.fields)
    elif isinstance(value, dict):
      self.begin_table(len(value))
      for key, item in value.items():
        self.key(key)
        self.value(item)
    elif isinstance(value, tuple):
      self.begin_torch('torch.LongStorage')
      self.put(f'<q{len(value)}q', len(value), *value)
    elif isinstance(value, np.ndarray) and not value.size:
      self.begin_torch('torch.FloatTensor')
      self.put('<iqi', 0, 1, 0)  # no dimensions, the first element, no storage
    elif isinstance(value, np.ndarray):
      self.tensor(value)
    elif isinstance(value, bool):
      self.put('<ii', 5, value)
    else:
      self.key(value)


def module(name, modules=(), **fields):
  """A module as torch.save writes it: in evaluation, with buffers that are empty before a pass."""
  children = {'modules': dict(enumerate(modules, start=1))} if modules else {}
  return Module(
    f'nn.{name}',
    {
      '_type': 'torch.FloatTensor',
      'train': False,
      **children,
      **fields,
      'output': np.zeros(0, np.float32),
    },
  )


def nn4_small2():
  """OpenFace's network, models/openface/nn4.small2.def.lua, with random weights."""
  rng = np.random.default_rng(0)
  normal = lambda *shape, scale=0.1: rng.standard_normal(shape, np.float32) * scale  # noqa: E731

  def convolution(inputs, outputs, size, stride=1, pad=0, matrices=False):
    weight = normal(outputs, inputs, size, size, scale=(2 / (inputs * size**2)) ** 0.5)
    statistics = {'running_mean': normal(outputs), 'running_var': 1 + 0.5 * rng.random(outputs)}
    statistics['running_var'] = statistics['running_var'].astype(np.float32)
    return [
      module(
        f'SpatialConvolution{"MM" if matrices else ""}',
        weight=weight.reshape(outputs, -1) if matrices else weight,
        bias=normal(outputs),
        nInputPlane=inputs,
        nOutputPlane=outputs,
        kW=size,
        kH=size,
        dW=stride,
        dH=stride,
        padW=pad,
        padH=pad,
      ),
      module(
        'SpatialBatchNormalization',
        **statistics,
        weight=1 + normal(outputs),
        bias=normal(outputs),
        eps=1e-5,
        momentum=0.1,
        affine=True,
      ),
      module('ReLU', inplace=False, threshold=0, val=0),
    ]

  def pooling(kind, size, stride, pad=0, **fields):
    return module(
      f'Spatial{kind}Pooling',
      kW=size,
      kH=size,
      dW=stride,
      dH=stride,
      padW=pad,
      padH=pad,
      ceil_mode=False,
      **fields,
    )

  def max_pooling(pad=0):
    return pooling('Max', 3, 2, pad, indices=np.zeros(0, np.float32))

  def lp_pooling():
    mean = pooling('Average', 3, 3, count_include_pad=True, divide=True)
    return module(
      'SpatialLPPooling',
      [
        module('Square'),
        mean,
        module('MulConstant', constant_scalar=9, inplace=False),
        module('Sqrt', eps=0),
      ],
      kW=3,
      kH=3,
      dW=3,
      dH=3,
    )

  def normalization():
    return module('SpatialCrossMapLRN', size=5, alpha=0.0001, beta=0.75, k=1)

  def inception(inputs, kernels, pool, projected=0, direct=0):
    """Columns: (size, reduced, outputs, stride) of kernels, the pool, and one of 1x1."""
    columns = [
      convolution(inputs, reduced, 1) + convolution(reduced, outputs, size, stride, size // 2)
      for size, reduced, outputs, stride in kernels
    ]
    columns.append([pool, *(convolution(inputs, projected, 1) if projected else [])])
    if direct:
      columns.append(convolution(inputs, direct, 1))
    concat = module(
      'DepthConcat', [module('Sequential', column) for column in columns], dimension=2, size=()
    )
    return module(
      'Inception',
      [concat],
      inputSize=inputs,
      batchNorm=True,
      padding=True,
      transfer=module('ReLU', inplace=False, threshold=0, val=0),
      pool=pool,
      module=concat,
    )

  return module(
    'Sequential',
    [
      *convolution(3, 64, 7, 2, 3, matrices=True),
      max_pooling(pad=1),
      normalization(),
      *convolution(64, 64, 1, matrices=True),
      *convolution(64, 192, 3, 1, 1, matrices=True),
      normalization(),
      max_pooling(pad=1),
      inception(192, [(3, 96, 128, 1), (5, 16, 32, 1)], max_pooling(), 32, 64),
      inception(256, [(3, 96, 128, 1), (5, 32, 64, 1)], lp_pooling(), 64, 64),
      inception(320, [(3, 128, 256, 2), (5, 32, 64, 2)], max_pooling()),
      inception(640, [(3, 96, 192, 1), (5, 32, 64, 1)], lp_pooling(), 128, 256),
      inception(640, [(3, 160, 256, 2), (5, 64, 128, 2)], max_pooling()),
      inception(1024, [(3, 96, 384, 1)], lp_pooling(), 96, 256),
      module('Reshape', size=(736, 3, 3), nelement=6624, batchsize=(1, 736, 3, 3)),
      inception(736, [(3, 96, 384, 1)], max_pooling(), 96, 256),
      pooling('Average', 3, 1, count_include_pad=True, divide=True),
      module('Reshape', size=(736,), nelement=736, batchsize=(1, 736)),
      module('View', size=(736,), numElements=736),
      module('Linear', weight=normal(128, 736), bias=normal(128)),
      module('Normalize', p=2, eps=1e-10),
    ],
  )
