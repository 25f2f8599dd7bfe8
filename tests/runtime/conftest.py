"""A fixture for the tests of compiled convolutions."""

import pytest

from fevgan_jax.runtime import conv_tiles


@pytest.fixture
def compiler() -> None:
  """Skips a test on a machine without a C++ compiler."""
  if not conv_tiles.compiled():
    pytest.skip('there is no C++ compiler')
