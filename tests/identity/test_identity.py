"""Identity encoders: dlib's network and the warp into its chip against dlib, and the features."""

import dlib
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.data
import weight_files

from fevgan_jax import identity
from fevgan_jax.faces import crop as crops
from fevgan_jax.identity import dlib_file, dlib_resnet, vgg_face
from fevgan_jax.runtime.errors import UserError


@pytest.fixture(scope='module')
def encoder():
  return identity.load('dlib')


@pytest.fixture(scope='module')
def photograph():
  """A real face, and dlib's landmarks on it."""
  image = skimage.data.astronaut()
  (face,) = dlib.get_frontal_face_detector()(image)
  models = dlib_file.installed_file().parent
  predictor = dlib.shape_predictor(str(models / 'shape_predictor_68_face_landmarks.dat'))
  return image, predictor(image, face)


def cropped(photograph, side):
  image, landmarks = photograph
  points = np.array([(point.x, point.y) for point in landmarks.parts()]) + 0.5
  return jnp.asarray(crops.crop(image, points, side)[None] / np.float32(127.5) - 1)


@pytest.fixture(scope='module')
def crop(photograph):
  return cropped(photograph, 64)


@pytest.fixture(scope='module')
def vgg_params():
  weights = weight_files.random()
  return {name: {'kernel': kernel, 'bias': bias} for name, (kernel, bias) in weights.items()}


def test_descriptor_is_dlibs_own(encoder, photograph):
  chip = dlib.get_face_chip(*photograph, size=150, padding=0.25)
  expected = dlib.face_recognition_model_v1(
    str(dlib_file.installed_file())
  ).compute_face_descriptor(chip)
  descriptor = dlib_resnet.descriptor(encoder[1], chip[None].astype(np.float32))
  np.testing.assert_allclose(descriptor[0], expected, atol=1e-5)


def test_crop_is_still_the_same_person(encoder, photograph):
  # dlib calls two pictures less than 0.6 apart the same person; ours are crops on black, of which a
  # larger one is nearer to dlib's own chip.
  chips = [dlib_resnet.to_chip(cropped(photograph, side))[0] for side in (64, 128)]
  chips.append(dlib.get_face_chip(*photograph, size=150, padding=0.25).astype(np.float32))
  small, large, dlibs = dlib_resnet.descriptor(encoder[1], jnp.stack(chips))
  assert jnp.linalg.norm(large - dlibs) < jnp.linalg.norm(small - dlibs) < 0.5


def test_chip_geometry_is_dlibs_for_the_template():
  scale = 10**6  # dlib's landmarks are integers
  points = [dlib.point(*map(int, point)) for point in np.round(crops.TEMPLATE * scale)]
  face = dlib.full_object_detection(dlib.rectangle(0, 0, 64 * scale, 64 * scale), points)
  details = dlib.get_face_chip_details(face, 150, 0.25)
  box = details.rect
  center = (box.left() + box.right()) / 2 / scale, (box.top() + box.bottom()) / 2 / scale
  assert details.angle == pytest.approx(0, abs=1e-6)
  assert center == pytest.approx(dlib_resnet.CHIP_CENTER, abs=1e-5)
  assert (box.right() - box.left()) / scale == pytest.approx(dlib_resnet.CHIP_SIDE, abs=1e-5)


@pytest.mark.parametrize('side', [64, 128])
def test_chip_samples_where_dlib_does(side):
  # One plane, 2 x + y, seen by us in the crop's pixels and by dlib in a picture that has the
  # chip's resolution. Bilinear interpolation of a plane is exact.
  scale = 150 / dlib_resnet.CHIP_SIDE
  plane = lambda size, unit: np.add.outer(  # noqa: E731
    (np.arange(size) + 0.5) / unit, 2 * (np.arange(size) + 0.5) / unit
  ).astype(np.float32)
  x, y = (scale * value - 0.5 for value in dlib_resnet.CHIP_CENTER)  # dlib centers pixel 0 at 0
  box = dlib.drectangle(x - 74.5, y - 74.5, x + 74.5, y + 74.5)
  angle = 1e-9  # without any, dlib rounds the box to whole pixels
  expected = dlib.extract_image_chip(
    plane(190, scale), dlib.chip_details(box, dlib.chip_dims(150, 150), angle)
  )
  image = np.repeat(plane(side, side / 64)[None, ..., None], 3, -1) / np.float32(127.5) - 1
  chip = dlib_resnet.to_chip(image)
  assert chip.shape == (1, 150, 150, 3)
  np.testing.assert_allclose(chip[0, ..., 0], expected, atol=1e-3)


def test_chip_is_black_outside_the_crop():
  # A chip centered on the crop's upper edge: its upper half sees nothing, its lower one the crop.
  matrix = dlib_resnet._resampling(0.0, 64)
  assert (matrix[:70] == 0).all() and np.allclose(matrix[80:].sum(1), 1)


