"""The config of the tests' runs, in the suite and as commands: `--config tests/support/tiny.py`.

A toy system, which is compiled in a second, on a few rendered people, for two epochs of three
steps. `tiny.py:fevgan,no_identity` is FEV-GAN, as narrow as can be.
"""

import pathlib

from configs import synthetic_faces
from fevgan_jax import models

SYSTEMS = str(pathlib.Path(__file__).with_name('one_more_system'))


def get_config(argument: str = 'tint'):
  if argument == 'tint' and SYSTEMS not in models.__path__:
    models.__path__.append(SYSTEMS)
  config = synthetic_faces.get_config(argument)
  config.dataset.config = 'tiny'
  config.model.width = 1
  if 'spatial_width' in config.model:
    config.model.spatial_width = config.critic.width = 1
  config.batch_size = 4
  config.epochs = 2.0
  config.optimizer.schedule = 'constant'  # so that a longer run begins like a shorter one
  config.log_every = 1
  config.sample_every = 3
  config.checkpoint_every = 2
  return config
