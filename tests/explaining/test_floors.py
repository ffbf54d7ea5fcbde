"""Bounds in an explanation: right on the simulated device, and never the reason why there is none."""

from __future__ import annotations

from typing import Any

import pytest

from framepace import api
from framepace.analyze.bounds import inference_ns
from framepace.errors import BackendError
from framepace.explaining import floors
from framepace.explaining.floors import bounds
from framepace.facts.bounds import Bound
from framepace.facts.trace import Trace
from framepace.facts.workload import Closed, Stop
from framepace.lab.lab import Lab
from framepace.testing import FakeClock

IDEAL: dict[str, Any] = {"backend": "simulated", "option.device": "ideal"}


def traced(model: str, settings: dict[str, Any] | None = None) -> Trace:
    """A model back to back on the simulated device."""
    return api.bench(model, scope="model", load=Closed(), stop=Stop(count=50), settings={**IDEAL, **(settings or {})})


def found(trace: Trace, limit: float = 100.0) -> tuple[tuple[Bound, ...], list[str]]:
    """Its bounds and notes."""
    notes: list[str] = []
    with Lab(limit, clock=FakeClock()) as lab:
        return bounds(lab, trace, notes), notes


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_device_without_effects_runs_at_its_floor_but_for_its_waves(precision: str, batch: int) -> None:
    """Resnet50 is limited by arithmetic there: the measured time is that of whole waves, which the floor leaves out."""
    trace = traced("builtin:resnet50", {"precision": precision, "batch": batch})
    ((bound,), notes) = found(trace)
    assert (bound.model, bound.batch, bound.limit, notes) == ("resnet50", batch, "compute", [])
    assert bound.measured == inference_ns(trace, "resnet50")
    blocks = 46.48 * batch
    assert bound.times == pytest.approx(-(-blocks // 100) * 100 / blocks, rel=0.05)
    assert set(bound.ceilings.peaks) == {precision}


def test_slow_memory_is_named_and_reached() -> None:
    """At 20 GB/s the bytes of every kernel are the time."""
    ((bound,), _) = found(traced("builtin:classifier", {"option.dram_gb_s": 20.0}))
    assert bound.limit == "memory"
    assert bound.times == pytest.approx(1, rel=0.05)


def test_a_calibration_that_fails_or_finds_no_time_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    """The explanation goes on without."""
    trace = traced("builtin:classifier")
    assert found(trace, limit=1.0) == (
        (),
        ["no floor of classifier: no time to measure the peaks of this machine (--time-limit)"],
    )

    def fails(*_: object) -> None:
        raise BackendError("the device is gone")

    monkeypatch.setattr(floors, "measure_ceilings", fails)
    assert found(trace) == ((), ["no floor of classifier: the device is gone"])


@pytest.mark.long
def test_ctrl_c_while_calibrating_keeps_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends the trials as Ctrl-C anywhere else does."""

    def interrupts(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(floors, "measure_ceilings", interrupts)
    with pytest.raises(KeyboardInterrupt):
        found(traced("builtin:classifier"))
    explained = api.explain("builtin:classifier", fps=30.0, settings=IDEAL, time_limit=100)
    assert explained.notes[-1] == "interrupted: these are the results so far"
    assert explained.bounds == ()


def test_a_model_that_is_none_has_no_floor_and_no_note() -> None:
    """The null model asks for nothing."""
    assert found(traced("null")) == ((), [])


@pytest.mark.long
def test_an_explanation_has_its_bounds() -> None:
    """One a model, from the scope 'model' back to back."""
    explained = api.explain("builtin:classifier", fps=30.0, settings=IDEAL, time_limit=100)
    (bound,) = explained.bounds
    assert (bound.model, bound.ceilings.backend) == ("classifier", "simulated")
    assert bound.times >= 0.95
