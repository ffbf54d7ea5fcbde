"""Links of the documents lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import GENERATED, PAGES, ROOT, anchors, links, name, prose
from tools.reference import generated_names

GENERATED_PAGES = {GENERATED / f"{stem}.md" for stem in generated_names()}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    """Files exist or are generated, and headings are there. Addresses of other sites are not asked."""
    for target in links(page):
        path, _, anchor = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        assert place.exists() or place in GENERATED_PAGES, f"{name(page)} links to {target}"
        if anchor and place.suffix == ".md" and place not in GENERATED_PAGES:
            assert anchor in anchors(place), f"{name(page)} links to {target}"


@pytest.mark.parametrize("page", [page for page in PAGES if page.stem != "CHANGELOG"], ids=name)
def test_files_that_are_named_exist(page: Path) -> None:
    """`bench/x.py`, `src/...`, `tools/...` and `tests/...` in the text are where it says."""
    for path in re.findall(r"\b(?:bench|tools|tests|src)/[\w/]+\.(?:py|sh|md|json)\b", page.read_text()):
        assert "NAME" in path or (ROOT / path).exists(), f"{name(page)} names {path}"


def test_the_readme_is_short() -> None:
    """A reader sees the whole of it: at most 120 lines."""
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


def test_no_page_is_an_orphan() -> None:
    """Every page under docs/ is linked from another one."""
    linked = {(page.parent / t.partition("#")[0]).resolve() for page in PAGES for t in links(page)}
    orphans = [name(p) for p in PAGES if p not in linked and p.parent != ROOT and prose(p) and p.stem != "index"]
    assert orphans == []
