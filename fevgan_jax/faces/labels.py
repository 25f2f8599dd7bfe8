"""The six expressions of the paper, in the order of their numbers. Alone in a file, so that what
makes data sets need not load the networks."""

import numpy as np

from fevgan_jax.runtime.errors import UserError

EXPRESSIONS = ('anger', 'disgust', 'fear', 'happiness', 'sadness', 'surprise')
NUM_LABELS = len(EXPRESSIONS)
# Of an expression: 0 is the still face, 1 the usual strength, and beyond this nothing was trained.
MAX_INTENSITY = 1.2


def parts(expression: str) -> np.ndarray:
  """How much of each of EXPRESSIONS there is in 'fear' or 'happiness:0.6,surprise:0.5': float32
  [6].

  Raises:
    UserError: it is neither.
  """
  found = np.zeros(NUM_LABELS, np.float32)
  for word in expression.split(','):
    name, colon, amount = word.partition(':')
    if name not in EXPRESSIONS or (',' in expression and not colon):
      raise UserError(
        f"expression: '{expression}', expected one of {', '.join(EXPRESSIONS)}, or a mixture as "
        'happiness:0.6,surprise:0.5'
      )
    try:
      found[EXPRESSIONS.index(name)] += float(amount) if colon else 1
    except ValueError:
      raise UserError(f"expression: '{word}', expected a number behind the colon") from None
  if not (found >= 0).all():
    raise UserError(f"expression: '{expression}', expected numbers from 0 on")
  return found
