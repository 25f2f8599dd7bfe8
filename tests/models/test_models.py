"""What every system owes, checkpoints that go on among it, and what a new one has to bring."""

import ast
import functools
import json
import pathlib

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.data
from networks import filled, narrow, small
from PIL import Image
from runs import same

from configs import base, synthetic_faces
from fevgan_jax import models
from fevgan_jax.data import datasets
from fevgan_jax.evaluation import compare, evaluate
from fevgan_jax.inference import generate
from fevgan_jax.models.parts.system import Example, Generated
from fevgan_jax.runtime import media
from fevgan_jax.runtime.errors import UserError
from fevgan_jax.training import checkpoint, step, train
from fevgan_jax.training import state as states

TERMS = {
  'fevgan': {'reconstruction'},
  'vgan': {'mask'},
  'cvgan': {'first_frame'},
  'mocogan': set(),
  'imaginator': {'reconstruction'},
  'g3an': set(),
  'rvgan': set(),
  'vdsm': {
    'frames_likelihood',
    'clip_likelihood',
    'person',
    'poses',
    'action',
    'motion',
  },
  'motiongan': {'motion', 'angle', 'texture', 'landmarks'},
  'fevgan_plus': {'reconstruction', 'displacement', 'edges', 'shading', 'sheets'},
}


SLOW_TO_TRACE = dict.fromkeys(('g3an', 'rvgan', 'vdsm', 'motiongan'), pytest.mark.slow)


def saved_and_restored(state, config, folder: pathlib.Path):
  """What a checkpoint makes of a state, and of the position and the config beside it."""
  with checkpoint.Checkpoints(folder) as checkpoints:
    checkpoints.save(state, {'next_index': 1}, config.to_dict())
  zeros = jax.tree.map(jnp.zeros_like, state)
  with checkpoint.Checkpoints(folder) as checkpoints:
    return checkpoints.restore(zeros, {'next_index': 0}, {})


@pytest.mark.parametrize(
  'name', [pytest.param(name, marks=SLOW_TO_TRACE.get(name, ())) for name in models.names()]
)
def test_every_system_has_a_checkpoint_and_a_step_and_clips_in_half_precision(
  name, batch, tmp_path
):
  config = narrow(name)
  config.precision = 'bfloat16'
  system = models.build(config, None)
  batch = {key: jnp.asarray(value[:2]) for key, value in batch.items()}
  fresh = functools.partial(states.create, system, system.example(None, batch), jax.random.key(0))
  state = filled(jax.eval_shape(fresh))
  restored, position, before = saved_and_restored(state, config, tmp_path)
  assert (position, before) == ({'next_index': 1}, config.to_dict())
  assert same(restored, state)

  # A step leaves shapes and types as they are, and reports each of the system's terms.
  one_step = functools.partial(step.train_step, system)
  after, metrics = jax.eval_shape(one_step, state, None, batch, jax.random.key(1))
  assert kinds(after) == kinds(state)
  assert set(system.terms) == TERMS[name]
  expected = {f'generator/{part}' for part in (*system.critics, *system.terms, 'loss')}
  labels = {f'generator/{name}_label' for name, c in system.critics.items() if c.label_weight}
  assert {key for key in metrics if key.startswith('generator/')} == expected | labels
  clips = jax.eval_shape(
    lambda variables: system.generate(
      variables, None, batch['video'][:, 0], batch['label'], jax.random.key(0)
    ),
    state.generator.variables,
  )
  assert clips.shape == (2, 32, 64, 64, 3)


def kinds(tree):
  return jax.tree.map(lambda x: (x.shape, x.dtype), tree)


@pytest.mark.slow
def test_a_checkpoint_goes_on_exactly(batch, tmp_path):
  # ImaGINator's: two critics, one with views, and statistics that every pass changes.
  config = narrow('imaginator')
  system = small(models.build(config, None), config)
  batch = {key: jnp.asarray(value[:2]) for key, value in batch.items()}
  step_of = jax.jit(lambda state: step.train_step(system, state, None, batch, jax.random.key(1)))
  fresh = train.create_state(system, None, config, {'video': batch['video'][0]})
  one, metrics = step_of(fresh)
  two, _ = step_of(one)
  restored, _, _ = saved_and_restored(one, config, tmp_path)
  assert same(step_of(restored)[0], two)

  metrics = {key: float(value) for key, value in metrics.items()}
  assert all(np.isfinite(value) for value in metrics.values())
  verdicts = [metrics[key] for key in metrics if key.startswith('generator/') and 'critic' in key]
  terms = [term.weight * metrics[f'generator/{key}'] for key, term in system.terms.items()]
  assert metrics['generator/loss'] == pytest.approx(sum(verdicts) + sum(terms), rel=1e-5)


