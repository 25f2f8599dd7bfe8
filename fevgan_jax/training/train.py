"""The training loop, read from top to bottom."""

import functools
import json
import pathlib
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from absl import logging

from fevgan_jax import models
from fevgan_jax.data import batches, datasets
from fevgan_jax.faces.labels import EXPRESSIONS
from fevgan_jax.models.parts.recipe import flatten
from fevgan_jax.models.parts.system import System
from fevgan_jax.runtime import compiler, conv, media, memory, parallel
from fevgan_jax.runtime.errors import UserError
from fevgan_jax.runtime.files import replacing
from fevgan_jax.runtime.interrupt import Interrupted
from fevgan_jax.runtime.progress import Progress
from fevgan_jax.training import checkpoint, state, step, weights_file
from fevgan_jax.training.journal import Journal, draw
from fevgan_jax.training.state import TrainState

COMMAND = 'command.txt'  # in the workdir: what was typed to start the run
# A run may be continued with other values of these; any other change needs a new workdir.
MAY_CHANGE = (
  *checkpoint.PLACES,
  'epochs',
  'log_every',
  'sample_every',
  'checkpoint_every',
  'checkpoint_minutes',
  'checkpoints_kept',
)


def defaults() -> ml_collections.ConfigDict:
  """The keys of the config that the loop reads."""
  return ml_collections.ConfigDict(
    {
      'seed': 0,  # of the weights, the order of the data and any noise
      'epochs': 400.0,  # passes over the training clips; section 4.2; fractions are fine
      'batch_size': 8,  # over all devices; not given in the paper, whose 4 GB card bounds it
      'log_every': 10,  # steps, to metrics.jsonl and TensorBoard
      'sample_every': 500,  # steps between sheets of generated clips
      'checkpoint_every': 200,  # steps
      'checkpoint_minutes': 5.0,  # or so long after the last checkpoint; 0 for never
      'checkpoints_kept': 2,  # the newest ones
      # a file of --mode export, whose weights the generator starts from: fine-tuning; '' for none
      'start': '',
    }
  )


def train(
  config: ml_collections.ConfigDict, workdir: pathlib.Path, command: str = ''
) -> TrainState:
  """Prepares the data, and trains from the newest checkpoint, or from scratch or `config.start`.

  Leaves config.json, metrics.jsonl, metrics.png, TensorBoard events, checkpoints/ and samples/ in
  `workdir`, all written by the main process, and nothing where it refuses to start. Two runs of one
  config end in the same parameters, bit for bit, whether or not one was interrupted.

  Args:
    config: see configs/base.py.
    workdir: folder of the run.
    command: what was typed, for command.txt and the report.

  Returns:
    The state after the last step.

  Raises:
    UserError: something in the config, the data or the workdir does not fit.
    Interrupted: SIGINT or SIGTERM was received, by any process; the state is saved.
  """
  part = parallel.local_part(config.batch_size)
  if parallel.is_main():
    check_same_run(workdir, config.to_dict())
  datasets.builder(config)  # a wrong name is reported before a missing weight file
  models.check_clips(config.system, datasets.clip_shape(config))
  before = None
  if config.start and parallel.is_main() and not checkpoint.saved_config(workdir):
    before = weights_file.to_start_from(config)  # the other processes are sent the state
  encoder, frozen = models.load_identity(config)
  conv.compile_ahead()
  builder = parallel.take_turns(lambda: datasets.prepare(config))
  source = datasets.Clips(builder, 'train')
  first = source[0]
  check_given(config, first)
  check_enough(config, len(source))
  trained_on = source.summary()
  parallel.check_same(f'{checkpoint.without_places(config)} {trained_on["digest"]}')
  if parallel.is_main():
    check_same_clips(workdir, trained_on)
  last_step = count_steps(config.epochs, len(source), config.batch_size)
  if parallel.is_main():
    describe(workdir, config, command)
  system = models.build(config, encoder, steps=last_step, axis_name=parallel.AXIS)
  clips = batches.train_batches(source, config, models.recipe(config.system).wanted, part)
  current = create_state(system, frozen, config, first)
  if before is not None:
    current = weights_file.put_into(current, before)
  frozen = parallel.replicate(frozen)
  rng = jax.random.key(config.seed + 1)
  train_step = parallel.PmapStep(functools.partial(step.train_step, system))

  with (
    parallel.PreemptionHandler() as preemption,
    checkpoint.Checkpoints(workdir, config.checkpoints_kept) as checkpoints,
  ):
    beginning = clips.get_state() | {'metrics': []}
    current, found, saved = checkpoints.restore(current, beginning, config.to_dict())
    pending = found.pop('metrics', [])
    found.pop('clips', None)
    current, position = parallel.from_main((current, found))
    clips.set_state(jax.tree.map(int, position))
    current = parallel.replicate(current)
    done = int(current.step)
    if parallel.is_main():
      tell_change(config, saved, done, len(source))
    sampler = Sampler(system, frozen, datasets.Clips(builder, 'test'), workdir / 'samples')
    journal = Journal(workdir, done, pending, writes=parallel.is_main())
    for number in steps_to_come(done, last_step, config.batch_size):
      current, metrics = train_step(current, frozen, parallel.shard(next(clips)), rng)
      journal.add(number, metrics)
      stopping = preemption.stops_after(number)
      last = number == last_step
      if last or number % config.log_every == 0:
        journal.write()
      if parallel.is_main() and (last or number % config.sample_every == 0 or number == 1):
        journal.write_scalars(number, sampler(current))
        memory.give_back()  # the first call has compiled
      overdue = 0 < config.checkpoint_minutes <= checkpoints.minutes_since_save()
      if last or stopping or overdue or number % config.checkpoint_every == 0:
        journal.check()  # never save a state that is not finite
        position = clips.get_state() | {'metrics': journal.pending, 'clips': trained_on}
        checkpoints.save(current, position, config.to_dict())
      if stopping:
        break
    journal.close()
  if preemption.received:
    words = f'saved step {int(current.step)}, the same command goes on from there'
    raise Interrupted(preemption.received, words)
  if parallel.is_main():
    draw(workdir)
  return current


