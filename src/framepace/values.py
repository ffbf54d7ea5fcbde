"""Values from outside: numbers, durations, sizes, shapes, paths and names that somebody typed or wrote into a file.

The one place where they are read. What comes out is finite, within bounds and short enough for every later use;
anything else is a UsageError that says what is wrong, what it got, what it expected, and how to fix it.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from pathlib import Path
from typing import Any

from framepace.errors import UsageError
from framepace.redaction import redacted
from framepace.units import NS_PER_S, parse_duration

LONGEST_SHOWN = 80  # letters of a value that a message repeats
LONGEST_NUMBER = 40  # letters
LONGEST_PATH = 4095  # bytes, as Linux has it
LONGEST_PART = 255  # bytes between two slashes, as file systems have it
LONGEST_NAME = 255  # letters
LARGEST_SIDE = 16_384  # pixels
LARGEST_PICTURE = 1 << 25  # pixels: 8K
LARGEST_DIMENSION = (1 << 31) - 1
LARGEST_TENSOR = 1 << 31  # elements
MOST_DIMENSIONS = 16
MOST_CELLS = 10_000  # of a grid
LONGEST_TIME_S = 30 * 24 * 3600.0
LARGEST_SEED = (1 << 63) - 1
LOWEST_RATE = 0.001  # frames/s
HIGHEST_RATE = 1_000_000.0
SHORTEST_MS = 0.001
LONGEST_MS = 3_600_000.0

_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_WHOLE = re.compile(r"[+-]?[0-9]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]")
_LONGEST_SIDES = 400  # letters of a shape or a size
_EXACT = 1 << 53  # the whole numbers up to here are the same as float


def shown(value: object) -> str:
    """A value as messages repeat it: on one line, without secrets and control characters, cut at 80 letters."""
    try:
        text = str(value)
    except ValueError:  # a whole number of more than 4,300 digits
        text = "a number of thousands of digits"
    text = _CONTROL.sub("?", redacted(text)[: 2 * LONGEST_SHOWN])  # hidden first: half a password is no address
    if len(text) <= LONGEST_SHOWN:
        return text
    return text[: LONGEST_SHOWN - 3] + "..."


def one_line(text: str) -> str:
    """A text from outside without control characters and line ends, which could rewrite a terminal or a log."""
    return " ".join(_CONTROL.sub(" ", text).split())


def number(
    value: object,
    name: str,
    *,
    least: float | None = None,
    most: float | None = None,
    whole: bool = False,
    fix: str | None = None,
) -> float:
    """A finite number within `least` and `most`, from its text or from a number.

    Args:
        name: what the number is for, as the user typed it ('--fps').
        whole: only a whole number will do; the result then is an `int`.
        fix: what to do, instead of the usual sentence.

    Raises UsageError.
    """
    expected = _range_text(least, most, whole)
    fix = fix or _correct(name)
    result = _number_in(value, whole)
    if result is None:
        kind = "whole number" if whole else "number"
        raise UsageError(f"{name} is not a {kind}", got=shown(value), expected=expected, fix=fix)
    if not _within(result, least, most):
        raise UsageError(f"{name} is out of range", got=shown(value), expected=expected, fix=fix)
    return result


def _number_in(value: object, whole: bool) -> float | None:
    if isinstance(value, str):
        return _read(value.strip(), whole)
    return _taken(value, whole)


def _within(value: float, least: float | None, most: float | None) -> bool:
    return (least is None or value >= least) and (most is None or value <= most)


def whole_number(
    value: object, name: str, *, least: int | None = None, most: int | None = None, fix: str | None = None
) -> int:
    """`number` with `whole`, typed."""
    return int(number(value, name, least=least, most=most, whole=True, fix=fix))


def _read(text: str, whole: bool) -> float | None:
    """The number that the text stands for; None where it is none, or not a finite one."""
    if len(text) > LONGEST_NUMBER:
        return None
    if _WHOLE.fullmatch(text):
        return int(text) if whole else _finite(int(text))
    if whole or not _NUMBER.fullmatch(text):
        return None
    return _finite(float(text))


def _taken(value: object, whole: bool) -> float | None:
    """A number that is one already; None for anything else, truth values too."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not whole:
        return _finite(value)
    if isinstance(value, float):
        return int(value) if math.isfinite(value) and value.is_integer() and abs(value) <= _EXACT else None
    return value


def _finite(value: float) -> float | None:
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def _range_text(least: float | None, most: float | None, whole: bool) -> str:
    kind = "a whole number" if whole else "a number"
    if least is not None and most is not None:
        return f"{kind} from {_plain(least)} to {_plain(most)}"
    if least is not None:
        return f"{kind} of at least {_plain(least)}"
    if most is not None:
        return f"{kind} of at most {_plain(most)}"
    return kind


