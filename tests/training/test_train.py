"""Real, tiny training runs: what they leave, and that they survive what can happen to them."""

import json
import os
import pathlib
import shutil
import signal
import subprocess

import jax
import numpy as np
import pytest
from PIL import Image
from runs import (
  CLIPS,
  STEPS,
  command,
  interruptible,
  lines,
  same,
  threads_read_on,
  untimed,
  wait_for_line,
)

from fevgan_jax.data import batches, datasets
from fevgan_jax.evaluation import compare, evaluate
from fevgan_jax.faces import truth
from fevgan_jax.inference import generate, trained
from fevgan_jax.models.parts.recipe import flatten
from fevgan_jax.runtime import media
from fevgan_jax.runtime.errors import UserError
from fevgan_jax.training import checkpoint, train, weights_file

pytestmark = threads_read_on


def test_step_is_compiled_once(finished):
  assert finished[2] == 1


def test_a_run_leaves_what_was_promised(run):
  workdir, state = run
  assert state.step == STEPS
  assert json.loads((workdir / 'config.json').read_text())['model']['width'] == 1
  assert sorted(int(path.name) for path in (workdir / 'checkpoints').iterdir()) == [4, 6]
  assert {path.name for path in (workdir / 'checkpoints' / '6').iterdir()} >= {
    'generator',
    'critics',
    'data',
    'config',
  }
  steps = [line['step'] for line in lines(workdir) if 'generator/loss' in line]
  assert steps == [1, 2, 3, 4, 5, 6]
  assert all(
    'samples/difference_of_labels' in line
    for line in lines(workdir)
    if 'generator/loss' not in line
  )
  assert list(workdir.glob('events.out.tfevents.*'))
  assert media.read_image(workdir / 'metrics.png').std() > 0
  # Samples at the first step, every third, and the last: one person, six labels.
  assert sorted(path.name for path in (workdir / 'samples').glob('0*.png')) == [
    '000001.png',
    '000003.png',
    '000006.png',
  ]
  with Image.open(workdir / 'samples' / 'test.gif') as gif:
    assert gif.n_frames > 1


def test_continued_run_ends_in_the_same_parameters(toy_run, toy, tmp_path):
  _, state = toy_run
  toy.epochs = 4 / 3  # 4 steps
  halfway = train.train(toy, tmp_path)
  assert halfway.step == 4
  assert not same(halfway.generator, state.generator)
  toy.epochs = 2.0
  assert same(train.train(toy, tmp_path), state)
  steps = [line['step'] for line in lines(tmp_path) if 'generator/loss' in line]
  assert steps == [1, 2, 3, 4, 5, 6]


def test_corrupt_newest_checkpoint_is_set_aside_and_the_one_before_used(
  toy_run, toy, tmp_path, caplog
):
  workdir, state = toy_run
  copy = tmp_path / 'copy'
  shutil.copytree(workdir, copy)
  for file in (copy / 'checkpoints' / '6' / 'generator').rglob('*'):
    if file.is_file() and file.stat().st_size > 1000:
      file.write_bytes(file.read_bytes()[:100])
  resumed = train.train(toy, copy)
  assert 'checkpoint 6 cannot be read' in caplog.text
  assert (copy / 'checkpoints_unreadable' / '6').is_dir()
  assert same(resumed, state)


def test_no_readable_checkpoint_is_never_a_silent_new_start(toy_run, toy, tmp_path):
  workdir, _ = toy_run
  copy = tmp_path / 'copy'
  shutil.copytree(workdir, copy)
  for file in (copy / 'checkpoints').rglob('*'):
    if file.is_file():
      file.write_bytes(b'')
  with pytest.raises(UserError, match='none of the checkpoints'):
    train.train(toy, copy)
  with pytest.raises(UserError, match='none of the checkpoints'):  # nor is the second try
    train.train(toy, copy)


def test_another_config_in_the_same_workdir_is_refused(run, config):
  config.model.width = 2
  with pytest.raises(UserError, match='config.model.width = 1, not 2'):
    train.train(config, run[0])


