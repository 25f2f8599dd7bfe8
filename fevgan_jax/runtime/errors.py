"""The one exception that `main.py` shows to the person at the keyboard as a single line."""


class UserError(ValueError):
  """What was wrong (the value quoted), what was expected, and how to mend it, in one line."""
