"""What differs between two traces beside their latencies: libraries, settings, models, machine, clocks, memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import numpy as np

from framepace.facts.summary import Difference, LayerChange
from framepace.facts.trace import Outcome, Trace
from framepace.units import NS_PER_S, format_bytes

_CLOCKS = {"cpu_mhz": "CPU clock", "sm_clock_mhz": "SM clock"}
_MEMORY = {"memory_bytes": "memory", "device_memory_bytes": "device memory"}
_CLOCK_SHARE = 0.03  # medians closer than this are the same clock
_MEMORY_SHARE = 0.05
_LAYERS = 10  # changes that are listed
_ABSENT = "-"

Values = Mapping[str, str]


def differences(a: Trace, b: Trace) -> tuple[Difference, ...]:
    """Everything that is not the same, what most often explains another latency first."""
    return tuple(_all(a, b))


def _all(a: Trace, b: Trace) -> Iterator[Difference]:
    if a.meta.is_log or b.meta.is_log:
        yield from _unlike("log", _flow(a), _flow(b))
        yield from _medians(a, b)
        return
    yield from _unlike("library", _libraries(a), _libraries(b))
    yield from _unlike("setting", _settings(a), _settings(b))
    yield from _unlike("workload", _flat(a.meta.workload), _flat(b.meta.workload))
    yield from _unlike("model", _models(a), _models(b))
    yield from _unlike("machine", _machine(a), _machine(b))
    yield from _medians(a, b)


def _unlike(kind: str, a: Values, b: Values) -> Iterator[Difference]:
    for name in dict.fromkeys((*a, *b)):
        one = a.get(name, _ABSENT)
        other = b.get(name, _ABSENT)
        if one != other:
            yield Difference(kind=kind, name=name, a=one, b=other)


def _flow(trace: Trace) -> Values:
    """What every log and trace says of how frames came: rate, batches, cameras, models, lost frames."""
    r = trace.requests
    seconds = float(r["due"].max() - r["due"].min()) / NS_PER_S
    count = len(np.unique(r["frame"]))
    lost = int(np.count_nonzero(r["outcome"] != Outcome.OK))
    return {
        "rate": f"{(count - 1) / seconds:.2g} frames/s" if seconds else "one frame",
        "batch": f"{np.median(r['batch_size']):.0f}",
        "cameras": f"{len(np.unique(r['source']))}",
        "models": f"{len(trace.meta.names)}",
        "lost frames": f"{lost / len(r['due']):.1%}",
    }


def _libraries(trace: Trace) -> Values:
    return dict(sorted(trace.meta.machine.libraries.items()))


def _settings(trace: Trace) -> Values:
    """The plan's settings that a run depends on, dotted: models by their number, since names may differ."""
    if not trace.meta.is_plan:
        return {}
    plan = trace.meta.plan
    parts: dict[str, str] = {}
    for number, model in enumerate(plan.models):
        prefix = f"{number}." if len(plan.models) > 1 else ""
        parts |= {f"{prefix}{name}": value for name, value in _flat(model).items() if name not in ("name", "model")}
    return {**parts, **_flat(plan.engine), **_flat(plan.source)}


def _models(trace: Trace) -> Values:
    return {str(number): f"{spec.name} {spec.sha256[:12]}" for number, spec in enumerate(trace.meta.models)}


def _machine(trace: Trace) -> Values:
    machine = trace.meta.machine
    gpus = ", ".join(f"{gpu.name} ({gpu.driver})" for gpu in machine.gpus)
    values = {name: value for name, value in _flat(machine).items() if not name.startswith(("libraries", "gpus"))}
    return {**values, "GPUs": gpus}


def _flat(fact: msgspec.Struct) -> dict[str, str]:
    """The fields of a fact as text, those of facts within it dotted."""
    flat: dict[str, str] = {}
    _flatten("", msgspec.to_builtins(fact), flat)
    return flat


def _flatten(prefix: str, value: Any, into: dict[str, str]) -> None:
    if not isinstance(value, dict):
        into[prefix] = str(value)
        return
    for name, inner in value.items():
        _flatten(f"{prefix}.{name}".lstrip("."), inner, into)


def _medians(a: Trace, b: Trace) -> Iterator[Difference]:
    """Clocks and memory, by the medians of their samples."""
    for column, name in _CLOCKS.items():
        one, other = (_median(trace, column) for trace in (a, b))
        if _apart(one, other, _CLOCK_SHARE):
            yield Difference(kind="clock", name=name, a=f"{one:.0f} MHz", b=f"{other:.0f} MHz")
    for column, name in _MEMORY.items():
        one, other = (_median(trace, column) for trace in (a, b))
        if _apart(one, other, _MEMORY_SHARE):
            yield Difference(kind="memory", name=name, a=format_bytes(one), b=format_bytes(other))


def _median(trace: Trace, column: str) -> float:
    """The median of a column's samples; 0 without any."""
    values = trace.telemetry.get(column, np.empty(0, np.int64))
    values = values[values > 0]
    return float(np.median(values)) if len(values) else 0.0


def _apart(one: float, other: float, share: float) -> bool:
    if not one or not other:
        return False
    return abs(one - other) > share * max(one, other)


def layer_changes(a: Trace, b: Trace) -> tuple[LayerChange, ...]:
    """The layers whose times changed most, where both traces have them; a layer that one lacks counts as 0 ns there."""
    changes = []
    for model in a.meta.layers.keys() & b.meta.layers.keys():
        before, after = (_times(trace, model) for trace in (a, b))
        for name in dict.fromkeys((*before, *after)):
            changes.append(LayerChange(model=model, name=name, a=before.get(name, 0.0), b=after.get(name, 0.0)))
    return tuple(sorted(changes, key=lambda change: -abs(change.b - change.a))[:_LAYERS])


def _times(trace: Trace, model: str) -> dict[str, float]:
    return {layer.name: layer.time for layer in trace.meta.layers[model] if layer.time is not None}
