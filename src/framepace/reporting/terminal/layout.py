"""What terminal output is laid out with: dense, aligned, and the same words without colour, piped, or at 80 columns."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import IO

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

BAR = 24  # cells of a bar; leaves room for name, value and interval at 80 columns
_MORE = " \\"  # ends a line of a command that goes on
_INDENT = "  "
_EIGHTHS = " ▏▎▍▌▋▊▉"
MET_STYLES = {True: "bold green", False: "bold red", None: "bold"}


def console(file: IO[str] | None = None) -> Console:
    """A console that prints names from outside as they are: no markup, no emoji, no guessed highlighting."""
    return Console(file=file, markup=False, emoji=False, highlight=False)


def is_ascii(out: Console) -> bool:
    """Whether the terminal can show nothing but ASCII."""
    return out.options.ascii_only


def bar(start: float, end: float, size: float, width: int, ascii_only: bool = False) -> str:
    """A bar from `start` to `end` on a scale from 0 to `size` that is `width` cells wide.

    Block elements give eighths of a cell at the end; a start is rounded to a cell. Without them '#' is used.
    """
    if size <= 0:
        return ""
    low, high = sorted(min(max(0.0, value / size), 1.0) * width for value in (start, end))
    first = min(round(low), width - 1)
    shortest = int(high > low)  # what is there at all is seen
    if ascii_only:
        return " " * first + "#" * max(round(high) - first, shortest)
    eighths = max(round((high - first) * 8), shortest)
    return " " * first + "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def table(*names: str) -> Table:
    """A table without lines: the first column to the left, the others to the right."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for number, name in enumerate(names):
        made.add_column(name, justify="right" if number else "left", no_wrap=True)
    return made


def columns(justify: str) -> Table:
    """A grid without a head, a column per letter of `justify` ('l' or 'r'); only the last one wraps."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    for number, side in enumerate(justify):
        last = number == len(justify) - 1
        grid.add_column(justify="right" if side == "r" else "left", no_wrap=not last)
    return grid


def pairs(rows: Iterable[tuple[str, str]]) -> Table:
    """Names and their texts, a line each."""
    grid = columns("ll")
    for name, text in rows:
        grid.add_row(Text(name, style="dim"), Text(text))
    return grid


def indent(part: RenderableType, above: int = 0) -> Padding:
    """Two cells to the right, with `above` empty lines over it."""
    return Padding(part, (above, 0, 0, 2), expand=False)


def show_notes(out: Console, notes: Sequence[str]) -> None:
    """Sentences that a reader must see."""
    for note in notes:
        out.print(Text.assemble(("note: ", "yellow"), note))


def show_command(out: Console, command: str) -> None:
    """A command on as many lines as the width asks for, each but the last ended by a backslash: it can be copied."""
    words = shlex.split(command)
    starts = [0, *(number for number, word in enumerate(words) if word.startswith("--")), len(words)]
    lines = [""]
    for first, last in pairwise(starts):
        part = shlex.join(words[first:last])
        if lines[-1] and len(lines[-1]) + len(part) + len(_MORE) >= out.width:
            lines.append(_INDENT)
        lines[-1] += part if lines[-1] in ("", _INDENT) else f" {part}"
    out.print(Text(f"{_MORE}\n".join(lines)), soft_wrap=True)


def show_paths(out: Console, paths: Mapping[str, str]) -> None:
    """Where things were written, one per line, never wrapped so that they can be copied."""
    if paths:
        out.print()
    width = max((len(name) for name in paths), default=0)
    for name, path in paths.items():
        out.print(Text.assemble((f"{name:<{width}}  ", "dim"), path), soft_wrap=True)
