"""The configuration. Every part is explained where it is read, with the place in the paper that it
comes from; here the parts are put together. The other files only override.

| keys | explained by `defaults` of |
|---|---|
| model, critic, loss, identity | the system's file, fevgan_jax/models/SYSTEM.py |
| precision, norm, optimizer | fevgan_jax/models/__init__.py |
| seed, epochs, batch_size, ..._every, checkpoint..., start | fevgan_jax/training/train.py |
| dataset | fevgan_jax/data/datasets.py |
| evaluation | fevgan_jax/evaluation/evaluate.py |
"""

from fevgan_jax import models
from fevgan_jax.data import datasets
from fevgan_jax.evaluation import evaluate
from fevgan_jax.models.parts.recipe import Change, Config
from fevgan_jax.training import train


def get_config(argument: str = '', settings: Change | None = None, **options: Change) -> Config:
  """The config of what follows the colon in `--config FILE:SYSTEM,OPTION,...`.

  Args:
    argument: the system's name, then options, separated by commas; empty for FEV-GAN.
    settings: of a config file that wants others than the paper's and a system's published ones;
      applied before the options.
    **options: what the file offers beside the system's own options, by name.

  Raises:
    ValueError: there is no such system, or it has no such option.
  """
  system, *names = argument.split(',')
  system = system or 'fevgan'
  config = models.defaults(system)
  config.update(train.defaults())
  config.dataset = datasets.defaults()
  config.evaluation = evaluate.defaults()
  models.recipe(system).published(config)
  if settings is not None:
    settings(config)
  known = {**options, **models.recipe(system).options}
  for name in names:
    if name not in known:
      expected = f'expected one of {", ".join(sorted(known))}' if known else 'there is none'
      raise ValueError(f"no option '{name}' of {system} with this file: {expected}")
    known[name](config)
  return config
