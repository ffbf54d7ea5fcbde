"""Pieces of HTML: everything that comes in is text and is escaped, unless it is Markup already."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape

_INTERVAL = re.compile(r"\[[^\[\],]+, [^\[\],]+\]")  # '[9.12, 10.6]', which a line end must not part


class Markup(str):
    """Text that is HTML already."""


def monospace(text: str) -> str:
    """Text as code; nothing where there is none."""
    return Markup(f"<code>{escape(text)}</code>") if text else ""


def tag(name: str, text: str, style: str = "") -> str:
    """An element around text, which is escaped; nothing around nothing."""
    if not text:
        return ""
    text = text if isinstance(text, Markup) else escape(_INTERVAL.sub(_together, text))
    return f"<{name}{f' class={style}' if style else ''}>{text}</{name}>"


def _together(interval: re.Match[str]) -> str:
    return interval[0].replace(" ", "\u00a0")


def pairs(rows: Iterable[tuple[str, str]]) -> str:
    """Pairs of a name and what is said of it; a pair with nothing to say is left out."""
    told = "".join(tag("dt", name) + tag("dd", text) for name, text in rows if text)
    return f"<dl>{told}</dl>" if told else ""


def tiles(numbers: Iterable[tuple[str, str]]) -> str:
    """Numbers with their names, side by side."""
    told = "".join(f"<div>{tag('dt', name)}{tag('dd', text)}</div>" for name, text in numbers)
    return f'<dl class="tiles">{told}</dl>'


def grid(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; the last cell of a row that is too short takes the columns that are left."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    body = "".join(f"<tr>{''.join(_cells(row, len(names)))}</tr>" for row in rows)
    return f'<div class="table"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cells(row: Sequence[str], columns: int) -> Iterable[str]:
    yield from (f"<td>{escape(cell)}</td>" for cell in row[:-1])
    left = columns - len(row) + 1
    span = f' class="rest" colspan="{left}"' if left > 1 else ""
    yield f"<td{span}>{escape(row[-1])}</td>"


def details(title: str, body: str) -> str:
    """What is folded away under its title."""
    return f"<details>{tag('summary', title)}{body}</details>"
