"""FEV-GAN+, FEV-GAN or another system on rendered faces, on any machine: `python main.py`.

    python main.py
    python main.py --config configs/synthetic_faces.py:fevgan
    python main.py --config configs/synthetic_faces.py:fevgan,full
    python main.py --config configs/synthetic_faces.py:fevgan,no_spatial
    python main.py --config configs/synthetic_faces.py:cvgan

The first is a tour: `fevgan_plus,tour`, just enough steps to show results. The others are for
comparisons: 72 people and a quarter of an hour to an hour on two cores, or, with `full`, 200 people
and more steps. The paper's settings are for 400 epochs. All these runs are short: the learning rate
falls to zero, batches are small for more steps, and then every system has what its file says of
short runs.
"""

from configs import base
from fevgan_jax import models


def short_run(config):
  """A run of minutes on few clips."""
  config.epochs = 16.0
  config.batch_size = 4
  config.optimizer.schedule = 'cosine'
  config.sample_every = 200
  config.checkpoint_every = 100
  models.recipe(config.system).short_run(config)


def tour(config):
  """An eighth of the steps, and in each of them half of the work."""
  made_for = [name for name in models.names() if 'grid' in models.recipe(name).defaults().model]
  if config.system not in made_for:
    raise ValueError(f"option 'tour': not for {config.system}, but for {' and '.join(made_for)}")
  config.epochs = 2.0
  config.optimizer.learning_rate = 1e-3
  config.model.grid = 8
  config.critic.width = 16
  config.loss.identity_frames = 1


def full(config):
  """More people and takes, and a longer run."""
  config.dataset.config = 'full'
  config.epochs = 9.0
  models.recipe(config.system).long_run(config)


def crowd(config):
  """A thousand people, and a run of hours."""
  config.dataset.config = 'crowd'
  config.epochs = 2.0
  models.recipe(config.system).long_run(config)


def graded(config):
  """Takes from no expression to a strong one, for a system that uses the intensity."""
  uses = [name for name in models.names() if 'intensity' in models.recipe(name).conditions]
  if config.system not in uses:
    raise ValueError(
      f"option 'graded': {config.system} does not use the intensity, as {', '.join(uses)} would"
    )
  config.dataset.config = 'graded'
  config.epochs = 12.0


def get_config(argument: str = 'fevgan_plus,tour'):
  return base.get_config(argument, short_run, tour=tour, full=full, crowd=crowd, graded=graded)
