"""The stand-ins that people are shown: all that the builders find in them is as they should."""

import numpy as np
import pytest
import scenes
import stand_ins


@pytest.fixture
def write(tmp_path):
  """Writes some people of a data set, with one gray picture for all faces."""
  gray = 6 * [scenes.jpeg(np.full((8, 8, 3), 100, np.uint8))]

  def written(name: str, people: int):
    for person in stand_ins.chosen(name, people):
      stand_ins.write_person(name, person, tmp_path, lambda *_: gray)
    return tmp_path

  return written


def test_mug(write, tmp_path):
  builder = scenes.builder('mug').Builder(data_dir=tmp_path / 'tfds')
  sources = builder.sources(write('mug', 13))
  train, test = ({which.subject for which in split} for split in sources.splits.values())
  assert len(train) == 10 and test == {'017', '034', '045'}
  takes = {str(which): which for split in sources.splits.values() for which in split}
  assert 'frames, expected 40' in takes['001/fear/take009'].unwanted
  assert 'a take named "end"' in takes['001/happiness/take009end'].unwanted
  assert len(takes['001/disgust/take009'].files) == 65
  assert any('/session1-take' in name for name in takes) and any('nsg' in name for name in takes)


@pytest.mark.parametrize('config', ['vl_strong', 'vl_dark', 'ni_strong'])
def test_oulu_casia(write, tmp_path, config):
  builder = scenes.builder('oulu_casia').Builder(config=config, data_dir=tmp_path / 'tfds')
  splits = builder.sources(write('oulu_casia', 3)).splits
  assert {which.subject for which in splits['test']} == {'P003'}
  assert len(splits['train']) == 12 and all(len(which.files) >= 9 for which in splits['train'])
