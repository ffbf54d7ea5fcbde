"""Commands that a reader runs one after the other in one folder do not meet each other's results."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import PurePath

from tests.docs.pages import PAGES, blocks

_OUT = re.compile(r"""--out[ =](\S+)|\bout="([^"]+)\"""")


def test_no_two_commands_write_to_the_same_folder() -> None:
    """A folder that holds another result is refused, so each is named by one command. Reports may be replaced."""
    texts = (block.text for page in PAGES for block in blocks(page))
    names = ("".join(groups) for text in texts for groups in _OUT.findall(text))
    folders = Counter(name for name in names if PurePath(name).suffix != ".html")
    assert {"runs/a", "runs/p"} <= folders.keys()
    assert {name: count for name, count in folders.items() if count > 1} == {}