def _plain(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.10g}"


def _correct(name: str) -> str:
    return f"correct {name}, or leave it out"


def duration_s(value: object, name: str, *, least: float = 0.0, most: float = LONGEST_TIME_S) -> float:
    """Seconds from '5', '90s', '2min' or a number. Raises UsageError."""
    if isinstance(value, str) and len(value) <= LONGEST_NUMBER and not _NUMBER.fullmatch(value.strip()):
        try:
            value = parse_duration(value, "s") / NS_PER_S
        except UsageError as error:
            expected = f"{_range_text(least, most, False)} of seconds, or with ms, s or min behind it"
            raise UsageError(
                f"{name} is not a duration", got=shown(value), expected=expected, fix=_correct(name)
            ) from error
    return number(value, name, least=least, most=most)


def size(text: object, name: str = "size") -> tuple[int, int]:
    """(height, width) from 'WIDTHxHEIGHT', the way people write resolutions. Raises UsageError."""
    sides = _whole_sides(text)
    fix = "correct the size, or leave it out"
    if sides is None or len(sides) != 2 or min(sides) < 1:
        raise UsageError(f"not a {name}", got=shown(text), expected="WIDTHxHEIGHT, e.g. 1024x576", fix=fix)
    width, height = sides
    if not possible_size(sides):
        expected = f"sides up to {LARGEST_SIDE:,}, and at most {LARGEST_PICTURE:,} pixels"
        raise UsageError(f"the {name} is too large", got=shown(text), expected=expected, fix=fix)
    return height, width


def _whole_sides(text: object) -> tuple[int, ...] | None:
    """The whole numbers between the 'x' of a text; None if it is anything else."""
    if not isinstance(text, str) or len(text) > _LONGEST_SIDES:
        return None
    sides = []
    for part in text.strip().lower().split("x"):
        side = _read(part, whole=True) if _WHOLE.fullmatch(part) else None
        if side is None:
            return None
        sides.append(int(side))
    return tuple(sides)


def possible_size(sides: Sequence[int]) -> bool:
    """Whether a picture may have these sides."""
    return all(1 <= side <= LARGEST_SIDE for side in sides) and math.prod(sides) <= LARGEST_PICTURE


def shape(text: object, name: str = "shape") -> tuple[int, ...]:
    """The dimensions in '1x3x480x640'. Raises UsageError."""
    dimensions = _whole_sides(text)
    fix = "correct the shape, or leave it out"
    if dimensions is None or min(dimensions) < 0:
        raise UsageError(f"not a {name}", got=shown(text), expected="whole sizes, e.g. 1x3x480x640", fix=fix)
    if not possible_shape(dimensions):
        expected = f"up to {MOST_DIMENSIONS} dimensions, and at most {LARGEST_TENSOR:,} elements"
        raise UsageError(f"the {name} is too large", got=shown(text), expected=expected, fix=fix)
    return dimensions


def possible_shape(dimensions: Sequence[int]) -> bool:
    """Whether a tensor may have these dimensions."""
    return (
        len(dimensions) <= MOST_DIMENSIONS
        and all(0 <= dim <= LARGEST_DIMENSION for dim in dimensions)
        and math.prod(dimensions) <= LARGEST_TENSOR
    )


def path(value: object, name: str) -> Path:
    """A path that a file system can have; whether it is there is not looked at. Raises UsageError.

    An address is none: as a path it would lose a slash, and its password would no longer be known as one.
    """
    text = location(value, name)
    if "://" in text:
        fix = f"name a file or a folder for {name}"
        raise UsageError(f"{name} is an address", got=shown(text), expected="a path", fix=fix)
    return Path(text)


def location(value: object, name: str) -> str:
    """The text of a path or an address, which must be one that the system can be asked for. Raises UsageError."""
    expected = f"a path of at most {LONGEST_PATH} bytes, its parts of at most {LONGEST_PART}"
    fix = "name an existing file or folder, or a shorter one"
    if not isinstance(value, str | os.PathLike):
        raise UsageError(f"{name} is not a path", got=shown(value), expected=expected, fix=fix)
    if value == "":
        raise UsageError(f"{name} is empty", got=shown(value), expected=expected, fix=fix)
    text = _path_text(value)
    if not text or "\0" in text:
        raise UsageError(f"{name} is not a path", got=shown(value), expected=expected, fix=fix)
    if _too_long(text):
        raise UsageError(f"{name} is too long", got=shown(text), expected=expected, fix=fix)
    return text


def _path_text(value: str | os.PathLike[Any]) -> str:
    """The text of a path; '' for an object that only says it is one, and for letters that are no Unicode."""
    try:
        text = os.fspath(value)
        str(text).encode()
    except (TypeError, ValueError):
        return ""
    return text if isinstance(text, str) else ""


