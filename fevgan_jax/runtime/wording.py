"""Counts and lists in messages."""

from collections.abc import Sequence


def counted(count: int, singular: str, plural: str = '') -> str:
  """'1 person', '12 people'. The plural of a regular noun may be left out."""
  return f'{count} {singular if count == 1 else plural or singular + "s"}'


def people(count: int) -> str:
  return counted(count, 'person', 'people')


def listed(names: Sequence[str], most: int = 10) -> str:
  """'a, b, c', or 'a, b and 7 more' if there are more than `most` names."""
  if len(names) <= most:
    return ', '.join(names)
  return f'{", ".join(names[: most - 1])} and {len(names) - most + 1} more'