@pytest.mark.parametrize('network', identity.NETWORKS)
def test_features_have_scale_one_in_every_picture(network, encoder, crop, vgg_params):
  apply, params, blocks = (
    (encoder[0].apply, encoder[1], 1) if network == 'dlib' else (identity._vgg_face, vgg_params, 2)
  )
  images = jnp.concatenate([crop, crop * 0.1, -jnp.ones_like(crop)])
  features = jax.jit(apply)(params, images)
  channels = dlib_resnet.CHANNELS if network == 'dlib' else vgg_face.CHANNELS
  assert features.shape == (3, 4, 4, channels) and features.dtype == jnp.float32
  power = (features**2).reshape(3, 16, blocks, -1).mean((1, 3))
  np.testing.assert_allclose(power, 1, rtol=1e-4)
  assert jnp.abs(features[0] - features[1]).mean() > 0.01


def test_unit_rms_of_nothing_is_nothing():
  zeros = jnp.zeros((2, 4, 4, 8))
  assert (identity.unit_rms(zeros) == 0).all()
  gradient = jax.grad(lambda x: identity.unit_rms(x).sum())(zeros)
  assert jnp.isfinite(gradient).all()


@pytest.mark.parametrize('network', identity.NETWORKS)
def test_a_larger_crop_has_almost_the_same_features(network, encoder, photograph, crop, vgg_params):
  # Correlation is 0.87 (dlib) and 0.96 (random weights) with those of the crop upside down.
  apply, params, least = (
    (encoder[0].apply, encoder[1], 0.98)
    if network == 'dlib'
    else (identity._vgg_face, vgg_params, 0.999)
  )
  one, other = apply(params, crop), apply(params, cropped(photograph, 128))
  assert other.shape == one.shape
  assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > least


@pytest.mark.parametrize('network', ['dlib', pytest.param('vgg_face', marks=pytest.mark.slow)])
def test_gradient_reaches_the_pixels(network, encoder, crop, vgg_params):
  apply, params = (
    (encoder[0].apply, encoder[1]) if network == 'dlib' else (identity._vgg_face, vgg_params)
  )
  image = crop + 0.2 * jax.random.normal(jax.random.key(1), crop.shape)  # no ties among maxima
  weights = jax.random.normal(jax.random.key(0), jax.eval_shape(apply, params, image).shape)
  loss = jax.jit(jax.value_and_grad(lambda image: (weights * apply(params, image)).mean()))
  _, gradient = loss(image)
  assert jnp.isfinite(gradient).all() and (jnp.abs(gradient).max((0, 1, 2)) > 0).all()
  direction = gradient / jnp.linalg.norm(gradient)
  step = 0.02
  slope = (loss(image + step * direction)[0] - loss(image - step * direction)[0]) / (2 * step)
  assert slope == pytest.approx(float(jnp.vdot(gradient, direction)), rel=0.05)


def test_vgg_face_is_thirteen_convolutions(crop, vgg_params):
  # The same network in numpy: windows of 3x3 gathered and multiplied, maxima of 2x2.
  x = (np.asarray(crop[0]) + 1) * 127.5 - np.array([129.1863, 104.7624, 93.5940])
  for stage in range(1, 6):
    for layer in range(1, 3 if stage < 3 else 4):
      kernel, bias = (vgg_params[f'conv{stage}_{layer}'][key] for key in ('kernel', 'bias'))
      windows = np.lib.stride_tricks.sliding_window_view(
        np.pad(x, ((1, 1), (1, 1), (0, 0))).astype(np.float32), (3, 3), (0, 1)
      )
      x = np.maximum(np.tensordot(windows, kernel, ((3, 4, 2), (0, 1, 2))) + bias, 0)
    if stage < 5:
      x = pool4 = np.maximum.reduce([x[i::2, j::2] for i in (0, 1) for j in (0, 1)])
  for block, expected in zip(vgg_face.features(vgg_params, crop), (pool4, x)):
    np.testing.assert_allclose(block[0], expected, rtol=1e-3, atol=1e-3 * expected.max())


@pytest.mark.parametrize(
  'arguments, words',
  [
    (('facenet',), ["'facenet'", 'dlib, vgg_face']),
    (('dlib', '/nowhere/weights.dat'), ["'/nowhere/weights.dat'", 'dlib']),
    (('vgg_face',), ['weights=FILE', 'network=dlib', 'README']),
    (('vgg_face', '/nowhere/vgg.mat'), ["'/nowhere/vgg.mat'"]),
    (('dlib', __file__), [__file__, 'dlib_face_recognition_resnet_model_v1.dat']),
    (('vgg_face', __file__), [__file__, 'VGG_FACE.t7']),
    (('vgg_face', str(dlib_file.installed_file())), ['no known format']),
  ],
)
def test_wrong_weights_are_told_in_one_line(arguments, words):
  with pytest.raises(UserError) as caught:
    identity.load(*arguments)
  assert '\n' not in str(caught.value)
  assert all(word in str(caught.value) for word in words), caught.value


def test_another_dlib_network_is_refused():
  other = dlib_file.installed_file().parent / 'mmod_human_face_detector.dat'
  with pytest.raises(UserError, match='not dlib.s face recognition ResNet'):
    identity.load('dlib', str(other))


def test_explicit_path_is_the_installed_file(encoder):
  _, params = identity.load('dlib', str(dlib_file.installed_file()))
  jax.tree.map(np.testing.assert_array_equal, params, encoder[1])
