"""Networks that measure identity: their alignment, what they tell apart, and OpenFace's file."""

import hashlib
import itertools
import logging

import cv2
import dlib
import numpy as np
import pytest
import skimage.data
import weight_files
from PIL import Image

from fevgan_jax.data import datasets
from fevgan_jax.evaluation import face_networks
from fevgan_jax.faces import crop as crops
from fevgan_jax.faces import detect
from fevgan_jax.identity import dlib_file, dlib_resnet, torch7_file
from fevgan_jax.runtime.errors import UserError


@pytest.fixture(scope='module')
def networks():
  return {name: face_networks.load(name) for name in ('sface', 'dlib')}


@pytest.fixture(scope='module')
def astronaut():
  """A real face as a crop, uint8 [64, 64, 3]."""
  image = skimage.data.astronaut()
  return crops.crop(image, detect.landmarks(image), crops.SIDE)


@pytest.fixture
def clips(config):
  """First, middle and last frames of two clips of each of three people, and who it is.

  uint8 [6, 3, 64, 64, 3], [6].
  """
  builder = datasets.prepare(config)
  examples = [example for split in ('train', 'test') for example in builder.as_data_source(split)]
  chosen, rest = [], sorted(examples, key=lambda example: example['subject'])
  for _, clips_of_person in itertools.groupby(rest, lambda example: example['subject']):
    chosen += itertools.islice(clips_of_person, 2)
  return (
    np.stack([example['video'][[0, 16, 31]] for example in chosen]),
    np.array([example['subject'] for example in chosen]),
  )


@pytest.fixture(scope='module')
def openface_file(tmp_path_factory):
  path = tmp_path_factory.mktemp('openface') / 'nn4.small2.v1.t7'
  weight_files.openface(path)
  return path


def distances(embeddings: np.ndarray) -> np.ndarray:
  return np.linalg.norm(embeddings[:, None] - embeddings[None], axis=-1)


def spots(points: np.ndarray, size: int) -> np.ndarray:
  """A picture with a soft light spot at each point, pixel centers at i + 0.5: uint8 grey RGB."""
  grid = np.stack(np.meshgrid(np.arange(size), np.arange(size)), -1) + 0.5
  light = sum(np.exp(-((grid - point) ** 2).sum(-1) / 2) for point in points)
  return np.repeat(np.uint8(255 * np.clip(light, 0, 1))[..., None], 3, -1)


def found(picture: np.ndarray, points: np.ndarray, reach: float) -> np.ndarray:
  """Where the light near each point has its center, in OpenCV's coordinates."""
  y, x = np.indices(picture.shape[:2])
  weights = [picture[..., 0] * (np.hypot(x - p[0], y - p[1]) < reach) for p in points]
  return np.array([((x * w).sum() / w.sum(), (y * w).sum() / w.sum()) for w in weights])


def test_sface_sees_the_template_where_arcface_wants_it():
  # Light at the template's five points comes out at ArcFace's: the best similarity leaves 1.02 px
  # at the mouth, ours being narrower, and half a pixel at the eyes.
  template, arcface = crops.TEMPLATE, face_networks.ARCFACE_POINTS
  points = np.array([template[36:42].mean(0), template[42:48].mean(0), *template[[30, 48, 54]]])
  chip = cv2.warpAffine(spots(points, 64), face_networks.sface_warp(), (112, 112))
  error = found(chip, arcface, 9) - arcface
  assert np.linalg.norm(error, axis=1).max() < 1.2
  np.testing.assert_allclose(error.mean(0), 0, atol=0.1)  # no shift is left, of half a pixel or so


def test_openface_sees_the_template_where_openface_wants_it():
  # (0.252418718401 - 0.0792396913815) / (0.971193274221 - 0.0792396913815) = 0.194157, times 96 is
  # 18.639; y: (0.331052263829 - 0.182360984545) / 0.878442726665 = 0.169267, times 96 is 16.250.
  outer = crops.TEMPLATE[[36, 45, 33]]
  chip = cv2.warpAffine(spots(outer, 64), face_networks.openface_warp(), (96, 96))
  expected = np.array([(18.639, 16.250), (75.729, 15.185), (47.515, 49.386)])
  np.testing.assert_allclose(found(chip, expected, 8), expected, atol=0.1)