def _too_long(text: str) -> bool:
    encoded = text.encode()
    if len(encoded) > LONGEST_PATH:
        return True
    return "://" not in text and max(map(len, encoded.split(b"/"))) > LONGEST_PART


def name(value: object, what: str) -> str:
    """A name of 1 to 255 letters on one line. Raises UsageError."""
    expected = f"1 to {LONGEST_NAME} letters on one line"
    fix = "give it a shorter name of plain letters"
    if not isinstance(value, str) or not value.strip():
        raise UsageError(f"{what} is empty", got=shown(value), expected=expected, fix=fix)
    if len(value) > LONGEST_NAME:
        raise UsageError(f"{what} is too long", got=shown(value), expected=expected, fix=fix)
    if _CONTROL.search(value):
        raise UsageError(f"{what} has letters that cannot be shown", got=shown(value), expected=expected, fix=fix)
    return value


def span(text: str, name: str) -> list[str]:
    """'1..3' as '1', '2', '3'; any other text is one value. Counted before it is written out. Raises UsageError."""
    text = text.strip()
    first_text, dots, last_text = text.partition("..")
    if not dots:
        return [text]
    first = _whole_or_none(first_text)
    last = _whole_or_none(last_text)
    if first is None or last is None or first < 0 or first > last:
        fix = f"correct {name}, or write its values with commas"
        raise UsageError("not a range", got=shown(text), expected="FIRST..LAST, e.g. 1..8", fix=fix)
    _check_count(int(last - first) + 1, text)
    return [str(value) for value in range(int(first), int(last) + 1)]


def _whole_or_none(text: str) -> float | None:
    if not _WHOLE.fullmatch(text):
        return None
    return _read(text, whole=True)


def check_cells(grid: Mapping[str, Sized]) -> None:
    """Raise UsageError for a grid of more cells than can be measured; nothing is written out."""
    counts = [len(values) for values in grid.values()]
    names = ", ".join(grid)
    if not all(counts):
        empty = [setting for setting, values in grid.items() if not len(values)]
        expected = "one value or more"
        raise UsageError("a setting has no values", got=shown(", ".join(empty)), expected=expected, fix="name some")
    _check_count(math.prod(counts), f"{names}: {' x '.join(map(str, counts))}")


def _check_count(count: int, got: str) -> None:
    if count > MOST_CELLS:
        expected = f"at most {MOST_CELLS:,} values or cells, not {shown(f'{count:,}')}"
        fix = "name fewer values, or measure the settings one after the other"
        raise UsageError("that is too much to measure", got=shown(got), expected=expected, fix=fix)


def nonfinite(value: object) -> bool:
    """Whether a plain value (of JSON or YAML) is or holds a number that is not finite."""
    match value:
        case float():
            return not math.isfinite(value)
        case Mapping():
            return any(nonfinite(part) for part in value.values())
        case list() | tuple():
            return any(nonfinite(part) for part in value)
    return False


def mapping(value: object, name: str) -> Mapping[Any, Any]:
    """Names and what they stand for. Raises UsageError."""
    if isinstance(value, Mapping):
        return value
    expected = "names with their values, e.g. {'batch': 4}"
    raise UsageError(f"{name} is not a mapping", got=shown(value), expected=expected, fix=_correct(name))


def grid(value: object, name: str) -> dict[str, list[Any]]:
    """Settings and the values that each is to have. Raises UsageError."""
    return {
        _text(key, f"a setting in {name}"): several(values, f"{name}: {shown(key)}")
        for key, values in mapping(value, name).items()
    }


def _text(value: object, what: str) -> str:
    if isinstance(value, str):
        return value
    raise UsageError(f"{what} is no text", got=shown(value), expected="a name, e.g. 'batch'", fix=_correct(what))


def several(value: object, name: str) -> list[Any]:
    """The things in a sequence; a text is one thing. Raises UsageError."""
    if isinstance(value, str | os.PathLike):
        return [value]
    if isinstance(value, Iterable) and not isinstance(value, Mapping | bytes):
        return list(value)
    expected = "a text, or a list of texts"
    raise UsageError(f"{name} is not a list", got=shown(value), expected=expected, fix=_correct(name))


def option(
    name: str, *, least: float | None = None, most: float | None = None, whole: bool = False
) -> Callable[[object], float]:
    """A parser for the number of a command-line option."""

    def read(value: object) -> float:
        return number(value, name, least=least, most=most, whole=whole)

    return read


def path_option(name: str) -> Callable[[object], Path]:
    """A parser for the path of a command-line option or argument."""

    def read(value: object) -> Path:
        return path(value, name)

    return read
