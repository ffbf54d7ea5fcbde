"""The view-model of what a program's stages consist of: calls, lines, named stages, and threads beside."""

from __future__ import annotations

from collections.abc import Iterator

from framepace.facts.program import Part, Program
from framepace.units import NS_PER_S, format_ms

COLUMNS = ("stage", "call or line of the program", "per frame", "calls")
_MOST = 10
_UNKNOWN = "between the timed calls"
_BESIDE = "beside"
_WIDEST = 46  # letters of a name, with which the table has 80 columns


def parts_rows(program: Program) -> tuple[tuple[str, str, str, str], ...]:
    """The largest parts in the order of COLUMNS; of a thread beside the frames its share of a core."""
    return tuple(_rows(program.parts[:_MOST]))


def _rows(parts: tuple[Part, ...]) -> Iterator[tuple[str, str, str, str]]:
    for part in parts:
        time = format_ms(part.ns)
        if part.stage == _BESIDE:
            time = f"{part.ns / NS_PER_S:.0%} of a core"
        calls = f"{part.count:.3g}" if part.count else ""
        yield part.stage, _short(part.name or _UNKNOWN), time, calls


def _short(name: str) -> str:
    """A name without the folders of its file, or without its end, where it is too long."""
    if len(name) > _WIDEST:
        name = name.rpartition("/")[2]
    if len(name) > _WIDEST:
        return name[: _WIDEST - 1] + "…"
    return name
