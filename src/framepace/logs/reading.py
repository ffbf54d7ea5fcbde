"""Log files: found by their ending, read within bounds, and never run."""

from __future__ import annotations

import gzip
import os
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from io import BytesIO
from pathlib import Path, PurePath

from framepace.errors import StoreError
from framepace.inputfile import memory_bytes, read_file, shown
from framepace.logs.cells import columns_of
from framepace.logs.delimited import read_delimited
from framepace.logs.errors import LOG, not_understood
from framepace.logs.jsonfiles import read_json, read_json_lines
from framepace.logs.names import named_role
from framepace.logs.table import LogTable
from framepace.redaction import redacted
from framepace.units import format_bytes

_TEXTS = (".csv", ".tsv", ".txt", ".log", ".dat")
_JSON_LINES = (".jsonl", ".ndjson")
_PARQUET = (".parquet", ".pq")
ENDINGS = (*_TEXTS, *_JSON_LINES, ".json", *_PARQUET)
"""Endings of log files, which '.gz' may follow."""
_LARGEST = 1 << 30  # bytes, unpacked
_MEMORY_SHARE = 16  # a log takes up to so many times its bytes while it is read
_PIECE = 1 << 20
_MOST_ROWS = 50_000_000
_VALUE = r'"[^"]*"|[+-]?[0-9.]+\s?(?:ms|us|µs|ns|s|MHz|W|C|%)?(?![\w.])|[^\s,;]+'
_KEY_VALUE = re.compile(rf"(?<![\w.\-])([A-Za-z_][\w.\-]*)(?:\s*=\s*|:\s+)({_VALUE})")
_DURATION = r"(?P<number>[0-9]+(?:\.[0-9]+)?)\s?(?P<unit>ms|us|µs|ns|s)"
_NAME_FIRST = re.compile(rf"(?P<name>[A-Za-z][A-Za-z_-]*)\s*[:=]?\s*{_DURATION}\s*$")
_NUMBER_FIRST = re.compile(rf"{_DURATION}\s+(?P<name>[A-Za-z][A-Za-z_-]*)")
_PARTS_OF_SENTENCES = re.compile(r"[,;|]\s+|[,;|]$|\s[-/]\s")
_LONGEST_SENTENCE = 500  # letters of a line
_LEADING_DATE = re.compile(r"\W{0,2}(\d{4}[-/]\d{2}[-/]\d{2}[T ]\d{1,2}:\d{2}:\d{2}(?:[.,]\d+)?Z?)")
_JSON_START = re.compile(rb"\s*(\{\s*\"|\[\s*\{)")
_SUMMARY = re.compile(r"(?i)\bmin\s*=\s*[\d.]+ ?ms,\s*max\s*=")
_TRTEXEC_FIX = "run trtexec with --exportTimes=times.json and name that file: it has a row per run"


def is_log(path: str | Path) -> bool:
    """Whether a path is named as a log file, and is no folder."""
    return _ending(str(path)) in ENDINGS and not os.path.isdir(path)  # unlike Path.is_dir, for a path that cannot be


def is_text_log(path: Path) -> bool:
    """Whether a path is named as a log in text, other than JSON."""
    return _ending(path.name) in _TEXTS


def log_text(path: Path) -> str:
    """The text of a log file. Raises StoreError for what cannot be read."""
    return _as_utf8(_data(path)).decode("utf-8", "replace").replace("\0", "")


def _data(path: Path) -> bytes:
    data = read_file(path, LOG, _limit())
    return _unpacked(path, data) if path.name.lower().endswith(".gz") else data


def read_log(path: Path) -> LogTable:
    """The table in a log file. Raises StoreError for what cannot be read or understood."""
    data = _data(path)
    if not data.strip(b"\0 \r\n\t"):
        raise not_understood(shown(path), "it is empty")
    table = _table(path, data)
    if not table.rows:
        raise not_understood(shown(path), "it has no rows")
    return replace(table, columns={redacted(name): cells for name, cells in table.columns.items()})


def _table(path: Path, data: bytes) -> LogTable:
    ending = _ending(path.name)
    file = shown(path)
    if ending in _PARQUET:
        return _from_parquet(file, data)
    data = _as_utf8(data)
    if ending in _JSON_LINES:
        return read_json_lines(file, data)
    if ending == ".json" or _JSON_START.match(data):
        return read_json(file, data)
    text = data.decode("utf-8", "replace").replace("\0", "")
    if ending in (".log", ".txt"):
        return _from_lines(file, text)
    return read_delimited(file, text)


def _ending(name: str) -> str:
    return PurePath(name.lower().removesuffix(".gz")).suffix


