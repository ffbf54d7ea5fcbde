"""Markdown and words for the pages of `tools/reference.py`."""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec


def table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A Markdown table; bars and line breaks in cells are escaped."""
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join("| " + " | ".join(cell_text(cell) for cell in line) + " |" for line in lines) + "\n"


def cell_text(text: str) -> str:
    """A text that fits into a cell."""
    return re.sub(r"\s*\n\s*", " ", text).replace("|", "\\|")


def code(text: object) -> str:
    """As code, or nothing."""
    return f"`{text}`" if str(text) else ""


def page(title: str, intro: str, *parts: str) -> str:
    """A page with its title and first sentences."""
    return "\n".join([f"# {title}\n", f"{intro}\n", *parts])


def doc(thing: object) -> str:
    """The docstring as one paragraph per blank line."""
    return inspect.getdoc(thing) or ""


def first(text: str) -> str:
    """The first paragraph."""
    return text.partition("\n\n")[0].replace("\n", " ")


def type_text(kind: Any) -> str:
    """A type as users write its values."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return type_text(parts[0]) + limits_text(parts[1:])
    if origin is Literal:
        return ", ".join(code(value) for value in parts)
    if origin in (Union, types.UnionType):
        texts = [type_text(part) for part in parts if part is not type(None)]
        return " or ".join(texts + (["`none`"] if type(None) in parts else []))
    if origin is tuple:
        if parts[-1] is not Ellipsis:
            return "WIDTHxHEIGHT"
        number, _, limits = type_text(parts[0]).partition(" (")
        return f"{number}s joined by +" + (f" ({limits}" if limits else "")
    words = {bool: "`on`, `off`", int: "whole number", float: "number", str: "text", Path: "path"}
    return words.get(kind, getattr(kind, "__name__", str(kind)))


def limits_text(metas: tuple[Any, ...]) -> str:
    """The limits that annotations state."""
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    limits = [
        f"{sign} {getattr(meta, name)}"
        for meta in metas
        if isinstance(meta, msgspec.Meta)
        for name, sign in signs.items()
        if getattr(meta, name) is not None
    ]
    return f" ({', '.join(limits)})" if limits else ""


def value_text(value: Any) -> str:
    """A default as a user would type it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, tuple):
        return "+".join(str(item) for item in value) or "none"
    return str(value)


def type_name(kind: Any) -> str:
    """A type as Python writes it, without the names of modules and without limits."""
    text = kind.__name__ if isinstance(kind, type) and not get_args(kind) else str(kind)
    text = re.sub(r"Annotated\[(\w+), [^\]]*\]", r"\1", re.sub(r"\b(?:[a-z_]\w*\.)+(?=[A-Za-z])", "", text))
    return code(text.replace(" | UnsetType", ""))


FREE_KEYS = re.compile(r"(parts_ns|layers|options|shapes|telemetry|overhead|startup|changed|evidence|settings|shares)$")


def shapes(value: Any, path: str = "") -> dict[str, tuple[str, str]]:
    """Path -> (type, example) of everything in a document; equal paths are merged, types of several items joined."""
    if isinstance(value, Mapping) and value:
        star = FREE_KEYS.search(path) is not None
        inner = [shapes(item, f"{path}.{'*' if star else key}".lstrip(".")) for key, item in value.items()]
        return merged(inner)
    if isinstance(value, list) and value:
        return merged([shapes(item, f"{path}[]") for item in value])
    names = {str: "text", bool: "boolean", int: "integer", float: "number", type(None): "null"}
    kind = names.get(type(value), "object" if isinstance(value, Mapping) else "list")
    example = "" if value is None or kind in ("object", "list") else code(shortened(value))
    return {path: (kind, example)}


def merged(parts: list[dict[str, tuple[str, str]]]) -> dict[str, tuple[str, str]]:
    """Several shapes as one."""
    result: dict[str, tuple[str, str]] = {}
    for part in parts:
        for path, (kind, example) in part.items():
            old_kind, old_example = result.get(path, (kind, ""))
            kinds = dict.fromkeys([*old_kind.split(" or "), kind])
            result[path] = (" or ".join(kinds), old_example or example)
    return result


def shortened(value: Any) -> str:
    """An example that fits into a cell."""
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    text = text.replace("\n", " ").replace("`", "'")
    return text if len(text) <= 60 else f"{text[:57]}..."


def signature(name: str, function: Callable[..., Any]) -> str:
    """The signature, one parameter per line."""
    parameters = inspect.signature(function).parameters.values()
    lines, keywords = [], False
    for parameter in parameters:
        if parameter.kind is parameter.KEYWORD_ONLY and not keywords:
            keywords = True
            lines.append("    *,")
        lines.append(f"    {plain_parameter(str(parameter))},")
    returns = str(inspect.signature(function).return_annotation).strip("'")
    return "\n".join([f"{name}(", *lines, f") -> {returns}"]).replace("'", "")


def plain_parameter(text: str) -> str:
    """A parameter whose default is a function, by its name."""
    return re.sub(r"<function (\w+) at 0x[0-9a-f]+>", r"\1", text)


def docstring(function: Callable[..., Any]) -> str:
    """A Google-style docstring as Markdown."""
    lines = []
    for line in doc(function).splitlines():
        argument = re.match(r"    (\w+): (.*)", line)
        if argument:
            lines.append(f"- `{argument[1]}`: {argument[2]}")
        elif re.fullmatch(r"(Args|Attributes|Raises|Returns):", line):
            lines += [f"**{line.rstrip(':').replace('Args', 'Arguments')}**", ""]
        else:
            lines.append(line.removeprefix("    "))
    return "\n".join(lines) + "\n"


def plain_type(kind: Any) -> Any:
    """A type without its annotations."""
    return plain_type(get_args(kind)[0]) if get_origin(kind) is Annotated else kind


def slug(heading: str) -> str:
    """The anchor of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
