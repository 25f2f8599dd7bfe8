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
from fevgan_jax.evaluation import evaluate  # noqa: E402
from fevgan_jax.runtime import parallel
from fevgan_jax.training import step, train  # noqa: E402

jax.config.update(
  'jax_disable_most_optimizations', True
)  # compile time is most of the suite's time
flags.FLAGS.mark_as_parsed()  # grain reads absl's flags


@pytest.fixture(scope='session', autouse=True)
def compiled(tmp_path_factory) -> None:
  """What is compiled once is kept for the other tests and for the processes that they start."""
  options = {
    'jax_compilation_cache_dir': str(tmp_path_factory.mktemp('compiled')),
    'jax_persistent_cache_min_compile_time_secs': 0,
  }
  for name, value in options.items():
    jax.config.update(name, value)
    os.environ[name.upper()] = str(value)


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


@pytest.fixture(scope='session')
def finished(tmp_path_factory):
  """The workdir of a run from beginning to end, its last state, and how often its step was
  traced."""
  return tmp_path_factory.mktemp('finished'), [], []


@pytest.fixture
def run(finished, config):
  """The finished run; the first test that asks for it does it."""
  workdir, states, traces = finished
  if not states:
    original = step.train_step

    def counted(*args):
      traces.append(None)
      return original(*args)

    with pytest.MonkeyPatch.context() as patch:  # a test that asks for this run may train others
      patch.setattr(step, 'train_step', counted)
      states.append(parallel.fetch(train.train(config, workdir)))
      evaluate.evaluate(workdir)
  return workdir, states[0]


@pytest.fixture
def batch() -> dict[str, np.ndarray]:
  """Four random clips."""
  rng = np.random.default_rng(0)
  return {
    'video': rng.integers(0, 256, (4, 32, 64, 64, 3), np.uint8),
    'label': np.array([0, 1, 4, 5], np.int32),
  }
