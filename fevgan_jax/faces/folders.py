"""Finds recordings below a folder, however deep archives have put them and whatever they call the
folders around them."""

import collections
import itertools
import os
import pathlib
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from fevgan_jax.faces.recording import Recording
from fevgan_jax.runtime.errors import UserError
from fevgan_jax.runtime.wording import counted, listed, people

DEPTH = 8  # levels below the named folder that are searched
MAX_FOLDERS = 20_000  # searched in all: somebody may name a whole disk


class Found(NamedTuple):
  """Recordings below a folder.

  Attributes:
    recordings: in a fixed order, also those that are not wanted.
    notes: lines for the log and the report: where the recordings are.
    warnings: lines for the log and the report: what was passed over, and why.
    elsewhere: folders with recordings of other parts of the data set, if there is nothing else.
  """

  recordings: list[Recording]
  notes: list[str] = []
  warnings: list[str] = []
  elsewhere: list[pathlib.Path] = []


class Root(NamedTuple):
  """A folder of people's folders.

  Attributes:
    path: of the folder.
    recordings: of all its people.
    folders: the folders of each person, more than one if it holds both 17 and 017.
  """

  path: pathlib.Path
  recordings: list[Recording]
  folders: dict[str, list[pathlib.Path]]

  def size(self) -> tuple[int, int]:
    """Recordings that have files, and their files. A half-unpacked copy may have all folders."""
    return sum(bool(r.files) for r in self.recordings), sum(len(r.files) for r in self.recordings)

  def __str__(self) -> str:
    return f'{people(len(self.folders))} and {counted(len(self.recordings), "take")}'


def search(
  top: pathlib.Path,
  person: Callable[[str], str | None],
  read: Callable[[pathlib.Path, str], Iterator[Recording]],
  wanted: Callable[[pathlib.Path], bool] = lambda root: True,
) -> Found:
  """Finds the folders whose subfolders are people with recordings, and merges what they hold.

  The root with most recordings is taken. Another one is taken as well if none of its recordings has
  a namesake in those: then it is another part of the data set, otherwise a copy.

  Args:
    top: the folder to search, itself included. Symbolic links are followed.
    person: returns the person's name in the data set for the name of a folder, None for other
      folders. '17' and '017' may be one person.
    read: yields the recordings in the folder of a person, given the folder and that name.
    wanted: returns whether a root is of the wanted part of the data set.

  Raises:
    UserError: a root that is taken holds two folders of one person.
  """
  roots, elsewhere, warnings = _roots(top, person, read, wanted)
  recordings, notes, places = [], [], {}
  for root in sorted(roots, key=Root.size, reverse=True):
    names = [str(recording) for recording in root.recordings]
    if copies := [name for name in names if name in places]:
      warnings.append(_passed_over(root, names, copies, places[copies[0]]))
      continue
    for name, of_person in root.folders.items():
      if len(of_person) > 1:
        raise UserError(
          f'{root.path}: {" and ".join(folder.name for folder in of_person)} are folders of one '
          f'person, {name}: expected one: merge them, or move all but one out of {top}'
        )
    places |= dict.fromkeys(names, root.path)
    recordings += root.recordings
    notes.append(f'{root.path}: taken, {root}')
  return Found(sorted(recordings, key=str), notes, warnings, elsewhere if not recordings else [])


def _passed_over(root: Root, names: list[str], copies: list[str], place: pathlib.Path) -> str:
  line = f'{root.path}: passed over, {root}: {place} has {len(copies)} of these takes already'
  if alone := [name for name in names if name not in {*copies}]:
    line += (
      f', but not {listed(alone, 4)}: if you want both, move out of {root.path} what it has in '
      f'common with the other, such as {copies[0]}'
    )
  return line


def _roots(top, person, read, wanted) -> tuple[list[Root], list[pathlib.Path], list[str]]:
  """The wanted roots, the paths of others, and warnings. Breadth first; each folder once, so that
  links may form a circle."""
  roots, elsewhere, warnings = [], [], []
  waiting, visited = collections.deque([(top, 0)]), set()
  while waiting:
    folder, depth = waiting.popleft()
    try:
      status, inner = os.stat(folder), subfolders(folder)
    except OSError as error:
      warnings.append(f'{folder}: passed over, it cannot be read ({error.strerror})')
      continue
    if (status.st_dev, status.st_ino) in visited:
      continue
    visited.add((status.st_dev, status.st_ino))
    if len(visited) > MAX_FOLDERS:
      warnings.append(
        f'{top}: only {MAX_FOLDERS} of the folders below it were searched: name a folder closer to '
        'the recordings'
      )
      break
    root, of_part = Root(folder, [], collections.defaultdict(list)), wanted(folder)
    for child in inner:
      name = person(child.name)
      found = read(child, name) if name else iter(())
      if recordings := list(found if of_part else itertools.islice(found, 1)):
        root.folders[name].append(child)
        root.recordings.extend(recordings)
      elif depth < DEPTH:
        waiting.append((child, depth + 1))
    if any(recording.files for recording in root.recordings):
      roots.append(root) if of_part else elsewhere.append(folder)
  return roots, elsewhere, warnings


def seen(top: pathlib.Path) -> str:
  """Describes what lies in a folder; a folder that holds a single one, and nothing else, is passed
  through."""
  if not top.is_dir():
    return 'not a folder' if top.exists() else 'no such folder'
  place = top
  for _ in range(DEPTH):
    inner, files = subfolders(place), _visible_files(place)
    if len(inner) != 1 or files:
      break
    place = inner[0]
  where = f' in {place.relative_to(top)}' if place != top else ''
  if not inner and not files:
    return f'saw nothing{where}'
  names = {'folder': [path.name for path in inner], 'file': files}
  counts = [counted(len(listing), kind) for kind, listing in names.items() if listing]
  some = [listed(listing, 5) for listing in names.values() if listing]
  return f'saw {" and ".join(counts)}{where}: {", ".join(some)}'


def subfolders(parent: pathlib.Path) -> list[pathlib.Path]:
  """The folders in a folder by name, without those that a system hides."""
  with os.scandir(parent) as entries:
    names = [entry.name for entry in entries if entry.is_dir()]
  return [parent / name for name in sorted(names) if not name.startswith('.')]


def _visible_files(parent: pathlib.Path) -> list[str]:
  with os.scandir(parent) as entries:
    names = [entry.name for entry in entries if not entry.is_dir()]
  return sorted(name for name in names if not name.startswith('.'))


def frames(folder: pathlib.Path, pattern: re.Pattern) -> tuple[str, ...]:
  """The files whose whole name matches, in the order of the number that is its first group: numbers
  may outgrow their zeros, begin anywhere and leave gaps."""
  names = {name: pattern.fullmatch(name) for name in os.listdir(folder)}
  found = sorted((int(match[1]), name) for name, match in names.items() if match)
  return tuple(str(folder / name) for _, name in found)
