"""The networks of FEV-GAN: shapes, sizes, and what the paper's figures say of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from einops import repeat
from networks import compact, count, drawn, shapes_of

from configs import base
from fevgan_jax import models
from fevgan_jax.models import fevgan
from fevgan_jax.models.parts.system import Example
from fevgan_jax.runtime import conv
from fevgan_jax.runtime.errors import UserError


def test_shapes_and_sizes_at_the_compact_reading():
  config = compact(base.get_config())
  fresh, generated, verdicts = shapes_of(config, channels=1024)
  generator, critic = fresh.generator.params, fresh.critics['critic'].params
  assert generated.video.shape == (2, 32, 64, 64, 3)
  assert verdicts['critic'].shape == (2,)
  # G_dec, without the biases that batch normalization makes idle: (1024 + 512 + 6) * 512 * 2 for
  # the first layer, then 64 * (512 * 256 + 256 * 128 + 128 * 64) + 64 * 64 * 3 + 3, and 2 * (512 +
  # 256 + 128 + 64) for the norms.
  decoder = 1542 * 512 * 2 + 64 * (512 * 256 + 256 * 128 + 128 * 64) + 64 * 64 * 3 + 3 + 2 * 960
  assert count(generator['decoder']) == decoder
  # E_s: 16 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512) + 64 for the only bias, and 2 * (128 +
  # 256 + 512).
  spatial = 16 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512) + 64 + 2 * 896
  assert count(generator['spatial_encoder']) == spatial
  # D, 11.07 M: 64 * ((3 + 6) * 64 + 64 * 128 + 128 * 256 + 256 * 512), 32 * 512 + 1 for the logit.
  discriminator = 64 * (9 * 64 + 64 * 128 + 128 * 256 + 256 * 512) + 64 + 2 * 896 + 32 * 512 + 1
  assert count(critic) == discriminator == pytest.approx(11.07e6, rel=1e-3)


TOGETHER = (4, 4, 4)


@pytest.mark.parametrize(
  ('grid', 'first', 'windows'),
  [
    (4, 'space', [TOGETHER] * 3),
    (4, 'time', [TOGETHER] * 3),
    (8, 'space', [TOGETHER, TOGETHER, (4, 1, 1)]),
    (8, 'time', [(4, 3, 3), TOGETHER, TOGETHER]),
    (16, 'space', [TOGETHER, (4, 1, 1), (4, 1, 1)]),
    (16, 'time', [(4, 3, 3), (4, 3, 3), TOGETHER]),
  ],
)
@pytest.mark.parametrize('side', [64, 128])
def test_from_a_finer_grid_time_doubles_alone_last_or_first(grid, first, windows, side):
  config = base.get_config()
  config.model.grid, config.model.first, config.model.spatial_growth = grid, first, 2
  fresh, generated, _ = shapes_of(config, channels=1024, side=side)
  assert generated.video.shape == (2, 32, side, side, 3)
  decoder, encoder = (fresh.generator.params[part] for part in ('decoder', 'spatial_encoder'))
  assert len([name for name in decoder if name.startswith('UpConv')]) == 5 + side // 128
  assert [decoder[f'UpConv_{i}']['kernel'].shape[:3] for i in (1, 2, 3)] == windows
  # E_s ends in 512 maps; what keeps the grid has kernels of 3x3.
  kernels = [encoder[name]['kernel'].shape for name in encoder if name.startswith('Conv')]
  assert max(kernel[-1] for kernel in kernels) == 512
  strided = [kernel for kernel in kernels if kernel[:2] == (4, 4)]
  assert side / 2 ** len(strided) == grid


def test_channels_of_the_spatial_encoder_grow_by_a_factor():
  encoder = shapes_of(base.get_config()).state.generator.params['spatial_encoder']
  shapes = [encoder[f'Conv_{i}']['kernel'].shape for i in range(3)]
  assert shapes == [(4, 4, 3, 64), (4, 4, 64, 256), (3, 3, 256, 512)]
  assert 'Conv_3' not in encoder


@pytest.mark.parametrize(
  ('key', 'value', 'words'),
  [
    ('grid', 14, '14, expected one of 4, 8, 16'),
    ('first', 'colour', "'colour', expected one of 'space', 'time'"),
    ('spatial_growth', 1, '1, expected at least 2'),
  ],
)
def test_layers_that_there_are_not_are_refused(key, value, words):
  config = base.get_config()
  config.model[key] = value
  with pytest.raises(UserError, match=f'^config.model.{key}: {words}$'):
    models.build(config, None)


def test_ablations_drop_an_encoder():
  config = base.get_config()
  without_identity = shapes_of(config).state.generator.params
  assert without_identity['decoder']['UpConv_0']['kernel'].shape[-1] == 512 + 6
  config = base.get_config('fevgan,no_spatial')
  without_spatial = shapes_of(config, channels=1024).state.generator.params
  assert without_spatial['decoder']['UpConv_0']['kernel'].shape[-1] == 1024 + 6
  assert 'spatial_encoder' not in without_spatial


def test_critic_may_take_the_label_after_its_first_layer():
  config = base.get_config()
  config.critic.label = 'hidden'
  critic = shapes_of(config).state.critics['critic'].params
  assert critic['Conv_0']['kernel'].shape == (4, 4, 4, 3, 64)
  assert critic['Conv_1']['kernel'].shape == (4, 4, 4, 64 + 6, 128)
  config.critic.label = 'nowhere'
  with pytest.raises(UserError, match="'nowhere', expected"):
    models.build(config, None)


def test_weights_start_from_the_papers_gaussian():
  config = base.get_config()
  norm = fevgan.batch_norm(config.norm, None)
  params = fevgan.SpatialEncoder(16, 2, 4, norm).init(
    jax.random.key(0), jnp.zeros((1, 64, 64, 3)), False
  )['params']
  kernel = params['Conv_3']['kernel']
  assert kernel.mean() == pytest.approx(0, abs=1e-4)
  assert kernel.std() == pytest.approx(0.01, rel=0.01)


def test_label_is_tiled_over_the_critics_video():
  # The short cut for a constant label against a plain convolution of the joined channels.
  key = jax.random.key(0)
  video = jax.random.normal(key, (2, 8, 12, 10, 3))
  label = jax.nn.one_hot(jnp.array([1, 4]), 6)
  layer = fevgan.LabelledConv(5)
  params = layer.init(key, video, label)
  tiled = repeat(label, 'b l -> b t h w l', t=8, h=12, w=10)
  kernel = params['params']['kernel'] * 100
  expected = conv.strided_conv(
    jnp.concatenate([video, tiled], -1), kernel, (2, 2, 2), ((1, 1),) * 3
  )
  params['params']['kernel'] = kernel
  np.testing.assert_allclose(layer.apply(params, video, label), expected, atol=1e-4)


def test_label_and_image_reach_every_frame(config):
  config.model.width = config.model.spatial_width = 2
  system = models.build(config, None)
  images = jax.random.uniform(jax.random.key(0), (3, 64, 64, 3), minval=-1, maxval=1).at[2].set(0.0)
  images = images.at[1].set(images[0])
  labels = jax.nn.one_hot(jnp.array([0, 3, 0]), 6)
  video = drawn(system.generator, images, labels)(images, labels, 0)
  assert (jnp.abs(video[0] - video[1]).max((1, 2, 3)) > 0).all()  # another label
  assert (jnp.abs(video[0] - video[2]).max((1, 2, 3)) > 0).all()  # another person
  assert jnp.abs(video).max() < 1


@pytest.mark.parametrize('target', ['image', 'video'])
def test_identity_term_looks_at_evenly_spaced_frames(target):
  # The "face network" passes on the frame's one grey level; frames 0, 10, 21 and 31 of 32 are
  # compared.
  video = jnp.zeros((1, 32, 4, 4, 1)).at[0, 10].set(3.0).at[0, 5].set(100.0)
  example = Example(
    jnp.zeros((1, 32, 4, 4, 1)).at[0, 10].set(1.0), jnp.zeros((1, 6)), jnp.zeros((1, 4, 4, 1))
  )
  term = fevgan.identity_term(4, 'even', target)
  value = term(example, fevgan.Generated(video), lambda image: image, jax.random.key(0))
  # Against the image (0): frame 10 is off by 3, mean over four 3/4. Against the real clip (1
  # there): 2/4.
  assert value == pytest.approx({'image': 0.75, 'video': 0.5}[target])


def test_random_frames_of_the_identity_term_come_from_every_part_of_the_clip():
  # The "face network" passes on the frame's number: with 4 parts of 8 frames, four random frames
  # sum to one of [0, 8), one of [8, 16), ...: a mean of 12 to 19.
  number = jnp.arange(32.0).reshape(1, 32, 1, 1, 1)
  example = Example(jnp.zeros((1, 32, 1, 1, 1)), jnp.zeros((1, 6)), jnp.zeros((1, 1, 1, 1)))
  term = fevgan.identity_term(4, 'random', 'image')
  values = {
    float(term(example, fevgan.Generated(number), lambda image: image, jax.random.key(i)))
    for i in range(20)
  }
  assert len(values) > 5
  assert all(12 <= value <= 19 for value in values)
