"""The reference that is written from the code, and the site that is built from all pages."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from framepace.explaining.causes import CAUSES
from framepace.facts.settings import SETTINGS
from framepace.facts.trace import REQUEST_COLUMNS, TELEMETRY_COLUMNS
from tests.docs.pages import ROOT
from tools import markdown, reference

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reference, written from the code as it is."""
    folder = tmp_path_factory.mktemp("reference")
    reference.main(folder)
    return folder


def test_the_reference_has_every_setting_cause_and_column(pages: Path) -> None:
    """Nothing that users can name is left out."""
    settings, causes, trace = ((pages / f"{page}.md").read_text() for page in ("settings", "causes", "trace"))
    assert [name for name in SETTINGS if f"`{name}`" not in settings] == []
    assert [cause.code for cause in CAUSES if f"## {cause.code}: {cause.title}" not in causes] == []
    assert [name for name in (*REQUEST_COLUMNS, *TELEMETRY_COLUMNS) if f"`{name}`" not in trace] == []


def test_the_page_of_backends_needs_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """`make docs` installs framepace without extras: PyTorch's options are in the page all the same."""
    for module in ("torch", "tensorrt", "tensorrt_rtx", "cuda"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, "framepace.backends.torch.backend", raising=False)
    assert "`option.channels_last`" in reference.backends_page()


def test_every_cause_says_what_is_evidence_and_how_it_is_switched_off() -> None:
    """The docstrings that the reference is made of are there."""
    for cause in CAUSES:
        for part in (type(cause), cause.suspect, cause.probe, cause.remedy):
            assert markdown.doc(part), cause.code


def mkdocs() -> list[str]:
    """The command that runs MkDocs, in its own environment or this one; skips where there is none."""
    own = ROOT / ".venv-docs" / "bin" / "python"
    for python in (str(own), sys.executable):
        if Path(python).exists():
            probe = subprocess.run([python, "-c", "import mkdocs, material"], capture_output=True, check=False)
            if probe.returncode == 0:
                return [python, "-m", "mkdocs"]
    pytest.skip("MkDocs Material is not installed; run: make docs")


def test_the_site_builds_strictly_and_asks_the_network_for_nothing(pages: Path, tmp_path: Path) -> None:
    """No warning about links, anchors or pages without a place; no font, script or image from elsewhere."""
    command = mkdocs()
    docs = tmp_path / "docs"
    shutil.copytree(ROOT / "docs", docs, ignore=shutil.ignore_patterns("reference"))
    shutil.copytree(pages, docs / "reference")
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    site = tmp_path / "site"
    built = [*command, "build", "--strict", "--quiet", "--site-dir", str(site)]
    result = subprocess.run(built, cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    outside = re.compile(r"<(?:script|link|img)[^>]+(?:src|href)=.?https?:[^>]*", re.I)
    for page in site.rglob("*.html"):
        assert outside.findall(page.read_text()) == [], page
    assert (site / "search" / "search_index.json").exists()
