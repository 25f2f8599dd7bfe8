"""The shipped generator, and a real face, for the tests of what is made with them."""

import numpy as np
import pytest
import skimage.data

import fevgan_jax


@pytest.fixture(scope='session')
def model():
  return fevgan_jax.load()


@pytest.fixture(scope='session')
def face(model) -> np.ndarray:
  """The crop of a real photograph."""
  return model.crop(skimage.data.astronaut())
