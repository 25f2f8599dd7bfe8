"""What holds for the repository as a whole."""

import pathlib
import pkgutil
import subprocess
import sys

import flax.traverse_util
import jax
import numpy as np
import pytest

import fevgan_jax
from configs import base
from fevgan_jax import models
from fevgan_jax.inference import trained
from fevgan_jax.training import checkpoint, weights_file

ROOT = pathlib.Path(__file__).parent.parent


def test_datasets_is_no_package():
  # With an __init__.py it would shadow HuggingFace's package of that name.
  assert not (ROOT / 'datasets' / '__init__.py').exists()


def test_neither_tensorflow_nor_torch_is_imported():
  modules = [m.name for m in pkgutil.walk_packages(fevgan_jax.__path__, 'fevgan_jax.')]
  code = (
    f'import sys, importlib\n[importlib.import_module(m) for m in {modules}]\n'
    "assert not {'tensorflow', 'torch'} & set(sys.modules), 'imported'"
  )
  subprocess.run([sys.executable, '-W', 'ignore', '-c', code], check=True, cwd=ROOT)


@pytest.mark.parametrize('name', models.names())
def test_every_config_overrides_only_known_keys(name):
  from configs import mug, oulu_casia, own_clips, synthetic_faces

  def keys(config) -> dict[str, type]:
    flat = flax.traverse_util.flatten_dict(config.to_dict(), sep='.')
    return {key: type(value) for key, value in flat.items()}

  expected = keys(base.get_config(name))
  assert 'optimizer.learning_rate' in expected and any(key.startswith('loss.') for key in expected)
  for module in (mug, oulu_casia, own_clips, synthetic_faces):
    assert keys(module.get_config(name)) == expected
  assert keys(synthetic_faces.get_config(f'{name},full')) == expected


@pytest.mark.parametrize('name', ['fevgan', 'fevgan_plus'])
def test_shipped_weights_are_small_and_generate(name):
  assert trained.shipped(name).stat().st_size < 15e6
  _, config = weights_file.read(trained.shipped(name))
  settings = flax.traverse_util.flatten_dict(config, sep='.')
  assert settings['system'] == name
  assert not any(settings.get(place) for place in checkpoint.PLACES)
  grey = np.full((2, 64, 64, 3), 128, np.uint8)
  generator = trained.load(system=name)
  assert generator.clip_shape == (32, 64, 64, 3)
  clips = np.asarray(generator.generate(grey, np.array([3, 5]), jax.random.key(0)))
  assert clips.shape == (2, 32, 64, 64, 3)
  assert np.abs(clips[0].astype(int) - clips[1]).mean() > 0.5  # happiness is not surprise
