"""Many recordings at once: what is kept, what is made anew, and what is told."""

import os
import pathlib

import numpy as np
import pytest
import scenes

from fevgan_jax.faces import preparation
from fevgan_jax.faces.recording import Recording


@pytest.fixture
def recordings(tmp_path) -> list[Recording]:
  """A smile of six frames and one of three."""
  files = scenes.frames(1_000_003, 'happiness', scenes.OULU)
  result = []
  for take, count in (('whole', 6), ('short', 3)):
    names = scenes.oulu_names(count)
    scenes.write(tmp_path / take, names, files[:count])
    paths = tuple(str(tmp_path / take / name) for name in names)
    result.append(Recording('P001', 'happiness', take, paths))
  return result


def finish(recordings: list[Recording], folder: pathlib.Path, frames: int = 4) -> list:
  return preparation.finish(recordings, folder, frames=frames, size=64, processes=1)


def test_finished_clips_are_kept_until_their_files_change(recordings, tmp_path):
  folder = tmp_path / 'unfinished'
  clip, reason = finish(recordings, folder)
  with np.load(clip) as parts:
    assert parts['video'].shape == (4, 64, 64, 3)
    assert parts['landmarks'].shape == (4, 68, 2)
  assert reason == '3 frames, expected at least 5'
  before = clip.stat().st_mtime_ns
  assert finish(recordings, folder) == [clip, reason]
  assert clip.stat().st_mtime_ns == before
  # Another number of frames, then another file.
  assert finish(recordings[:1], folder, frames=3) != [clip]
  changed = pathlib.Path(recordings[0].files[2])
  os.utime(changed, (1, 1))
  assert finish(recordings[:1], folder) != [clip]
  assert clip.stat().st_mtime_ns == before


def test_report_counts_by_split_subject_and_label():
  def recording(subject: str, label: str, take: str) -> Recording:
    return Recording(subject, label, take, ())

  clip = pathlib.Path('a.npz')
  splits = {
    'train': [
      (recording('001', 'anger', 'a'), clip),
      (recording('001', 'anger', 'b'), 'dark'),
      (recording('002', 'fear', 'c'), clip),
    ],
    'test': [(recording('003', 'surprise', 'd'), clip)],
  }
  assert preparation.refusals(splits) == ['001/anger/b: dark']
  rows = [line.split() for line in preparation.report(splits).splitlines()]
  assert ['train', 'clips', '1', '0', '1', '0', '0', '0', '2'] in rows
  assert ['train', 'refused', '1', '0', '0', '0', '0', '0', '1'] in rows
  assert ['001', 'train', '1-1', '0', '0', '0', '0', '0', '1-1'] in rows
  assert ['003', 'test', '0', '0', '0', '0', '0', '1', '1'] in rows