def test_a_longer_run_says_how_the_learning_rate_jumps(run, config, caplog):
  before = config.to_dict()
  config.epochs = 4.0
  train.tell_change(config, before, 6, clips=12)
  assert 'jumps' not in caplog.text  # a constant one
  # The cosine of 12 steps is at 1 / 2 after 6, that of 6 steps at 0.
  before['optimizer']['schedule'] = config.optimizer.schedule = 'cosine'
  train.tell_change(config, before, 6, clips=12)
  assert (
    'config.epochs: 4 in place of 2: the learning rate falls to zero over 12 steps, not 6; '
    'after step 6 it jumps from 0.0e+00 to 2.5e-04'
  ) in caplog.text


def test_a_shorter_run_says_that_nothing_is_left(toy_run, toy, tmp_path, caplog):
  copy = shutil.copytree(toy_run[0], tmp_path / 'copy')
  toy.epochs = 1.0
  assert same(train.train(toy, copy), toy_run[1])
  assert 'config.epochs: 1 are 3 steps, and 6 are done: nothing is left to train' in caplog.text


def test_a_batch_of_more_clips_than_there_are(config, tmp_path):
  config.batch_size = 16
  with pytest.raises(UserError, match='config.batch_size: 16, and there are 12 training clips'):
    train.train(config, tmp_path)


def test_what_training_decided_is_not_overridden(run):
  workdir = run[0]
  with pytest.raises(UserError) as error:
    evaluate.evaluate(workdir, {'model.width': 7})
  assert str(error.value).startswith(f'{workdir}: was trained with config.model.width = 1, not 7: ')
  with pytest.raises(UserError, match="config.system = 'fevgan', not 'vgan'"):
    compare.compare([workdir], workdir / 'comparison', {'system': 'vgan'})
  with pytest.raises(UserError, match='config.loss.mask = None, not 1.0'):
    trained.load(workdir, {'loss.mask': 1.0})
  assert trained.load(workdir, {'model.width': 1}).config.model.width == 1  # nothing new


def test_what_may_differ_is_heeded(run, config, tmp_path):
  workdir = run[0]
  overrides = {
    'dataset.config': 'full',
    'dataset.data_dir': '/elsewhere',
    'evaluation.batch_size': 3,
    'precision': 'bfloat16',
  }
  changed = trained.load(workdir, overrides).config
  flat = flatten(changed)
  assert {key: flat[key] for key in overrides} == overrides
  assert trained.load(workdir).config.dataset.config == 'tiny'
  with pytest.raises(UserError, match="synthetic_faces has no configuration 'nowhere'"):
    evaluate.evaluate(workdir, {'dataset.config': 'nowhere'})
  with pytest.raises(UserError, match='makes clips of .32, 64, 64, 3., those of .*tiny_128 are'):
    evaluate.evaluate(workdir, {'dataset.config': 'tiny_128'})
  copy = tmp_path / 'copy'
  shutil.copytree(workdir, copy)
  result = evaluate.evaluate(copy, {'precision': 'bfloat16'})
  assert result['precision'] == 'bfloat16'
  with pytest.raises(UserError, match="config.dataset.config = 'tiny', not 'full'"):
    compare.compare([copy], copy / 'comparison', {'dataset.config': 'full'})


def test_a_generator_sends_its_weights_to_the_device_once(run):
  generator = trained.load(run[0])
  images, labels = np.zeros((1, 64, 64, 3), np.uint8), np.zeros(1, int)
  images, labels, key = jax.device_put((images, labels, jax.random.key(0)))
  with jax.transfer_guard_host_to_device('disallow'):
    generator.generate(images, labels, key)


def test_keys_may_come_and_go_between_versions(run, config, tmp_path):
  before = config.to_dict()
  del before['precision']
  with checkpoint.Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(run[1], {}, before | {'forgotten': 1})
  train.check_same_run(tmp_path, config.to_dict())


