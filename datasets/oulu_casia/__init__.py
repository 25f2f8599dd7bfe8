"""The TFDS builder of Oulu-CASIA, for who has a license; see README.md."""
