"""What outlives JAX in a run of several processes, and says why it ended.

Where the coordinator does not answer or a process is lost, JAX ends the others with abort(), from
a thread of its own: most likely the main thread waits for the lost one in the midst of a step and
never returns. No Python code runs then. So the work is done in a child process, and this one waits.
"""

import contextlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable

from fevgan_jax.runtime import interrupt

LOST = os.EX_TEMPFAIL  # exit code 75: nothing to mend, the same command goes on


def needed(argv: list[str]) -> bool:
  """Whether the command line names other processes."""
  return any(word.partition('=')[0].lstrip('-') == 'coordinator' for word in argv)


def supervise(work: Callable[[], int]) -> int:
  """The exit code of work(), done in a child process. Call before any thread is started."""
  ours, childs = os.pipe()
  child = os.fork()
  if child == 0:
    os.close(childs)
    threading.Thread(target=_end_with_parent, args=(ours,), daemon=True).start()
    _work(work)
  os.close(ours)

  def hand_on(number: int, frame) -> None:
    with contextlib.suppress(ProcessLookupError):
      os.kill(child, number)

  for number in interrupt.SIGNALS:
    signal.signal(number, hand_on)
  code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
  if code >= 0 and code != LOST:
    return code
  if -code in interrupt.SIGNALS:  # before the command, or after it
    return 128 - code
  reason = 'another process of this run was lost or never came, see the lines above'
  if code not in (LOST, -signal.SIGABRT):
    reason = f'ended by {signal.Signals(-code).name}'
  print(
    f'fevgan: {reason}: the last complete checkpoint is kept, start all processes again to go on '
    'from it',
    file=sys.stderr,
  )
  return LOST


def _work(work: Callable[[], int]) -> None:
  """Exits with the code of work().

  A failure leaves at once, and JAX ends the other processes. All else leaves as usual: JAX waits
  then until all are done, also after a signal, for which all stop at the same step.
  """
  try:
    code = work()
  except SystemExit:
    raise
  except BaseException as error:  # noqa: BLE001
    if _connection_lost(error):
      print(f'fevgan: {error}'.splitlines()[0], file=sys.stderr)
      code = LOST
    else:
      traceback.print_exc()
      code = 1
  if code and code - 128 not in interrupt.SIGNALS:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
  sys.exit(code)


def _connection_lost(error: BaseException) -> bool:
  """Whether a sum over the processes failed before JAX noticed that one is gone."""
  words = ('gloo', 'nccl', 'connection')
  text = str(error).lower()
  return type(error).__name__ == 'JaxRuntimeError' and any(word in text for word in words)


def _end_with_parent(pipe: int) -> None:
  os.read(pipe, 1)  # nothing is written: returns when the parent has ended, however that happened
  os._exit(LOST)
