"""Estimates what a training takes on this machine, before it is begun."""

import statistics

import jax
import ml_collections
from absl import logging

from fevgan_jax import models
from fevgan_jax.data import batches, datasets
from fevgan_jax.runtime import parallel, workers
from fevgan_jax.runtime.errors import UserError
from fevgan_jax.runtime.progress import duration
from fevgan_jax.training import benchmark, train

SECONDS = 15  # of timed steps, if that is between 2 and 10


def tell(config: ml_collections.ConfigDict, command: str) -> None:
  """Logs how long a run of this config takes here and what memory it needs, or why it cannot be
  run. The data have to be prepared; a VGG-Face file need not be there.

  Args:
    config: of the run.
    command: that starts it.
  """
  logging.info('timing a few training steps')
  try:
    line = estimate(config)
  except UserError as error:
    logging.warning('training with this config is not possible: %s', error)
  else:
    logging.info('%s: %s', line, command)


def estimate(config: ml_collections.ConfigDict) -> str:
  """Times a few steps on prepared clips.

  Returns:
    One line: epochs, steps, hours, devices and memory.

  Raises:
    UserError: the data, the batch and the system do not fit each other.
  """
  part = parallel.local_part(config.batch_size)
  source = datasets.Clips(datasets.builder(config), 'train')
  train.check_given(config, source[0])
  train.check_enough(config, len(source))
  steps = train.count_steps(config.epochs, len(source), config.batch_size)
  clips = next(batches.train_batches(source, config, models.recipe(config.system).wanted, part))
  timed = benchmark.setting(config, clips, steps=steps)
  timed.step()  # compiles
  durations = []
  while len(durations) < 2 or (len(durations) < benchmark.ROUNDS and sum(durations) < SECONDS):
    durations.append(benchmark.seconds(timed.step))
  total = steps * statistics.median(durations)
  return (
    f'training: {config.epochs:g} epochs are {steps:,} steps of {config.batch_size} clips, '
    f'about {duration(total)} on {devices()}, {benchmark.peak_memory() / 1e9:.1f} GB of memory'
  )


def devices() -> str:
  """'2 CPU cores', or how many of which accelerator."""
  if jax.default_backend() == 'cpu':
    cores = workers.available_cores()
    return f'{cores} CPU core{"s" * (cores > 1)}'
  return f'{jax.device_count()} {jax.devices()[0].device_kind}'
