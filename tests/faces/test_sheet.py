"""The page of crops: a row per person, three crops per expression, refusals below."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from fevgan_jax.faces import sheet
from fevgan_jax.faces.recording import Recording


@pytest.fixture
def splits(tmp_path):
  """Clips of five frames of one gray each: 0, 50, 100, 150, 200."""
  video = np.repeat(np.arange(0, 250, 50, np.uint8), 128 * 128 * 3).reshape(5, 128, 128, 3)
  np.savez(tmp_path / 'a.npz', video=video, landmarks=np.zeros((5, 68, 2), np.float32))
  clip = tmp_path / 'a.npz'
  return {
    'train': [
      (Recording('<Anna>', 'anger', 'a', ()), 'too dark'),
      (Recording('<Anna>', 'anger', 'b', ()), clip),
      (Recording('<Anna>', 'fear', 'c', ()), clip),
    ],
    'test': [(Recording('Zoë', 'surprise', 'd', ()), 'a face in 0 of 9 frames')],
  }


def test_the_page_shows_crops_counts_and_refusals(splits):
  page = sheet.html('own_clips', splits, ['found 2 people'])
  assert '<h1>own_clips: 2 clips of 2 people, 2 refused</h1>' in page
  assert '<li>found 2 people</li>' in page
  assert '<td>&lt;Anna&gt;</td><td>train</td><td>2-1</td>' in page
  assert '<td>Zoë</td><td>test</td><td>0-1</td>' in page and '<td>0-1</td></tr>' in page
  refusals = page.partition('<h2>Refused</h2>')[2]
  assert '<li>&lt;Anna&gt;/anger/a: too dark</li>' in refusals
  assert '<li>Zoë/surprise/d: a face in 0 of 9 frames</li>' in refusals
  assert 'http' not in page and '<script' not in page


def test_first_middle_and_last_frame(splits):
  table = sheet.crops([('train', '<Anna>', splits['train'])])
  pictures = re.findall(r'alt="(.*?)" src="data:image/jpeg;base64,(.*?)"', table)
  assert [name for name, _ in pictures] == ['&lt;Anna&gt;/anger/b', '&lt;Anna&gt;/fear/c']
  picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(pictures[0][1]))))
  assert picture.shape == (64, 192, 3)
  # One value per crop; JPEG rounds.
  np.testing.assert_allclose(picture.reshape(64, 3, 64, 3).mean((0, 2, 3)), [0, 100, 200], atol=2)


def test_many_people_are_cut_off(splits, monkeypatch):
  monkeypatch.setattr(sheet, 'MAX_PEOPLE', 1)
  page = sheet.html('own_clips', splits, [])
  assert 'The first 1 of 2 people.' in page and '<td>Zoë</td>' not in page
