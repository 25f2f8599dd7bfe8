"""Tests of the estimate of a training's time and memory."""

import re

import pytest

from fevgan_jax.runtime.errors import UserError
from fevgan_jax.training import estimate


@pytest.fixture(autouse=True)
def short(monkeypatch):
  monkeypatch.setattr(estimate, 'SECONDS', 0)


def test_a_line_says_steps_time_devices_and_memory(toy):
  toy.epochs = 400.0  # of 12 clips, 4 in a step
  line = estimate.estimate(toy)
  words = r'training: 400 epochs are 1,200 steps of 4 clips, about (\d+) (seconds|minutes) on '
  found = re.fullmatch(words + r'\d+ CPU cores?, (\d+\.\d) GB of memory', line)
  assert found, line
  assert 0.1 < float(found[3]) < 50


def test_a_batch_that_the_data_do_not_fill(toy, caplog):
  toy.batch_size = 16
  with pytest.raises(UserError, match='config.batch_size: 16, and there are 12 training clips'):
    estimate.estimate(toy)
  estimate.tell(toy, 'python main.py')
  assert 'training with this config is not possible: config.batch_size: 16' in caplog.text