@pytest.mark.parametrize('name', ['sface', 'dlib'])
def test_one_person_is_nearer_than_another(name, networks, clips, astronaut):
  # Another clip of a person, with another expression, is nearer to the first frame than anybody
  # else; so is a real face that is moved by a pixel, darkened or mirrored.
  frames, people = clips
  photographs = np.stack(
    [astronaut, np.roll(astronaut, (1, -1), (0, 1)), np.uint8(astronaut * 0.8), astronaut[:, ::-1]]
  )
  images = np.concatenate([frames.reshape(-1, 64, 64, 3), photographs])
  who = np.concatenate([np.repeat(people, 3), ['astronaut'] * 4])
  distance = distances(networks[name].embed(images))
  first = np.arange(0, len(images) - 4, 3).tolist() + [len(images) - 4]
  assert sorted(np.unique(who, return_counts=True)[1]) == [4, 6, 6, 6]
  for i in first:
    assert distance[i, who == who[i]].max() < distance[i, who != who[i]].min()


@pytest.mark.parametrize('name', ['sface', 'dlib'])
def test_embedding_does_not_depend_on_the_other_pictures(name, networks, astronaut):
  # 17 pictures are one more than dlib's batch.
  rng = np.random.default_rng(0)
  images = np.uint8(np.clip(astronaut + rng.integers(-60, 60, (17, 1, 1, 3)), 0, 255))
  embed = networks[name].embed
  together = embed(images)
  assert together.shape == (17, 128) and together.dtype == np.float32
  for i in (0, 1, 16):
    np.testing.assert_allclose(embed(images[i : i + 1])[0], together[i], atol=1e-5)
  assert distances(together)[0, 1:].min() > 0.01
  if name == 'sface':
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, rtol=1e-5)


def test_sface_is_opencvs_alignment_and_network_on_rgb(networks, astronaut):
  # OpenCV aligns a face by the ten numbers of eyes, nose and mouth that follow its box. It rounds
  # coordinates to 1/32 of a pixel, and computes the warp in float32, which decides few of them. Its
  # general reader runs the same file; its input is RGB in 0 to 255.
  path, template = str(face_networks.sface_file()), crops.TEMPLATE
  points = [template[36:42].mean(0), template[42:48].mean(0), *template[[30, 48, 54]]]
  face = np.array([[0, 0, 64, 64, *np.ravel(points) - 0.5, 1]], np.float32)
  opencvs = cv2.FaceRecognizerSF.create(path, '').alignCrop(astronaut, face)
  chip = cv2.warpAffine(astronaut, face_networks.sface_warp(), (112, 112))
  assert (chip != opencvs).mean() < 1e-3
  network = cv2.dnn.readNetFromONNX(path)
  network.setInput(chip.transpose(2, 0, 1)[None].astype(np.float32))
  expected = network.forward()[0]
  (ours,) = networks['sface'].embed(astronaut[None])
  np.testing.assert_allclose(ours, expected / np.linalg.norm(expected), atol=1e-5)


def test_dlib_is_dlibs_own(networks, astronaut):
  # dlib takes chips of whole numbers, which moves a descriptor of length 1.4 a little.
  chip = dlib_resnet.to_chip(astronaut[None] / np.float32(127.5) - 1)[0]
  expected = dlib.face_recognition_model_v1(
    str(dlib_file.installed_file())
  ).compute_face_descriptor(np.uint8(np.round(chip)))
  (ours,) = networks['dlib'].embed(astronaut[None])
  assert np.linalg.norm(ours - expected) < 0.01