def check_given(config: ml_collections.ConfigDict, clip: dict) -> None:
  """Whether the clips have what the system cannot do without.

  Raises:
    UserError: they do not.
  """
  missing = [name for name in models.recipe(config.system).needs if name not in clip]
  if missing:
    raise UserError(
      f'{config.system}: learns from {", ".join(missing)}, which the clips of '
      f'{config.dataset.name} do not have: choose another data set or another system'
    )


def check_enough(config: ml_collections.ConfigDict, clips: int) -> None:
  """Checks that the training clips make a batch.

  Raises:
    UserError: there are too few.
  """
  if config.batch_size > clips:
    raise UserError(
      f'config.batch_size: {config.batch_size}, and there are {clips} training clips: '
      'expected at most as many'
    )


def count_steps(epochs: float, clips: int, batch_size: int) -> int:
  """Of a run."""
  return max(1, round(epochs * clips / batch_size))


def tell_change(config: ml_collections.ConfigDict, before: dict, done: int, clips: int) -> None:
  """Warns where a run has more steps than it is asked for, or goes on with another learning rate
  than it had, its cosine being as long as the run.

  Args:
    config: of the run from now on.
    before: the config of the checkpoint.
    done: its step.
    clips: of the training split.
  """
  lengths = [
    count_steps(epochs, clips, config.batch_size) for epochs in (before['epochs'], config.epochs)
  ]
  if done > lengths[1]:
    logging.warning(
      'config.epochs: %g are %d steps, and %d are done: nothing is left to train',
      config.epochs,
      lengths[1],
      done,
    )
    return
  old, new = (float(models.learning_rate(config.optimizer, n)(done)) for n in lengths)
  if old != new:
    logging.warning(
      'config.epochs: %g in place of %g: the learning rate falls to zero over %d steps, not %d; '
      'after step %d it jumps from %.1e to %.1e',
      config.epochs,
      before['epochs'],
      *reversed(lengths),
      done,
      old,
      new,
    )


def create_state(
  system: System, frozen, config: ml_collections.ConfigDict, clip: dict
) -> TrainState:
  """A fresh state for clips like this one, as a function of the seed."""
  kinds = batches.kinds(models.recipe(config.system).wanted)
  batch = {'label': jnp.zeros(1, jnp.int32)}
  batch |= {name: jnp.asarray(clip[name], kinds[name])[None] for name in kinds if name in clip}

  def create(frozen, batch, rng) -> TrainState:
    return state.create(system, system.example(frozen, batch), rng)

  # It runs once: to optimize it would take longer than it does.
  hasty = {'xla_backend_optimization_level': 0, 'xla_llvm_disable_expensive_passes': True}
  created = jax.jit(create, compiler_options=compiler.known(hasty))
  fresh = created(frozen, batch, jax.random.key(config.seed))
  created.clear_cache()  # and it would keep 0.1 GB
  return fresh


