"""The generator that comes with the project: half-precision arrays and their config in one file.

    python -m fevgan_jax.pretrained WORKDIR      # makes it from a run's newest checkpoint
"""

import json
import pathlib
import sys

import flax.traverse_util
import numpy as np
import safetensors.numpy

from fevgan_jax import checkpoint

FILE = pathlib.Path(__file__).parent / 'weights' / 'fevgan_synthetic_faces.safetensors'


def save(path: pathlib.Path, variables: dict, config: dict) -> None:
  """Writes a generator's {'params', 'batch_stats'}, rounded to float16, and its config without the
  places of this machine."""
  config = config | {'dataset': config['dataset'] | {'data_dir': ''}}
  flat = flax.traverse_util.flatten_dict(variables, sep='/')
  arrays = {name: np.ascontiguousarray(array, np.float16) for name, array in flat.items()}
  path.parent.mkdir(parents=True, exist_ok=True)
  safetensors.numpy.save_file(arrays, path, metadata={'config': json.dumps(config)})


def load(path: pathlib.Path = FILE) -> tuple[dict, dict]:
  """The generator's {'params', 'batch_stats'} as float32, and its config."""
  with safetensors.safe_open(path, framework='numpy') as file:
    arrays = {name: file.get_tensor(name).astype(np.float32) for name in file.keys()}
    config = json.loads(file.metadata()['config'])
  return flax.traverse_util.unflatten_dict(arrays, sep='/'), config


if __name__ == '__main__':
  save(FILE, *checkpoint.restore_generator(sys.argv[1])[:2])