def test_a_larger_crop_is_the_same_face(networks, astronaut):
  # Every pixel as four, two of them brighter and two darker by 20: their mean is the pixel.
  faint = np.uint8(astronaut // 2 + 40)
  checks = 20 - 40 * (np.indices((128, 128)).sum(0) % 2)
  large = np.uint8(faint.repeat(2, 0).repeat(2, 1) + checks[..., None])
  np.testing.assert_array_equal(
    networks['sface'].embed(large[None]), networks['sface'].embed(faint[None])
  )


@pytest.mark.parametrize(
  'images',
  [
    np.zeros((1, 64, 64, 3), np.float32),
    np.zeros((64, 64, 3), np.uint8),
    np.zeros((1, 64, 32, 3), np.uint8),
    np.zeros((1, 3, 64, 64), np.uint8),
  ],
)
def test_what_is_no_crop_is_refused(images, networks):
  for network in networks.values():
    with pytest.raises(ValueError, match='expected uint8'):
      network.embed(images)


@pytest.mark.parametrize(
  'requested, training, expected',
  [
    ('auto', '', 'sface'),
    ('auto', 'dlib', 'sface'),
    ('auto', 'vgg_face', 'sface'),
    ('auto', 'sface', 'dlib'),
    ('sface', 'dlib', 'sface'),
    ('dlib', 'vgg_face', 'dlib'),
    ('dlib', '', 'dlib'),
    ('openface', 'dlib', 'openface'),
  ],
)
def test_the_measure_is_not_the_training(requested, training, expected):
  assert face_networks.choose(requested, training) == expected


@pytest.mark.parametrize(
  'requested, training, words',
  [
    ('dlib', 'dlib', ["'dlib'", 'training', 'auto, sface, openface']),
    ('facenet', 'dlib', ["'facenet'", 'auto, sface, dlib, openface']),
    ('', '', ["''", 'auto, sface, dlib, openface']),
  ],
)
def test_a_choice_that_cannot_be_is_told(requested, training, words):
  with pytest.raises(UserError) as caught:
    face_networks.choose(requested, training)
  assert '\n' not in str(caught.value)
  assert all(word in str(caught.value) for word in ['config.evaluation.face_network', *words])


def test_unknown_network_is_told():
  with pytest.raises(UserError, match="'vgg_face': expected one of sface, dlib, openface"):
    face_networks.load('vgg_face')


def test_a_network_is_known_by_its_file(networks, openface_file):
  assert networks['sface'].digest == face_networks.SFACE_SHA256[:12]
  assert networks['dlib'].digest == dlib_file.SHA256[:12]
  digest = hashlib.sha256(openface_file.read_bytes()).hexdigest()
  assert face_networks.load('openface', str(openface_file)).digest == digest[:12]


def test_openface_file_has_the_published_size(openface_file):
  # https://cmusatyalab.github.io/openface/models-and-accuracies: 3733968 parameters.
  layers = torch7_file.modules(torch7_file.read(openface_file))
  assert (
    sum(
      layer.fields[name].size
      for layer in layers
      for name in ('weight', 'bias')
      if name in layer.fields
    )
    == 3_733_968
  )


def openface_chips(images: np.ndarray) -> np.ndarray:
  """Crops in OpenFace's alignment by Pillow, which asks for the way back: [n, 3, 96, 96]."""
  chip_points = np.array([(18.639, 16.250), (75.729, 15.185), (47.515, 49.386)]) + 0.5
  back = np.linalg.solve(np.column_stack([chip_points, np.ones(3)]), crops.TEMPLATE[[36, 45, 33]])
  chips = [
    Image.fromarray(image).transform(
      (96, 96), Image.Transform.AFFINE, back.T.ravel(), Image.Resampling.BILINEAR
    )
    for image in images
  ]
  return np.stack([np.asarray(chip) for chip in chips]).transpose(0, 3, 1, 2) / np.float32(255)


def windows(x: np.ndarray, layer: dict) -> np.ndarray:
  """What a kernel sees, the map being padded already: [n, c, rows, columns, kernel, kernel]."""
  size, stride = int(layer['kW']), int(layer['dW'])
  return np.lib.stride_tricks.sliding_window_view(x, (size, size), (2, 3))[:, :, ::stride, ::stride]


def forward(module: torch7_file.Module, x: np.ndarray) -> np.ndarray:
  """A Torch network in numpy: [n, c, rows, columns] or [n, c] through one module."""
  kind, layer = module.name.removeprefix('nn.'), module.fields
  children = [layer['modules'][i] for i in sorted(layer.get('modules', ()))]
  if 'padW' in layer:
    pad = int(layer['padW'])
    fill = -np.inf if kind == 'SpatialMaxPooling' else 0
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)), constant_values=fill)
  if kind in ('Sequential', 'Inception', 'SpatialLPPooling'):
    for child in children:
      x = forward(child, x)
    return x
  if kind == 'DepthConcat':  # smaller maps in the middle of zeros, nearer to the upper left corner
    maps = [forward(child, x) for child in children]
    side = max(m.shape[-1] for m in maps)
    before = [(side - m.shape[-1]) // 2 for m in maps]
    after = [side - m.shape[-1] - b for m, b in zip(maps, before)]
    return np.concatenate(
      [np.pad(m, ((0, 0), (0, 0), (b, a), (b, a))) for m, b, a in zip(maps, before, after)], 1
    )
  if kind in ('SpatialConvolution', 'SpatialConvolutionMM'):
    kernel = layer['weight'].reshape(len(layer['bias']), x.shape[1], int(layer['kW']), -1)
    result = np.tensordot(windows(x, layer), kernel, ((1, 4, 5), (1, 2, 3))) + layer['bias']
    return result.transpose(0, 3, 1, 2)
  if kind == 'SpatialBatchNormalization':
    scale = layer['weight'] / np.sqrt(layer['running_var'] + layer['eps'])
    shift = layer['bias'] - layer['running_mean'] * scale
    return x * scale[:, None, None] + shift[:, None, None]
  if kind == 'SpatialCrossMapLRN':
    reach = int(layer['size']) // 2
    squares = np.pad(x**2, ((0, 0), (reach, reach), (0, 0), (0, 0)))
    power = np.lib.stride_tricks.sliding_window_view(squares, 2 * reach + 1, 1).sum(-1)
    return x / (layer['k'] + layer['alpha'] / layer['size'] * power) ** layer['beta']
  return {
    'ReLU': lambda: np.maximum(x, 0),
    'Square': lambda: x**2,
    'Sqrt': lambda: np.sqrt(x),
    'MulConstant': lambda: x * layer['constant_scalar'],
    'SpatialMaxPooling': lambda: windows(x, layer).max((4, 5)),
    'SpatialAveragePooling': lambda: windows(x, layer).mean((4, 5)),
    'Reshape': lambda: x.reshape(len(x), *layer['size']),
    'View': lambda: x.reshape(len(x), *layer['size']),
    'Linear': lambda: x @ layer['weight'].T + layer['bias'],
    'Normalize': lambda: x / np.linalg.norm(x, axis=1, keepdims=True),
  }[kind]()


def test_openface_is_its_layers(openface_file, astronaut):
  # The same network in numpy, on chips that Pillow warped.
  rng = np.random.default_rng(0)
  images = np.stack([astronaut, rng.integers(0, 256, astronaut.shape, np.uint8)])
  ours = face_networks.load('openface', str(openface_file)).embed(images)
  assert ours.shape == (2, 128) and ours.dtype == np.float32
  np.testing.assert_allclose(np.linalg.norm(ours, axis=1), 1, rtol=1e-5)
  expected = forward(torch7_file.read(openface_file), openface_chips(images))
  np.testing.assert_allclose(ours, expected, atol=1e-3)
  assert np.linalg.norm(ours[0] - ours[1]) > 0.02


def test_openface_embedding_does_not_depend_on_the_other_pictures(openface_file):
  images = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), np.uint8)
  embed = face_networks.load('openface', str(openface_file)).embed
  together = embed(images)
  for i in range(5):
    np.testing.assert_allclose(embed(images[i : i + 1])[0], together[i], atol=1e-6)


