import numpy as np
import pytest

from fevgan_jax.photograph.openings import Light


@pytest.fixture
def light() -> Light:
  """Of a color photograph, neither dark nor bright."""
  return Light(np.full(3, 200.0), 1.0)


@pytest.fixture
def grid():
  """(low, high) -> points of the template at a tenth of a pixel, [n, n, 2]."""

  def points(low: float, high: float) -> np.ndarray:
    line = np.arange(low, high, 0.1, dtype=np.float32)
    return np.stack(np.meshgrid(line, line), -1)

  return points
