"""A TFDS data set of rendered people who make the six expressions; see README.md."""
