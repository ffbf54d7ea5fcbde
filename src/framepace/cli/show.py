"""How every command prints its result: as JSON or as text on standard output."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from rich.console import Console

from framepace.cli.standardstreams import answering
from framepace.interrupts import held
from framepace.reporting.terminal.layout import console


def give(json: bool, document: Callable[[], dict[str, Any]], *words: Callable[[Console], None]) -> None:
    """Print one JSON object, or text part by part. A first Ctrl-C waits until it is printed."""
    with held(), answering():
        if json:
            from framepace.reporting.documents import dumps

            sys.stdout.write(dumps(document()) + "\n")
            return
        out = console()
        for part in words:
            part(out)


def answer(yes: bool) -> None:
    """End with exit code 1 when the answer is no."""
    if not yes:
        sys.exit(1)
