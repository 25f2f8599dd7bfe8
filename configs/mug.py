"""FEV-GAN on MUG as in the paper: `python main.py --config configs/mug.py`.

Needs the licensed images and a VGG-Face weight file (`--config.identity.weights`), see README.
"""

from configs import base


def get_config(argument: str = ''):
  config = base.get_config()
  config.dataset.name = 'mug'
  config.dataset.config = ''
  return base.choose(config, argument)
