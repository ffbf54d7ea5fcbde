"""A headless Chromium for the tests marked `browser`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

from tests.reporting.devtools import Page, browse

NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium; without one the test is skipped, and fails in continuous integration."""
    named = os.environ.get("FRAMEPACE_CHROMIUM", "")
    found = next((path for name in (named, *NAMES) if name and (path := shutil.which(name))), None)
    if found is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("no Chromium; run tools/chromium.sh")
    assert found is not None
    return found


@pytest.fixture(scope="session")
def browser(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """One browser for all tests: its start takes seconds."""
    with browse(chromium, tmp_path_factory.mktemp("browser") / "profile") as page:
        yield page


@pytest.fixture
def tab(browser: Page) -> Page:
    """A new page of it."""
    browser.renew()
    return browser
