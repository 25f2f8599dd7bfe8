"""The TFDS builder of Oulu-CASIA, for who has a licence; see README.md."""
