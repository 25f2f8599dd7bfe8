"""Four virtual CPU devices, and what the tests share: a small config, its data and its run, made
once by whichever of pytest's processes is the first to need it."""

import fcntl
import os
import pathlib
import pickle

os.environ['JAX_PLATFORMS'] = 'cpu'
# Threads of XLA's pool: fewer than devices and cores ask for, and it deadlocks.
os.environ.setdefault('NPROC', '16')
os.environ['XLA_FLAGS'] = ' '.join(
  (
    os.environ.get('XLA_FLAGS', ''),
    # To compile takes the suite longer than to run what is compiled.
    '--xla_backend_optimization_level=1',
    '--xla_cpu_use_fusion_emitters=false',
    '--xla_force_host_platform_device_count=4',
  )
)

import jax  # noqa: E402
import ml_collections  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402
from absl import flags  # noqa: E402

from configs import synthetic_faces  # noqa: E402
from fevgan_jax.data import datasets  # noqa: E402
from fevgan_jax.evaluation import evaluate  # noqa: E402
from fevgan_jax.runtime import parallel  # noqa: E402
from fevgan_jax.training import step, train  # noqa: E402

flags.FLAGS.mark_as_parsed()  # grain reads absl's flags


def pytest_collection_modifyitems(items) -> None:
  """The files that take longest first, or a worker would end with one of them alone."""
  items.sort(key=lambda item: item.path.parent.name != 'training')


@pytest.fixture(scope='session')
def shared(tmp_path_factory, worker_id) -> pathlib.Path:
  """A folder of all of pytest's processes."""
  own = tmp_path_factory.getbasetemp()
  return own if worker_id == 'master' else own.parent


@pytest.fixture(scope='session', autouse=True)
def compiled(shared) -> None:
  """What is compiled once is kept for the other tests and for the processes that they start."""
  options = {
    'jax_compilation_cache_dir': str(shared / 'compiled'),
    'jax_persistent_cache_min_compile_time_secs': 0,
  }
  for name, value in options.items():
    jax.config.update(name, value)
    os.environ[name.upper()] = str(value)


@pytest.fixture(scope='session')
def data_dir(shared) -> str:
  """Where the tests' data set is, prepared."""
  place = shared / 'tfds'
  with (shared / 'tfds.lock').open('w') as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    datasets.prepare(tiny(str(place)))
  return str(place)


def tiny(data_dir: str) -> ml_collections.ConfigDict:
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
def config(data_dir) -> ml_collections.ConfigDict:
  """The tests' own to change."""
  return tiny(data_dir)


@pytest.fixture(scope='session')
def finished(shared, data_dir):
  """The workdir of a run from beginning to end, its last state, and how often its step was
  traced."""
  workdir, result = shared / 'finished', shared / 'finished.pickle'
  with (shared / 'finished.lock').open('w') as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    if not result.exists():
      original, traces = step.train_step, []

      def counted(*args):
        traces.append(None)
        return original(*args)

      with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step, 'train_step', counted)
        state = parallel.fetch(train.train(tiny(data_dir), workdir))
      evaluate.evaluate(workdir)
      result.write_bytes(pickle.dumps((state, len(traces))))
  return workdir, *pickle.loads(result.read_bytes())


@pytest.fixture
def run(finished):
  """The workdir of a finished run, and its last state."""
  return finished[:2]


@pytest.fixture
def batch() -> dict[str, np.ndarray]:
  """Four random clips."""
  rng = np.random.default_rng(0)
  return {
    'video': rng.integers(0, 256, (4, 32, 64, 64, 3), np.uint8),
    'label': np.array([0, 1, 4, 5], np.int32),
    'landmarks': rng.uniform(0, 64, (4, 32, 68, 2)).astype(np.float32),
  }