def check_same_run(workdir: pathlib.Path, config: dict) -> None:
  """Refuses to continue a run with another config.

  A key that only one of them has was added or removed since: most often its default is what was
  before.

  Raises:
    UserError: a key differs from that of the run in the workdir.
  """
  old, new = flatten(checkpoint.saved_config(workdir) or {}), flatten(config)
  for key in sorted(old.keys() & new.keys()):
    may_change = key in MAY_CHANGE or key.startswith('evaluation.')
    if not may_change and old[key] != new[key]:
      raise UserError(
        f'{workdir}: holds a run with config.{key} = {old[key]!r}, not {new[key]!r}: '
        'name another --workdir, or give the same value'
      )


def check_same_clips(workdir: pathlib.Path, clips: dict) -> None:
  """Refuses to continue a run on other clips than it was trained on, of which somebody may be in
  the test split now.

  Args:
    workdir: of the run; one without checkpoints is not refused.
    clips: the `Clips.summary` of the training split.

  Raises:
    UserError: names who is new and who is missing.
  """
  before = checkpoint.saved_clips(workdir)
  if before is None or before['digest'] == clips['digest']:
    return
  old, new = set(before['people']), set(clips['people'])
  changes = [
    f'{word} {", ".join(sorted(people))}'
    for word, people in (('without', old - new), ('with', new - old))
    if people
  ]
  raise UserError(
    f'{workdir}: holds a run on other clips than the prepared ones, which are '
    f'{" and ".join(changes) or "of the same people"}: name another --workdir, or prepare the '
    'same files again'
  )


def describe(workdir: pathlib.Path, config: ml_collections.ConfigDict, command: str) -> None:
  """Writes config.json, for people to read (checkpoints hold their own), and the command."""
  with replacing(workdir / 'config.json') as temporary:
    pathlib.Path(temporary).write_text(json.dumps(config.to_dict(), indent=2) + '\n')
  if command:
    with replacing(workdir / COMMAND) as temporary:
      pathlib.Path(temporary).write_text(command + '\n')


def steps_to_come(done: int, last_step: int, batch_size: int) -> Iterator[int]:
  """Numbers of the steps after `done`; says how far the training is."""
  with Progress(
    'training',
    last_step,
    'step',
    done=done,
    clips_per_unit=batch_size,
    shown=parallel.is_main(),
  ) as progress:
    for number in range(done + 1, last_step + 1):
      yield number
      progress.update()


class Sampler:
  """Draws the six expressions of a few held-out people, and measures whether the label is used."""

  def __init__(self, system: System, frozen, source, folder: pathlib.Path, people: int = 2):
    clips = first_of_each_person(source, people)
    self._names = [
      f'{clip["subject"].decode()}\n{label}' for clip in clips for label in EXPRESSIONS
    ]
    self._images = np.repeat(
      np.stack([clip['video'][0] for clip in clips]), len(EXPRESSIONS), axis=0
    )
    self._labels = np.tile(np.arange(len(EXPRESSIONS)), len(clips))
    self._frozen = frozen
    self._folder = folder
    self._generate = jax.jit(system.generate)

  def __call__(self, current: TrainState) -> dict[str, float]:
    """Writes samples/NNNNNN.png. Returns the mean difference between two labels' videos of one
    person, and between two people's videos of one label, in [0, 255]."""
    clips = np.asarray(
      self._generate(
        current.generator.variables, self._frozen, self._images, self._labels, jax.random.key(0)
      )
    )
    page = media.sheet(clips, self._names, inputs=self._images)
    media.write_png(self._folder / f'{int(current.step):06d}.png', page)
    clips = clips.reshape(-1, len(EXPRESSIONS), *clips.shape[1:]).astype(np.float32)
    return {
      'samples/difference_of_labels': mean_difference(clips, 1),
      'samples/difference_of_people': mean_difference(clips, 0),
    }


def mean_difference(clips: np.ndarray, axis: int) -> float:
  """Mean |difference| between neighbors along an axis, cyclic."""
  return float(np.abs(clips - np.roll(clips, 1, axis)).mean())


def first_of_each_person(source, people: int) -> list[dict]:
  """One clip each of the first people of a split."""
  found = {}
  for i in range(len(source)):
    clip = source[i]
    found.setdefault(clip['subject'], clip)
  return [found[subject] for subject in sorted(found)[:people]]
