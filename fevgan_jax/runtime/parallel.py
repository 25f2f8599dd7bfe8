"""Devices and processes: the only file that knows pmap, axis names and meshes.

The state has no device axis: `replicate` places it on every local device, the step takes and
returns it whole. `jax.pmap` averages over the devices of all processes. The main process is the one
that reads and writes the workdir; what it has found there it hands to the others.
"""

import contextlib
import os
import signal
import socket
import time
import zlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from absl import logging
from jax.experimental import multihost_utils
from orbax.checkpoint import multihost

from fevgan_jax.runtime import compiler, interrupt, memory
from fevgan_jax.runtime.errors import UserError

AXIS = 'batch'
CONNECT_SECONDS = 300  # for all processes of a run to come
HEARTBEAT_SECONDS = 30  # without a sign of life from a process, until JAX ends the others
# XLA's order of a step for the least memory: its temporaries take a third less, in no more time.
CPU_OPTIONS = {
  'xla_cpu_scheduler_type': 'CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED',
  'xla_cpu_copy_insertion_use_region_analysis': True,
}
WEEK = 7 * 24 * 3600  # the others wait so long for one that prepares data or evaluates
PyTree = Any


def initialize(coordinator: str, processes: int | None, process: int | None) -> None:
  """Connects the processes of a run. Call before anything asks for a device.

  Where it fails inside JAX it ends the process, see supervisor.py.

  Args:
    coordinator: HOST:PORT of process 0, or 'auto': everything comes from the environment of the
      cluster (SLURM, Open MPI, Cloud TPU, GKE).
    processes: how many; None with 'auto'.
    process: which one is this, from 0; None with 'auto'.

  Raises:
    UserError: there is no such environment, or nothing answers there.
  """
  explicit = {}
  if coordinator != 'auto':
    explicit = {
      'coordinator_address': coordinator,
      'num_processes': processes,
      'process_id': process,
      'cluster_detection_method': 'deactivate',  # or SLURM would leave each process one device
    }
    logging.info('process %d of %d: connecting by %s', process, processes, coordinator)
    if process:
      _wait_for(coordinator)
  try:
    jax.distributed.initialize(
      **explicit,
      initialization_timeout=CONNECT_SECONDS,
      heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
      shutdown_timeout_seconds=WEEK,
    )
  except ValueError as error:
    raise UserError(
      f'--coordinator auto: {error}: found no cluster that JAX knows: '
      'give --coordinator HOST:PORT --processes N --process I'
    ) from error
  except jax.errors.JaxRuntimeError as error:
    raise UserError(
      f'--coordinator {coordinator}: {error}: is its port in use? Name another one'
    ) from error


def _wait_for(coordinator: str) -> None:
  """Waits until process 0 listens: JAX would abort where it does not."""
  host, port = coordinator.rsplit(':', 1)
  end = time.monotonic() + CONNECT_SECONDS
  while True:
    try:
      socket.create_connection((host.strip('[]'), int(port)), timeout=10).close()
      return
    except OSError as error:
      if time.monotonic() > end:
        raise UserError(
          f'--coordinator {coordinator}: {error.strerror or error}: '
          'expected HOST:PORT where --process 0 runs'
        ) from error
    time.sleep(0.5)


def is_main() -> bool:
  """Whether this process writes checkpoints, logs and samples."""
  return jax.process_index() == 0


def take_turns(work: Callable[[], Any]) -> Any:
  """work() in one process after the other: what one leaves on a shared disk, the next one finds."""
  result = None
  wait = multihost.get_barrier_sync_fn()
  for turn in range(jax.process_count()):
    if turn == jax.process_index():
      result = work()
    wait(key=f'turn {turn}', timeout_ms=1000 * WEEK)
  return result


def from_main(tree: PyTree) -> PyTree:
  """The main process's values of a tree of arrays, which has one structure in all processes."""
  return tree if jax.process_count() == 1 else multihost_utils.broadcast_one_to_all(tree)


def check_same(text: str) -> None:
  """Whether all processes were started alike.

  Raises:
    UserError: another process has another text.
  """
  digests = multihost_utils.process_allgather(np.uint32(zlib.crc32(text.encode())))
  if len(set(digests.tolist())) > 1:
    raise UserError(
      'the processes of this run differ in config or data: start all with the same flags, but for '
      '--process, and the same version of the data set'
    )


