"""Plans as YAML files that people edit."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Any, get_args

import msgspec

from framepace.errors import PlanError
from framepace.facts.plan import PLAN_FORMAT, Plan
from framepace.store.files import check_format, read, write_atomic
from framepace.store.migrations import PLANS

_HEADER = b"# A framepace plan. What is not written here has its default: framepace settings\n"


def save_plan(plan: Plan, path: Path) -> None:
    """Write a plan as YAML for people to edit; settings at their defaults are left out. Raises StoreError."""
    write_atomic(path, _HEADER + msgspec.yaml.encode({"format": plan.format, **_without_defaults(plan)}))


def load_plan(path: Path) -> Plan:
    """Read a plan.

    Raises PlanError for a file that is not YAML, unknown keys (naming the nearest), wrong values; StoreError for a
    missing file or a newer format.
    """
    raw = _mapping(path)
    while raw.get("format") in PLANS:
        raw = PLANS[raw["format"]](raw)
    check_format(str(raw.get("format", PLAN_FORMAT)), PLAN_FORMAT, path)
    try:
        return msgspec.convert(_switches(raw), Plan)
    except msgspec.ValidationError as error:
        raise PlanError(f"the plan {path} is not valid", got=error, fix=_advice(str(error))) from error


def _mapping(path: Path) -> dict[str, Any]:
    try:
        raw = msgspec.yaml.decode(read(path))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PlanError("the plan is not YAML", got=f"{path}: {error}", fix="check its indentation") from error
    if not isinstance(raw, dict):
        fix = "name a plan as `framepace explain` writes it"
        raise PlanError("the plan is no mapping", got=path, expected="a YAML mapping with `models`", fix=fix)
    return raw


def _switches(raw: dict[str, Any]) -> dict[str, Any]:
    """YAML 1.1 reads a bare `on` or `off` as a truth value; the setting `gc` means the words."""
    engine = raw.get("engine")
    if isinstance(engine, dict) and isinstance(engine.get("gc"), bool):
        return {**raw, "engine": {**engine, "gc": "on" if engine["gc"] else "off"}}
    return raw


def _advice(message: str) -> str:
    """The fix for a validation error: for an unknown key, the nearest valid one of that record."""
    unknown = re.search(r"unknown field `(.*?)`", message)
    if unknown is None:
        return "correct the value; `framepace settings` says what each means"
    place = re.search(r"at `\$(.*)`", message)
    record = Plan if place is None else _record(place[1])
    names = sorted(field.name for field in msgspec.structs.fields(record))
    near = difflib.get_close_matches(unknown[1], names, n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"remove it; known there: {', '.join(names)}"


def _record(place: str) -> Any:
    """The record of the plan at a place such as '.models[0].batch'."""
    kind: Any = Plan
    for name in re.findall(r"\.(\w+)", place):
        fields = {field.name: field.type for field in msgspec.structs.fields(kind)}
        # tuple[ModelPlan, ...] holds records, ModelPlan is one
        kind = next((k for k in (*get_args(fields[name]), fields[name]) if hasattr(k, "__struct_fields__")), kind)
    return kind


def _without_defaults(fact: Any) -> Any:
    if isinstance(fact, tuple):
        return [_without_defaults(item) for item in fact]
    if not isinstance(fact, msgspec.Struct):
        return msgspec.to_builtins(fact)
    values = ((field, getattr(fact, field.name)) for field in msgspec.structs.fields(fact))
    return {field.name: _without_defaults(value) for field, value in values if value != _default(field)}


def _default(field: msgspec.structs.FieldInfo) -> Any:
    if field.default_factory is msgspec.NODEFAULT:
        return field.default
    return field.default_factory()
