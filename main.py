"""FEV-GAN: from one neutral face and an expression label to a video.

    python main.py [--config FILE[:SYSTEM[,OPTION]]] [--mode MODE] [--workdir DIR] [--config.KEY=V]
    python main.py --mode compare --workdirs DIR,DIR,... [--output DIR]
    python main.py --mode generate --image PHOTO [--expression all] [--intensity 0.5,1]

Modes: train (the default), prepare, evaluate, compare, generate, benchmark. configs/base.py holds
every key, README.md explains the rest, several processes (--coordinator) among it.
"""

import logging as python_logging
import os
import sys


def run(argv: list[str]) -> None:
  """Calls the one function of the mode."""
  from fevgan_jax import command_line

  options = command_line.parse(argv)
  from fevgan_jax.data import datasets
  from fevgan_jax.evaluation import compare, evaluate
  from fevgan_jax.inference import generate
  from fevgan_jax.runtime import parallel
  from fevgan_jax.training import benchmark, train

  if options.coordinator:
    parallel.initialize(options.coordinator, options.processes, options.process)
  if options.mode == 'prepare':
    datasets.prepare(options.config)
  elif options.mode == 'train':
    train.train(options.config, options.workdir)
  elif options.mode == 'evaluate':
    evaluate.evaluate(options.config, options.workdir)
  elif options.mode == 'compare':
    compare.compare(options.config, options.workdirs, options.output)
  elif options.mode == 'benchmark':
    benchmark.benchmark(options.config)
  elif options.mode == 'generate':
    where = options.named_workdir, options.image, options.expression, options.output
    generate.generate(options.config, *where, options.intensities, seed=options.seed)


def set_up_logging() -> None:
  """Our own lines from INFO on, those of libraries from WARNING on, none of Orbax's many."""
  from absl import flags, logging

  flags.FLAGS.mark_as_parsed()  # absl's own flags keep their defaults; grain reads them too
  logging.use_absl_handler()
  logging.set_verbosity(logging.INFO)
  logging.set_stderrthreshold('info')
  ours = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'fevgan_jax')
  logging.get_absl_handler().addFilter(
    lambda record: (
      record.pathname.startswith(ours)
      or (record.levelno >= python_logging.WARNING and '/orbax/' not in record.pathname)
    )
  )


def main(argv: list[str]) -> int:
  from fevgan_jax.runtime import supervisor

  return supervisor.supervise(lambda: work(argv)) if supervisor.needed(argv) else work(argv)


def work(argv: list[str]) -> int:
  """The exit code."""
  # Imports wait until here: the renderer's processes read this file again and need none of them.
  from fevgan_jax.runtime import errors, memory

  memory.keep_freed()
  set_up_logging()
  try:
    print(__doc__) if '--help' in argv else run(argv)
  except (errors.UserError, OSError) as error:
    print(f'fevgan: {errors.one_line(error)}', file=sys.stderr)
    return 2
  return 0


if __name__ == '__main__':
  sys.exit(main(sys.argv))
