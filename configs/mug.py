"""FEV-GAN on MUG as in the paper: `python main.py --config configs/mug.py`.

Needs the licensed images and a VGG-Face weight file (`--config.identity.weights`), see
datasets/README.md. Without such a file, say `--config.identity.network=dlib`.
"""

from configs import base


def get_config(argument: str = ''):
  return base.get_config(argument, on_mug)


def on_mug(config):
  config.dataset.name = 'mug'
  config.dataset.config = 'public'
