"""The origin of a measurement: the machine, the models, and the plan or program."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import msgspec

from framepace.facts.base import Fact
from framepace.facts.finding import Explanation
from framepace.facts.model import ModelSpec, TensorSpec
from framepace.facts.plan import Plan
from framepace.facts.program import Program
from framepace.facts.trace import Trace
from framepace.reporting.page.document import Document
from framepace.reporting.page.markup import grid, pairs
from framepace.reporting.views.machine import machine_rows

_SHA_SHOWN = 12  # digits


def add_origin(document: Document, traces: Sequence[Trace], explanation: Explanation | None) -> None:
    """The machine, the models and the plan: what must be known to repeat it."""
    if not traces:
        return
    machines = {trace.meta.machine.fingerprint: trace.meta.machine for trace in traces if not trace.meta.is_log}
    for machine in machines.values():
        document.add(f"<section><h2>Machine</h2>{pairs(machine_rows(machine))}</section>")
    models = {model.sha256: model for trace in traces for model in trace.meta.models}
    if models:
        rows = grid(("name", "file", "sha256", "inputs"), [_model_row(model) for model in models.values()])
        document.add(f"<section><h2>Models</h2>{rows}</section>")
    title, subject = _subject(traces[0], explanation)
    document.add(f"<section><h2>{title}</h2><pre><code>{escape(subject_text(subject))}</code></pre></section>")


def _model_row(model: ModelSpec) -> tuple[str, ...]:
    inputs = "; ".join(_tensor(tensor) for tensor in model.inputs)
    return model.name, model.location, model.sha256[:_SHA_SHOWN], inputs


def _tensor(tensor: TensorSpec) -> str:
    return f"{tensor.name} {tensor.dtype} {'x'.join(map(str, tensor.shape))}"


def _subject(trace: Trace, explanation: Explanation | None) -> tuple[str, Plan | Program]:
    """What ran, or the plan that an explanation proposes, with its title."""
    if explanation is not None:
        return "Plan with the verified settings", explanation.plan
    title = "Plan" if trace.meta.is_plan else "Program"
    return title, trace.meta.subject


def subject_text(subject: Plan | Program) -> str:
    """The plan or program as YAML, with only what differs from the defaults."""
    return msgspec.yaml.encode(_set_fields(subject)).decode()


def _set_fields(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_set_fields(item) for item in value]
    if not isinstance(value, Fact):
        return value
    fields = {field.name: (field, getattr(value, field.name)) for field in msgspec.structs.fields(value)}
    return {name: _set_fields(v) for name, (field, v) in fields.items() if field.required or v != _default(field)}


def _default(field: msgspec.structs.FieldInfo) -> Any:
    if field.default is msgspec.NODEFAULT:
        return field.default_factory()
    return field.default
