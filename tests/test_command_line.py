"""What the person typed: the right thing, or one line that helps."""

import inspect
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import main
from fevgan_jax import command_line, models
from fevgan_jax.inference import generate
from fevgan_jax.runtime import files
from fevgan_jax.runtime.errors import UserError

ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
  """Workdirs are made where the command is typed."""
  monkeypatch.chdir(tmp_path)


def parse(*words: str) -> command_line.Command:
  words = [str(ROOT / word) if word.startswith('configs/') else word for word in words]
  return command_line.parse(['main.py', *words])


def config_of(*words: str):
  return parse(*words).arguments['config']


def test_defaults():
  command = parse()
  assert (command.mode, command.processes) == ('train', {})
  assert set(command.arguments) == {'config', 'workdir', 'command'}
  assert command.arguments['workdir'] == pathlib.Path('runs/synthetic_faces')
  config = command.arguments['config']
  assert config.system == 'fevgan_plus'
  assert (config.dataset.config, config.identity.network) == ('quick', 'dlib')


def test_system_and_options_choose_config_and_workdir():
  command = parse('--config', 'configs/synthetic_faces.py:fevgan,full,no_spatial')
  config = command.arguments['config']
  assert (config.dataset.config, config.model.spatial_width) == ('full', 0)
  workdir = pathlib.Path('runs/synthetic_faces-fevgan-full-no_spatial')
  assert command.arguments['workdir'] == workdir


def test_folders_may_be_called_like_keys():
  assert parse('--workdir', 'system').arguments['workdir'] == pathlib.Path('system')


def test_a_system_has_its_own_numbers_and_no_face_network():
  config = config_of('--config', 'configs/mug.py:cvgan', '--config.loss.first_frame=5')
  assert (config.optimizer.learning_rate, config.batch_size, config.model.width) == (2e-4, 32, 128)
  assert 'identity' not in config
  assert config.loss.first_frame == 5


def test_keys_may_come_before_the_config():
  command = parse('--config.batch_size=3', '--config', 'configs/mug.py', '--workdir', 'here')
  config = command.arguments['config']
  assert (config.batch_size, config.dataset.name) == (3, 'mug')
  assert command.arguments['workdir'] == pathlib.Path('here')


def test_the_papers_numbers_are_the_defaults_of_the_licensed_sets():
  config = config_of('--config', 'configs/mug.py')
  assert (config.optimizer.learning_rate, config.optimizer.b1, config.epochs) == (2e-5, 0.5, 400)
  assert config.loss.identity_frames == 4
  assert config.identity.network == 'vgg_face'
  assert not config.model.repeat_edges


def test_weights_are_the_best_unless_a_system_is_named(tmp_path):
  words = '--mode', 'generate', '--image', 'x.png', '--output', str(tmp_path)
  for config in ((), ('--config', 'configs/synthetic_faces.py')):
    arguments = parse(*words, *config).arguments
    assert 'system' not in arguments and arguments['workdir'] is None
  arguments = parse(*words, '--config', 'configs/synthetic_faces.py:fevgan').arguments
  assert arguments['system'] == 'fevgan'
  assert inspect.signature(generate.generate).parameters['system'].default == 'fevgan_plus'


def test_what_is_shown_of_a_photograph_is_chosen(tmp_path):
  words = '--mode', 'generate', '--image', 'x.png', '--output', str(tmp_path)
  arguments = parse(*words).arguments
  assert (arguments['frame'], arguments['loop'], arguments['largest']) == ('', False, None)
  arguments = parse(*words, '--frame', 'whole', '--loop', '--largest=512').arguments
  assert (arguments['frame'], arguments['loop'], arguments['largest']) == ('whole', True, 512)
  assert not arguments['sway'] and parse(*words, '--sway').arguments['sway']
  assert parse(*words, '--curve', '0,1,.5').arguments['curve'] == [0, 1, 0.5]
  (tmp_path / 'curve.csv').write_text('0\n0.5\n1\n')
  curve = parse(*words, '--curve', str(tmp_path / 'curve.csv'), '--frames', '64').arguments
  assert (curve['curve'], curve['frames']) == ([0, 0.5, 1], 64)
  with pytest.raises(UserError, match='should be one of <crop|face|whole>'):
    parse(*words, '--frame', 'head')
  with pytest.raises(UserError, match='--frame: --mode train does not use it'):
    parse('--frame', 'whole')


