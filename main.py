"""FEV-GAN: from one neutral face and an expression label to a video.

    python main.py [--config FILE[:SYSTEM[,OPTION]]] [--mode MODE] [--workdir DIR] [--config.KEY=V]
    python main.py --mode compare --workdirs DIR,DIR,... [--output DIR]
    python main.py --mode generate --image PHOTO [--expression all] [--intensity 0.5,1]

Modes: train (the default), prepare, evaluate, compare, generate, benchmark. configs/base.py says
where every key is explained, README.md explains the rest, several processes (--coordinator) too.
"""

import sys


def run(argv: list[str]) -> None:
  """Calls the functions of the mode."""
  from fevgan_jax import command_line

  command = command_line.parse(argv)
  from fevgan_jax.data import datasets
  from fevgan_jax.evaluation import compare, evaluate
  from fevgan_jax.inference import generate
  from fevgan_jax.runtime import parallel
  from fevgan_jax.training import benchmark, checkpoint, train

  def train_and_evaluate(config, workdir):
    train.train(config, workdir)
    if parallel.is_main():
      evaluate.evaluate(workdir, checkpoint.free(config))

  modes = {
    'train': train_and_evaluate,
    'prepare': datasets.prepare,
    'evaluate': evaluate.evaluate,
    'compare': compare.compare,
    'generate': generate.generate,
    'benchmark': benchmark.benchmark,
  }
  if command.processes:
    parallel.initialize(**command.processes)
  modes[command.mode](**command.arguments)


def work(argv: list[str]) -> int:
  """The exit code."""
  from fevgan_jax.runtime import program

  return program.exit_code(lambda: print(__doc__) if '--help' in argv else run(argv))


if __name__ == '__main__':  # the renderer's processes read this file again, and need no imports
  from fevgan_jax.runtime import supervisor

  if supervisor.needed(sys.argv):
    sys.exit(supervisor.supervise(lambda: work(sys.argv)))
  sys.exit(work(sys.argv))
