"""The cells of a column: numbers (with a unit or a comma for the point), moments, or words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.logs.names import DURATIONS, unit_named
from framepace.logs.table import Cells, Floats
from framepace.redaction import redacted
from framepace.units import NS_PER_S

_MISSING = ["", "-", "na", "n/a", "[n/a]", "nan", "none", "null", "[not supported]", "not supported", "?"]
_NUMBER = r"^(?P<number>[+-]?(?:[0-9]+(?:[.,][0-9]*)?|[.,][0-9]+)(?:[eE][+-]?[0-9]{1,3})?)\s*(?P<unit>[A-Za-zµ%°]*)$"
_FLAGS = {"true": 1.0, "yes": 1.0, "false": 0.0, "no": 0.0}
_MOST_ODD = 0.02  # of the cells may be no numbers in a column of numbers
_LARGEST = 1e19  # a moment in ns since 1970 is under a fifth of it
_DAY_NS = 24 * 3600 * NS_PER_S
_TIME_OF_DAY = re.compile(r"^\d{1,2}:\d{2}:\d{2}")
_ODD_DATE = re.compile(r"^(\d{4})/(\d{2})/(\d{2})")
_DAY_MONTH = re.compile(
    r"^(\d{1,2})([/.])(\d{1,2})[/.](\d{4}),?\s+(\d{1,2})(:\d{2}(?::\d{2}(?:[.,]\d+)?)?)\s*([AaPp][Mm])?$"
)
_COMMA_FRACTION = re.compile(r"(:\d{2}),(\d)")
_LONG_FRACTION = re.compile(r"(\.\d{9})\d+")


def cells_of(values: Any) -> Cells | None:
    """The cells of an Arrow column of any type; None for one that is neither numbers, moments nor words."""
    import pyarrow as pa
    from pyarrow import types

    kind = values.type
    if types.is_timestamp(kind):
        return Cells(moments=_moments(values.cast(pa.timestamp("ns", kind.tz))))
    if types.is_duration(kind):
        return Cells(numbers=_floats(values.cast(pa.duration("ns"))), unit="ns")
    if types.is_primitive(kind) or types.is_decimal(kind):
        return Cells(numbers=_floats(values))
    if types.is_string(kind) or types.is_large_string(kind):
        return _of_texts(values.cast(pa.large_string()))
    return None


def columns_of(names: Sequence[str], arrays: Sequence[Any]) -> dict[str, Cells]:
    """The cells of Arrow columns by name, those left out that are lists or the like."""
    columns = {}
    for name, array in zip(names, arrays, strict=True):
        cells = cells_of(array)
        if cells is not None:
            columns[name] = cells
    return columns


def _of_texts(values: Any) -> Cells:
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = pc.fill_null(pc.utf8_trim_whitespace(values), "")
    lower = pc.utf8_lower(texts)
    missing = pc.is_in(lower, value_set=pa.array(_MISSING, pa.large_string()))
    present = pc.if_else(missing, pa.scalar(None, pa.large_string()), texts)
    if present.null_count == len(present):
        return Cells(numbers=np.full(len(present), np.nan))
    return _numbers(present) or _flags(lower, present) or _dates(present) or Cells(words=_words(texts))


def _words(texts: Any) -> tuple[str, ...]:
    """The texts as they are shown: a camera is often named by its address."""
    words = texts.to_pylist()
    public = {word: redacted(word) for word in set(words)}
    return tuple(public[word] for word in words)


def _numbers(present: Any) -> Cells | None:
    import pyarrow as pa
    import pyarrow.compute as pc

    with suppress(pa.ArrowInvalid):
        return Cells(numbers=_floats(pc.cast(present, pa.float64())))
    matched = pc.extract_regex(present, pattern=_NUMBER)
    if matched.null_count - present.null_count > _MOST_ODD * (len(present) - present.null_count):
        return None
    numbers = pc.cast(pc.replace_substring(pc.struct_field(matched, "number"), ",", "."), pa.float64())
    units = pc.fill_null(pc.struct_field(matched, "unit"), "")
    return _with_units(_floats(numbers), units.to_pylist())


def _with_units(numbers: Floats, units: Sequence[str]) -> Cells:
    """The numbers in one unit: that of most cells, durations converted to it."""
    names = [unit_named(unit) for unit in units]
    (unit, count), *others = Counter(name for name in names if name).most_common() or [("", 0)]
    if others and unit in DURATIONS:
        factors = np.array([DURATIONS.get(name, DURATIONS[unit]) / DURATIONS[unit] for name in names])
        numbers = numbers * factors
    return Cells(numbers=numbers, unit=unit if count else "")


def _flags(lower: Any, present: Any) -> Cells | None:
    """'true' and 'no' as 1 and 0."""
    words = set(lower.unique().to_pylist()) - set(_MISSING)
    if not words <= _FLAGS.keys():
        return None
    numbers = [np.nan if text is None else _FLAGS[text.lower()] for text in present.to_pylist()]
    return Cells(numbers=np.array(numbers))


def _dates(present: Any) -> Cells | None:
    """Dates in the ways of ISO 8601, nvidia-smi and Python's logging; times of a day count from midnight."""
    import pyarrow as pa

    texts = [None if text is None else _iso(text) for text in _year_first(present.to_pylist())]
    for zone in (None, "UTC"):
        try:
            moments = pa.array(texts, pa.large_string()).cast(pa.timestamp("ns", zone))
            return Cells(moments=_past_midnight(_moments(moments)))
        except pa.ArrowInvalid:
            continue
    return None


def _year_first(texts: Sequence[str | None]) -> list[str | None]:
    """Dates as spreadsheets write them, '11/29/2026 2:59:50 PM' or '29.11.2026 14:59:50', with the year first."""
    parts = [None if text is None else _DAY_MONTH.match(text) for text in texts]
    if not any(parts):
        return list(texts)
    day_first = any(part is not None and (part[2] == "." or int(part[1]) > 12) for part in parts)
    return [text if part is None else _reordered(part, day_first) for text, part in zip(texts, parts, strict=True)]


def _reordered(part: re.Match[str], day_first: bool) -> str:
    day, month = (part[1], part[3]) if day_first else (part[3], part[1])
    hour = int(part[5])
    if part[7]:
        hour = hour % 12 + (12 if part[7].lower() == "pm" else 0)
    return f"{part[4]}-{month:0>2}-{day:0>2} {hour:02}{part[6]}"


def _iso(text: str) -> str:
    text = _ODD_DATE.sub(r"\1-\2-\3", text)
    text = _LONG_FRACTION.sub(r"\1", _COMMA_FRACTION.sub(r"\1.\2", text))
    if _TIME_OF_DAY.match(text):
        return f"1970-01-01 {text.zfill(8)}"
    return text


def _past_midnight(moments: NDArray[np.int64]) -> NDArray[np.int64]:
    """Times of a day go on after midnight."""
    if not len(moments) or moments.max() >= _DAY_NS:
        return moments
    wrapped = np.cumsum(np.diff(moments, prepend=moments[:1]) < -_DAY_NS // 2)
    return moments + wrapped * _DAY_NS


def _floats(values: Any) -> Floats:
    import pyarrow as pa

    if pa.types.is_duration(values.type):
        values = values.cast(pa.int64())
    numbers = np.asarray(values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), np.float64)
    numbers = numbers.copy()
    numbers[~(np.abs(numbers) < _LARGEST)] = np.nan
    return numbers


def _moments(values: Any) -> NDArray[np.int64]:
    """Timestamps as ns; -1 where there is none."""
    import pyarrow as pa

    return np.asarray(values.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False), np.int64)
