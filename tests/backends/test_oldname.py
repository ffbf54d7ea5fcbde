"""Plug-ins written against framepace.exec.backend: they run, and whoever maintains them is warned."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from framepace.backends import base
from framepace.facts.plan import EnginePlan, ModelPlan, Plan
from framepace.facts.trace import Outcome
from framepace.facts.workload import Closed, Stop, Warmup, Workload
from framepace.measure.session import measure
from framepace.progress import silent

PLUGIN = """
import numpy as np

from framepace.exec.backend import Backend, DeviceTimes, Session, Tell, Tensors, Worker, register, silent
from framepace.models.spec import inspect, resolve


class OldWorker(Worker):
    slots = 2

    def __init__(self, inputs) -> None:
        self._inputs = [{i.name: np.zeros(i.shape, i.dtype) for i in inputs} for _ in range(self.slots)]

    def staging(self, slot: int) -> Tensors:
        return self._inputs[slot]

    def enqueue(self, slot: int, count: int) -> None:
        pass

    def wait(self, slot: int) -> Tensors:
        return self._inputs[slot]

    def times(self, slot: int) -> DeviceTimes:
        return DeviceTimes(h2d=1, compute=2, d2h=3)


class OldSession(Session):
    def __init__(self, model) -> None:
        self.spec = inspect("builtin:detector")
        self.resolved = resolve(self.spec, model)

    def _worker(self, index: int) -> Worker:
        return OldWorker(self.resolved.inputs)


@register
class OldBackend(Backend):
    name = "old"
    options = {"depth": "how deep"}

    def _load(self, model, clock, tell: Tell = silent) -> Session:
        tell("loading", 0.5)
        return OldSession(model)
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plug-in, imported anew under a warning; unknown again afterwards."""
    (tmp_path / "oldplugin.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("oldplugin", "framepace.exec.backend"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(base, "_registered", {})
    with pytest.warns(DeprecationWarning, match=r"framepace\.backends\.base"):
        importlib.import_module("oldplugin")


@pytest.mark.usefixtures("plugin")
def test_a_plugin_written_against_the_old_name_runs() -> None:
    """Registered under its name, it is loaded and measured; its device times are in the trace."""
    plan = Plan(
        models=(ModelPlan(name="a", model="builtin:detector", backend="old", options={"depth": 3}),),
        engine=EnginePlan(strategy="serial"),
    )
    work = Workload(load=Closed(), scope="model", stop=Stop(count=20), warmup=Warmup(seconds_max=0.0))
    trace = measure(plan, work, telemetry=False)
    assert set(trace.requests["outcome"].tolist()) == {Outcome.OK}
    assert set(trace.requests["compute"].tolist()) == {2}


@pytest.mark.usefixtures("plugin")
def test_the_old_names_are_the_new_ones() -> None:
    """The same classes, so that a backend of either module is a backend for the other."""
    old = importlib.import_module("framepace.exec.backend")
    assert old.silent is silent
    for name in set(old.__all__) - {"Tell", "silent"}:
        assert getattr(old, name) is getattr(base, name)
    assert isinstance(old.get_backend("old"), base.Backend)
