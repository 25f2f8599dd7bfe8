"""The TFDS builder of clips of one's own; see README.md."""
