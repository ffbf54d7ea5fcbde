"""Sources as people write them: an address, NAME=ADDRESS, or a YAML file of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from framepace.errors import UsageError
from framepace.facts.running import SourceSpec
from framepace.inputfile import InputKind, read_file
from framepace.values import shown

_NAMED = re.compile(r"([\w.\-]{1,64})=(.+)", re.DOTALL)
_YAML_PLACE = re.compile(r'\s*in "<[^"]*>", (line \d+, column \d+)')
_LARGEST = 1 << 20  # bytes
_FILE = InputKind("the file of sources", UsageError, expected="a YAML file", fix="name another file")
_FIELDS = "correct the field or the value that is named (yes is `true`); a source needs `name` and `address`"
_EXAMPLE = "sources: [{name: door, address: 'rtsp://${USER}:${PASSWORD}@10.0.0.7/stream'}]"


def spec_of(text: str, number: int = 1, settings: Mapping[str, Any] | None = None) -> SourceSpec:
    """A source from an address or NAME=ADDRESS; without a name it is 'source-NUMBER'.

    Args:
        settings: other fields of the source, by name.

    Raises UsageError for a value that a field cannot have.
    """
    named = _NAMED.fullmatch(text)
    name = f"source-{number}"
    address = text
    if named is not None:
        name = named[1]
        address = named[2]
    return made({"name": name, "address": address, **(settings or {})})


def specs_of(sources: Sequence[str | SourceSpec], settings: Mapping[str, Any] | None = None) -> tuple[SourceSpec, ...]:
    """Sources from texts (see `spec_of`), those that are complete as they are."""
    return tuple(
        source if isinstance(source, SourceSpec) else spec_of(source, number, settings)
        for number, source in enumerate(sources, 1)
    )


def made(fields: Mapping[str, Any]) -> SourceSpec:
    """A source from its fields. Raises UsageError for a value that a field cannot have, or an unknown field."""
    try:
        return msgspec.convert(dict(fields), SourceSpec)
    except msgspec.ValidationError as error:
        got = shown(", ".join(f"{key}: {value}" for key, value in fields.items()))
        expected = f"fields of a source: {', '.join(SourceSpec.__struct_fields__)}"
        raise UsageError("a source cannot be so", got=f"{error} ({got})", expected=expected, fix=_FIELDS) from error


def no_such_source(name: str, names: Sequence[str]) -> UsageError:
    """The error for a source that a run does not have, with the names of those that it has."""
    expected = f"one of {', '.join(names)}" if names else None
    fix = "name one of them, or add it: framepace control add PATH NAME=ADDRESS"
    return UsageError("there is no such source", got=name, expected=expected, fix=fix)


def load_sources(path: Path, settings: Mapping[str, Any] | None = None) -> tuple[SourceSpec, ...]:
    """The sources in a YAML file: a list of them, or a mapping with `sources` (and `defaults` for fields they lack).

    Args:
        settings: fields that neither a source nor the file's defaults have.

    Raises UsageError for a file that cannot be read, or says something that no source can be.
    """
    raw = _yaml(path)
    defaults: object = {}
    if isinstance(raw, dict):
        unknown_keys = raw.keys() - {"sources", "defaults"}
        if unknown_keys:
            raise _wrong(path, f"the key {sorted(map(str, unknown_keys))[0]!r}")
        defaults = raw.get("defaults") or {}
        raw = raw.get("sources") or []
    if not isinstance(raw, list) or not isinstance(defaults, dict):
        raise _wrong(path, shown(raw))
    defaults = {**(settings or {}), **defaults}
    specs = tuple(_entry(entry, number, defaults, path) for number, entry in enumerate(raw, 1))
    _check_names(specs, path)
    return specs


def _entry(entry: object, number: int, defaults: Mapping[str, Any], path: Path) -> SourceSpec:
    if isinstance(entry, str):
        return spec_of(entry, number, defaults)
    if not isinstance(entry, dict):
        raise _wrong(path, shown(entry))
    return made({"name": f"source-{number}", **defaults, **entry})


def _check_names(specs: Sequence[SourceSpec], path: Path) -> None:
    names = [spec.name for spec in specs]
    for name in names:
        if names.count(name) > 1:
            raise UsageError("two sources have the same name", got=f"{path}: {name}", fix="give each its own")


def _yaml(path: Path) -> Any:
    data = read_file(path, _FILE, _LARGEST)
    try:
        return msgspec.yaml.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise _wrong(path, shown(_first_the_place(str(error)))) from error


def _first_the_place(said: str) -> str:
    """What a reader of YAML says, on one line that begins with the last place that it names."""
    places = _YAML_PLACE.findall(said)
    words = " ".join(_YAML_PLACE.sub("", said).split())
    return ": ".join([*places[-1:], words])


def _wrong(path: Path, got: str) -> UsageError:
    return UsageError("the file holds no sources", got=f"{path}: {got}", expected=_EXAMPLE, fix="correct the file")


@dataclass(frozen=True)
class Changes:
    """From the sources there are to those that shall be."""

    add: tuple[SourceSpec, ...]
    remove: tuple[str, ...]
    change: tuple[SourceSpec, ...]


def changes(before: Sequence[SourceSpec], after: Sequence[SourceSpec]) -> Changes:
    """What has to be done, in the order of `after`; sources that are the same in both stay as they are."""
    old = {spec.name: spec for spec in before}
    new = {spec.name: spec for spec in after}
    return Changes(
        add=tuple(spec for name, spec in new.items() if name not in old),
        remove=tuple(name for name in old if name not in new),
        change=tuple(spec for name, spec in new.items() if name in old and old[name] != spec),
    )
