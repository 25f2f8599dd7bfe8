"""FEV-GAN: from one neutral face and an expression label to a video.

    python main.py [--config FILE[:SYSTEM[,OPTION]]] [--mode MODE] [--workdir DIR] [--config.KEY=V]
    python main.py --mode compare --workdirs DIR,DIR,... [--output DIR]
    python main.py --mode generate --image PHOTO [--expression all] [--intensity 0.5,1]
    python main.py --mode demo
    python main.py --mode prepare [--again] [--beam RUNNER]

Modes: train (the default), prepare, evaluate, compare, study, tally, generate, demo, export,
benchmark: see configs/README.md.
"""

import contextlib
import signal
import sys


def modes() -> dict:
  """The function of each mode."""
  from fevgan_jax.data import datasets
  from fevgan_jax.evaluation import compare, evaluate, study
  from fevgan_jax.inference import demo, export, generate
  from fevgan_jax.training import benchmark, train

  return {
    'train': train.train,
    'prepare': datasets.prepare,
    'evaluate': evaluate.evaluate,
    'compare': compare.compare,
    'study': study.study,
    'tally': study.tally,
    'generate': generate.generate,
    'demo': demo.demo,
    'export': export.export,
    'benchmark': benchmark.benchmark,
  }


def run(argv: list[str]) -> None:
  """Calls the function of the mode. What a training will take is told when its data are prepared;
  a training is measured, and what is measured is reported."""
  from fevgan_jax import command_line
  from fevgan_jax.evaluation import evaluate, report
  from fevgan_jax.runtime import files, parallel
  from fevgan_jax.training import checkpoint, estimate

  mode, arguments, processes = command_line.parse(argv)
  if processes:
    parallel.initialize(**processes)
  with contextlib.ExitStack() as alone:
    if mode == 'train' and parallel.is_main():
      alone.enter_context(files.held(arguments['workdir'] / '.lock'))
      files.discard_partial(arguments['workdir'])
    modes()[mode](**arguments)
    if mode == 'prepare':
      estimate.tell(arguments['config'], command_line.training_command(argv))
    if mode in ('train', 'evaluate') and parallel.is_main():
      if mode == 'train':
        evaluate.evaluate(arguments['workdir'], checkpoint.overridable(arguments['config']))
      report.write(arguments['workdir'])


def work(argv: list[str]) -> int:
  from fevgan_jax.runtime import program

  return program.exit_code(lambda: print(__doc__) if '--help' in argv else run(argv))


if __name__ == '__main__':  # the renderer's processes read this file again, and need no imports
  if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # no traceback while modules are imported

  from fevgan_jax.runtime import memory, supervisor

  memory.use_huge_pages()
  if supervisor.needed(sys.argv):
    sys.exit(supervisor.supervise(lambda: work(sys.argv)))
  sys.exit(work(sys.argv))
