"""What the builders of all data sets share; each data set has tests of its own."""

from tensorflow_datasets.core import shuffle

from fevgan_jax.faces import builder  # noqa: F401  it is what this is about


def test_a_split_of_more_than_a_gigabyte_needs_no_tensorflow(tmp_path):
  clip = bytes(2**20)  # the same one each time: no memory is used
  sorted_by_key = shuffle.Shuffler(tmp_path, 'train')
  for key in range(1100):
    sorted_by_key.add(key, clip)
  assert sum(data is clip for _, data in sorted_by_key) == 1100