@pytest.mark.slow
def test_from_a_checkpoint_to_a_photograph_of_several_intensities(data_dir, tmp_path):
  config = narrow('fevgan_plus', data_dir)
  config.evaluation.batch_size = 6
  datasets.prepare(config)
  clip = {'video': np.zeros((32, 64, 64, 3), np.uint8)}
  fresh = train.create_state(models.build(config, None), None, config, clip)
  with checkpoint.Checkpoints(tmp_path / 'run') as checkpoints:
    checkpoints.save(fresh, {'next_index': 0}, config.to_dict())
  result = evaluate.evaluate(tmp_path / 'run')
  scores = result['mean']['generated'].values()
  assert np.isfinite([score['value'] for score in scores]).all()
  assert result['intensity']['travel'][0] < 1e-3  # still at intensity 0
  assert len(result['intensity']['travel']) == len(result['intensity']['asked'])

  where = str(astronaut(tmp_path)), 'fear', tmp_path
  files = generate.generate(*where, workdir=tmp_path / 'run', intensity=[0.0, 0.6, 1.2])
  names = [path.name for path in files]
  assert {'fear-0.mp4', 'fear-0.6.gif', 'fear-1.2.png', 'all.png', 'all.gif'} <= set(names)
  with Image.open(files[names.index('fear-0.gif')]) as still:
    first = np.asarray(still.convert('RGB'))
    still.seek(still.n_frames - 1)
    assert np.array_equal(first, np.asarray(still.convert('RGB')))
  with pytest.raises(UserError, match='intensity: 1.3, expected 0 .still. to 1.2'):
    generate.generate(*where, workdir=tmp_path / 'run', intensity=[1.3])


@pytest.mark.slow
def test_a_loop_goes_there_and_back(tmp_path):
  small = {'frame': 'whole', 'largest': 128, 'loop': True}
  generate.generate(str(astronaut(tmp_path)), 'surprise', tmp_path, **small)
  frames = np.stack([*media.read_video(tmp_path / 'surprise.mp4')]).astype(int)
  assert frames.shape == (62, 256, 256, 3)  # 32 there and 30 back, enlarged for players
  apex = np.abs(frames[31] - frames[0]).mean()
  assert np.abs(frames[1:31] - frames[:31:-1]).mean() < apex / 3
  assert np.abs(frames[61] - frames[0]).mean() < apex / 3


def astronaut(folder: pathlib.Path) -> pathlib.Path:
  """A real photograph."""
  Image.fromarray(skimage.data.astronaut()).save(folder / 'astronaut.png')
  return folder / 'astronaut.png'


@pytest.mark.slow
def test_a_new_system_is_one_file(toy, tmp_path):
  toy.optimizer.learning_rate = 1e-2
  train.train(toy, tmp_path / 'run')
  lines = [json.loads(x) for x in (tmp_path / 'run' / 'metrics.jsonl').read_text().splitlines()]
  assert lines[-1]['step'] == 6

  result = evaluate.evaluate(tmp_path / 'run')
  assert result['system'] == 'tint'
  assert result['mean']['generated']['psnr']['value'] < result['mean']['still']['psnr']['value']
  files = compare.compare([tmp_path / 'run'], tmp_path / 'comparison')
  assert '| Tint | ' in files[0].read_text()
  files = generate.generate(
    str(astronaut(tmp_path)), 'fear', tmp_path / 'generated', workdir=tmp_path / 'run'
  )
  # In the last frame half of every pixel is the color: what is black outside the face is, too.
  frames = list(media.read_video(tmp_path / 'generated' / 'fear.mp4'))
  assert frames[0][:4, :4].max() < 8
  assert frames[-1][:4, :4].max() > 40
  with pytest.raises(UserError, match='^no system .tnit.: expected one of .*, tint, vdsm, vgan'):
    models.recipe('tnit')


def test_no_other_file_names_a_system():
  # But for two defaults: of a config, and of the weights that animate a photograph.
  root, found = pathlib.Path(__file__).parents[2], {}
  for path in [*root.glob('fevgan_jax/**/*.py'), *root.glob('configs/*.py'), root / 'main.py']:
    if path.parent.name != 'models':
      texts = (getattr(node, 'value', None) for node in ast.walk(ast.parse(path.read_text())))
      if named := {text for text in texts if isinstance(text, str)} & {*models.names()}:
        found[str(path.relative_to(root))] = named
  assert found == {
    'configs/base.py': {'fevgan'},
    'fevgan_jax/inference/trained.py': {'fevgan_plus'},
  }


