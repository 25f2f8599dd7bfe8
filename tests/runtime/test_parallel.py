"""Batches over devices."""

import socket

import jax
import numpy as np
import pytest

from fevgan_jax.runtime import parallel
from fevgan_jax.runtime.errors import UserError


def test_shard_gives_each_device_its_part():
  # Eight examples on the four virtual devices: two each, in order.
  shards = parallel.shard({'x': np.arange(8)})['x']
  assert shards.tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]


def test_batch_must_split_evenly():
  assert parallel.local_batch_size(8) == 8
  for size in (0, 6, -4):
    with pytest.raises(UserError, match=f'config.batch_size: {size} cannot be split over 4'):
      parallel.local_batch_size(size)


def test_one_process_takes_the_whole_batch():
  assert parallel.local_part(8) == slice(0, 8)


def test_a_coordinator_that_does_not_answer_is_named(monkeypatch):
  monkeypatch.setattr(parallel, 'CONNECT_SECONDS', 0)
  with socket.socket() as unused:
    unused.bind(('localhost', 0))  # and does not listen
    address = f'localhost:{unused.getsockname()[1]}'
    with pytest.raises(UserError, match=f'{address}: Connection refused: .* --process 0 runs'):
      parallel.initialize(address, 2, 1)


def test_step_sums_over_devices_and_gives_the_state_up():
  state = parallel.replicate({'total': np.zeros(())})

  def step(state, frozen, batch, rng):
    mean = jax.lax.pmean(batch.sum(), parallel.AXIS)
    return {'total': state['total'] + frozen * mean}, {'mean': mean}

  batch = parallel.shard(np.arange(8.0))
  after, metrics = parallel.PmapStep(step)(state, np.float32(2), batch, jax.random.key(0))
  # Sums of 1, 5, 9 and 13 on the devices: mean 7, doubled by the frozen factor.
  assert float(metrics['mean']) == 7
  assert float(after['total']) == 14
  assert state['total'].is_deleted()


def test_fetch_is_a_copy():
  array = jax.numpy.ones(3)
  copy = parallel.fetch(array)
  copy[0] = 5
  assert array[0] == 1
