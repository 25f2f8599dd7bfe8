"""FEV-GAN, or another system, on rendered faces, on any machine: `python main.py`.

    python main.py
    python main.py --config configs/synthetic_faces.py:fevgan,full
    python main.py --config configs/synthetic_faces.py:fevgan,no_spatial
    python main.py --config configs/synthetic_faces.py:cvgan

The first takes 72 people and under 15 minutes on two cores, the second 200 people and most of an
hour.
The paper's settings are for 400 epochs. These runs are short: the learning rate is higher and falls
to zero, and the label is made to be heard early, by its scale and by the weight of moving pixels.
"""

from configs import base


def short_run(config):
  """What a run of minutes needs, of any system: small batches for more steps, and networks of one
  width, which is half of FEV-GAN's and VGAN's and a quarter of C-VGAN's."""
  config.dataset.name = 'synthetic_faces'
  config.dataset.config = 'quick'
  config.epochs = 16.0
  config.batch_size = 4
  config.model.width = 32
  config.critic.width = 32
  config.optimizer.schedule = 'cosine'
  config.sample_every = 200
  config.checkpoint_every = 100
  # The other systems keep their rate, ten times FEV-GAN's, and their losses.
  if config.system.startswith('fevgan'):
    config.identity.network = 'dlib'
    config.model.spatial_width = 32
    config.model.label_scale = 20.0
    config.model.repeat_edges = True
    config.loss.motion_weight = 2.0
    config.loss.identity_frames = 2
    config.loss.identity_choice = 'random'
    config.optimizer.learning_rate = 5e-4
  if config.system == 'fevgan_plus':
    config.loss.motion_weight = 0.5  # what rests need not be painted, and the label is heard
  if config.system == 'mocogan':
    config.critic.frames = 16  # as its authors train it, and less than half of the time


def full(config):
  """More people and takes, and a longer run: expressions need less weight, people more."""
  config.dataset.config = 'full'
  config.epochs = 9.0
  if config.system.startswith('fevgan'):
    config.loss.motion_weight = 0.5
    config.loss.identity = 10.0


def graded(config):
  """Takes from no expression to a strong one, for a system that hears how strong: of these are
  FEV-GAN+'s weights that come with the project."""
  if config.system != 'fevgan_plus':
    raise ValueError(f"option 'graded': {config.system} does not hear how strong, fevgan_plus does")
  config.dataset.config = 'graded'
  config.epochs = 12.0


def get_config(argument: str = ''):
  return base.choose(base.get_config(), argument, short_run, full=full, graded=graded)
