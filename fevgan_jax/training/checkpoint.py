"""Orbax checkpoints: the generator, the critics, the position in the data and the config as named
items. The main process alone reads and writes them; nothing in them depends on the number of
devices or processes."""

import errno
import json
import os
import pathlib
import shutil
from typing import Any

import jax
import ml_collections
import orbax.checkpoint as ocp
from absl import logging

from fevgan_jax.models.parts.recipe import flatten
from fevgan_jax.runtime import parallel
from fevgan_jax.runtime.errors import UserError
from fevgan_jax.training.state import TrainState

# Where things lie on a machine: may differ between the processes of a run.
PLACES = ('dataset.data_dir', 'dataset.manual_dir', 'identity.weights', 'evaluation.weights')
# What may also be overridden where a trained run is used.
OVERRIDABLE = (*PLACES, 'precision', 'dataset.name', 'dataset.config')
ITEMS = ('generator', 'critics', 'data', 'config')


class Checkpoints:
  """The checkpoints of one workdir, written in the background. Use as a context: leaving waits for
  the last write."""

  def __init__(self, workdir: str | os.PathLike, kept: int = 2):
    self.folder = pathlib.Path(workdir).expanduser().absolute() / 'checkpoints'
    self._kept = kept
    self._manager = self._open() if parallel.is_main() else None

  def _open(self) -> ocp.CheckpointManager:
    self.folder.mkdir(parents=True, exist_ok=True)
    return _open(self.folder, max_to_keep=self._kept, enable_async_checkpointing=True)

  def __enter__(self) -> 'Checkpoints':
    return self

  def __exit__(self, kind: type | None, *error) -> None:
    if self._manager is None:
      return
    try:
      self._manager.close()
    except (OSError, ValueError) as failure:
      if kind is None:  # otherwise the first error is the one to tell
        raise self._cannot_write(failure) from failure

  def save(self, state: TrainState, data: Any, config: dict) -> None:
    """Starts to write; what is written is what the arguments are now.

    Args:
      state: of the training.
      data: position in the data, JSON.
      config: JSON.

    Raises:
      UserError: this checkpoint or the one before it cannot be written.
    """
    if self._manager is None:
      return
    host = parallel.fetch(state)
    needed, free = sum(x.nbytes for x in jax.tree.leaves(host)), shutil.disk_usage(self.folder).free
    if free < 1.1 * needed:  # tensorstore, too, would tell, in a hundred tracebacks
      raise self._cannot_write(OSError(errno.ENOSPC, 'full'))
    items = ocp.args.Composite(
      generator=ocp.args.StandardSave(host.generator),
      critics=ocp.args.StandardSave(host.critics),
      data=ocp.args.JsonSave(data),
      config=ocp.args.JsonSave(config),
    )
    try:
      self._manager.save(int(host.step), args=items)
    except (OSError, ValueError) as failure:
      raise self._cannot_write(failure) from failure

  def restore(self, state: TrainState, data: Any, config: dict) -> tuple[TrainState, Any, dict]:
    """The newest checkpoint that can be read, its position in the data, and its config; the
    arguments where there is none yet, and in other processes than the main one.

    A checkpoint that cannot be read is reported and the one before it tried; if that can be read,
    the broken one is moved out of the way, to checkpoints_unreadable/.

    Args:
      state: a state of the same structure and shapes.
      data: position at the beginning.
      config: of the run from now on.

    Raises:
      UserError: there are checkpoints and none can be read.
    """
    if self._manager is None:
      return state, data, config
    abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, parallel.fetch(state))
    step, items, unreadable = _newest(
      self._manager,
      generator=ocp.args.StandardRestore(abstract.generator),
      critics=ocp.args.StandardRestore(abstract.critics),
      data=ocp.args.JsonRestore(),
      config=ocp.args.JsonRestore(),
    )
    if items is not None:
      self._set_aside(unreadable)  # their steps will be saved again
      logging.info('continuing from step %d', step)
      step = jax.numpy.asarray(step, jax.numpy.int32)
      return TrainState(step, items.generator, items.critics), items.data, items.config
    if unreadable:
      raise UserError(
        f'{self.folder}: none of the checkpoints {unreadable} can be read: '
        'name another --workdir to start anew'
      )
    return state, data, config

  def _cannot_write(self, failure: Exception) -> UserError:
    full = 'RESOURCE_EXHAUSTED' in str(failure) or getattr(failure, 'errno', 0) == errno.ENOSPC
    reason = 'the disk is full' if full else _first_line(failure)
    return UserError(
      f'{self.folder}: a checkpoint cannot be written ({reason}): make room and start again, '
      'it goes on from the last complete one'
    )

  def _set_aside(self, steps: list[int]) -> None:
    if not steps:
      return
    self._manager.close()
    aside = self.folder.with_name('checkpoints_unreadable')
    aside.mkdir(exist_ok=True)
    for step in steps:
      target = aside / str(step)
      while target.exists():
        target = target.with_name(f'{target.name}_')
      (self.folder / str(step)).rename(target)
    self._manager = self._open()


