"""What `main.py` shows to the person at the keyboard as a single line."""

import errno

# What a disk refuses. Any other OSError may be a mistake of ours, whose place must be seen.
REFUSALS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)


class UserError(ValueError):
  """What was wrong (the value quoted), what was expected, and how to mend it, in one line."""
