"""Four virtual CPU devices, and the small config and data that the tests share."""

import os

os.environ['JAX_PLATFORMS'] = 'cpu'
os.environ.setdefault(
  'NPROC', '16'
)  # threads of XLA's pool: fewer than devices and cores ask for, and it deadlocks
os.environ['XLA_FLAGS'] = (
  os.environ.get('XLA_FLAGS', '') + ' --xla_force_host_platform_device_count=4'
)

import jax  # noqa: E402
import ml_collections  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402
from absl import flags  # noqa: E402

from configs import synthetic_faces  # noqa: E402

jax.config.update(
  'jax_disable_most_optimizations', True
)  # compile time is most of the suite's time
flags.FLAGS.mark_as_parsed()  # grain reads absl's flags


@pytest.fixture(scope='session')
def data_dir(tmp_path_factory) -> str:
  """Where the tests' data set is prepared, once."""
  return str(tmp_path_factory.mktemp('tfds'))


@pytest.fixture
def config(data_dir) -> ml_collections.ConfigDict:
  """FEV-GAN as narrow as can be, without a face network, on a few rendered people."""
  config = synthetic_faces.get_config('fevgan,no_identity')
  config.dataset.config = 'tiny'
  config.dataset.data_dir = data_dir
  config.model.width = 1
  config.model.spatial_width = 1
  config.critic.width = 1
  config.batch_size = 4
  config.epochs = 2.0
  config.optimizer.schedule = 'constant'  # so that a longer run begins like a shorter one
  config.log_every = 1
  config.sample_every = 3
  config.checkpoint_every = 2
  return config


@pytest.fixture
def batch() -> dict[str, np.ndarray]:
  """Four random clips."""
  rng = np.random.default_rng(0)
  return {
    'video': rng.integers(0, 256, (4, 32, 64, 64, 3), np.uint8),
    'label': np.array([0, 1, 4, 5], np.int32),
  }
