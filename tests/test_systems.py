"""What every system owes: keys that it reads, and a run that can be interrupted."""

import json
import shutil

import numpy as np
import pytest
import skimage.data
from PIL import Image
from test_train import lines, same

from configs import base, synthetic_faces
from fevgan_jax import generate, media, models, train
from fevgan_jax.errors import UserError

SECTIONS = ('identity', 'model', 'critic', 'loss')
TERMS = {
  'vgan': {'mask'},
  'cvgan': {'first_frame'},
  'mocogan': set(),
  'imaginator': {'reconstruction'},
  'fevgan_plus': {'reconstruction'},
}


@pytest.fixture(params=sorted(base.SYSTEMS))  # FEV-GAN's runs are in test_train
def tiny(request, data_dir):
  """A system's config, as narrow as can be, for three steps."""
  config = synthetic_faces.get_config(request.param)
  config.dataset.config, config.dataset.data_dir = 'tiny', data_dir
  config.model.width = config.model.spatial_width = config.critic.width = 1
  config.identity.network = ''
  config.epochs = 1.0
  config.log_every = 1
  config.checkpoint_every = 2
  return config


def test_an_interrupted_run_ends_in_the_same_parameters(tiny, tmp_path):
  whole, part = tmp_path / 'whole', tmp_path / 'part'
  state = train.train(tiny, whole)
  assert state.step == 3
  assert media.read_image(whole / 'samples' / '000003.png').std() > 0
  scores = json.loads((whole / 'evaluation.json').read_text())['mean']['generated']
  assert np.isfinite([score['value'] for score in scores.values()]).all()

  system, first = models.build(tiny, None), lines(whole)[0]
  terms = {name: first[f'generator/{name}'] for name in system.terms}
  verdicts = [first[name] for name in first if name.startswith('generator/') and 'critic' in name]
  weighted = sum(term.weight * terms[name] for name, term in system.terms.items())
  assert first['generator/loss'] == pytest.approx(sum(verdicts) + weighted, rel=1e-5)
  assert set(terms) == TERMS[tiny.system]
  if 'mask' in terms:
    assert terms['mask'] == pytest.approx(0.5, abs=0.01)  # the sigmoid of almost 0

  shutil.copytree(whole, part)
  shutil.rmtree(part / 'checkpoints' / '3')
  assert same(train.train(tiny, part), state)

  # With FEV-GAN's config, as is typed where nothing is said of the system.
  photograph = tmp_path / 'astronaut.png'
  Image.fromarray(skimage.data.astronaut()).save(photograph)
  arguments = whole, str(photograph), 'fear', tmp_path / 'out'
  files = generate.generate(synthetic_faces.get_config(), *arguments)
  assert media.read_image(files[-1]).std() > 0
  intensities = [0.0, 0.6, 1.2]
  if tiny.system != 'fevgan_plus':
    with pytest.raises(UserError, match=f'--intensity: {tiny.system} has none'):
      generate.generate(synthetic_faces.get_config(), *arguments, intensities)
    return
  files = generate.generate(synthetic_faces.get_config(), *arguments, intensities)
  names = [path.name for path in files]
  assert {'fear-0.mp4', 'fear-0.6.gif', 'fear-1.2.png', 'all.png', 'all.gif'} <= set(names)
  with Image.open(files[names.index('fear-0.gif')]) as still:
    first, last = (np.asarray((still.seek(i), still.convert('RGB'))[1]) for i in (0, 31))
  assert np.array_equal(first, last)
  with pytest.raises(UserError, match='--intensity: 1.3, expected 0 .still. to 1.2'):
    generate.generate(synthetic_faces.get_config(), *arguments, [1.3])


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


def test_ablations_are_fevgans():
  with pytest.raises(ValueError, match="'no_spatial': an ablation of fevgan, 'vgan' has none"):
    synthetic_faces.get_config('vgan,no_spatial')


@pytest.mark.parametrize('name', sorted(base.SYSTEMS))
def test_short_runs_are_short_for_every_system(name):
  config, fevgan = synthetic_faces.get_config(f'{name},full'), synthetic_faces.get_config('fevgan')
  assert config.dataset.config == 'full'
  assert config.batch_size == fevgan.batch_size
  assert (config.model.width, config.critic.width) == (fevgan.model.width, fevgan.critic.width)
  if name == 'fevgan_plus':
    assert {**config, 'system': 'fevgan'} == {**synthetic_faces.get_config('fevgan,full')}
    return
  assert config.identity.network == ''
  published = base.choose(base.get_config(), name)
  assert config.loss == published.loss
  assert config.optimizer.learning_rate == published.optimizer.learning_rate
