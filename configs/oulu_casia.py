"""FEV-GAN on Oulu-CASIA as in the paper: `python main.py --config configs/oulu_casia.py`.

Needs the licensed images and a VGG-Face weight file (`--config.identity.weights`), see README.
"""

from configs import base


def get_config(argument: str = ''):
  config = base.get_config()
  config.dataset.name = 'oulu_casia'
  config.dataset.config = ''
  return base.choose(config, argument)
