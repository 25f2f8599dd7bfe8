"""The search for recordings: any depth, any name, several roots, and what is said of the rest."""

import pathlib
import re
from collections.abc import Iterator

import pytest

from fevgan_jax.faces import folders
from fevgan_jax.faces.recording import Recording
from fevgan_jax.runtime.errors import UserError


def person(folder: str) -> str | None:
  return f'{int(folder):03d}' if folder.isdecimal() else None


def read(folder: pathlib.Path, subject: str) -> Iterator[Recording]:
  """Takes at NNN/anger/takeNNN/N.jpg."""
  if (folder / 'anger').is_dir():
    for take in folders.subfolders(folder / 'anger'):
      files = folders.frames(take, re.compile(r'(\d+)\.jpg'))
      yield Recording(subject, 'anger', take.name, files)


def write(root: pathlib.Path, *takes: str, frames: int = 2) -> None:
  """Writes takes, such as '001/take000', with empty files."""
  for take in takes:
    subject, name = take.split('/')
    folder = root / subject / 'anger' / name
    folder.mkdir(parents=True)
    for i in range(frames):
      (folder / f'{i}.jpg').write_bytes(b'')


def names(found: folders.Found) -> list[str]:
  return [str(recording) for recording in found.recordings]


@pytest.mark.parametrize('place', ['.', 'Subjects3', 'a/b/subject3', 'a/b/c/d/e/f/g/h'])
def test_a_root_is_found_whatever_its_name(tmp_path, place):
  write(tmp_path / place, '001/take000', '17/take002')
  found = folders.search(tmp_path, person, read)
  assert names(found) == ['001/anger/take000', '017/anger/take002']
  assert found.notes == [f'{tmp_path / place}: taken, 2 people and 2 takes']
  assert not found.warnings and not found.elsewhere


def test_below_nine_levels_nothing_is_found(tmp_path):
  write(tmp_path / '/'.join('abcdefghi'), '001/take000')
  assert folders.search(tmp_path, person, read) == folders.Found([])


def test_a_copy_is_passed_over_and_a_part_is_merged(tmp_path):
  write(tmp_path / 'a_half_unpacked', '001/take000', '001/take001', '002/take000', frames=0)
  write(tmp_path / 'whole', '001/take000', '001/take001', '002/take000')
  write(tmp_path / 'whole_cleaned', '001/take000', '003/take000')
  write(tmp_path / 'z/part_two', '002/take001', '4/take000')
  found = folders.search(tmp_path, person, read)
  assert names(found) == [
    '001/anger/take000',
    '001/anger/take001',
    '002/anger/take000',
    '002/anger/take001',
    '004/anger/take000',
  ]
  assert all(str(tmp_path / 'whole/') in recording.files[0] for recording in found.recordings[:3])
  assert found.notes == [
    f'{tmp_path}/whole: taken, 2 people and 3 takes',
    f'{tmp_path}/z/part_two: taken, 2 people and 2 takes',
  ]
  (cleaned,) = found.warnings  # without a single file, the half-unpacked one is no root
  assert cleaned.startswith(
    f'{tmp_path}/whole_cleaned: passed over, 2 people and 2 takes: {tmp_path}/whole has 1 of these '
    'takes already, but not 003/anger/take000: if you want both'
  )


def test_a_copy_with_fewer_frames_is_passed_over(tmp_path):
  write(tmp_path / 'a', '001/take000', '002/take000', frames=1)
  write(tmp_path / 'b', '001/take000', '002/take000', frames=3)
  found = folders.search(tmp_path, person, read)
  assert [len(recording.files) for recording in found.recordings] == [3, 3]
  assert found.warnings == [
    f'{tmp_path}/a: passed over, 2 people and 2 takes: {tmp_path}/b has 2 of these takes already'
  ]


def test_two_folders_of_one_person_are_refused(tmp_path):
  write(tmp_path / 'set', '17/take000', '017/take001', '018/take000')
  message = f'{tmp_path}/set: 017 and 17 are folders of one person, 017: expected one: merge them'
  with pytest.raises(UserError, match=f'^{message}'):
    folders.search(tmp_path, person, read)


def test_links_may_form_a_circle(tmp_path):
  write(tmp_path / 'set', '001/take000')
  (tmp_path / 'set' / 'up').symlink_to(tmp_path)
  (tmp_path / 'again').symlink_to(tmp_path / 'set')
  (tmp_path / 'nowhere').symlink_to(tmp_path / 'gone')
  found = folders.search(tmp_path, person, read)
  assert names(found) == ['001/anger/take000'] and not found.warnings


def test_the_search_ends(tmp_path, monkeypatch):
  monkeypatch.setattr(folders, 'MAX_FOLDERS', 3)
  write(tmp_path / 'a/b/c/d', '001/take000')
  found = folders.search(tmp_path, person, read)
  assert not found.recordings
  assert found.warnings[0].startswith(f'{tmp_path}: only 3 of the folders below it were searched')


def test_other_parts_of_the_set_are_named_if_the_wanted_one_is_missing(tmp_path):
  write(tmp_path / 'dark', '001/take000')
  found = folders.search(tmp_path, person, read, lambda root: root.name == 'strong')
  assert not found.recordings and found.elsewhere == [tmp_path / 'dark']


def test_what_lies_there_is_described(tmp_path):
  assert folders.seen(tmp_path / 'none') == 'no such folder'
  assert folders.seen(tmp_path) == 'saw nothing'
  (tmp_path / 'MUG').mkdir()
  assert folders.seen(tmp_path) == 'saw nothing in MUG'
  (tmp_path / 'MUG' / 'subjects3.zip').write_bytes(b'')
  assert folders.seen(tmp_path) == 'saw 1 file in MUG: subjects3.zip'
  for name in 'abcdef':
    (tmp_path / 'MUG' / name).mkdir()
  expected = 'saw 6 folders and 1 file in MUG: a, b, c, d and 2 more, subjects3.zip'
  assert folders.seen(tmp_path) == expected
  assert folders.seen(tmp_path / 'MUG' / 'subjects3.zip') == 'not a folder'


def test_frames_are_ordered_by_number(tmp_path):
  for name in ('9.jpg', '10.jpg', '0011.jpg', '._9.jpg', 'Thumbs.db'):
    (tmp_path / name).write_bytes(b'')
  found = folders.frames(tmp_path, re.compile(r'(\d+)\.jpg'))
  assert [pathlib.Path(file).name for file in found] == ['9.jpg', '10.jpg', '0011.jpg']
