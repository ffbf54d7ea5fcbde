"""Plans as YAML files that people edit."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args

import msgspec

from framepace.errors import PlanError
from framepace.facts.address import SECRET_NOT_KEPT, without_secrets
from framepace.facts.contradiction import contradiction
from framepace.facts.plan import PLAN_FORMAT, Plan
from framepace.store.files import check_format, named, read, write_atomic
from framepace.store.migrations import PLANS
from framepace.values import nonfinite, shown

_HEADER = b"# A framepace plan. What is not written here has its default: framepace settings\n"
_LARGEST = 1 << 20  # bytes: a real plan has a thousandth of it
_DEEPEST = 32
_MOST_REFERENCES = 100
_EXPECTED = "a YAML mapping with `models`, as `framepace explain` writes it"
_CORRECT = "correct the value; `framepace settings` says what each means"
_NAME_ANOTHER = "name a plan as `framepace explain` writes it"
_WITHOUT_SECRETS = f"# {SECRET_NOT_KEPT}\n".encode()


def save_plan(plan: Plan, path: Path, comments: Iterable[str] = ()) -> None:
    """Write a plan as YAML for people to edit; settings at their defaults are left out.

    The secrets of addresses are left out, too, with a comment that says so. `comments` are lines at the top. Raises
    StoreError.
    """
    public = without_secrets(plan)
    header = _HEADER
    if public != plan:
        header += _WITHOUT_SECRETS
    for comment in without_secrets(tuple(comments)):
        header += f"# {' '.join(comment.split())}\n".encode(errors="replace")
    write_atomic(path, header + msgspec.yaml.encode({"format": plan.format, **_without_defaults(public)}))


def load_plan(path: Path | str) -> Plan:
    """Read a plan.

    Raises PlanError for a file that is not YAML, unknown keys (naming the nearest), wrong values; StoreError for a
    missing file or a newer format.
    """
    path = named(path, "plan")
    raw = _mapping(path)
    raw = _migrated(raw)
    check_format(str(raw.get("format", PLAN_FORMAT)), PLAN_FORMAT, path)
    plan = _converted(raw, path)
    if nonfinite(msgspec.to_builtins(plan)):
        got = f"{path}: nan or infinity"
        raise PlanError("the plan holds a number that is not finite", got=got, expected="finite numbers", fix=_CORRECT)
    problem = contradiction(plan)
    if problem:
        raise PlanError(f"the plan {path} contradicts itself", got=problem, expected=_EXPECTED, fix=_CORRECT)
    return plan


def _converted(raw: dict[str, Any], path: Path) -> Plan:
    """The plan with its types checked. Raises PlanError."""
    try:
        plan = msgspec.convert(_switches(raw), Plan)
        msgspec.json.encode(plan)  # text that is not Unicode could be neither stored nor shown
    except (ValueError, RecursionError, OverflowError) as error:
        got = shown(error)
        raise PlanError(
            f"the plan {path} is not valid", got=got, expected=_EXPECTED, fix=_advice(str(error))
        ) from error
    return plan


def _migrated(raw: dict[str, Any]) -> dict[str, Any]:
    """The plan in today's format. Raises PlanError for an older one that is malformed."""
    while (format := raw.get("format")) and isinstance(format, str) and format in PLANS:
        try:
            raw = PLANS[format](raw)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            got = f"{format}: {shown(error)}"
            raise PlanError("the plan does not match its format", got=got, expected=_EXPECTED, fix=_CORRECT) from error
    return raw


def _mapping(path: Path) -> dict[str, Any]:
    data = read(path, usual="plan.yaml")
    if len(data) > _LARGEST:
        expected = f"a plan of at most {_LARGEST:,} bytes"
        raise PlanError(
            "the plan is too large", got=f"{path}: {len(data):,} bytes", expected=expected, fix=_NAME_ANOTHER
        )
    try:
        check_depth(data, path)
        raw = msgspec.yaml.decode(data)
    except PlanError:
        raise
    except Exception as error:  # beside its own errors YAML raises those of int, float, dates and Unicode
        got = f"{path}: {shown(error)}"
        raise PlanError("the plan is not YAML", got=got, expected=_EXPECTED, fix="check its indentation") from error
    if not isinstance(raw, dict):
        raise PlanError("the plan is not a mapping", got=path, expected=_EXPECTED, fix=_NAME_ANOTHER)
    return raw


def check_depth(data: bytes, path: Path) -> None:
    """Raise PlanError for what is nested so deep, or repeated so often, that reading it would end the process.

    Only the events are read: they take no stack.
    """
    import yaml

    anchors: list[str | None] = []  # of the collections that are open
    references = 0
    for event in yaml.parse(data, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        if isinstance(event, yaml.CollectionStartEvent):
            anchors.append(event.anchor)
        elif isinstance(event, yaml.CollectionEndEvent):
            anchors.pop()
        elif isinstance(event, yaml.AliasEvent):
            references += _MOST_REFERENCES if event.anchor in anchors else 1
        if len(anchors) > _DEEPEST or references >= _MOST_REFERENCES:
            got = f"{path}: more than {_DEEPEST} levels or {_MOST_REFERENCES} references, or one to itself"
            raise PlanError("the plan is nested too deep", got=got, expected=_EXPECTED, fix=_NAME_ANOTHER)


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
        return _CORRECT
    place = re.search(r"at `\$(.*)`", message)
    record = Plan if place is None else _record(place[1])
    names = sorted(field.name for field in msgspec.structs.fields(record))
    near = difflib.get_close_matches(unknown[1], names, n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"remove it; allowed there: {', '.join(names)}"


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
