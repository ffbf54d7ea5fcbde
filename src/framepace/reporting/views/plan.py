"""A plan for people: what it changes, what each change does and why it may be there, and what it rests on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from framepace.facts.machine import Machine
from framepace.facts.plan import EnginePlan, ModelPlan, Plan, SourcePolicy
from framepace.facts.settings import SETTINGS, Setting
from framepace.facts.why import why
from framepace.reporting.views.measurement import machine_line
from framepace.units import NS_PER_MS, format_ms

_BY_FIELD = {(s.part, s.field): s for s in SETTINGS.values()}


@dataclass(frozen=True)
class PlanLine:
    """One setting that is not the default: values as they are typed after `--set`, what it does, why it may be there.

    `setting` is '' for what only the plan file can say.
    """

    field: str
    setting: str
    value: str
    default: str
    help: str
    why: str


@dataclass(frozen=True)
class PlanPart:
    """One part of the plan ('model NAME', 'engine', 'source') with the lines that are not the default."""

    name: str
    title: str
    lines: tuple[PlanLine, ...]


@dataclass(frozen=True)
class PlanView:
    """A plan in words. `warning` is '' on the machine it was made for."""

    parts: tuple[PlanPart, ...]
    target: str
    machine: str
    warning: str
    traces: tuple[str, ...]


def plan_view(plan: Plan, here: Machine) -> PlanView:
    """What `plan` says beyond the defaults, seen from the machine `here`."""
    parts = [_model(model, len(plan.models) > 1) for model in plan.models]
    engine = PlanPart("engine", "how workers run and wait", tuple(_lines("engine", plan.engine, EnginePlan(), "")))
    source = PlanPart("source", "frames between sources and workers", _source(plan))
    machine, warning = _machine(plan, here)
    return PlanView((*parts, engine, source), _target(plan), machine, warning, plan.traces)


def plan_document(view: PlanView, plan: Plan, path: str) -> dict[str, Any]:
    """framepace.plan-show/1: the plan, and a line for each setting that is not the default."""
    told = asdict(view)
    return {
        "schema": "framepace.plan-show/1",
        "path": path,
        "format": plan.format,
        "target": {"fps": plan.target.fps, "p99_ms": plan.target.p99_ms, "budget_ms": plan.target.budget_ms},
        "machine": {"made_for": plan.machine, "same": None if plan.machine is None else not view.warning},
        "warning": view.warning or None,
        "traces": list(plan.traces),
        "parts": told["parts"],
    }


def show_plan(out: Console, view: PlanView) -> None:
    """The plan part by part, a setting a line with its reason below."""
    for part in view.parts:
        out.print(Text.assemble((part.name, "bold"), (f"  {part.title}", "dim")))
        table = Table.grid(padding=(0, 2, 0, 2))
        for line in part.lines:
            words = Text.assemble(line.help, (f"; default {line.default}" if line.default else "", "dim"))
            words.append(f"\n{line.why}" if line.why else "", "dim")
            table.add_row(Text(f"{line.setting or line.field}={line.value}", "green"), words)
        out.print(table if part.lines else Text("  all as by default", "dim"))
        out.print()
    rest = Table.grid(padding=(0, 2, 0, 0))
    for name, text in (
        ("target", view.target),
        ("machine", view.machine),
        ("traces", ", ".join(view.traces) or "none"),
    ):
        rest.add_row(Text(name, "bold"), Text(text))
    out.print(rest)
    if view.warning:
        out.print(Text.assemble(("warning: ", "bold yellow"), view.warning))


def _model(model: ModelPlan, several: bool) -> PlanPart:
    plain = ModelPlan(name=model.name, model=model.model)
    lines = tuple(_lines("models", model, plain, f"{model.name}." if several else ""))
    return PlanPart(f"model {model.name}", f"{model.model}, run by {model.backend} in {model.precision}", lines)


def _source(plan: Plan) -> tuple[PlanLine, ...]:
    return tuple(_lines("source", plan.source, SourcePolicy(), ""))


def _lines(part: str, fact: Any, plain: Any, prefix: str, path: str = "") -> Iterator[PlanLine]:
    """A line for each field of `fact` that is not as in `plain`, in the order of the record."""
    for field in msgspec.structs.fields(fact):
        value, default = getattr(fact, field.name), getattr(plain, field.name)
        name = f"{path}{field.name}"
        if value == default:
            continue
        if isinstance(value, msgspec.Struct):
            yield from _lines(part, value, default, prefix, f"{name}.")
        elif isinstance(value, dict):
            yield from (_entry(name, key, item, prefix) for key, item in value.items())
        else:
            yield _line(_BY_FIELD.get((part, name)), name, value, default, prefix)


def _line(setting: Setting | None, name: str, value: Any, default: Any, prefix: str) -> PlanLine:
    told, plain = _text(value, name), _text(default, name)
    if setting is None:
        return PlanLine(name, "", told, plain, name.replace("_", " "), "")
    return PlanLine(name, f"{prefix}{setting.name}", told, plain, setting.help, why(setting.name, told))


def _entry(name: str, key: str, value: Any, prefix: str) -> PlanLine:
    if name == "options":
        return PlanLine(f"options.{key}", f"{prefix}option.{key}", _text(value, ""), "", "option of the backend", "")
    open_ = "the model leaves this open"
    return PlanLine(f"{name}.{key}", "", "x".join(map(str, value)), "", f"shape of input {key}, batch included", open_)


def _text(value: Any, field: str) -> str:
    """A value as it is typed after `--set`."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        if field == "size":
            return f"{value[1]}x{value[0]}"
        return "+".join(f"{v:g}" for v in value) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _target(plan: Plan) -> str:
    fps, budget = plan.target.fps, plan.target.budget_ms
    if budget is None:
        return "none: a budget makes it possible to say whether a run meets it (--fps, --p99-ms)"
    rate = "" if fps is None else f"{fps:g} frames a second of each camera, "
    whose = " (the frame period)" if plan.target.p99_ms is None else ""
    return f"{rate}p99 within {format_ms(budget * NS_PER_MS)}{whose}"


def _machine(plan: Plan, here: Machine) -> tuple[str, str]:
    """What it was made for, and the warning where that is not this machine."""
    if plan.machine is None:
        return "not named: the plan was not measured, or written by hand", ""
    if plan.machine == here.fingerprint:
        return f"this one ({machine_line(here)})", ""
    warning = (
        f"made for another machine ({plan.machine}) than this one ({here.fingerprint}: {machine_line(here)}); "
        "threads, workers, waiting and batches may be wrong here: measure again with framepace bench or explain"
    )
    return f"another one ({plan.machine})", warning
