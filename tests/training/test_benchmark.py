"""The benchmark's figures: present, consistent with each other, and of the right thing."""

import json

import jax
import numpy as np
import pytest
from networks import narrow

from fevgan_jax import models
from fevgan_jax.faces import truth
from fevgan_jax.training import benchmark, state


@pytest.fixture(autouse=True)
def few_rounds(monkeypatch):
  monkeypatch.setattr(benchmark, 'ROUNDS', 3)
  monkeypatch.setattr(benchmark, 'CPU_PRODUCT_SIDE', 512)


def test_benchmark_prints_one_line_of_figures(toy, capsys):
  toy.precision = 'float32'
  result = benchmark.benchmark(toy)
  out = capsys.readouterr().out
  assert out.count('\n') == 1
  printed = json.loads(out)
  assert printed == json.loads(json.dumps(result))
  assert (printed['devices'], printed['processes'], printed['precision']) == (4, 1, 'float32')
  assert printed['clip'] == [32, 64, 64, 3]
  assert printed['clips_per_second'] == pytest.approx(4 / printed['seconds_per_step'])
  speed = printed['gflop_per_step'] / printed['seconds_per_step']
  assert printed['share_of_peak'] == pytest.approx(
    speed / printed['matrix_product_gflop_per_second']
  )
  assert 0 < printed['share_of_peak'] < 1
  assert printed['compile_seconds'] > 0
  assert set(printed['generator_ms']) == {'1'}  # one image per device is all of the batch
  assert 1e8 < printed['peak_memory'] < 1e11


@pytest.mark.slow
def test_operations_are_those_of_the_networks(config):
  # By hand, for the generator's narrowest layers at width 1, batch 2: the count of a whole step
  # must exceed its largest layer, five times (forward, two gradients, and the critic's mirror of
  # it twice), and double with the batch.
  # Layer 16x32x32x1 -> 32x64x64x3: 2 operations x 64 taps x 3 x 16384 places = 6.3 MFLOP a clip.
  system = models.build(config, None)
  counts = {}
  for batch in (8, 16):
    clips = benchmark.random_clips(config, batch)
    assert clips['video'].shape == (batch, 32, 64, 64, 3)
    example = system.example(None, {name: array[:1] for name, array in clips.items()})
    fresh = jax.eval_shape(lambda e: state.create(system, e, jax.random.key(0)), example)
    part = {name: array[: batch // jax.local_device_count()] for name, array in clips.items()}
    counts[batch] = benchmark.count_gflop(system, None, fresh, part)
  per_clip = 8 / jax.local_device_count()
  assert counts[8] > 5 * 6.3e-3 * per_clip
  assert counts[16] == pytest.approx(2 * counts[8], rel=0.1)


def test_a_batch_has_all_that_the_system_is_given(config, data_dir):
  assert set(benchmark.random_clips(config, 4)) == {'video', 'label'}
  clips = benchmark.random_clips(narrow('fevgan_plus', data_dir), 4)
  assert set(clips) == {'video', 'label', 'intensity', *truth.KNOWN}
  assert clips['displacement'].shape == (4, 32, 64, 64, 2)
  assert clips['intensity'].shape == (4,)
  clips = benchmark.random_clips(narrow('motiongan', data_dir), 4)
  assert clips['landmarks'].shape == (4, 32, 68, 2)


def test_matrix_product_speed_is_that_of_the_machine():
  # Between one slow core and any accelerator of these years.
  assert 1 < benchmark.matrix_product_gflop_per_second(np.float32) < 1e6