@pytest.mark.parametrize('name', models.names())
def test_a_system_reads_every_key_that_it_explains_and_no_other(name):
  # Keys are dropped one by one: whoever reads them all fails without any.
  config = base.get_config(name)
  own = models.recipe(name).defaults()
  flat = flax.traverse_util.flatten_dict(own.to_dict(), sep='.')
  models.build(config, None)
  for key in flat:
    if key.startswith(('identity.', 'loss.identity')):
      continue  # read where there is a face network
    section, _, leaf = key.partition('.')
    lacking = base.get_config(name)
    del lacking[section][leaf]
    system = None
    with pytest.raises(AttributeError, match=leaf):
      system = models.build(lacking, None)
      for term in system.terms.values():  # some are read when the loss is computed
        clip = jnp.zeros((1, 2, 1, 1, 3))
        example = Example(clip, jnp.zeros((1, 6)), None)
        term.loss(example, Generated(clip, {'mask': clip}), None, None)


def test_every_system_says_what_it_is_made_for():
  assert set(TERMS) == set(models.names())
  for name in models.names():
    recipe = models.recipe(name)
    assert recipe.title and 64 in recipe.sides and recipe.frames == 32
    assert {*recipe.conditions} <= {'image', 'label', 'intensity'}
  both = base.get_config('fevgan,no_spatial,no_identity')
  assert models.title(both) == 'FEV-GAN w/o E_s w/o E_Id'


def test_clips_of_another_length_are_refused():
  models.check_clips('fevgan', (32, 64, 64, 3))
  with pytest.raises(UserError, match='^fevgan: has networks for clips of 32 frames, not of 16$'):
    models.check_clips('fevgan', (16, 64, 64, 3))


def test_fevgan_plus_has_fevgans_settings_and_uses_the_intensity():
  ours, theirs = (synthetic_faces.get_config(f'{name},full') for name in ('fevgan_plus', 'fevgan'))
  assert (ours.model.first, theirs.model.first) == ('time', 'space')
  ours.model.first, ours.model.spatial_growth = 'space', theirs.model.spatial_growth
  of_truth = {'displacement', 'edges', 'shading', 'sheets'}
  loss = {key: value for key, value in ours.loss.items() if key not in of_truth}
  assert {**ours.to_dict(), 'system': 'fevgan', 'loss': loss} == theirs.to_dict()
  assert of_truth < {*ours.loss}
  assert synthetic_faces.get_config('fevgan_plus,graded').dataset.config == 'graded'
  with pytest.raises(
    ValueError, match="'graded': fevgan does not use the intensity, as fevgan_plus"
  ):
    synthetic_faces.get_config('fevgan,graded')


def test_without_a_system_it_is_a_tour_of_fevgan_plus():
  tour = synthetic_faces.get_config()
  assert tour.to_dict() == synthetic_faces.get_config('fevgan_plus,tour').to_dict()
  whole = synthetic_faces.get_config('fevgan_plus')
  assert tour.epochs < whole.epochs / 4 and tour.critic.width < whole.critic.width
  with pytest.raises(ValueError, match="'tour': not for vgan, but for fevgan and fevgan_plus"):
    synthetic_faces.get_config('vgan,tour')


def test_ablations_are_fevgans():
  with pytest.raises(ValueError, match="no option 'no_spatial' of vgan with this file"):
    synthetic_faces.get_config('vgan,no_spatial')


@pytest.mark.parametrize('name', sorted({*models.names()} - {'fevgan', 'fevgan_plus'}))
def test_short_runs_are_short_for_every_system(name):
  config, fevgan = synthetic_faces.get_config(f'{name},full'), synthetic_faces.get_config('fevgan')
  assert config.dataset.config == 'full'
  assert config.batch_size == fevgan.batch_size
  # At equal width a clip of RV-GAN's costs ten others, of G3AN's two; MotionGAN's maps are small.
  widths = {'g3an': (16, 16), 'rvgan': (8, 16), 'motiongan': (128, 32), 'vdsm': (128, 32)}
  common = fevgan.model.width, fevgan.critic.width
  ours = config.model.width, config.get('critic', fevgan.critic).width
  assert ours == widths.get(name, common)
  assert models.identity_network(config) == ''
  published = base.get_config(name)
  assert config.loss == published.loss
  rate = 3e-3 if name == 'rvgan' else published.optimizer.learning_rate
  assert config.optimizer.learning_rate == rate