def replicate(tree: PyTree) -> PyTree:
  """Places a tree on every local device. Needed after creation and after every restore: pmap
  compiles once for arrays that are placed as it returns them, and may donate them."""
  mesh = jax.sharding.Mesh(np.array(jax.local_devices()), (AXIS,))
  return jax.device_put(tree, jax.NamedSharding(mesh, jax.P()))


def on_one_device(tree: PyTree) -> PyTree:
  """The same arrays, without a copy, as one of the devices that they are replicated on has them."""
  return jax.tree.map(lambda x: x.addressable_data(0), tree)


def shard(batch: PyTree) -> PyTree:
  """[local batch, ...] -> [local devices, batch per device, ...]."""
  devices = jax.local_device_count()
  return jax.tree.map(lambda x: x.reshape(devices, -1, *x.shape[1:]), batch)


class PmapStep:
  """Runs step(state, frozen, batch, rng) -> (state, metrics) on all devices; batch as `shard` makes
  it. The old state is given up to the new one.

  The first call compiles, for its shapes, and gives back what that leaves in memory, and what JAX
  would keep to trace less another time. In a run of several processes pmap does as it does.

  Attributes:
    compiled: the program, from then on, of a single process.
  """

  def __init__(self, step: Callable[..., tuple[PyTree, PyTree]]):
    places = {'in_axes': (None, None, 0, None), 'out_axes': (None, None)}
    self._mapped = jax.pmap(step, axis_name=AXIS, donate_argnums=(0,), **places)
    self.compiled = None

  def __call__(self, *arguments: PyTree) -> tuple[PyTree, PyTree]:
    if jax.process_count() > 1:  # compiled ahead, it would ask each process for the batch of all
      return self._mapped(*arguments)
    if self.compiled is None:
      options = compiler.known(CPU_OPTIONS) if jax.default_backend() == 'cpu' else None
      self.compiled = self._mapped.lower(*arguments).compile(options)
      jax.clear_caches()
      memory.give_back()
    return self.compiled(*arguments)


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
  if jax.device_count() != jax.process_count() * jax.local_device_count():
    raise UserError(
      f'{jax.local_device_count()} of {jax.device_count()} devices are in process '
      f'{jax.process_index()} of {jax.process_count()}: expected as many in each'
    )
  return batch_size // jax.process_count()


def local_part(batch_size: int) -> slice:
  """Which examples of a global batch this process takes: one after the other, as its devices."""
  size = local_batch_size(batch_size)
  return slice(jax.process_index() * size, (jax.process_index() + 1) * size)


def fetch(tree: PyTree) -> PyTree:
  """A copy in host memory, which no later step overwrites."""
  return jax.tree.map(lambda x: np.array(x), tree)


class PreemptionHandler:
  """Ends a training at SIGINT or SIGTERM, after the same step in all processes. Use as a context
  around the loop and the writing of its checkpoints.

  A single process has nothing to save before its first step: until then a signal ends it as it ends
  any other command. Several processes agree by JAX, which listens to SIGTERM in C++. A handler of
  our own would take that signal away from it, so a SIGINT is handed on as SIGTERM.

  Attributes:
    received: the signal after which the loop stops, or None.
  """

  def __init__(self):
    self.received: signal.Signals | None = None
    self._several = jax.process_count() > 1
    self._stack = contextlib.ExitStack()
    self._deferring = False

  def __enter__(self) -> 'PreemptionHandler':
    if self._several:
      self._defer()
    return self

  def __exit__(self, *error) -> None:
    self._stack.close()

  def stops_after(self, step: int) -> bool:
    """Returns whether this step is the last one. Call after every step, in all processes."""
    if not self._deferring:
      self._defer()
    if not self._several:
      return self.received is not None
    if multihost_utils.reached_preemption_sync_point(step):
      self.received = self.received or signal.SIGTERM
      return True
    return False

  def _defer(self) -> None:
    self._deferring = True
    numbers = (signal.SIGINT,) if self._several else interrupt.SIGNALS
    notice = 'saving after this step'
    self._stack.enter_context(interrupt.deferred(self._receive, notice, numbers))

  def _receive(self, number: int) -> None:
    self.received = signal.Signals(number)
    if self._several and number != signal.SIGTERM:
      os.kill(os.getpid(), signal.SIGTERM)
