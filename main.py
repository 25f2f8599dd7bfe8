"""FEV-GAN: from one neutral face and an expression label to a video.

    python main.py [--config FILE[:SYSTEM[,OPTION]]] [--mode MODE] [--workdir DIR] [--config.KEY=V]
    python main.py --mode compare --workdirs DIR,DIR,... [--output DIR]
    python main.py --mode generate --image PHOTO [--expression all] [--intensity 0.5,1]

Modes: train (the default), prepare, evaluate, compare, generate, benchmark: configs/README.md.
"""

import sys


def run(argv: list[str]) -> None:
  """Calls the functions of the mode."""
  from fevgan_jax import command_line

  command = command_line.parse(argv)
  from fevgan_jax.data import datasets
  from fevgan_jax.evaluation import compare, evaluate, report
  from fevgan_jax.inference import generate
  from fevgan_jax.runtime import parallel
  from fevgan_jax.training import benchmark, checkpoint, train

  def measure(workdir, overrides):
    evaluate.evaluate(workdir, overrides)
    report.write(workdir)

  def train_and_measure(config, workdir):
    train.train(config, workdir)
    if parallel.is_main():
      report.keep_command(workdir)
      measure(workdir, checkpoint.free(config))

  modes = {
    'train': train_and_measure,
    'prepare': datasets.prepare,
    'evaluate': measure,
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
