"""Pictures of 128 pixels: networks whose depth follows, data, and what else has to know."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.data
from networks import compact, count, narrow, norm, shapes_of

from configs import base, mug, oulu_casia, own_clips, synthetic_faces
from fevgan_jax import models
from fevgan_jax.data import datasets
from fevgan_jax.inference import generate
from fevgan_jax.models import fevgan_plus
from fevgan_jax.runtime import media
from fevgan_jax.runtime.errors import UserError
from fevgan_jax.training import benchmark, checkpoint, train

DEEP = ('fevgan', 'fevgan_plus')


@pytest.fixture
def large(data_dir):
  """FEV-GAN+ for 128 pixels, as narrow as can be."""
  config = narrow('fevgan_plus', data_dir)
  config.dataset.config = 'tiny_128'
  return config


def kernels(params) -> dict[str, tuple[int, ...]]:
  return {name: layer['kernel'].shape for name, layer in params.items() if 'kernel' in layer}


@pytest.mark.parametrize('name', DEEP)
@pytest.mark.parametrize(('side', 'doublings'), [(128, 1), (256, 2)])
def test_each_doubling_is_one_more_layer(name, side, doublings):
  config = compact(base.get_config(name))  # else E_s has its 512 maps before the last doubling
  small, big = shapes_of(config, channels=256), shapes_of(config, channels=256, side=side)
  assert big.generated.video.shape == (2, 32, side, side, 3)
  assert big.verdicts['critic'].shape == (2,)
  # E_s: a kernel of 4x4 from 512 to 512 channels; G_dec and D: of 4x4 from 64 to 64. Beside each a
  # scale and a shift of every channel.
  spatial, flat = 16 * 512 * 512 + 2 * 512, 16 * 64 * 64 + 2 * 64
  for part, more in (('spatial_encoder', spatial), ('decoder', flat)):
    sizes = [count(shapes.state.generator.params[part]) for shapes in (small, big)]
    assert sizes[1] - sizes[0] == doublings * more
  sizes = [count(shapes.state.critics['critic'].params) for shapes in (small, big)]
  assert sizes[1] - sizes[0] == doublings * flat


def test_layers_at_64_have_the_names_and_shapes_of_earlier_checkpoints():
  fresh = shapes_of(compact(base.get_config()), channels=1024).state
  assert kernels(fresh.generator.params['spatial_encoder']) == {
    'Conv_0': (4, 4, 3, 64),
    'Conv_1': (4, 4, 64, 128),
    'Conv_2': (4, 4, 128, 256),
    'Conv_3': (4, 4, 256, 512),
  }
  assert kernels(fresh.generator.params['decoder']) == {
    'UpConv_0': (2, 1, 1, 512, 1542),
    'UpConv_1': (4, 4, 4, 256, 512),
    'UpConv_2': (4, 4, 4, 128, 256),
    'UpConv_3': (4, 4, 4, 64, 128),
    'UpConv_4': (4, 4, 4, 3, 64),
  }
  assert kernels(fresh.critics['critic'].params) == {
    'LabelledConv_0': (4, 4, 4, 9, 64),
    'Conv_0': (4, 4, 4, 64, 128),
    'Conv_1': (4, 4, 4, 128, 256),
    'Conv_2': (4, 4, 4, 256, 512),
    'Conv_3': (2, 4, 4, 512, 1),
  }


@pytest.mark.parametrize('side', [64, 128])
def test_the_largest_displacement_is_a_share_of_the_side(side):
  # The head cannot ask for more: 12 pixels of 64 at most, 24 of 128.
  decoder = fevgan_plus.MotionDecoder(1, 'time', True, norm)
  inputs = jnp.ones((1, 4, 4, 2)), jnp.zeros((1, side, side, 3)), jnp.ones((1, 6)) / 6

  @jax.jit
  def displacement() -> jax.Array:
    variables = decoder.init(jax.random.key(0), *inputs, False)
    variables['params']['Dense_0']['bias'] += 1e3
    return decoder.apply(variables, *inputs, False).extras['moves']

  assert displacement().shape == (1, 32, side, side, 4, 2)
  assert displacement().max() == pytest.approx(side * 12 / 64)


@pytest.mark.parametrize('module', [mug, oulu_casia, own_clips, synthetic_faces])
def test_every_data_set_comes_in_128_too(module, tmp_path):
  config = module.get_config()
  config.dataset.data_dir = str(tmp_path)
  assert datasets.clip_shape(config) == (32, 64, 64, 3)
  config.dataset.config += '_128'
  assert datasets.clip_shape(config) == (32, 128, 128, 3)
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('name', sorted({*models.names()} - {*DEEP}))
def test_other_systems_say_that_they_are_for_64(name, tmp_path):
  config = synthetic_faces.get_config(name)
  config.dataset.config, config.dataset.data_dir = 'tiny_128', str(tmp_path / 'data')
  words = f'^{name}: has networks for pictures of 64x64 pixels, not of 128x128: .*: fevgan, fevgan_'
  for start in (lambda: train.train(config, tmp_path), lambda: benchmark.benchmark(config)):
    with pytest.raises(UserError, match=words) as error:
      start()
    assert '\n' not in str(error.value)
  assert not (tmp_path / 'data').exists()  # told before anything is rendered


@pytest.mark.slow
def test_a_photograph_is_cropped_as_large_as_what_was_trained_on(large, tmp_path):
  clip = {'video': np.zeros((32, 128, 128, 3), np.uint8)}
  fresh = train.create_state(models.build(large, None), None, large, clip)
  with checkpoint.Checkpoints(tmp_path, 1) as checkpoints:
    checkpoints.save(fresh, {'next_index': 0}, large.to_dict())
  media.write_png(tmp_path / 'astronaut.png', skimage.data.astronaut())
  where = str(tmp_path / 'astronaut.png'), 'fear', tmp_path / 'out'
  with pytest.raises(UserError, match='--largest: a crop is as the networks make it'):
    generate.generate(*where, workdir=tmp_path, frame='crop', largest=512)
  files = generate.generate(*where, workdir=tmp_path, intensity=[0.0], frame='crop')
  face = media.read_image(files[0])
  assert face.shape == (128, 128, 3) and face.std() > 0
  (film,) = [path for path in files if path.suffix == '.mp4']
  frames = [frame[::2, ::2] for frame in media.read_video(film)]  # enlarged to 256 pixels
  assert len(frames) == 32
  # At intensity 0 every frame is the photograph, up to the film's compression.
  assert np.abs(frames[-1] - face.astype(float)).mean() < 4
