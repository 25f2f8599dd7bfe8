"""FEV-GAN on clips of one's own: `python main.py --config configs/own_clips.py`.

They lie at SUBJECT/EXPRESSION/CLIP, see datasets/README.md. The settings are those of the rendered
people: a short run on few clips, and a face network that installs with the project. For thousands
of clips and days of training, take the paper's of configs/mug.py.
"""

from configs import base, synthetic_faces


def get_config(argument: str = ''):
  return base.get_config(argument, on_own_clips)


def on_own_clips(config):
  synthetic_faces.short_run(config)
  config.dataset.name = 'own_clips'
  config.dataset.config = 'to_apex'
