"""What every system owes: keys that it reads, and checkpoints that go on."""

import json

import jax
import numpy as np
import pytest
import skimage.data
from PIL import Image
from runs import same

from configs import base, synthetic_faces
from fevgan_jax import models
from fevgan_jax.inference import generate
from fevgan_jax.runtime import media
from fevgan_jax.runtime.errors import UserError
from fevgan_jax.training import checkpoint, step, train

SECTIONS = ('identity', 'model', 'critic', 'loss')
TERMS = {  # FEV-GAN's runs are in test_train
  'vgan': {'mask'},
  'cvgan': {'first_frame'},
  'mocogan': set(),
  'imaginator': {'reconstruction'},
  'fevgan_plus': {'reconstruction'},
}


def narrow(name: str, data_dir: str = ''):
  """A system's config, its networks as narrow as can be and without a face network."""
  config = synthetic_faces.get_config(name)
  config.dataset.config, config.dataset.data_dir = 'tiny', data_dir
  config.model.width = config.model.spatial_width = config.critic.width = 1
  config.identity.network = ''
  return config


@pytest.mark.parametrize('name', sorted(TERMS))
def test_a_checkpoint_goes_on_exactly(name, batch, tmp_path):
  config = narrow(name)
  system = models.build(config, None)
  batch = {key: value[:2] for key, value in batch.items()}
  step_of = jax.jit(lambda *args: step.train_step(system, *args))

  def take(state):
    return step_of(state, None, batch, jax.random.key(1))

  fresh = train.create_state(system, None, config, {'video': batch['video'][0]})
  one, metrics = take(fresh)
  two, _ = take(one)
  with checkpoint.Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(one, {'next_index': 1}, config.to_dict())
  with checkpoint.Checkpoints(tmp_path) as checkpoints:
    restored, position = checkpoints.restore(fresh, {'next_index': 0})
  assert position == {'next_index': 1}
  assert same(take(restored)[0], two)

  metrics = {key: float(value) for key, value in metrics.items()}
  assert set(system.terms) == TERMS[name]
  assert all(np.isfinite(value) for value in metrics.values())
  verdicts = [metrics[key] for key in metrics if key.startswith('generator/') and 'critic' in key]
  terms = [term.weight * metrics[f'generator/{key}'] for key, term in system.terms.items()]
  assert metrics['generator/loss'] == pytest.approx(sum(verdicts) + sum(terms), rel=1e-5)
  if 'mask' in TERMS[name]:
    assert metrics['generator/mask'] == pytest.approx(0.5, abs=0.01)  # the sigmoid of almost 0


def test_from_training_to_a_photograph_of_several_intensities(data_dir, tmp_path):
  config = narrow('fevgan_plus', data_dir)
  config.epochs, config.evaluation.batch_size = 1.0, 6  # the sampler's: compiled once
  state = train.train(config, tmp_path / 'run')
  assert state.step == 3
  assert media.read_image(tmp_path / 'run' / 'samples' / '000003.png').std() > 0
  result = json.loads((tmp_path / 'run' / 'evaluation.json').read_text())
  scores = result['mean']['generated'].values()
  assert np.isfinite([score['value'] for score in scores]).all()
  assert result['intensity']['travel'][0] < 1e-3  # still at intensity 0
  assert len(result['intensity']['travel']) == len(result['intensity']['asked'])

  # With FEV-GAN's config, as is typed where nothing is said of the system.
  photograph = tmp_path / 'astronaut.png'
  Image.fromarray(skimage.data.astronaut()).save(photograph)
  arguments = synthetic_faces.get_config(), tmp_path / 'run', str(photograph), 'fear', tmp_path
  files = generate.generate(*arguments, [0.0, 0.6, 1.2])
  names = [path.name for path in files]
  assert {'fear-0.mp4', 'fear-0.6.gif', 'fear-1.2.png', 'all.png', 'all.gif'} <= set(names)
  with Image.open(files[names.index('fear-0.gif')]) as still:
    first = np.asarray(still.convert('RGB'))
    still.seek(still.n_frames - 1)
    assert np.array_equal(first, np.asarray(still.convert('RGB')))
  with pytest.raises(UserError, match='--intensity: 1.3, expected 0 .still. to 1.2'):
    generate.generate(*arguments, [1.3])


@pytest.mark.parametrize('name', models.NAMES)
def test_a_system_reads_the_keys_that_it_names_and_no_other(name):
  config = base.choose(base.get_config(), name)
  named = models.keys(name)
  for section in SECTIONS:
    for key in list(config[section]):
      if f'{section}.{key}' not in named:
        del config[section][key]
  models.build(config, None)
  assert all(key.partition('.')[2] in config[key.partition('.')[0]] for key in named)


def test_every_system_says_what_it_reads_and_which_pictures_it_has_networks_for():
  assert set(TERMS) | {'fevgan'} == set(models.NAMES)
  assert all(models.keys(name) and 64 in models.sides(name) for name in models.NAMES)


def test_fevgan_plus_has_fevgans_settings_and_hears_how_strong():
  ours, theirs = (synthetic_faces.get_config(f'{name},full') for name in ('fevgan_plus', 'fevgan'))
  assert {**ours.to_dict(), 'system': 'fevgan'} == theirs.to_dict()
  assert synthetic_faces.get_config('fevgan_plus,graded').dataset.config == 'graded'
  with pytest.raises(ValueError, match="'graded': fevgan does not hear how strong"):
    synthetic_faces.get_config('fevgan,graded')


def test_ablations_are_fevgans():
  with pytest.raises(ValueError, match="'no_spatial': an ablation of fevgan, 'vgan' has none"):
    synthetic_faces.get_config('vgan,no_spatial')


@pytest.mark.parametrize('name', sorted(base.SYSTEMS))
def test_short_runs_are_short_for_every_system(name):
  config, fevgan = synthetic_faces.get_config(f'{name},full'), synthetic_faces.get_config('fevgan')
  assert config.dataset.config == 'full'
  assert config.batch_size == fevgan.batch_size
  assert (config.model.width, config.critic.width) == (fevgan.model.width, fevgan.critic.width)
  assert config.identity.network == ''
  published = base.choose(base.get_config(), name)
  assert config.loss == published.loss
  assert config.optimizer.learning_rate == published.optimizer.learning_rate
