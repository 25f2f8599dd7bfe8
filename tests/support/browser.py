"""A real browser, for the tests of pages."""

import contextlib
import shutil
from collections.abc import Iterator

import pytest

PROGRAM = shutil.which('chromium') or shutil.which('google-chrome')


@contextlib.contextmanager
def opened(**options) -> Iterator:
  """A tab of a headless Chromium; without one, or what drives it, the test is skipped."""
  playwright = pytest.importorskip('playwright.sync_api', reason='it drives the browser: .[test]')
  if not PROGRAM:
    pytest.skip('no browser is installed: apt-get install chromium')
  with playwright.sync_playwright() as driver:
    browser = driver.chromium.launch(executable_path=PROGRAM, args=['--no-sandbox'])
    tab = browser.new_page(**options)
    tab.set_default_timeout(60_000)
    yield tab
    browser.close()