def test_openface_weights_that_are_not_the_published_ones_are_told(
  openface_file, caplog, monkeypatch
):
  with caplog.at_level(logging.WARNING):
    face_networks.load('openface', str(openface_file))
  assert 'not the published file' in caplog.text
  caplog.clear()
  digest = hashlib.md5(openface_file.read_bytes()).hexdigest()
  monkeypatch.setattr(face_networks, 'OPENFACE_MD5', digest)
  face_networks.load('openface', str(openface_file))
  assert not caplog.text


def wrong_files(folder, openface_file):
  """Weight files that cannot be, and what is said about each."""
  yield '', 'no weight file given'
  yield folder / 'nowhere.t7', 'no file'
  yield folder, 'no file'
  yield __file__, 'cannot read'
  empty = folder / 'empty.t7'
  empty.touch()
  yield empty, 'cannot read'
  cut = folder / 'cut.t7'
  cut.write_bytes(openface_file.read_bytes()[:-1000])
  yield cut, 'cut short'
  code = folder / 'code.t7'
  code.write_bytes(b'\6\0\0\0' * 4)  # begins with a Lua function
  yield code, 'may be code'
  vgg = folder / 'vgg.t7'
  weight_files.torch7(vgg, weight_files.random())
  yield vgg, 'cannot read'
  for name, layers, words in (
    (
      'narrow',
      [
        weight_files.module('View', size=(3 * 96 * 96,)),
        weight_files.module(
          'Linear', weight=np.ones((4, 3 * 96 * 96), np.float32), bias=np.ones(4, np.float32)
        ),
      ],
      r'\(1, 4\) in place',
    ),
    ('unknown', [weight_files.module('NoSuchLayer')], 'NoSuchLayer'),
  ):
    path = folder / f'{name}.t7'
    weight_files.openface(path, weight_files.module('Sequential', layers))
    yield path, words


def test_wrong_openface_file_is_told_in_one_line(tmp_path, openface_file):
  for path, words in wrong_files(tmp_path, openface_file):
    with pytest.raises(UserError, match=words) as caught:
      face_networks.load('openface', str(path))
    message = str(caught.value)
    assert '\n' not in message and str(path) in message and 'nn4.small2.v1.t7' in message
    assert message.startswith('config.evaluation.weights: ')
