"""The map of the rooms is that of the contract which `make check` holds."""

from __future__ import annotations

import re

from tests.docs.pages import DOCS, ROOT


def test_the_rooms_of_the_page_are_those_of_the_contract() -> None:
    """In the same order; only `__main__`, which runs the commands, is left out."""
    contract = (ROOT / "pyproject.toml").read_text().partition("\nlayers = [\n")[2].partition("\n]")[0]
    layers = re.findall(r'^  "(.+)",$', contract, re.M)
    page = (DOCS / "architecture.md").read_text().partition("\n```\ncli\n")[2].partition("\n```")[0]
    assert ["__main__", "cli", *page.splitlines()] == layers
