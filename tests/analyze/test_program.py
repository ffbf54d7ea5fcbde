"""Traces of programs: what is known of a plan's run only is left out, and all else is as for any trace."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike

from framepace.analyze.compare import compare
from framepace.analyze.device import device_summary
from framepace.analyze.summary import summarize
from framepace.facts.plan import Target
from framepace.facts.program import Program
from framepace.facts.trace import Trace
from framepace.testing import make_trace
from framepace.units import NS_PER_MS as MS

UNKNOWN = ("available", "captured", "decoded", "queued", "batched", "enqueued", "cpu", "gc", "batch_id")


def observed(
    names: tuple[str, ...] = ("detect", "track"), count: int = 60, infer: ArrayLike = 5 * MS, **more: Any
) -> Trace:
    """Frames of a program that says when its stages begin and end, and nothing else."""
    program = Program(command=("python", "app.py"), names=names, target=Target(fps=30.0))
    latency = np.broadcast_to(np.asarray(infer) * len(names), count)
    columns = dict.fromkeys(UNKNOWN, -1) | more.pop("columns", {})
    return make_trace(latency, models=names, columns=columns, program=program, **more)


def test_a_program_has_a_summary() -> None:
    """Percentiles, stages that count the missing stamps as nothing, the budget of its target, and its names."""
    found = summarize(observed())
    assert [model.model for model in found.models] == ["detect", "track"]
    assert found.frames.mean == pytest.approx(10 * MS)
    assert found.missed == 0.0
    assert found.budget == pytest.approx(1e9 / 30)
    shares = {stage.name: stage.mean for stage in found.frames.stages}
    assert sum(shares.values()) == pytest.approx(10 * MS)
    assert shares["infer"] == pytest.approx(10 * MS)


def test_a_program_whose_stages_never_showed_is_one_series() -> None:
    """No name was discovered: the frames are all there is."""
    trace = observed(("app",))
    found = summarize(Trace(nameless(trace), trace.requests, trace.telemetry))
    assert [model.model for model in found.models] == ["frames"]
    assert found.frames.requests == 60


def nameless(trace: Trace) -> Any:
    """Its meta without names."""
    from msgspec.structs import replace

    return replace(trace.meta, subject_program=Program(command=("app",)))


def test_two_runs_of_a_program_are_compared() -> None:
    """The slower one is told as any other."""
    rng = np.random.default_rng(1)
    before, after = (observed(("app",), 400, int(ms * MS) + rng.integers(0, MS, 400)) for ms in (5.0, 8.0))
    assert compare(before, after).verdict == "slower"


def test_a_program_that_says_when_its_kernels_ran_has_devices() -> None:
    """Its models are those of the first GPU: nothing says otherwise."""
    trace = observed(("app",), 20, columns={"compute": MS, "compute_at": np.arange(20) * 10 * MS, "batch_size": 1})
    assert [device.device for device in device_summary(trace.measured())] == [0]
    assert summarize(trace).devices[0].inferences == 20
