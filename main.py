"""FEV-GAN: from one neutral face and an expression label to a video.

    python main.py [--config FILE[:SYSTEM[,OPTION]]] [--mode train] [--workdir DIR] [--config.key=value]
    python main.py --mode generate --image PHOTO --expression all

Modes: train (the default), prepare, evaluate, generate. configs/base.py explains every key. See README.md.
"""

import pathlib
import sys

from fevgan_jax import parallel

parallel.keep_freed_memory()  # before any other thread allocates

import os  # noqa: E402

from absl import logging  # noqa: E402

from fevgan_jax import command_line  # noqa: E402
from fevgan_jax.errors import UserError  # noqa: E402


def run(options: command_line.Options) -> None:
  """Calls the one function of the mode."""
  config, workdir = options.config, options.workdir
  if options.mode == 'prepare':
    from fevgan_jax import data
    data.prepare(config)
  elif options.mode == 'train':
    from fevgan_jax import train
    train.train(config, workdir)
  elif options.mode == 'evaluate':
    from fevgan_jax import evaluate
    evaluate.evaluate(config, workdir)
  elif options.mode == 'generate':
    from fevgan_jax import generate
    generate.generate(config, options.named_workdir, options.image, options.expression, options.output)


def main(argv: list[str]) -> int:
  logging.use_absl_handler()
  logging.set_verbosity(logging.INFO)
  logging.set_stderrthreshold(logging.INFO)
  if {'--help', '-h'} & set(argv):
    print(__doc__)
    return 0
  try:
    run(command_line.parse(argv))
  except UserError as error:
    print(f'fevgan: {error}', file=sys.stderr)
    return 2
  except OSError as error:
    print(f'fevgan: {error.filename or "file system"}: {os.strerror(error.errno) if error.errno else error}',
          file=sys.stderr)
    return 2
  return 0


if __name__ == '__main__':
  sys.exit(main(sys.argv))
