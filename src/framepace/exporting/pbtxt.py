"""Triton's configuration files: the text format of protocol buffers, to plain values and back.

A message is a dict; a field that was written several times, or as a list, is a list. Names without quotes are `Symbol`s
(enumerations, true and false are read as bool). Whoever reads knows which fields are lists.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from framepace.errors import UsageError

Message = dict[str, Any]
_TOKEN = re.compile(
    r"""(?P<blank>[\s,;]+|\#[^\n]*)|(?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')|(?P<mark>[{}\[\]<>:])"""
    r"""|(?P<number>[-+]?(?:0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)f?(?![\w.]))|(?P<word>-?[\w./]+)"""
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "'": "'"}
_ESCAPE = re.compile(r"\\([0-7]{1,3}|x[0-9a-fA-F]{1,2}|.)")
_DEEPEST = 50
_TRUTH = {"true": True, "false": False}
_OPEN = {"{": "}", "<": ">"}
_INDENT = "  "


class Symbol(str):
    """A name that is written without quotes: of an enumeration."""

    __slots__ = ()


def dumps(message: Mapping[str, Any]) -> str:
    """The message as text, one field per line."""
    return "".join(f"{line}\n" for line in _lines(message, ""))


def _lines(message: Mapping[str, Any], indent: str) -> Iterator[str]:
    for name, value in message.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            for part in value:
                yield from _field(name, part, indent)
        else:
            yield from _field(name, value, indent)


def _field(name: str, value: Any, indent: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{indent}{name}: {_scalar(value)}"
        return
    yield f"{indent}{name} {{"
    yield from _lines(value, indent + _INDENT)
    yield f"{indent}}}"


def _scalar(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case Symbol():
            return str(value)
        case str():
            return '"' + "".join(_escaped(letter) for letter in value) + '"'
        case list():
            return "[" + ", ".join(map(_scalar, value)) + "]"
    return str(value)


def _escaped(letter: str) -> str:
    if letter in '"\\':
        return f"\\{letter}"
    return {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(letter, letter)


def loads(text: str, name: str = "config.pbtxt") -> Message:
    """The message in a text. Raises UsageError for what is no such text, with the line; `name` is the file's."""
    return _Reader(text, name).message("", 0)


class _Reader:
    """Reads one text, token by token."""

    def __init__(self, text: str, name: str) -> None:
        self._text = text
        self._name = name
        self._at = 0
        self._kind = ""
        self._token = ""
        self._next()

    def message(self, end: str, depth: int) -> Message:
        """Fields up to the mark `end` ('': the end of the text)."""
        fields: Message = {}
        while self._token != end or self._kind == "text":
            if self._kind != "word":
                raise self._error("the name of a field")
            name = self._token
            self._next()
            _add(fields, name, self._value(depth))
        self._next()
        return fields

    def _value(self, depth: int) -> Any:
        if self._token == ":":
            self._next()
        elif self._token not in ("{", "<", "["):
            raise self._error("':' or '{'")
        return self._part(depth)

    def _part(self, depth: int) -> Any:
        """A message, a list or a scalar."""
        if depth > _DEEPEST:
            raise self._error(f"at most {_DEEPEST} messages in each other")
        token = self._token
        kind = self._kind
        if kind == "mark" and token in _OPEN:
            self._next()
            return self.message(_OPEN[token], depth + 1)
        if kind == "mark" and token == "[":
            self._next()
            return self._list(depth)
        if kind == "text":
            return self._joined()
        if kind not in ("number", "word"):
            raise self._error("a value")
        self._next()
        return _TRUTH.get(token, Symbol(token)) if kind == "word" else _number(token)

    def _list(self, depth: int) -> list[Any]:
        values = []
        while self._token != "]" or self._kind == "text":
            values.append(self._part(depth + 1))
        self._next()
        return values

    def _joined(self) -> str:
        """Texts that follow each other are one."""
        parts = []
        while self._kind == "text":
            parts.append(_ESCAPE.sub(_unescaped, self._token[1:-1]))
            self._next()
        return "".join(parts)

    def _next(self) -> None:
        """Go to the next token; '' at the end of the text."""
        while self._at < len(self._text):
            match = _TOKEN.match(self._text, self._at)
            if match is None:
                self._token = self._text[self._at]
                raise self._error("a configuration")
            self._at = match.end()
            self._kind = match.lastgroup or ""
            self._token = match[0]
            if self._kind != "blank":
                return
        self._kind = ""
        self._token = ""

    def _error(self, expected: str) -> UsageError:
        line = self._text.count("\n", 0, self._at) + 1
        got = f"{self._name}, line {line}: {self._token[:40]!r}" if self._token else f"{self._name}: its end"
        fix = "correct the file; Triton's own log says more of what it reads"
        return UsageError("not a configuration of Triton", got=got, expected=expected, fix=fix)


def _add(fields: Message, name: str, value: Any) -> None:
    """Add a field; one that is there already becomes a list."""
    if name not in fields:
        fields[name] = value
        return
    before = fields[name]
    fields[name] = [
        *(before if isinstance(before, list) else [before]),
        *(value if isinstance(value, list) else [value]),
    ]


def _number(token: str) -> int | float:
    token = token.removesuffix("f") if not token.lower().startswith("0x") else token
    try:
        return int(token, 0) if token.lower().startswith("0x") else int(token)
    except ValueError:
        return float(token)


def _unescaped(match: re.Match[str]) -> str:
    code = match[1]
    if code[0] in "01234567":
        return chr(int(code, 8))
    if code[0] == "x" and len(code) > 1:
        return chr(int(code[1:], 16))
    return _ESCAPES.get(code, code)


def listed(message: Mapping[str, Any], name: str) -> list[Any]:
    """A field that may be written several times, as a list."""
    value = message.get(name, [])
    return value if isinstance(value, list) else [value]


def keyed(message: Mapping[str, Any], name: str) -> dict[str, str]:
    """A field of pairs of `key` and `value` as texts by key."""
    pairs = {}
    for part in listed(message, name):
        if isinstance(part, dict) and "key" in part:
            value = part.get("value", "")
            pairs[str(part["key"])] = str(value.get("string_value", "") if isinstance(value, dict) else value)
    return pairs
