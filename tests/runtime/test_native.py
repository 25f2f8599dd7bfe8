"""Source files that are compiled where they run: with a compiler, without, with a broken one."""

import ctypes
import importlib.util
import os
import pathlib
import subprocess
import sys

import pytest
from absl import logging

from fevgan_jax.runtime import files, native

SOURCE = 'extern "C" int answer() { return 42; }\n'


@pytest.fixture
def source(tmp_path, monkeypatch):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
  path = tmp_path / 'answer.cc'
  path.write_text(SOURCE)
  native.library.cache_clear()
  yield path
  native.library.cache_clear()


@pytest.fixture
def lines(monkeypatch):
  """What the log is told."""
  told = []
  monkeypatch.setattr(logging, 'warning', lambda text, *words: told.append(text % words))
  return told


@pytest.mark.usefixtures('compiler')
def test_compiled_once(source):
  library = native.library(source)
  assert isinstance(library, ctypes.CDLL) and library.answer() == 42
  (kept,) = files.compiled_here().glob('*.so')
  written = kept.stat().st_mtime_ns
  native.library.cache_clear()
  assert native.library(source).answer() == 42
  assert kept.stat().st_mtime_ns == written
  source.write_text(SOURCE.replace('42', '43'))
  native.library.cache_clear()
  assert native.library(source).answer() == 43
  assert len(list(files.compiled_here().glob('*.so'))) == 2


def test_without_a_compiler(source, lines, monkeypatch):
  monkeypatch.setenv('PATH', '')
  monkeypatch.delenv('CXX', raising=False)
  monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
  assert native.library(source) is None
  assert len(lines) == 1 and 'pip install ziglang' in lines[0]


def test_a_compiler_that_is_a_wheel(monkeypatch):
  monkeypatch.setenv('PATH', '')
  monkeypatch.setenv('CXX', '')
  monkeypatch.setattr(importlib.util, 'find_spec', lambda name: name == 'ziglang')
  assert native._compiler()[1:] == ['-m', 'ziglang', 'c++']


@pytest.mark.usefixtures('compiler')
def test_what_cannot_be_loaded_is_compiled_anew(source):
  native.library(source)
  (kept,) = files.compiled_here().glob('*.so')
  cut_off = kept.read_bytes()[:1000]
  kept.unlink()  # a new file: the old one is in this process's memory
  kept.write_bytes(cut_off)
  native.library.cache_clear()
  assert native.library(source).answer() == 42


@pytest.mark.usefixtures('compiler')
def test_without_a_home(source, monkeypatch):
  monkeypatch.delenv('XDG_CACHE_HOME')
  monkeypatch.setattr(os.path, 'expanduser', lambda path: path)  # as of a user without a name
  assert native.library(source).answer() == 42


def test_a_compiler_that_is_named_and_is_not_there(source, lines, monkeypatch):
  monkeypatch.setenv('CXX', 'no-such-compiler -O1')
  assert native.library(source) is None
  assert len(lines) == 1 and 'no-such-compiler' in lines[0]


@pytest.mark.usefixtures('compiler')
def test_what_cannot_be_compiled(source, lines):
  source.write_text('this is not C++\n')
  assert native.library(source) is None
  assert len(lines) == 1 and 'error' in lines[0]
  assert not list(files.compiled_here().rglob('*.so'))


@pytest.mark.usefixtures('compiler')
def test_where_nothing_can_be_kept(source, tmp_path, monkeypatch):
  (tmp_path / 'file').touch()
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'file'))  # no folder, even for root
  assert native.library(source).answer() == 42


def test_without_a_compiler_networks_run_all_the_same(tmp_path):
  program = """
import numpy as np
from fevgan_jax.runtime import conv, conv_tiles
assert not conv_tiles.compiled()
x, kernel = np.ones((1, 16, 16, 3), 'f'), np.ones((4, 4, 3, 5), 'f')
y = conv.strided_conv(x, kernel, (2, 2), ((1, 1),) * 2)
assert y[0, 4, 4].tolist() == [48.0] * 5, y
"""
  words = [sys.executable, '-c', program]
  environment = {**os.environ, 'CXX': 'no-such-compiler', 'XDG_CACHE_HOME': str(tmp_path)}
  environment['PYTHONPATH'] = str(pathlib.Path(__file__).parents[2])
  done = subprocess.run(words, env=environment, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  assert 'no-such-compiler' in done.stderr
