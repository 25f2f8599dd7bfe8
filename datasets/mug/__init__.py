"""The TFDS builder of MUG, for who has a licence; see README.md."""