def _limit() -> int:
    return min(_LARGEST, memory_bytes() // _MEMORY_SHARE)


def _unpacked(path: Path, data: bytes) -> bytes:
    """The contents of a gzip file, up to the limit."""
    parts = []
    size = 0
    try:
        with gzip.GzipFile(fileobj=BytesIO(data)) as file:
            while piece := file.read(_PIECE):
                parts.append(piece)
                size += len(piece)
                if size > _limit():
                    raise LOG.too_large(path, size, _limit())
    except (OSError, EOFError, zlib.error) as error:
        raise not_understood(shown(path), f"it is no whole gzip file: {error}", "pack it again with gzip") from error
    return b"".join(parts)


def _as_utf8(data: bytes) -> bytes:
    """The text in UTF-8 without a mark. PowerShell writes UTF-16; spreadsheets the code page of their country."""
    for mark, encoding in ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"\xef\xbb\xbf", "utf-8-sig")):
        if data.startswith(mark):
            return data.decode(encoding, "replace").encode()
    for encoding in ("utf-8", "gb2312", "cp1252"):
        with suppress(UnicodeDecodeError):
            return data.decode(encoding).encode()
    return data


def _from_parquet(file: str, data: bytes) -> LogTable:
    import pyarrow as pa

    try:
        return _parquet_table(file, data)
    # What is damaged can look like anything.
    except (OSError, pa.ArrowException, MemoryError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise not_understood(file, f"damaged: {redacted(str(error))[:200]}", "write it again") from error


def _parquet_table(file: str, data: bytes) -> LogTable:
    import pyarrow.parquet as pq

    with pq.ParquetFile(BytesIO(data)) as parquet:
        _check_size(file, parquet.metadata.num_rows, parquet.metadata.num_columns)
        table = parquet.read()
    arrays = [column.combine_chunks() for column in table.columns]
    return LogTable(file, "Parquet", columns_of(table.column_names, arrays), table.num_rows)


def _check_size(file: str, rows: int, columns: int) -> None:
    """Raise StoreError for a table that this machine has no memory for: a few bytes can declare a lot."""
    size = 8 * rows * max(1, columns)
    if rows > _MOST_ROWS or size > memory_bytes() // 4:
        expected = f"at most {format_bytes(memory_bytes() // 4)}"
        fix = "name a part of it"
        raise StoreError("the log is too large", got=f"{file}: {rows:,} rows", expected=expected, fix=fix)


def _from_lines(file: str, text: str) -> LogTable:
    """A log in lines: of `name=value` pairs, or cells like a CSV's."""
    if _SUMMARY.search(text):
        raise not_understood(file, "a summary of trtexec, which has no row per run", _TRTEXEC_FIX)
    lines = _lines_of(text, _pairs)
    if len(lines) > text.count("\n") // 2:
        return _from_pairs(file, "lines of name=value", lines)
    sentences = _lines_of(text, _durations)
    if len(sentences) > text.count("\n") // 4:
        return _from_pairs(file, "lines that name durations", sentences)
    return read_delimited(file, text)


def _lines_of(text: str, pairs_of: Callable[[str], Iterator[tuple[str, str]]]) -> list[dict[str, str]]:
    """The names and values of the lines that have more than one."""
    return [pairs for line in text.splitlines() if len(pairs := dict(pairs_of(line))) > 1]


def _durations(line: str) -> Iterator[tuple[str, str]]:
    """'1.2ms preprocess, 8.1ms inference' and 'preprocess: 1.2 ms | inference: 8.1 ms' as names and durations."""
    if len(line) > _LONGEST_SENTENCE:
        return
    for part in _PARTS_OF_SENTENCES.split(line):
        match = _NAME_FIRST.search(part) or _NUMBER_FIRST.search(part)
        if match is not None and named_role(match["name"]).role is not None:
            yield match["name"], f"{match['number']}{match['unit']}"


def _pairs(line: str) -> Iterator[tuple[str, str]]:
    date = _LEADING_DATE.match(line)
    if date is not None:
        yield "timestamp", date[1]
        line = line[date.end() :]
    for match in _KEY_VALUE.finditer(line):
        yield match[1], match[2].strip('"')


def _from_pairs(file: str, kind: str, lines: list[dict[str, str]]) -> LogTable:
    import pyarrow as pa

    names = list(dict.fromkeys(name for line in lines for name in line))
    arrays = [pa.array([line.get(name, "") for line in lines], pa.large_string()) for name in names]
    return LogTable(file, kind, columns_of(names, arrays), len(lines))
