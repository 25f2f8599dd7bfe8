"""Devices and processes: the only file that knows pmap, axis names and meshes.

The state has no device axis: `replicate` places it on every local device, the step takes and
returns it whole. `jax.pmap` averages over the devices of all processes.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from fevgan_jax.errors import UserError

AXIS = 'batch'
PyTree = Any


def replicate(tree: PyTree) -> PyTree:
  """Places a tree on every local device. Needed after creation and after every restore: pmap
  compiles once for arrays that are placed as it returns them, and may donate them."""
  mesh = jax.sharding.Mesh(np.array(jax.local_devices()), (AXIS,))
  return jax.device_put(tree, jax.NamedSharding(mesh, jax.P()))


def shard(batch: PyTree) -> PyTree:
  """[local batch, ...] -> [local devices, batch per device, ...]."""
  devices = jax.local_device_count()
  return jax.tree.map(lambda x: x.reshape(devices, -1, *x.shape[1:]), batch)


def pmap_step(step: Callable) -> Callable:
  """Runs step(state, frozen, batch, rng) -> (state, metrics) on all devices; batch as `shard`
  makes it.

  The old state is given up to the new one.
  """
  return jax.pmap(
    step, axis_name=AXIS, in_axes=(None, None, 0, None), out_axes=(None, None), donate_argnums=(0,)
  )


def local_batch_size(batch_size: int) -> int:
  """Examples per process.

  Raises:
    UserError: the batch cannot be split evenly.
  """
  if batch_size < 1 or batch_size % jax.device_count():
    raise UserError(
      f'config.batch_size: {batch_size} cannot be split over {jax.device_count()} devices: '
      'give a multiple of it'
    )
  return batch_size // jax.process_count()


def fetch(tree: PyTree) -> PyTree:
  """A copy in host memory, which no later step overwrites."""
  return jax.tree.map(lambda x: np.array(x), tree)


def is_main() -> bool:
  """Whether this process writes logs and samples."""
  return jax.process_index() == 0