def restore_generator(workdir: str | os.PathLike) -> tuple[dict, dict, int]:
  """What is needed to generate: the newest checkpoint's variables, its config and its step.

  Returns:
    {'params', 'batch_stats'} as numpy arrays, the config as a dict, the step.

  Raises:
    UserError: there is no checkpoint that can be read.
  """
  folder = pathlib.Path(workdir).expanduser().absolute() / 'checkpoints'
  if not folder.is_dir():
    raise UserError(f'{workdir}: no checkpoints there: expected the --workdir of a training run')
  with _open(folder) as manager:
    step, items, _ = _newest(
      manager, generator=ocp.args.StandardRestore(), config=ocp.args.JsonRestore()
    )
  if items is None:
    raise UserError(f'{folder}: no checkpoint that can be read: train first')
  generator = parallel.fetch({k: items.generator[k] for k in ('params', 'batch_stats')})
  return generator, items.config, step


def may_differ(key: str) -> bool:
  """Whether a run that was trained with one value of a key may be used with another: where things
  lie, what is measured and on which data set, and the precision."""
  return key in OVERRIDABLE or key.startswith('evaluation.')


def overridable(config: ml_collections.ConfigDict) -> dict[str, Any]:
  """The values of the keys that may differ from those of training."""
  flat = flatten(config)
  return {key: value for key, value in flat.items() if may_differ(key)}


def without_places(config: ml_collections.ConfigDict) -> str:
  """What a run is: the config as text, without where things lie and what is to be measured."""
  flat = flatten(config)
  return json.dumps(
    {
      key: flat[key]
      for key in sorted(flat)
      if key not in PLACES and not key.startswith('evaluation.')
    }
  )


def _open(folder: pathlib.Path, **options) -> ocp.CheckpointManager:
  """A manager that no other process than the main one takes part in."""
  alone = ocp.options.MultiprocessingOptions(primary_host=0, active_processes={0})
  return ocp.CheckpointManager(
    folder,
    item_names=ITEMS,
    options=ocp.CheckpointManagerOptions(create=False, multiprocessing_options=alone, **options),
  )


def _newest(manager: ocp.CheckpointManager, **items) -> tuple[int, Any, list[int]]:
  """The step of the newest checkpoint that can be read, its items, None if there is none, and the
  newer steps that cannot."""
  unreadable = []
  for step in sorted(manager.all_steps(), reverse=True):
    try:
      return step, manager.restore(step, args=ocp.args.Composite(**items)), unreadable
    except Exception as error:  # Orbax raises a dozen kinds, by what is broken  # noqa: BLE001
      logging.warning(
        'checkpoint %d cannot be read (%s): trying the one before it', step, _first_line(error)
      )
      unreadable.append(step)
  return 0, None, unreadable


def _first_line(error: Exception) -> str:
  return f'{type(error).__name__}: {error}'.splitlines()[0][:200]
