"""The rater study: known preferences, given in a real browser, come out as they were put in."""

import json
import pathlib
import shutil

import browser
import numpy as np
import pytest

from fevgan_jax.evaluation import study
from fevgan_jax.runtime.errors import UserError


@pytest.fixture(scope='module')
def asked(tmp_path_factory) -> pathlib.Path:
  """The folder of a study of five pairs and one that catches, each clip of a color of its own."""
  shown = [['FEV-GAN', 'VGAN']] * 5 + [['real', 'frozen']]
  key = {
    'systems': [{'name': 'FEV-GAN', 'system': 'fevgan'}, {'name': 'VGAN', 'system': 'vgan'}],
    'dataset': 'synthetic_faces/tiny/1.2.0',
    'questions': [{'subject': '7', 'label': 'fear', 'shown': two} for two in shown],
  }
  colors = np.random.default_rng(0).integers(0, 255, (6, 2, 1, 1, 1, 3), np.uint8)
  folder = tmp_path_factory.mktemp('study')
  clips = colors.repeat(4, 2).repeat(32, 3).repeat(32, 4)
  study.write(key, clips[::-1, 0, 0], clips, folder)
  return folder


def key_of(folder: pathlib.Path) -> dict:
  return json.loads((folder / 'study.json').read_text())


def ballot(folder: pathlib.Path, rater: int, chosen: list[int], /, **changes) -> pathlib.Path:
  """The file of a rater who prefers these of each question's two, and what is wrong with it."""
  key = key_of(folder)
  sides = [('left', 'right')[x ^ study.swaps(rater, k)] for k, x in enumerate(chosen)]
  sent = {'study': key['study'], 'rater': rater, 'sides': sides}
  sent['checksum'] = study.checksum('|'.join([key['study'], str(rater), *sides]))
  path = folder / f'votes-{rater}.json'
  path.write_text(json.dumps({**sent, **changes}))
  return path


def test_a_study_of_two_runs(finished, tmp_path):
  shutil.copytree(finished[0], tmp_path / 'other')
  page, key = study.study([finished[0], tmp_path / 'other'], tmp_path / 'study', pairs=11)
  key = json.loads(key.read_text())
  names = [entry['name'] for entry in key['systems']]
  assert len({*names}) == 2 and {entry['system'] for entry in key['systems']} == {'fevgan'}
  catches = [['real', 'shuffled'], ['real', 'frozen']]
  assert [question['shown'] for question in key['questions']] == [names] * 11 + catches
  assert 'http' not in page.read_text() and names[1] not in page.read_text()


def test_raters_in_a_browser(asked, tmp_path):
  # One always prefers the first system, one always the second; the third does not see that a clip
  # is frozen.
  files = []
  with browser.opened() as tab:
    for rater, wanted in ((1, 0), (2, 1), (3, None)):
      tab.goto((asked / 'study.html').as_uri())
      tab.fill('#rater', str(rater))
      tab.click('#begin')
      for count in range(6):
        assert tab.inner_text('#count') == f'{count + 1} of 6'
        if (count, rater) == (3, 1):  # closed, and opened again
          tab.goto((asked / 'study.html').as_uri())
          tab.fill('#rater', '1')
          tab.press('#rater', 'Enter')
          assert tab.inner_text('#count') == '4 of 6'
        k = tab.evaluate('order[sides.length]')
        shown = tab.evaluate('[$("leftclip").src, $("rightclip").src]')
        films = ['data:image/webp;base64,' + x for x in tab.evaluate(f'STUDY.questions[{k}].clips')]
        assert sorted(shown) == sorted(films)
        asked_for = 0 if k == 5 and wanted is not None else 1 if k == 5 else wanted or 0
        left = shown[0] == films[asked_for]
        if count % 2:
          tab.keyboard.press('ArrowLeft' if left else 'ArrowRight')
        else:
          tab.click('#left' if left else '#right')
      with tab.expect_download() as download:
        tab.click('#save')
      files.append(tmp_path / download.value.suggested_filename)
      download.value.save_as(files[-1])
  assert [file.name for file in files] == ['votes-1.json', 'votes-2.json', 'votes-3.json']
  assert 'GAN' not in files[0].read_text()

  key = key_of(asked)
  preferred = [study.read_ballot(file, key).preferred.tolist() for file in files]
  assert preferred[:2] == [[0] * 6, [1] * 5 + [0]] and preferred[2][5] == 1
  (result,) = study.tally(files, asked)
  names = [entry['name'] for entry in key['systems']]
  text = result.read_text()
  assert text.splitlines()[2].startswith('2 raters, 5 pairs each')
  assert f'| {names[0]} | {names[1]} | 50.0% | 0.0% to 100.0% | 10 |' in text
  assert 'Two raters choose the same clip in 0.0% of the pairs' in text
  assert 'Rater 3 is left out: 100% of the pairs of a real and a broken clip' in text


def test_preferences_come_out_as_they_were_put_in(asked):
  rng = np.random.default_rng(0)
  chosen = rng.random((10, 5)) > 0.8
  files = [ballot(asked, 10 + i, [*map(int, row), 0]) for i, row in enumerate(chosen)]
  (result,) = study.tally(files, asked)
  assert f'| {1 - chosen.mean():.1%} |' in result.read_text()
  # Fleiss' kappa by hand, from the definition.
  first = (~chosen).sum(0)
  agreed = np.mean([(n * (n - 1) + (10 - n) * (9 - n)) / 90 for n in first])
  chance = chosen.mean() ** 2 + (1 - chosen.mean()) ** 2
  kappa = (agreed - chance) / (1 - chance)
  assert f"{agreed:.1%} of the pairs (Fleiss' kappa {kappa:.2f})" in result.read_text()


def test_sides_are_fair_and_differ_between_raters():
  drawn = np.array([[study.swaps(rater, k) for k in range(33)] for rater in range(1, 301)])
  assert abs(drawn.mean() - 0.5) < 0.02
  assert np.all(abs(drawn.mean(0) - 0.5) < 0.12) and np.all(abs(drawn.mean(1) - 0.5) < 0.35)


@pytest.mark.parametrize(
  ('changes', 'words'),
  [
    ({'study': 'another'}, r'votes-7.json: votes of another study \(another, not'),
    ({'sides': ['left'] * 6}, 'votes-7.json: edited or incomplete'),
    ({'rater': 8}, 'votes-7.json: edited or incomplete'),
    ({'rater': 'me'}, 'votes-7.json: not what a study ends with'),
  ],
)
def test_files_that_do_not_count(asked, changes, words):
  with pytest.raises(UserError, match=words):
    study.tally([ballot(asked, 7, [0, 1, 0, 1, 0, 0], **changes)], asked)


def test_a_rater_counts_once(asked, tmp_path):
  file = ballot(asked, 7, [0] * 6)
  with pytest.raises(UserError, match='rater 7 is in .* already'):
    study.tally([file, pathlib.Path(shutil.copy(file, tmp_path))], asked)
  with pytest.raises(UserError, match='study.json: cannot be read: expected the key'):
    study.tally([file], tmp_path)
  with pytest.raises(UserError, match='a study compares two runs or more'):
    study.study([tmp_path], tmp_path)
