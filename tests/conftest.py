"""Fixtures that all tests share: the real models and videos, a browser, and work in a folder of one's own."""

from __future__ import annotations

import gc
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.doubles.devtools import Page, browse

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")
DATA = Path(__file__).resolve().parent.parent / ".data"


def pytest_configure(config: pytest.Config) -> None:
    """Signals do what they usually do, for the tests and all that they start: `nohup` and `&` have them ignored.

    How long one example of hypothesis takes is the machine's affair. Tests that say nothing else try a few examples;
    `make test-long` tries many (`--hypothesis-profile thorough`).
    """
    settings.register_profile("framepace", deadline=None, max_examples=25)
    settings.register_profile("thorough", deadline=None, max_examples=200)
    settings.load_profile(config.getoption("--hypothesis-profile", None) or "framepace")
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What measures real time gets a second chance: a neighbour on the machine may spoil one run."""
    for item in items:
        if item.get_closest_marker("timing"):
            item.add_marker(pytest.mark.flaky(reruns=1))


def pytest_collection_finish() -> None:
    """What was imported and collected is left out of garbage collections: every run begins with one (0.3 s of it)."""
    gc.collect()
    gc.freeze()


def real(name: str) -> Path:
    """A file of the development data; without it the test is skipped, except in CI."""
    path = DATA / name
    if not path.exists():
        how = "run: make data"
        pytest.fail(f"{path} is missing; {how}") if os.environ.get("CI") else pytest.skip(f"no {name}; {how}")
    return path


@pytest.fixture(scope="session")
def detector_model() -> Path:
    """A text detector, 3 x height x width, all dimensions dynamic."""
    return real("detector.onnx")


@pytest.fixture(scope="session")
def classifier_model() -> Path:
    """A text direction classifier, 3 x 48 x 192."""
    return real("classifier.onnx")


@pytest.fixture(scope="session")
def recogniser_model() -> Path:
    """A text recogniser, 3 x 48 x width."""
    return real("recogniser.onnx")


@pytest.fixture(scope="session")
def bigbuckbunny() -> Path:
    """132 frames of 1280x720, H.264."""
    return real("bigbuckbunny.mp4")


@pytest.fixture(scope="session")
def bikes() -> Path:
    """250 frames of 640x272, H.264."""
    return real("bikes.mp4")


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small network as PyTorch's exported program; for tests that skip without PyTorch."""
    from tests.doubles.torchnets import save_export

    return save_export(tmp_path_factory.mktemp("torch") / "net.pt2")


@pytest.fixture(scope="session")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same as TorchScript."""
    pytest.importorskip("torch")
    from tests.doubles.torchnets import save_script

    return save_script(tmp_path_factory.mktemp("torch") / "net.pt")


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium; without one the test is skipped, and fails in continuous integration."""
    named = os.environ.get("FRAMEPACE_CHROMIUM", "")
    found = next((path for name in (named, *CHROMIUMS) if name and (path := shutil.which(name))), None)
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
