"""FP011 on a GPU: decoding and preparing there are settings that are tried; elsewhere it is advice."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from framepace.explaining.causes import not_the_model
from framepace.explaining.causes.not_the_model import NotTheModel
from framepace.facts.plan import EnginePlan, ModelPlan, Plan, Prepare


def evidence(stage: str, *, on_gpu: bool = True, backend: str = "onnxruntime", **changes: Any) -> Any:
    """What the cause looks at, where that stage takes most."""
    engine = EnginePlan(decode=changes.pop("decode", "thread"), strategy=changes.pop("strategy", "workers"))
    model = ModelPlan(name="m", model="m.onnx", backend=backend, prepare=Prepare(**changes))
    return SimpleNamespace(
        case=SimpleNamespace(plan=Plan(models=(model,), engine=engine)),
        models=(model,),
        on_gpu=on_gpu,
        latency=100,
        stage=lambda name: 60 if name == stage else 1,
    )


@pytest.fixture(autouse=True)
def _driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(not_the_model, "has_library", lambda: True)


def plan_of(found: Any) -> dict[str, Any]:
    """The settings of the remedy."""
    remedy = NotTheModel().remedy(found, None)  # type: ignore[arg-type]
    assert remedy.text
    return dict(remedy.plan)


def test_slow_decoding_goes_to_the_gpu_with_the_preparation() -> None:
    """So that no picture comes back to the host between them."""
    assert plan_of(evidence("decode")) == {"decode": "gpu", "prepare-place": "device"}
    assert plan_of(evidence("decode", place="device")) == {"decode": "gpu"}


def test_slow_preparation_alone_goes_to_the_gpu_alone() -> None:
    """Pictures that the host decodes are painted there too."""
    assert plan_of(evidence("prepare")) == {"prepare-place": "device"}
    assert plan_of(evidence("prepare", hook="a:b")) == {}


def test_what_the_gpu_cannot_do_stays_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    """No GPU, a simulated one, a driver without video, pictures of another process, a slow finish."""
    assert plan_of(evidence("decode", on_gpu=False)) == {}
    assert plan_of(evidence("decode", backend="simulated")) == {}
    assert plan_of(evidence("decode", strategy="processes", place="device")) == {}
    assert plan_of(evidence("finish")) == {}
    monkeypatch.setattr(not_the_model, "has_library", lambda: False)
    assert plan_of(evidence("decode", place="device")) == {}
