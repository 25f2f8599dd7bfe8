"""Runs that start from weights in a file."""

import numpy as np
import pytest
from runs import same, threads_read_on

from fevgan_jax import models
from fevgan_jax.runtime.errors import UserError
from fevgan_jax.training import checkpoint, train, weights_file

pytestmark = threads_read_on


@pytest.fixture
def file(run, tmp_path):
  """The weights of the tests' run."""
  variables, config, _ = checkpoint.restore_generator(run[0])
  weights_file.write(tmp_path / 'model.safetensors', variables, config)
  return tmp_path / 'model.safetensors'


def test_a_run_starts_from_the_weights_of_a_file_and_goes_on_from_its_own(toy_run, toy, tmp_path):
  _, trained = toy_run
  file = tmp_path / 'model.safetensors'
  weights_file.write(file, trained.generator.variables, toy.to_dict())
  toy.start, toy.epochs = str(file), 1 / 3  # one step
  toy.optimizer.learning_rate = 0.0
  workdir = tmp_path / 'run'
  state = train.train(toy, workdir)
  variables, _ = weights_file.read(file)
  assert same(state.generator.params, variables['params'])
  assert not same(state.generator.batch_stats, variables['batch_stats'])  # those of a step more
  assert not same(state.critics, trained.critics)
  fresh = train.create_state(models.build(toy, None), None, toy, clip_of(64))
  assert same(state.critics['critic'].params, fresh.critics['critic'].params)
  toy.epochs = 2 / 3
  continued = train.train(toy, workdir)
  assert continued.step == 2
  assert not same(continued.generator.batch_stats, state.generator.batch_stats)
  toy.start = ''
  with pytest.raises(UserError, match="holds a run with config.start = '.*model.safetensors'"):
    train.train(toy, workdir)


def test_exported_weights_do_not_know_where_they_started(run, config, file, tmp_path):
  weights_file.write(
    tmp_path / 'other', run[1].generator.variables, config.to_dict() | {'start': file}
  )
  assert weights_file.read(tmp_path / 'other')[1]['start'] == ''


def test_weights_that_do_not_fit_are_refused(config, file, tmp_path):
  config.start = str(tmp_path / 'nowhere')
  with pytest.raises(UserError, match='nowhere: not the weights of a generator'):
    train.train(config, tmp_path / 'run')
  config.start, config.model.width, config.model.grid = str(file), 2, 8
  with pytest.raises(UserError, match='add --config.model.grid=16 --config.model.width=1$'):
    train.train(config, tmp_path / 'other')
  assert not (tmp_path / 'other').exists()
  config.system = 'vgan'
  with pytest.raises(UserError, match='weights of fevgan, not of vgan: append :fevgan to'):
    weights_file.to_start_from(config)


def test_weights_for_another_size_of_picture_are_refused(config, file):
  larger = train.create_state(models.build(config, None), None, config, clip_of(128))
  with pytest.raises(UserError, match='pictures of another size'):
    weights_file.put_into(larger, weights_file.read(file)[0])


def clip_of(side: int) -> dict:
  return {'video': np.zeros((32, side, side, 3), np.uint8)}


def test_counts_and_single_numbers_come_back_as_they_were(run, tmp_path):
  _, config, _ = checkpoint.restore_generator(run[0])
  statistics = {'steps': np.float32(100_000), 'mean': np.full(2, 1e-6, np.float32)}
  variables = {'params': {'kernel': np.full((2, 2), 1 / 3, np.float32)}, 'batch_stats': statistics}
  weights_file.write(tmp_path / 'x', variables, config)
  back, _ = weights_file.read(tmp_path / 'x')
  assert back['batch_stats']['steps'].shape == ()
  assert same(back['batch_stats'], statistics)
  np.testing.assert_allclose(back['params']['kernel'], 1 / 3, rtol=1e-3)
