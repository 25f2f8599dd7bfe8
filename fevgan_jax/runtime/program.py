"""What surrounds a command: the log, memory, and one line for whoever typed it wrong."""

import contextlib
import logging as python_logging
import multiprocessing
import os
import pathlib
import sys
from collections.abc import Callable

from absl import flags, logging

from fevgan_jax.runtime import files, interrupt, memory, progress, workers
from fevgan_jax.runtime.errors import REFUSALS, UserError
from fevgan_jax.runtime.interrupt import Interrupted

OURS = str(pathlib.Path(__file__).parents[1])


def exit_code(command: Callable[[], None]) -> int:
  """Runs a command: 0; 2 after a line that says what the user can mend; or 128 plus the number of
  the signal that ended it, after a line that says what is kept."""
  memory.keep_freed()  # before the first thread
  interrupt.install()
  keep_compiled()
  set_up_logging()
  try:
    command()
    code, line = 0, ''
  except BaseException as error:  # noqa: BLE001
    code, line = verdict(interrupt.raised() or error)
  if code > 2:
    workers.kill(set(multiprocessing.active_children()))
  interrupt.finish()
  if line:
    progress.close_all()
    line = line.replace('\n', '\\n')  # of a file's name
    print(f'fevgan: {line}', file=sys.stderr, flush=True)
  return code


def verdict(error: BaseException) -> tuple[int, str]:
  """The exit code and the last line of a command that was interrupted, or that the user can mend.

  Raises:
    BaseException: the error itself, if it is another one.
  """
  if isinstance(error, Interrupted):
    return 128 + error.number, str(error)
  if isinstance(error, UserError):
    return 2, str(error)
  if isinstance(error, OSError) and error.errno in REFUSALS:
    place = error.filename or 'disk'
    return 2, f'{place}: {error.strerror}: make room, or name another folder'
  raise error


def keep_compiled() -> None:
  """Lets JAX keep compiled programs on disk, so that a second start compiles nothing. Call before
  JAX is imported; a place that the user has named for them stays."""
  with contextlib.suppress(FileNotFoundError):
    os.environ.setdefault('JAX_COMPILATION_CACHE_DIR', str(files.compiled_here()))


def set_up_logging() -> None:
  """Our own lines from INFO on, those of libraries from WARNING on, none of Orbax's many; no
  traceback from each thread that still reads when a checkpoint has turned out to be broken, and
  none where a signal comes while Python deletes an object."""
  shown = sys.unraisablehook
  late = 'Event loop is closed'
  sys.unraisablehook = lambda of: (
    None if str(of.exc_value) == late or isinstance(of.exc_value, Interrupted) else shown(of)
  )
  flags.FLAGS.mark_as_parsed()  # absl's own flags keep their defaults; grain reads them too
  logging.use_absl_handler()
  logging.set_verbosity(logging.INFO)
  logging.set_stderrthreshold('info')
  logging.get_absl_handler().addFilter(
    lambda record: (
      record.pathname.startswith(OURS)
      or (
        record.levelno >= python_logging.WARNING
        and '/orbax/' not in record.pathname
        and not interrupt.raised()
      )
    )
  )
