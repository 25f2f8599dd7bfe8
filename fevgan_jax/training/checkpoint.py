"""Orbax checkpoints: the generator, the critics, the position in the data and the config as named
items, and a digest of each, checked before it is trusted. The main process alone reads and writes
them; nothing in them depends on the number of devices or processes."""

import errno
import hashlib
import json
import os
import pathlib
import shutil
import time
from collections.abc import Collection
from typing import Any

import jax
import ml_collections
import numpy as np
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
ITEMS = ('generator', 'critics', 'data', 'config', 'digests')


class Checkpoints:
  """The checkpoints of one workdir, written in the background. Use as a context: leaving waits for
  the last write."""

  def __init__(self, workdir: str | os.PathLike, kept: int = 2):
    self.folder = pathlib.Path(workdir).expanduser().absolute() / 'checkpoints'
    self._kept = kept
    self._saved = time.monotonic()
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

  def minutes_since_save(self) -> float:
    """The age of the last checkpoint, or of this object. The main process decides alone when to
    save, so this is 0 in others."""
    return (time.monotonic() - self._saved) / 60 if self._manager else 0.0

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
    step, arrays = int(host.step), _arrays(host)
    json_items = {'data': data, 'config': config}
    json_items['digests'] = {
      name: digest(step, item) for name, item in {**arrays, **json_items}.items()
    }
    items = {name: ocp.args.StandardSave(item) for name, item in arrays.items()}
    items |= {name: ocp.args.JsonSave(item) for name, item in json_items.items()}
    try:
      self._manager.save(step, args=ocp.args.Composite(**items))
    except (OSError, ValueError) as failure:
      raise self._cannot_write(failure) from failure
    self._saved = time.monotonic()

  def restore(self, state: TrainState, data: Any, config: dict) -> tuple[TrainState, Any, dict]:
    """The newest checkpoint that can be read, its position in the data, and its config; the
    arguments where there is none yet, and in other processes than the main one.

    A checkpoint that cannot be read, or is not what was saved, is reported and the one before it
    tried; if that can be read, the broken one is moved out of the way, to checkpoints_unreadable/.

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
    arrays = {name: ocp.args.StandardRestore(item) for name, item in _arrays(abstract).items()}
    step, items, unreadable = _newest(
      self._manager, **arrays, data=ocp.args.JsonRestore(), config=ocp.args.JsonRestore()
    )
    for broken, reason in unreadable.items():
      logging.warning('checkpoint %d cannot be read (%s): trying the one before it', broken, reason)
    if items is not None:
      self._set_aside(unreadable)  # their steps will be saved again
      logging.info('continuing from step %d', step)
      step = jax.numpy.asarray(step, jax.numpy.int32)
      found = {name: items[name] for name in arrays}
      return state.replace(step=step, **found), items.data, items.config
    if unreadable:
      raise UserError(
        f'{self.folder}: none of the checkpoints {[*unreadable]} can be read: '
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

  def _set_aside(self, steps: Collection[int]) -> None:
    if not steps:
      return
    aside = self.folder.with_name('checkpoints_unreadable')
    if aside.exists() and not aside.is_dir():
      raise UserError(f'{aside}: no folder: move it away, checkpoints {[*steps]} are to go there')
    aside.mkdir(exist_ok=True)
    self._manager.close()
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
    UserError: there is no checkpoint, or the newest one cannot be read: another one in its place
      would be measured and compared as if it were that.
  """
  folder = pathlib.Path(workdir).expanduser().absolute() / 'checkpoints'
  if not folder.is_dir():
    raise UserError(f'{workdir}: no checkpoints there: expected the --workdir of a training run')
  with _open(folder) as manager:
    step, items, unreadable = _newest(
      manager, generator=ocp.args.StandardRestore(), config=ocp.args.JsonRestore()
    )
  for broken, reason in unreadable.items():
    other = f', or move it away to use that of step {step}' if items else ''
    raise UserError(
      f'{folder}: checkpoint {broken} cannot be read ({reason}): train again, which makes it anew'
      f'{other}'
    )
  if items is None:
    raise UserError(f'{folder}: no checkpoint there: train first')
  generator = parallel.fetch({k: items.generator[k] for k in ('params', 'batch_stats')})
  return generator, items.config, step


def saved_config(workdir: str | os.PathLike) -> dict | None:
  """The config of a run's newest checkpoint of which it can be read; None of no run."""
  return _saved(workdir, 'config')


def saved_clips(workdir: str | os.PathLike) -> dict | None:
  """The `Clips.summary` of the clips that a run was trained on; None of no run, or one of an
  earlier version."""
  return (_saved(workdir, 'data') or {}).get('clips')


def _saved(workdir: str | os.PathLike, item: str) -> dict | None:
  """A JSON item of the newest checkpoint of which it can be read."""
  folder = pathlib.Path(workdir).expanduser().absolute() / 'checkpoints'
  if not folder.is_dir():
    return None
  with _open(folder) as manager:
    _, items, _ = _newest(manager, **{item: ocp.args.JsonRestore()})
  return items and items[item]


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


def _arrays(state: TrainState) -> dict[str, Any]:
  """The items that are made of arrays; one without any, of a system without critics, is none."""
  items = {'generator': state.generator, 'critics': state.critics}
  return {name: item for name, item in items.items() if item}


def _open(folder: pathlib.Path, **options) -> ocp.CheckpointManager:
  """A manager that no other process than the main one takes part in."""
  alone = ocp.options.MultiprocessingOptions(primary_host=0, active_processes={0})
  return ocp.CheckpointManager(
    folder,
    item_names=ITEMS,
    options=ocp.CheckpointManagerOptions(create=False, multiprocessing_options=alone, **options),
  )


def _newest(manager: ocp.CheckpointManager, **items) -> tuple[int, Any, dict[int, str]]:
  """The step of the newest checkpoint that can be read and is what was saved, its items, None if
  there is none, and why each of the newer ones is not."""
  unreadable = {}
  for step in sorted(manager.all_steps(), reverse=True):
    wanted = dict(items)
    if (manager.directory / str(step) / 'digests').exists():
      wanted['digests'] = ocp.args.JsonRestore()
    try:
      found = manager.restore(step, args=ocp.args.Composite(**wanted))
      _check(step, found)
      return step, found, unreadable
    except Exception as error:  # Orbax raises a dozen kinds, by what is broken  # noqa: BLE001
      unreadable[step] = _first_line(error)
  return 0, None, unreadable


def digest(step: int, item: Any) -> str:
  """The SHA-256 of an item of a checkpoint: of the step, and of the path, kind, shape and bytes of
  each of its arrays and values."""
  found = hashlib.sha256(str(step).encode())
  leaves = jax.tree.leaves_with_path(item)
  named = {jax.tree_util.keystr(path, simple=True, separator='/'): x for path, x in leaves}
  for name, leaf in sorted(named.items()):
    array = np.asarray(leaf)
    found.update(f'{name} {array.dtype} {array.shape}'.encode())
    found.update(array.tobytes())
  return found.hexdigest()


def _check(step: int, found: Any) -> None:
  """Raises: ValueError: an item is not what was saved at this step."""
  if 'digests' not in found:
    logging.warning('checkpoint %d: saved by an earlier version, without digests', step)
    return
  for name, item in found.items():
    if name != 'digests' and found.digests.get(name) != digest(step, item):
      raise ValueError(f'its {name} is not what was saved')


def _first_line(error: Exception) -> str:
  return f'{type(error).__name__}: {error}'.splitlines()[0][:200]
