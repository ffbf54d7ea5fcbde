"""A tuning of a model of which no inference succeeds: soon over, with the reason."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from framepace.errors import ModelError, NothingSucceeded
from framepace.facts.plan import ModelPlan, Plan
from framepace.facts.tuning import Goal
from framepace.lab.lab import Lab
from framepace.tuning import primitives
from framepace.tuning.tune import tune
from tests.store.killed import case

GOAL = Goal(fps=100, p99_ms=33, objective="p99", cameras=1)


def test_when_the_first_ways_all_fail_no_other_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of twelve ways three are tried; nothing is measured after them, and the first reason is told."""
    tried: list[Any] = []

    def fail(case: Any, **_: Any) -> None:
        tried.append(case)
        raise NothingSucceeded("every inference failed: out of bounds", fix="try another --size")

    monkeypatch.setattr(primitives, "measure_primitives", fail)
    monkeypatch.setattr(Lab, "run", lambda *_, **__: pytest.fail("a run was begun"))
    ways = {"slots": (1, 2, 3), "threads": (1, 2, 3, 4)}
    with pytest.raises(NothingSucceeded, match=r"no plan could be measured\n.*out of bounds\n.*--size"):
        tune(case(), GOAL, grid=ways, time_limit=60)
    assert len(tried) == 3


def test_a_model_that_is_not_there_is_told_before_anything_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one word too many on the command line: no setting makes a file of it."""
    monkeypatch.setattr(primitives, "measure_primitives", lambda *_, **__: pytest.fail("something was tried"))
    plan = Plan(models=(ModelPlan(name="nothing", model="nothing.onnx"),))
    with pytest.raises(ModelError, match=r"nothing\.onnx"):
        tune(replace(case(), plan=plan), GOAL, time_limit=60)
