"""FEV-GAN on Oulu-CASIA as in the paper: `python main.py --config configs/oulu_casia.py`.

Needs the licensed images and a VGG-Face weight file (`--config.identity.weights`), see
datasets/README.md. Without such a file, say `--config.identity.network=dlib`. Other
light and the infrared camera are `--config.dataset.config=vl_weak`, `vl_dark`, `ni_strong`,
`ni_weak` and `ni_dark`.
"""

from configs import base


def get_config(argument: str = ''):
  return base.get_config(argument, on_oulu_casia)


def on_oulu_casia(config):
  config.dataset.name = 'oulu_casia'
  config.dataset.config = 'vl_strong'
