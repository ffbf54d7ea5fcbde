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
    if not text:
        return ""
    return Markup(f"<code>{escape(text)}</code>")


def tag(name: str, text: str, style: str = "") -> str:
    """An element around text, which is escaped; nothing around nothing."""
    if not text:
        return ""
    if not isinstance(text, Markup):
        text = escape(_INTERVAL.sub(_without_breaks, text))
    attributes = f" class={style}" if style else ""
    return f"<{name}{attributes}>{text}</{name}>"


def _without_breaks(interval: re.Match[str]) -> str:
    return interval[0].replace(" ", "\u00a0")


def chip(style: str, word: str) -> str:
    """A word in a coloured box; nothing where there is none."""
    if not word:
        return ""
    return f'<span class="chip {escape(style)}">{escape(word)}</span>'


def pairs(rows: Iterable[tuple[str, str]]) -> str:
    """Names and their texts; a name without a text is left out."""
    items = "".join(tag("dt", name) + tag("dd", text) for name, text in rows if text)
    return f"<dl>{items}</dl>" if items else ""


def tiles(numbers: Iterable[tuple[str, str]]) -> str:
    """Numbers with their names, side by side."""
    items = "".join(f"<div>{tag('dt', name)}{tag('dd', text)}</div>" for name, text in numbers)
    return f'<dl class="tiles">{items}</dl>'


def grid(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; the last cell of a row that is too short takes the remaining columns."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    body = "".join(f"<tr>{''.join(_cells(row, len(names)))}</tr>" for row in rows)
    return f'<div class="table"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cells(row: Sequence[str], columns: int) -> Iterable[str]:
    yield from (f"<td>{escape(cell)}</td>" for cell in row[:-1])
    span = columns - len(row) + 1
    attributes = f' class="rest" colspan="{span}"' if span > 1 else ""
    yield f"<td{attributes}>{escape(row[-1])}</td>"


def details(title: str, body: str) -> str:
    """What is folded away under its title."""
    return f"<details>{tag('summary', title)}{body}</details>"