def test_a_run_is_not_continued_on_other_clips(toy_run, toy):
  workdir, clips = toy_run[0], datasets.Clips(datasets.prepare(toy), 'train').summary()
  assert checkpoint.saved_clips(workdir) == clips
  train.check_same_clips(workdir, clips)
  train.check_same_clips(workdir / 'new', clips | {'digest': ''})
  first, *others = clips['people']
  changed = clips | {'digest': 'other', 'people': [*others, '017']}
  with pytest.raises(UserError, match=f'are without {first} and with 017: name another --workdir'):
    train.check_same_clips(workdir, changed)
  with pytest.raises(UserError, match='are of the same people: name'):
    train.check_same_clips(workdir, clips | {'digest': 'other takes'})


def test_a_loss_that_is_not_finite_names_the_step_and_keeps_the_checkpoint(toy, tmp_path):
  # The losses of the first step are those of fresh networks; the second's overflow float32.
  toy.critic.judges_before_update = True
  toy.optimizer.learning_rate, toy.checkpoint_every = 1e38, 1
  with pytest.raises(UserError, match='step 2: .* not finite'):
    train.train(toy, tmp_path)
  assert checkpoint.restore_generator(tmp_path)[2] == 1


def test_batches_are_permutations_of_the_clips(config):
  source = datasets.prepare(config).as_data_source('train')
  config.batch_size = 12
  wanted = ['intensity', *truth.KNOWN]
  epoch_of = batches.train_batches(source, config, wanted)
  epochs = [next(epoch_of) for _ in range(2)]
  clips = {source[i]['video'].tobytes(): source[i] for i in range(12)}
  for epoch in epochs:
    assert {video.tobytes() for video in epoch['video']} == set(clips)
    for i, video in enumerate(epoch['video']):
      clip = clips[video.tobytes()]
      assert epoch['label'][i] == clip['label']
      for name in wanted:
        np.testing.assert_array_equal(epoch[name][i], clip[name])
  assert not np.array_equal(epochs[0]['video'], epochs[1]['video'])


def test_processes_share_every_batch_without_overlap(config):
  # Three processes take thirds of the batches that one would take; the same after a restart.
  source = datasets.prepare(config).as_data_source('train')
  config.batch_size = 6
  whole = batches.train_batches(source, config, [])
  parts = [batches.train_batches(source, config, [], slice(i, i + 2)) for i in (0, 2, 4)]
  for _ in range(3):
    batch, shares = next(whole), [next(part) for part in parts]
    for name in batch:
      assert np.array_equal(np.concatenate([share[name] for share in shares]), batch[name])
  assert parts[0].get_state() == whole.get_state() == {'next_index': 3}
  parts[1].set_state(whole.get_state())
  assert np.array_equal(next(parts[1])['video'], next(whole)['video'][2:4])


def test_test_batches_drop_no_clip(config):
  source = datasets.prepare(config).as_data_source('test')
  found = list(batches.test_batches(source, 4))
  assert [(start, count) for start, _, count in found] == [(0, 4), (4, 2)]
  assert all(batch['video'].shape[0] == 4 for _, batch, _ in found)


