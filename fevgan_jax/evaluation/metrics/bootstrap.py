"""How far a mean can be trusted: percentile bootstrap over people.

Clips of one person go together: drawing clips would make intervals too narrow.
"""

import numpy as np

LEVEL = 0.95
DRAWS = 2000


def interval(
  values: np.ndarray, people: np.ndarray, weights: np.ndarray | None = None, *, seed: int = 0
) -> tuple[float, float] | None:
  """The interval of sum(values) / sum(weights) when as many people are drawn with replacement.

  Args:
    values: [clips].
    people: [clips], whose clip it is.
    weights: [clips]; None for ones, that is for the mean.
    seed: of the draws.

  Returns:
    Lower and upper end of the LEVEL interval; None for fewer than two people.
  """
  names, person = np.unique(people, return_inverse=True)
  if len(names) < 2:
    return None
  weights = np.ones(len(values)) if weights is None else weights
  value_of, weight_of = (np.bincount(person, x, len(names)) for x in (values, weights))
  rng = np.random.default_rng(seed)
  drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), DRAWS)
  means = drawn @ value_of / (drawn @ weight_of)
  low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
  return float(low), float(high)
