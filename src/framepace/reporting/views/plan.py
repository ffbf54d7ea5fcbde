"""The view-model of plans: each setting that is not the default, what it does, why it may be there; machine, traces."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from framepace.facts.machine import Machine
from framepace.facts.plan import EnginePlan, ModelPlan, Plan, SourcePolicy
from framepace.facts.settings import SETTINGS, Setting, value_text
from framepace.reporting.views.machine import machine_line
from framepace.units import NS_PER_MS, format_ms

_BY_FIELD: dict[tuple[str, str], Setting] = {(setting.part, setting.field): setting for setting in SETTINGS.values()}


@dataclass(frozen=True)
class PlanLine:
    """One setting that is not the default: its values as typed after `--set`, what it does, why it may be there.

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


def plan_view(plan: Plan, this: Machine) -> PlanView:
    """The settings of `plan` that are not the default; `this` is the machine to compare the plan's with."""
    models = [_model(model, several=len(plan.models) > 1) for model in plan.models]
    engine = PlanPart("engine", "how workers run and wait", tuple(_lines("engine", plan.engine, EnginePlan())))
    source_lines = tuple(_lines("source", plan.source, SourcePolicy()))
    source = PlanPart("source", "frames between sources and workers", source_lines)
    machine, warning = _machine(plan, this)
    return PlanView((*models, engine, source), _target(plan), machine, warning, plan.traces)


def _model(model: ModelPlan, several: bool) -> PlanPart:
    default = ModelPlan(name=model.name, model=model.model)
    prefix = f"{model.name}." if several else ""
    lines = tuple(_lines("models", model, default, prefix))
    return PlanPart(f"model {model.name}", f"{model.model}, run by {model.backend} in {model.precision}", lines)


def _differences(fact: Any, defaults: Any) -> Iterator[tuple[str, Any, Any]]:
    """Each field of `fact` with another value than in `defaults`: name, value, default."""
    for field in msgspec.structs.fields(fact):
        value = getattr(fact, field.name)
        default = getattr(defaults, field.name)
        if value != default:
            yield field.name, value, default


def _lines(part: str, fact: Any, defaults: Any, prefix: str = "", path: str = "") -> Iterator[PlanLine]:
    """A line for each field of `fact` that differs from `defaults`, in the order of the record."""
    for field, value, default in _differences(fact, defaults):
        name = f"{path}{field}"
        if isinstance(value, msgspec.Struct):
            yield from _lines(part, value, default, prefix, f"{name}.")
        elif isinstance(value, dict):
            yield from (_entry(name, key, item, prefix) for key, item in value.items())
        else:
            yield _line(_BY_FIELD.get((part, name)), name, value_text(name, value), value_text(name, default), prefix)


def _line(setting: Setting | None, name: str, value: str, default: str, prefix: str) -> PlanLine:
    if setting is None:
        return PlanLine(name, "", value, default, name.replace("_", " "), "")
    return PlanLine(name, f"{prefix}{setting.name}", value, default, setting.help, setting.reason(value))


def _entry(name: str, key: str, value: Any, prefix: str) -> PlanLine:
    if name == "options":
        return PlanLine(
            f"options.{key}", f"{prefix}option.{key}", value_text(key, value), "", "option of the backend", ""
        )
    shape = "x".join(map(str, value))
    help_text = f"shape of input {key}, batch included"
    return PlanLine(f"{name}.{key}", "", shape, "", help_text, "the model leaves this open")


def _target(plan: Plan) -> str:
    budget_ms = plan.target.budget_ms
    if budget_ms is None:
        return "none: set one with --fps or --p99-ms to see whether runs meet it"
    target = f"p99 within {format_ms(budget_ms * NS_PER_MS)}"
    if plan.target.p99_ms is None:
        target += " (the frame period)"
    if plan.target.fps is not None:
        target = f"{plan.target.fps:g} frames per second per camera, {target}"
    return target


def _machine(plan: Plan, this: Machine) -> tuple[str, str]:
    """The machine the plan was made for, and the warning if that is not this one."""
    if plan.machine is None:
        return "unknown: the plan was not measured, or was written by hand", ""
    if plan.machine == this.fingerprint:
        return f"this one ({machine_line(this)})", ""
    warning = (
        f"made for machine {plan.machine}, not for this one ({this.fingerprint}: {machine_line(this)}); "
        "threads, workers, waiting and batches may be wrong here: measure again with framepace bench or explain"
    )
    return f"another one ({plan.machine})", warning
