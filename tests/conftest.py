"""Four virtual CPU devices, and what the tests share: a small config, its data and its run, made
once by whichever of pytest's processes is the first to need it."""

import fcntl
import os
import pathlib
import pickle

os.environ |= {
  'JAX_PLATFORMS': 'cpu',
  'JAX_NUM_CPU_DEVICES': '4',
  'JAX_DISABLE_MOST_OPTIMIZATIONS': '1',  # compiling takes the suite longer than running
}
# Threads of XLA's pool: fewer than devices and cores ask for, and it deadlocks.
os.environ.setdefault('NPROC', '16')

import jax  # noqa: E402
import ml_collections  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402
import tiny  # noqa: E402
from absl import flags  # noqa: E402

from fevgan_jax import models  # noqa: E402
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
def compiled(pytestconfig, shared) -> None:
  """Keeps compiled programs for the other tests, the processes that they start, and the next run of
  the suite. `pytest --cache-clear` starts without them."""
  kept = pytestconfig.pluginmanager.hasplugin('cacheprovider')  # not with -p no:cacheprovider
  options = {
    'jax_compilation_cache_dir': str(
      pytestconfig.cache.mkdir('compiled') if kept else shared / 'compiled'
    ),
    'jax_persistent_cache_min_compile_time_secs': 0.1,  # writing one takes some milliseconds
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
    datasets.prepare(tiny_config('fevgan', str(place)))
  return str(place)


@pytest.fixture
def config(data_dir) -> ml_collections.ConfigDict:
  """The config of `run`, the tests' own to change: FEV-GAN, as narrow as can be."""
  return tiny_config('fevgan,no_identity', data_dir)


def tiny_config(argument: str, data_dir: str) -> ml_collections.ConfigDict:
  config = tiny.get_config(argument)
  config.dataset.data_dir = data_dir
  return config


@pytest.fixture(scope='session')
def finished(shared, data_dir):
  """The workdir of a run from beginning to end, its last state, and how often its step was
  traced."""

  def make(workdir: pathlib.Path) -> tuple:
    original, traces = step.train_step, []

    def counted(*args):
      traces.append(None)
      return original(*args)

    with pytest.MonkeyPatch.context() as patch:
      patch.setattr(step, 'train_step', counted)
      state = parallel.fetch(train.train(tiny_config('fevgan,no_identity', data_dir), workdir))
    evaluate.evaluate(workdir)
    return state, len(traces)

  return made_once(shared / 'finished', make)


def made_once(workdir: pathlib.Path, make) -> tuple:
  """A workdir, and what make(workdir) returns in the first of pytest's processes that asks."""
  result = workdir.with_suffix('.pickle')
  with workdir.with_suffix('.lock').open('w') as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    if not result.exists():
      result.write_bytes(pickle.dumps(make(workdir)))
  return workdir, *pickle.loads(result.read_bytes())


@pytest.fixture
def toy(data_dir, monkeypatch) -> ml_collections.ConfigDict:
  """The config of `toy_run`, the tests' own to change. The toy is a system until the test ends."""
  monkeypatch.setattr(models, '__path__', [*models.__path__, tiny.SYSTEMS])
  return tiny_config('tint', data_dir)


@pytest.fixture
def toy_run(toy, shared):
  """The workdir of a finished run of a toy system, and its last state: for tests of the loop, which
  knows nothing of networks."""

  def make(workdir: pathlib.Path) -> tuple:
    return (parallel.fetch(train.train(toy, workdir)),)

  return made_once(shared / 'toy', make)


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
