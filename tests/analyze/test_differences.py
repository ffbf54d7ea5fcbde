"""What differs between two traces beside their latencies, and how memory grows in one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from framepace.analyze.differences import differences, layer_changes
from framepace.analyze.summary import summarize
from framepace.facts.model import Layer
from framepace.facts.summary import Cost, LayerChange
from framepace.facts.trace import Trace
from framepace.reporting.views.measurement import memory_numbers
from framepace.testing import make_meta, make_model, make_trace

MS = 1_000_000
MIB = 1 << 20


def trace(**telemetry: Any) -> Trace:
    """A hundred frames of 5 ms."""
    columns = {"time": np.arange(40) * 80 * MS, **telemetry}
    return make_trace(np.full(100, 5 * MS), fps=30, telemetry=columns if telemetry else {})


def told(a: Trace, b: Trace) -> dict[str, tuple[str, str]]:
    """Differences by kind and name."""
    return {f"{d.kind} {d.name}": (d.a, d.b) for d in differences(a, b)}


def test_a_trace_does_not_differ_from_itself() -> None:
    """Nothing is made up."""
    assert differences(trace(), trace()) == ()


def test_versions_settings_models_and_machines_are_told() -> None:
    """Libraries first, then what somebody has set; each with both values."""
    a = trace()
    meta = a.meta
    model = replace(meta.plan.models[0], threads=4)
    machine = replace(meta.machine, kernel="6.9", libraries={**meta.machine.libraries, "onnxruntime": "9.9"})
    changed = replace(
        meta, subject_plan=replace(meta.plan, models=(model,)), machine=machine, models=(make_model(sha256="f" * 64),)
    )
    rows = told(a, Trace(changed, a.requests, a.telemetry))
    assert rows["library onnxruntime"][1] == "9.9"
    assert rows["setting threads"] == ("0", "4")
    assert rows["machine kernel"][1] == "6.9"
    assert rows["model 0"][1] == "model ffffffffffff"
    assert next(iter(rows)) == "library onnxruntime"


@pytest.mark.parametrize(("mhz", "apart"), [(2950, False), (2500, True)])
def test_clocks_and_memory_are_told_where_they_are_apart(mhz: int, apart: bool) -> None:
    """By their medians, over a few per cent."""
    a = trace(cpu_mhz=np.full(40, 3000))
    b = trace(cpu_mhz=np.full(40, mhz))
    assert ("clock CPU clock" in told(a, b)) == apart


def test_layers_that_changed_most_come_first() -> None:
    """One that is not there any more took all its time less."""
    first = (Layer(name="conv", time=5.0), Layer(name="add", time=2.0), Layer(name="gone", time=9.0))
    second = (Layer(name="conv", time=8.0), Layer(name="add", time=2.5))
    a, b = (Trace(make_meta(layers={"model": layers}), {}, {}) for layers in (first, second))
    assert layer_changes(a, b)[:2] == (
        LayerChange(model="model", name="gone", a=9.0, b=0.0),
        LayerChange(model="model", name="conv", a=5.0, b=8.0),
    )


def test_memory_that_grows_is_a_number_of_the_run() -> None:
    """From the first quarter of the measured time to its last; a peak that stays is no growth."""
    growing = summarize(trace(memory_bytes=100 * MIB + np.arange(40) * MIB, process_cpu=np.arange(40))).cost
    assert growing is not None
    assert growing.memory_growth is not None
    assert 20 * MIB < growing.memory_growth < 35 * MIB
    steady = Cost(memory=100.0 * MIB, memory_growth=0.0)
    assert list(memory_numbers(steady)) == [("memory", "100.0 MiB")]
    leaking = Cost(memory=100.0 * MIB, memory_growth=3.0 * MIB)
    assert list(memory_numbers(leaking)) == [("memory", "100.0 MiB, +3.0 MiB over the run")]