def start(config, workdir: pathlib.Path, *words: str) -> subprocess.Popen:
  """The same run as a command, in a process of its own."""
  interruptible()
  return subprocess.Popen(
    command(config, workdir, *words),
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def test_killed_and_started_again_ends_like_an_uninterrupted_run(toy_run, toy, tmp_path):
  _, state = toy_run
  process = start(toy, tmp_path)
  wait_for_line(tmp_path, 3, process)
  process.kill()
  process.communicate()
  assert not (tmp_path / 'checkpoints' / str(STEPS)).exists()  # or nothing was interrupted
  assert same(train.train(toy, tmp_path), state)
  assert untimed(tmp_path) == untimed(toy_run[0])


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_the_step_that_it_comes_at(toy, toy_run, tmp_path, number):
  # Neither the end nor a checkpoint can come before the signal.
  words = '--config.checkpoint_every=10000', '--config.checkpoint_minutes=0'
  process = start(toy, tmp_path, '--config.epochs=1000', *words)
  wait_for_line(tmp_path, 3, process)
  process.send_signal(number)
  _, errors = process.communicate()
  assert process.returncode == 128 + number, errors
  _, _, saved = checkpoint.restore_generator(tmp_path)
  assert 3 <= saved == lines(tmp_path)[-1]['step'] < 3000
  told = f'fevgan: {number.name}: saved step {saved}, the same command goes on from there'
  assert errors.splitlines()[-1] == told
  assert 'Traceback' not in errors
  # Started again it goes on from there, as one that nobody disturbed.
  toy.epochs = (saved + 1) * toy.batch_size / CLIPS
  assert train.train(toy, tmp_path).step == saved + 1
  assert [line['step'] for line in lines(tmp_path) if 'generator/loss' in line] == [
    *range(1, saved + 2)
  ]


def test_a_second_signal_ends_a_training_at_once(toy, toy_run, tmp_path):
  # The disk hangs, as it seems, so the first signal cannot be obeyed. What was saved is kept.
  workdir = shutil.copytree(toy_run[0], tmp_path / 'run')
  process = start(toy, workdir, '--config.epochs=10000', '--config.checkpoint_minutes=0')
  wait_for_line(workdir, STEPS + 1, process)
  os.mkfifo(tmp_path / 'pipe')  # opening it waits for a reader
  (tmp_path / 'pipe').replace(workdir / 'metrics.jsonl')
  process.send_signal(signal.SIGINT)
  while 'once more ends at once' not in (line := process.stderr.readline()):
    assert line, process.communicate()
  process.send_signal(signal.SIGINT)
  _, errors = process.communicate(timeout=20)
  assert process.returncode == 130
  assert errors.splitlines()[-1].startswith('fevgan: SIGINT: ended at once: ')
  assert checkpoint.restore_generator(workdir)[2] >= STEPS


def test_when_checkpoints_are_made_does_not_matter(toy_run, toy, tmp_path):
  toy.checkpoint_every, toy.checkpoint_minutes = 10_000, 1e-9  # after every step
  assert same(train.train(toy, tmp_path), toy_run[1])
  assert sorted(int(path.name) for path in (tmp_path / 'checkpoints').iterdir()) == [5, 6]
  assert untimed(tmp_path) == untimed(toy_run[0])


def test_checkpoints_by_minutes_can_be_turned_off(toy, tmp_path):
  toy.checkpoint_every, toy.checkpoint_minutes = 10_000, 0.0
  train.train(toy, tmp_path)
  assert [path.name for path in (tmp_path / 'checkpoints').iterdir()] == ['6']


def test_generate_from_a_run_and_from_half_precision(run, config, tmp_path):
  skimage_data = pytest.importorskip('skimage.data')
  workdir, _ = run
  photograph = tmp_path / 'astronaut.png'
  Image.fromarray(skimage_data.astronaut()).save(photograph)
  files = generate.generate(str(photograph), 'all', tmp_path / 'out', workdir=workdir)
  assert {path.name for path in files} >= {
    'input.png',
    'happiness.mp4',
    'fear.gif',
    'surprise.png',
    'all.png',
    'all.gif',
  }
  assert all(path.stat().st_size for path in files)
  with pytest.raises(UserError, match='frame: fevgan paints the crop alone'):
    generate.generate(str(photograph), 'all', tmp_path / 'out', workdir=workdir, frame='whole')
  with pytest.raises(
    UserError, match='intensity: fevgan does not use it, as fevgan_plus, motiongan'
  ):
    generate.generate(str(photograph), 'all', tmp_path / 'out', workdir=workdir, intensity=[0.5])
  variables, saved, _ = checkpoint.restore_generator(workdir)
  weights_file.write(tmp_path / 'half.safetensors', variables, saved)
  loaded, loaded_config = weights_file.read(tmp_path / 'half.safetensors')
  saved['dataset']['data_dir'] = ''
  assert loaded_config == saved
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6), loaded, variables
  )
