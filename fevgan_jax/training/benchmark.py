"""Times the training step and the generator alone, on random clips: one JSON line."""

import functools
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from fevgan_jax import identity, models
from fevgan_jax.data import batches, datasets
from fevgan_jax.faces.labels import NUM_LABELS
from fevgan_jax.models.parts.system import System
from fevgan_jax.runtime import memory, parallel
from fevgan_jax.training import step, train
from fevgan_jax.training.state import TrainState

ROUNDS = 10
CPU_PRODUCT_SIDE = 4096  # rows of the matrices whose product is timed; accelerators take twice it


def benchmark(config: ml_collections.ConfigDict) -> dict[str, object]:
  """Times what `train` repeats, on clips of noise: no data need be there, nor a VGG-Face file.

  Prints one JSON line with:
    seconds_per_step, clips_per_second: median over ROUNDS steps; over all devices.
    compile_seconds: what the first step takes longer.
    generator_ms: milliseconds per call of the generator alone, by batch size, on one device.
    peak_memory: bytes; of the process over the timed steps on a CPU, of one device elsewhere.
    gflop_per_step: multiplications and additions as XLA counts them for convolutions.
    matrix_product_gflop_per_second: measured, of all devices; share_of_peak: of it. On a CPU
      convolutions need fewer operations than are counted.

  Returns:
    What is printed.
  """
  timed = setting(config)
  system, clips = timed.system, timed.clips
  part = jax.tree.map(lambda array: array[0], parallel.shard(clips))  # of one device
  alone = models.build(config, system.identity)
  gflop = jax.device_count() * count_gflop(alone, timed.frozen, timed.state, part)
  milliseconds = {}
  for images in sorted({1, len(part['label'])}):
    call = functools.partial(timed.generate, images)
    call()
    milliseconds[str(images)] = 1e3 * statistics.median(seconds(call) for _ in range(ROUNDS))

  first = seconds(timed.step)
  memory.forget_peak()
  per_step = statistics.median(seconds(timed.step) for _ in range(ROUNDS))
  used = peak_memory()
  peak = matrix_product_gflop_per_second(system.dtype) * jax.device_count()
  result = {
    'system': config.system,
    'device': jax.devices()[0].device_kind,
    'devices': jax.device_count(),
    'processes': jax.process_count(),
    'precision': jnp.dtype(system.dtype).name,
    'clip': clips['video'].shape[1:],
    'batch_size': config.batch_size,
    'model': config.model.to_dict(),
    'face_network': models.identity_network(config),
    'seconds_per_step': per_step,
    'clips_per_second': config.batch_size / per_step,
    'compile_seconds': first - per_step,
    'generator_ms': milliseconds,
    'peak_memory': used,
    'gflop_per_step': gflop,
    'matrix_product_gflop_per_second': peak,
    'share_of_peak': gflop / per_step / peak,
  }
  if parallel.is_main():
    print(json.dumps(result), flush=True)
  return result


class Timed:
  """What is timed: a system in training, on one batch of clips again and again."""

  def __init__(self, system: System, frozen: Any, state: TrainState, clips: dict[str, np.ndarray]):
    self.system = system
    self.frozen = frozen
    self.state = state
    self.clips = clips
    self.train_step = parallel.PmapStep(functools.partial(step.train_step, system))
    self._generate = jax.jit(system.generate)

  def step(self) -> None:
    """One training step, as the loop does it."""
    batch = parallel.shard(self.clips)
    self.state, metrics = self.train_step(self.state, self.frozen, batch, jax.random.key(0))
    jax.block_until_ready((self.state, metrics))

  def generate(self, images: int) -> np.ndarray:
    """Clips of so many images, on one device, on the host."""
    trained = parallel.on_one_device((self.state.generator.variables, self.frozen))
    inputs = self.clips['video'][:images, 0], self.clips['label'][:images]
    return np.asarray(self._generate(*trained, *inputs, jax.random.key(0)))


def setting(
  config: ml_collections.ConfigDict, clips: dict[str, np.ndarray] | None = None, *, steps: int = 1
) -> Timed:
  """A system with a fresh state for a run of so many steps, and a batch of this process's clips:
  these, or random ones of the data set's shape."""
  clips = clips or random_clips(config, parallel.local_batch_size(config.batch_size))
  models.check_clips(config.system, clips['video'].shape[1:])
  encoder, frozen = face_network(config)
  system = models.build(config, encoder, steps=steps, axis_name=parallel.AXIS)
  first = {name: array[0] for name, array in clips.items()}
  state = train.create_state(system, frozen, config, first)
  return Timed(system, parallel.replicate(frozen), parallel.replicate(state), clips)


def random_clips(config: ml_collections.ConfigDict, batch: int) -> dict[str, np.ndarray]:
  """A batch of noise in the shape of the config's data set, with all that the system is given."""
  features = datasets.builder(config, needed=False).info.features
  rng = np.random.default_rng(0)
  wanted = {
    name: rng.integers(0, 3, (batch, *features[name].shape)).astype(kind)
    for name, kind in batches.WANTED.items()
    if name in models.recipe(config.system).wanted and name in features
  }
  return {
    'video': rng.integers(0, 256, (batch, *features['video'].shape), np.uint8),
    'label': np.arange(batch, dtype=np.int32) % NUM_LABELS,
    **wanted,
  }


def face_network(config: ml_collections.ConfigDict):
  """As in training, but VGG-Face may have random weights: they do not change the time."""
  if models.identity_network(config) == 'vgg_face' and not config.identity.weights:
    return identity.untrained_vgg_face()
  return models.load_identity(config)


def count_gflop(system: System, frozen, state, clips: dict[str, np.ndarray]) -> float:
  """Of one step on one device, from XLA's cost analysis.

  It is made of the step as a GPU would be given it, whose convolutions are single operations, so
  that the count belongs to the network and not to how a CPU goes about it.
  """
  traced = jax.jit(lambda *args: step.train_step(system, *args)).trace(
    state, frozen, clips, jax.random.key(0)
  )
  return traced.lower(lowering_platforms=('cuda',)).cost_analysis()['flops'] / 1e9


def matrix_product_gflop_per_second(dtype: jnp.dtype) -> float:
  """The best of a few square products on one device."""
  side = CPU_PRODUCT_SIDE if jax.default_backend() == 'cpu' else 2 * CPU_PRODUCT_SIDE
  square = jax.jit(lambda x: x @ x)
  x = jnp.ones((side, side), dtype)
  jax.block_until_ready(square(x))
  best = min(seconds(lambda: jax.block_until_ready(square(x))) for _ in range(5))
  return 2 * side**3 / best / 1e9


def peak_memory() -> int:
  """Bytes: the most that the process has held on a CPU, and one device elsewhere."""
  device_memory = jax.local_devices()[0].memory_stats()  # a CPU has none
  return device_memory['peak_bytes_in_use'] if device_memory else memory.peak()


def seconds(f: Callable[[], object]) -> float:
  start = time.perf_counter()
  f()
  return time.perf_counter() - start
