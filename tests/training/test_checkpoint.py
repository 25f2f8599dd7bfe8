"""Checkpoints that are damaged, each in another way: found, said, and the one before used."""

import json
import pathlib
import shutil
from collections.abc import Callable

import numpy as np
import pytest
from runs import same, threads_read_on

from fevgan_jax.runtime.errors import UserError
from fevgan_jax.training import checkpoint, train
from fevgan_jax.training.checkpoint import Checkpoints, restore_generator

pytestmark = threads_read_on


@pytest.fixture
def copy(run, tmp_path) -> pathlib.Path:
  """The workdir of a finished run, to break; its checkpoints are of steps 4 and 6."""
  return shutil.copytree(run[0], tmp_path / 'copy')


def restored(workdir: pathlib.Path, run, config) -> tuple:
  """State, position and config of the checkpoint that a run goes on from."""
  with Checkpoints(workdir) as checkpoints:
    return checkpoints.restore(run[1], {'next_index': 0, 'metrics': []}, config.to_dict())


def rewrite(path: pathlib.Path, change: Callable[[dict], object]) -> None:
  path.write_text(json.dumps(change(json.loads(path.read_text()))))


def replaced_step(workdir: pathlib.Path) -> None:
  shutil.rmtree(workdir / '6')
  shutil.copytree(workdir / '4', workdir / '6')


FAULTS = {
  'another position': ('data', lambda data: data | {'next_index': 5}),
  'no position': ('data', lambda data: {}),
  'a position by another name': ('data', lambda data: {'next_indx': 6, 'metrics': []}),
  'a position of another type': ('data', lambda data: [6]),
  'another config': ('config', lambda config: config | {'model': {'width': 2}}),
  'a config of another type': ('config', lambda config: 'text'),
}


@pytest.mark.parametrize('name', [*FAULTS, 'a step copied over another', 'a config cut off'])
def test_what_is_not_what_was_saved_is_not_used(name, copy, run, config, caplog):
  folder = copy / 'checkpoints'
  if name in FAULTS:
    item, change = FAULTS[name]
    rewrite(folder / '6' / item / 'metadata', change)
  elif name == 'a config cut off':
    (folder / '6' / 'config' / 'metadata').write_text('{"seed": ')
  else:
    replaced_step(folder)
  if 'position' in name:  # which a generator does without
    assert restore_generator(copy)[2] == 6
  else:
    with pytest.raises(UserError, match='checkpoint 6 cannot be read .*move it away .* step 4'):
      restore_generator(copy)
  state, position, saved = restored(copy, run, config)
  assert (state.step, position['next_index']) == (4, 4)
  assert saved == config.to_dict()
  assert 'checkpoint 6 cannot be read' in caplog.text
  assert (copy / 'checkpoints_unreadable' / '6').is_dir()
  assert restore_generator(copy)[2] == 4


def test_a_flipped_bit_is_found_or_changes_nothing(copy, run, config):
  rng = np.random.default_rng(0)
  intact = restored(copy, run, config)[0]
  found = 0
  for file in sorted((copy / 'checkpoints' / '6').rglob('ocdbt.process_0/d/*')):
    content = file.read_bytes()
    damaged = bytearray(content)
    damaged[rng.integers(len(content))] ^= 1 << rng.integers(8)
    file.write_bytes(damaged)
    state = restored(copy, run, config)[0]
    if state.step == 4:
      found += 1
      (copy / 'checkpoints_unreadable' / '6').rename(copy / 'checkpoints' / '6')
    else:
      assert same(state, intact)
    file.write_bytes(content)
  assert found > 1


def test_digests_know_names_kinds_shapes_and_values():
  tree = {'a': np.zeros([2, 3], np.float32), 'b': [1, 'x']}
  others = (
    {'c': tree['a'], 'b': tree['b']},
    tree | {'a': np.zeros([3, 2], np.float32)},
    tree | {'a': np.zeros([2, 3], np.int32)},
    tree | {'a': np.float32([[0, 0, 0], [0, 0, 1e-45]])},
    tree | {'b': [1, 'y']},
    tree | {'b': [1]},
  )
  found = checkpoint.digest(3, tree)
  assert found == checkpoint.digest(3, dict(reversed(tree.items())))
  assert len({found, checkpoint.digest(4, tree), *(checkpoint.digest(3, x) for x in others)}) == 8


def test_a_checkpoint_of_an_earlier_version_is_used_with_a_warning(copy, run, config, caplog):
  shutil.rmtree(copy / 'checkpoints' / '6' / 'digests')
  assert restored(copy, run, config)[0].step == 6
  assert 'checkpoint 6: saved by an earlier version, without digests' in caplog.text


def test_a_file_in_the_place_of_the_broken_ones(copy, run, config):
  (copy / 'checkpoints_unreadable').write_text('')
  rewrite(copy / 'checkpoints' / '6' / 'data' / 'metadata', lambda data: {})
  with pytest.raises(UserError, match=r'checkpoints_unreadable: no folder: move it away'):
    restored(copy, run, config)


@pytest.mark.parametrize('content', ['', '{"seed": ', '[]', None])
def test_the_checkpoints_know_the_config(content, copy, run, config):
  path = copy / 'config.json'
  path.unlink()
  if content is not None:
    path.write_text(content)
  config.optimizer.learning_rate = 0.25
  with pytest.raises(UserError, match='config.optimizer.learning_rate = 0.0005, not 0.25'):
    train.check_same_run(copy, config.to_dict())
  config.optimizer.learning_rate = 5e-4
  train.check_same_run(copy, config.to_dict())
