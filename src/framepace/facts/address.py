"""Addresses: the text that is opened has the secret, the text that is shown and stored does not.

An address is any text that says where pictures or a model come from: a path, a stream's address, 'synthetic'. In plans
and workloads it stands as it was typed, since it has to be opened. Everything that leaves the process (traces, plans,
reports, --json, messages) goes through `without_secrets` or `redacted`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import msgspec

from framepace.errors import UsageError
from framepace.redaction import HIDDEN, redacted, redacted_address

__all__ = ["HIDDEN", "SECRET_NOT_KEPT", "Address", "expanded", "redacted", "shown", "without_secrets"]

SECRET_NOT_KEPT = (
    "the secret of an address is not kept ('***'): give the address again, or write it with environment variables,"
    " as in rtsp://${CAMERA_USER}:${CAMERA_PASSWORD}@camera/1"
)
_T = TypeVar("_T")
_ADDRESS = re.compile(r"[A-Za-z][\w+.\-]*://[^\n]*")
_REFERENCE = re.compile(r"\$\{(\w+)\}")
_HOW_TO_GIVE = "give the whole address with --video, or write it with environment variables: rtsp://${USER}:${PW}@..."


class Address:
    """An address that is opened. Any text made from it has no secret; `whole` has it."""

    __slots__ = ("_shown", "whole")

    def __init__(self, text: str) -> None:
        self.whole = text
        self._shown = shown(text)

    def __str__(self) -> str:
        return self._shown

    def __repr__(self) -> str:
        return f"Address({self._shown!r})"

    def __reduce__(self) -> tuple[type[Address], tuple[str]]:
        return Address, (self.whole,)


def shown(address: str) -> str:
    """An address as a whole, without its secret."""
    return redacted_address(address)


def expanded(address: str, environment: Mapping[str, str]) -> str:
    """The address with its ${NAME} replaced from the environment; one without such references is itself.

    Raises UsageError for a variable that is not set, and for an address whose secret was hidden.
    """
    if f"{HIDDEN}@" in address or f"={HIDDEN}" in address:
        raise UsageError(
            "the address has lost its secret: it comes from a trace, a plan or a report, which do not keep it",
            got=address,
            expected="an address with its user and password",
            fix=_HOW_TO_GIVE,
        )
    for name in _REFERENCE.findall(address):
        if not environment.get(name):
            expected = f"an environment variable {name}"
            fix = f"set it: export {name}=..."
            raise UsageError(
                "an address names an environment variable that is not set", got=address, expected=expected, fix=fix
            )
    return _REFERENCE.sub(lambda reference: environment[reference[1]], address)


def without_secrets(value: _T) -> _T:
    """A fact, or a plain value, with the secrets of all addresses in it hidden; itself where there are none."""
    hidden: _T = _hidden(value)
    return hidden


def _hidden(value: Any) -> Any:
    match value:
        case str():
            return _hidden_text(value)
        case msgspec.Struct():
            changes = dict(_changes(value))
            return msgspec.structs.replace(value, **changes) if changes else value
        case Mapping():
            return _same_or(value, {_hidden(key): _hidden(part) for key, part in value.items()})
        case list():
            return _same_or(value, [_hidden(part) for part in value])
        case tuple():
            return _same_or(value, tuple(_hidden(part) for part in value))
    return value


def _same_or(before: Any, after: Any) -> Any:
    """`before` itself where nothing in it was changed."""
    old = before
    new = after
    if isinstance(before, Mapping):
        old = [*before.keys(), *before.values()]
        new = [*after.keys(), *after.values()]
    if len(old) == len(new) and all(was is part for was, part in zip(old, new, strict=True)):
        return before
    return after


def _changes(fact: msgspec.Struct) -> Iterator[tuple[str, Any]]:
    """The fields that hold secrets, with what is stored in their place."""
    for name in fact.__struct_fields__:
        before = getattr(fact, name)
        after = _hidden(before)
        if after is not before:
            yield name, after


def _hidden_text(text: str) -> str:
    """A text that is an address is hidden as a whole, since its password may hold a space."""
    hidden = redacted(text)
    if _ADDRESS.match(text) and " " not in text.rpartition("@")[2]:
        hidden = shown(text)
    return text if hidden == text else hidden