def test_what_is_typed_of_a_trained_run_is_handed_on(tmp_path):
  words = '--config.dataset.config=full', '--config.evaluation.batch_size', '3'
  arguments = parse('--mode', 'evaluate', '--workdir', 'w', *words).arguments
  assert arguments == {
    'workdir': pathlib.Path('w'),
    'overrides': {'dataset.config': 'full', 'evaluation.batch_size': 3},
  }
  named = '--config', 'configs/mug.py:vgan'
  arguments = parse('--mode', 'evaluate', *named).arguments
  assert arguments['workdir'] == pathlib.Path('runs/mug-vgan')
  assert arguments['overrides'] == {'system': 'vgan', 'dataset.name': 'mug'}
  named = '--config', 'configs/synthetic_faces.py:fevgan,full,no_spatial'
  arguments = parse('--mode', 'evaluate', *named, '--config.model.width=7').arguments
  assert arguments['overrides'] == {
    'system': 'fevgan',
    'dataset.name': 'synthetic_faces',
    'dataset.config': 'full',
    'model.spatial_width': 0,
    'model.width': 7,
  }


def test_every_mode_gives_its_function_what_it_takes():
  words = {
    'generate': ('--image', 'x.png', '--intensity', '0.5,1'),
    'compare': ('--workdirs', 'a,b'),
    'study': ('--workdirs', 'a,b', '--pairs', '10'),
    'tally': ('--votes', 'a.json'),
    'demo': ('--port', '8000'),
    'export': ('--format', 'stablehlo'),
  }
  functions = main.modes()
  assert set(functions) == set(command_line.MODES)
  for mode, function in functions.items():
    command = parse('--mode', mode, *words.get(mode, ()))
    inspect.signature(function).bind(**command.arguments)  # TypeError where they do not fit


MISTAKES = {
  ('--config', 'nowhere.py'): "no file 'nowhere.py': expected one of configs/mug.py",
  ('--config', 'configs/mug.py:imaginatr'): "no system 'imaginatr': expected one of cvgan, fevgan",
  ('--config', 'configs/mug.py:fevgan,ful'): "no option 'ful' of fevgan with this file: expected",
  ('--config', 'configs/mug.py:vgan,no_spatial'): 'of vgan with this file: there is none',
  ('--config.loss.xyz=1',): 'loss.xyz: fevgan_plus has no such key: expected one of loss.adversa',
  ('--config', 'configs/mug.py:vgan', '--config.loss.identity=1'): 'vgan has no such key',
  (
    '--config',
    'configs/mug.py:vgan',
    '--config.identity.network=dlib',
  ): '--config.identity.network: vgan has no such key',
  ('--config.system=vgan',): '--config.system: goes after the file name: --config ',
  ('--seed', '-1'): 'seed=-1',
  ('--intensity', '0.5,much'): "['0.5', 'much']: expected different numbers, as --intensity 0.3",
  ('--intensity', '0.5,0.50'): "['0.5', '0.50']: expected different numbers",
  ('--intensity', '0.5'): '--intensity: --mode train does not use it',
  ('--mode', 'evaluate', '--image', 'x'): '--image: --mode evaluate does not use it',
  ('--mode', 'compare', '--workdirs', 'a', '--config', 'configs/mug.py'): 'workdirs know their own',
  (
    '--mode',
    'generate',
    '--image',
    'x',
    '--expression',
    'joy',
  ): "'joy', expected one of anger, dis",
  ('--mode', 'generate', '--image', 'x', '--curve', '0,up'): "--curve: '0,up', expected numbers as",
  ('--config.optimizer.learning_rat=1',): 'did you mean optimizer.learning_rate',
  ('--config.nothing=1',): '--config.nothing: fevgan_plus has no such key',
  ('--config.model.widht=1',): 'did you mean model.width',
  ('--config.batch_size=many',): 'batch_size=many',
  ('--mode', 'trian'): 'should be one of <train|prepare|evaluate|compare|generate|study|',
  ('--epochs=3',): "Unknown command line flag 'epochs'",
  ('train',): "'train': expected only flags",
  ('--mode', 'generate'): '--image is missing',
  ('--workdir', '/proc/here'): '/proc/here: cannot be written',
  ('--coordinator', 'host'): "'host', expected HOST:PORT or auto",
  ('--coordinator', 'host:99999', '--processes', '2', '--process', '0'): "'host:99999', expected",
  ('--coordinator', 'host:1', '--processes', '2'): '--processes N and --process I are missing',
  ('--coordinator', 'host:1', '--processes', '2', '--process', '2'): '--process 2: expected 0 to 1',
  ('--coordinator', 'host:1', '--processes', '0', '--process', '0'): 'processes=0',
  ('--coordinator', 'auto', '--process', '0'): 'come from the cluster',
  ('--processes', '2', '--process', '0'): "--coordinator: '', expected HOST:PORT or auto",
  ('--mode', 'evaluate', '--coordinator', 'auto'): '--mode evaluate runs in one process',
}


