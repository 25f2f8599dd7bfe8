"""The TFDS builder of MUG, for who has a license; see README.md."""
