"""Names of classes and characters: from a model's metadata, or a file. Metadata is data from outside: never run."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from framepace.errors import UsageError
from framepace.inputfile import InputKind, read_file

_KEYS = ("names", "class_names", "classes", "labels", "character")
_LINES = frozenset({"character"})  # one per line; all others are literals
_LONGEST = 1 << 21  # letters that are read
_MOST = 100_000  # names
_FILE = InputKind("the file of names", UsageError, "one name per line", "give a text file with one name per line")


def names_of(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """The names in a model's metadata by their numbers; empty where there are none that can be read."""
    for key in _KEYS:
        text = metadata.get(key, "")
        if text and len(text) <= _LONGEST:
            names = _lines(text) if key in _LINES else _literal_names(text)
            if names:
                return names
    return ()


def literal(text: str) -> Any:
    """The value of a literal, such as a list of numbers or a dict of names; None where it is none."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return None


def names_in_file(path: str) -> tuple[str, ...]:
    """The lines of a file; an empty one is a name, too. Raises UsageError for a file that cannot be read."""
    try:
        text = read_file(path, _FILE, _LONGEST).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError("the file of names is no text", got=path, expected="UTF-8", fix=_FILE.fix) from error
    return _lines(text)


def _lines(text: str) -> tuple[str, ...]:
    """By line ends alone: a character of a set may be one that `str.splitlines` ends a line at."""
    lines = text.replace("\r\n", "\n").split("\n")
    if lines and lines[-1] == "":
        lines.pop()
    return tuple(lines[:_MOST])


def _literal_names(text: str) -> tuple[str, ...]:
    """A list of names, or a dict of names by their numbers."""
    value = literal(text)
    if isinstance(value, list | tuple):
        return tuple(str(name) for name in value[:_MOST])
    if not isinstance(value, dict) or not value:
        return ()
    numbers = [number for number in value if isinstance(number, int) and 0 <= number < _MOST]
    if len(numbers) != len(value):
        return ()
    return tuple(str(value.get(number, "")) for number in range(max(numbers) + 1))
