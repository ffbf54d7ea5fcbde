"""Delimited text: commas, semicolons, tabs, bars or spaces, with or without a header, with comments before it."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any, NamedTuple

from framepace.logs.cells import columns_of
from framepace.logs.errors import not_understood
from framepace.logs.names import named_role
from framepace.logs.table import LogTable
from framepace.redaction import redacted

_SIGNS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "spaces"}
_SAMPLED = 40  # lines that say what separates the cells
_ALIKE = 0.8  # of them have equally many cells
_SPACES = re.compile(r"[ \t]+")
_A_NUMBER = re.compile(r"[+-]?[0-9.,]+([eE][+-]?[0-9]+)?%?$")
_GROUPED = r"^\s*[+-]?[0-9]{1,3}(,[0-9]{3})+(\.[0-9]+)?\s*[A-Za-zµ%]*\s*$"
_A_POINT = r"^\s*[+-]?[0-9]+\.[0-9]+\s*[A-Za-zµ%]*\s*$"
_NO_FIT = (False, 1)
_LONGEST_NAME = 80  # letters; a longer cell is no name of a column
_MOST_COLUMNS = 1_000


class _Layout(NamedTuple):
    """What separates the cells, the names of the columns, and how many lines come before the first row."""

    sign: str
    names: list[str]
    skipped: int


def read_delimited(file: str, text: str) -> LogTable:
    """The table in delimited text. Raises StoreError."""
    try:
        layout = _layout(file, text.splitlines())
    except csv.Error as error:  # a cell of over 128 KiB
        raise not_understood(file, str(error)) from error
    kind = f"text with {_SIGNS[layout.sign]}"
    if layout.sign == " ":
        text = "\n".join(_SPACES.sub("\t", line.strip()) for line in text.splitlines())
        layout = layout._replace(sign="\t")
    return _table(file, kind, text, layout)


def _table(file: str, kind: str, text: str, layout: _Layout) -> LogTable:
    table, odd = _parsed(file, text, layout)
    table = table.filter(_are_rows(table.column(0), layout.names[0]))
    cells = [column.combine_chunks() for column in table.columns]
    columns = columns_of(layout.names, _without_groups(cells, layout.sign))
    return LogTable(file, kind, columns, table.num_rows, left_out=odd)


def _without_groups(columns: Sequence[Any], sign: str) -> list[Any]:
    """The columns with '8,012' as 8012 where a comma cannot be the decimal point: it separates cells, or a point is."""
    import pyarrow.compute as pc

    if sign != "," and not any(pc.any(pc.match_substring_regex(column, _A_POINT)).as_py() for column in columns):
        return list(columns)
    return [_ungrouped(column) for column in columns]


def _ungrouped(column: Any) -> Any:
    """The column; without its commas where each that stands in a cell groups thousands."""
    import pyarrow.compute as pc

    has_comma = pc.match_substring(column, ",")
    odd = pc.and_not(has_comma, pc.match_substring_regex(column, _GROUPED))
    if not pc.any(has_comma).as_py() or pc.any(odd).as_py():
        return column
    return pc.replace_substring(column, ",", "")


def _are_rows(first: Any, name: str) -> Any:
    """Which lines are neither comments nor the header again; by their first cells."""
    import pyarrow.compute as pc

    cells = pc.fill_null(pc.utf8_trim_whitespace(first), "")
    return pc.invert(pc.or_(pc.starts_with(cells, "#"), pc.equal(cells, name)))


def _parsed(file: str, text: str, layout: _Layout) -> tuple[Any, int]:
    """The cells as text, and how many lines had too many or too few of them. Raises StoreError."""
    import pyarrow as pa

    odd: list[int] = []

    def skip(row: Any) -> str:
        odd.append(row.actual_columns)
        return "skip"

    try:
        return _arrow_table(text, layout, skip), len(odd)
    except (pa.ArrowInvalid, pa.ArrowKeyError, ValueError) as error:
        raise not_understood(file, redacted(str(error))[:200]) from error


def _arrow_table(text: str, layout: _Layout, skip: Callable[[Any], str]) -> Any:
    import pyarrow as pa
    from pyarrow import csv as arrow

    kinds = dict.fromkeys(layout.names, pa.string())
    return arrow.read_csv(
        BytesIO(text.encode()),
        read_options=arrow.ReadOptions(column_names=layout.names, skip_rows=layout.skipped),
        parse_options=arrow.ParseOptions(delimiter=layout.sign, invalid_row_handler=skip),
        convert_options=arrow.ConvertOptions(column_types=kinds, strings_can_be_null=False),
    )


def _layout(file: str, lines: Sequence[str]) -> _Layout:
    first = next((number for number, line in enumerate(lines) if _has_cells(line)), len(lines))
    sample = [line for line in lines[first : first + _SAMPLED] if _has_cells(line)]
    if not sample:
        raise not_understood(file, "it has no rows")
    sign = _sign(sample)
    header = _commented_header(lines[:first], sample, sign)
    if header:
        return _Layout(sign, _unique(header), first)
    before = _lines_before(sample, sign)
    return _with_header(file, sign, _split(sample[before], sign), first + before)


def _with_header(file: str, sign: str, names: list[str], line: int) -> _Layout:
    """The layout of a table whose first line, number `line`, has these cells: names, or numbers already."""
    if len(names) > _MOST_COLUMNS or max(map(len, names)) > _LONGEST_NAME:
        raise not_understood(file, "its first line names no columns")
    if all(_A_NUMBER.match(name) for name in names):  # no header
        return _Layout(sign, _unique([""] * len(names)), line)
    return _Layout(sign, _unique(names), line + 1)


def _lines_before(sample: Sequence[str], sign: str) -> int:
    """Lines before the header: they have another number of cells than rows have."""
    cells = len(_split(sample[-1], sign))
    return next((number for number, line in enumerate(sample) if len(_split(line, sign)) == cells), 0)


def _sign(sample: Sequence[str]) -> str:
    """What separates the cells: what gives most lines equally many cells, and the most of them; else spaces do.

    What gives the first line as many stands before what does not: commas may be decimal points below a header.
    """
    best = max((sign for sign in _SIGNS if sign != " "), key=lambda sign: _fit(sample, sign))
    if _fit(sample, best) == _NO_FIT:
        return " " if _fit(sample, " ") != _NO_FIT else ","
    if best == "," and ";" in sample[0] and len(_split(sample[0], ";")) > len(_split(sample[0], ",")):
        return ";"  # commas are decimal points
    return best


def _fit(sample: Sequence[str], sign: str) -> tuple[bool, int]:
    """Whether the first line has as many cells as most lines, and how many those have."""
    counts = [len(_split(line, sign)) for line in sample]
    cells, lines = Counter(counts).most_common(1)[0]
    if cells == 1 or lines < _ALIKE * len(sample):
        return _NO_FIT
    return counts[0] == cells, cells


def _split(line: str, sign: str) -> list[str]:
    if sign == " ":
        return _SPACES.split(line.strip())
    cells = next(csv.reader([line], delimiter=sign), [""])
    return [cell.strip() for cell in cells]


def _has_cells(line: str) -> bool:
    """Whether a line is neither empty nor a comment."""
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _commented_header(comments: Sequence[str], sample: Sequence[str], sign: str) -> list[str]:
    """The header of a log that writes it as a comment, as nvidia-smi dmon does; empty where there is none."""
    cells = len(_split(sample[0], sign))
    for comment in comments:
        names = _split(comment.strip().lstrip("#").strip(), sign)
        if len(names) == cells and any(named_role(name).role for name in names):
            return names
    return []


def _unique(names: Sequence[str]) -> list[str]:
    """The names, numbered where they repeat or are empty."""
    unique: list[str] = []
    for number, name in enumerate(names):
        name = name or f"column {number + 1}"
        if name in unique:
            name = f"{name} ({number + 1})"
        unique.append(name)
    return unique