@pytest.mark.parametrize('words', MISTAKES)
def test_mistakes_are_explained_in_one_line(words):
  with pytest.raises(UserError) as error:
    parse(*words)
  assert MISTAKES[words] in str(error.value)
  assert '\n' not in str(error.value)


def command(*words: str) -> subprocess.CompletedProcess:
  return subprocess.run(
    [sys.executable, str(ROOT / 'main.py'), *words],
    capture_output=True,
    text=True,
    env=os.environ | {'JAX_PLATFORMS': 'cpu'},
  )


def test_a_mistake_ends_in_one_line_and_exit_code_2(tmp_path):
  result = command('--coordinator', 'auto', f'--workdir={tmp_path}')
  assert result.returncode == 2, result.stderr
  assert result.stderr.splitlines()[-1].startswith('fevgan: --coordinator auto: ')
  assert 'no cluster that JAX knows' in result.stderr.splitlines()[-1]
  assert 'Traceback' not in result.stderr


def test_a_config_file_without_a_config():
  result = command('--config', str(ROOT / 'main.py'))
  assert result.returncode == 2, result.stderr
  assert '--config: the file defines no get_config' in result.stderr.splitlines()[-1]


def test_mistakes_in_what_is_named_are_found_before_anything_is_rendered(tmp_path):
  grey = tmp_path / 'grey.png'
  Image.fromarray(np.zeros((80, 80), np.uint8)).save(grey)
  weights = tmp_path / 'weights.pth'
  weights.write_text('no weights')
  vgg_face = '--config.identity.network=vgg_face', f'--config.identity.weights={weights}'
  nowhere = '--config.dataset.data_dir=' + str(tmp_path / 'tfds')
  mug = str(ROOT / 'configs' / 'mug.py')
  for message, *words in (
    ('No such file', '--mode', 'generate', '--image', 'nobody.jpg'),
    ('without three color channels', '--mode', 'generate', '--image', str(grey)),
    ('no checkpoints there', '--mode', 'evaluate', '--workdir', str(tmp_path / 'empty')),
    ('cannot be split', '--config.batch_size=0', nowhere),
    ('weights.pth', *vgg_face, nowhere),
    ('apply at https://mug.ee.auth.gr/fed/', '--config', mug, nowhere),
  ):
    with pytest.raises(UserError, match=message) as error:
      main.run(['main.py', *words])
    assert '\n' not in str(error.value)
  assert not (tmp_path / 'tfds').exists()
  assert not (tmp_path / 'runs').exists()  # a start that is refused leaves nothing


def test_without_a_weight_file_two_ways_on_are_named(tmp_path):
  with pytest.raises(UserError) as told:
    main.run(['main.py', '--config', str(ROOT / 'configs' / 'mug.py')])
  assert 'apply at https://mug.ee.auth.gr/fed/' in str(told.value)  # the data come first
  with pytest.raises(UserError) as told:
    models.load_identity(config_of('--config', 'configs/mug.py'))
  for way in ('--config.identity.weights=FILE', '--config.identity.network=dlib'):
    assert way in str(told.value)


def test_places_are_kept_for_any_folder(tmp_path, monkeypatch):
  monkeypatch.setenv('HOME', str(tmp_path / 'home'))
  config = config_of(
    '--config',
    'configs/mug.py',
    '--config.identity.weights=vgg.mat',
    '--config.dataset.data_dir=~/d',
  )
  assert config.identity.weights == str(tmp_path / 'vgg.mat')
  assert config.dataset.data_dir == str(tmp_path / 'home' / 'd')
  assert config.dataset.manual_dir == ''


def test_a_workdir_is_for_one_process_at_a_time(tmp_path):
  (tmp_path / 'command.txt').write_text('of the first')
  with files.held(tmp_path / '.lock'), pytest.raises(UserError, match='is at work there') as told:
    main.run(['main.py', '--workdir', str(tmp_path)])
  assert f'process {os.getpid()} on ' in str(told.value)
  assert (tmp_path / 'command.txt').read_text() == 'of the first'


def test_minutes_between_checkpoints_may_be_none_and_not_negative():
  assert config_of('--config.checkpoint_minutes=0').checkpoint_minutes == 0
  with pytest.raises(UserError, match='config.checkpoint_minutes: -1.0, expected at least 0'):
    parse('--config.checkpoint_minutes=-1')


def test_the_training_of_a_preparation_is_the_same_command_without_its_mode():
  words = [
    'main.py',
    '--mode',
    'prepare',
    '--config=configs/mug.py',
    '--again',
    '--beam',
    'Local',
    '--config.seed=1',
  ]
  expected = 'python main.py --config=configs/mug.py --config.seed=1'
  assert command_line.training_command(words) == expected


def test_help_shows_the_modes():
  result = command('--help')
  assert result.returncode == 0
  assert '--mode generate' in result.stdout
