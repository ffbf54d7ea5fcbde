"""The documents as tests read them: pages, code blocks with their marks, links and anchors.

A block of `sh` or `python` is run as it stands, unless a comment on the line before says otherwise:

    <!-- long -->            run by `make test-long`
    <!-- gpu -->             run where there is a GPU; elsewhere it must end with a sentence on what is missing
    <!-- not run: REASON --> not run

A Python block whose first line is `# NAME.py` is written to that file, for the blocks after it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
GENERATED = DOCS / "reference"  # written by `make docs`, not committed
PAGES = sorted(
    [ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "SECURITY", "CHANGELOG")]
    + [page for page in DOCS.rglob("*.md") if GENERATED not in page.parents]
)

Mark = Literal["", "long", "gpu", "not run"]
MARKS = get_args(Mark)
_BLOCK = re.compile(r"^(?:<!-- (?P<mark>[^>]*) -->\n)?```(?P<language>sh|python)\n(?P<text>.*?)^```$", re.M | re.S)
_FENCED = re.compile(r"^```.*?^```$", re.M | re.S)


@dataclass(frozen=True)
class Block:
    """A code block: `mark` is '' for one that is run, `reason` what follows the mark."""

    page: Path
    line: int
    language: str
    mark: str
    reason: str
    text: str

    @property
    def commands(self) -> list[str]:
        """The commands of a shell block, without their comments."""
        lines = (re.split(r"\s+# ", line)[0].strip() for line in self.text.splitlines())
        return [line for line in lines if line and not line.startswith("#")]


def name(page: Path) -> str:
    """The page's path from the root, as the tests' names have it."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> Iterator[Block]:
    """The shell and Python blocks of a page."""
    text = page.read_text(encoding="utf-8")
    for match in _BLOCK.finditer(text):
        mark, _, reason = (match["mark"] or "").partition(":")
        line = text.count("\n", 0, match.start()) + 1
        yield Block(page, line, match["language"], mark.strip(), reason.strip(), match["text"])


def prose(page: Path) -> str:
    """The page without its code blocks."""
    return _FENCED.sub("", page.read_text(encoding="utf-8"))


def links(page: Path) -> list[str]:
    """Targets of the links and images of a page that lead to files of the project."""
    targets = re.findall(r"!?\[[^\]]*\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", prose(page)))
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    found = re.findall(r"^#{1,6} +(.+?)\s*$", prose(page), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}
