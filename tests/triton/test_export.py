"""Exported repositories in the real Triton: all load, and answer as the plan does here."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from framepace import api
from framepace.backends.base import get_backend
from framepace.clock.system import SystemClock
from framepace.exporting.repository import export
from framepace.facts.plan import ModelPlan, Plan
from framepace.openinference.client.address import served_model
from framepace.openinference.client.model import asked
from framepace.video.frame import Frame
from tests.triton.server import Triton, triton

PLANS: dict[str, dict[str, Any]] = {
    "plain": {},
    "batched": {"batch": 8, "window-ms": 2, "workers": 2, "threads": 1, "batch-sizes": "4+8"},
    "live": {"batch": 4, "batch-policy": "deadline", "drop": "oldest", "spinning": "off"},
    "letterboxed": {"resize": "letterbox", "pad-value": 40, "mean": "0.485+0.456+0.406", "std": "0.229+0.224+0.225"},
    "folded": {"prepare-place": "graph", "mean": "0.5", "std": "0.25", "batch": 2},
    "small": {"precision": "int8", "calibration": "synthetic", "batch": 2},
    "bgr": {"colour": "bgr", "scale": 1, "option.optimisation": "basic", "option.arena": "false"},
}


def _plan(name: str) -> Plan:
    """A plan whose only model has that name."""
    plan = api.make_case("builtin:classifier", fps=30, settings=PLANS[name]).plan
    return replace(plan, models=(replace(plan.models[0], name=name),))


def _frame(picture: np.ndarray) -> Frame:
    return Frame(0, 0, 0, 0, 0, 0, 0, picture)


def _here(model: ModelPlan, picture: np.ndarray) -> dict[str, np.ndarray]:
    """The outputs for a picture, prepared and run by framepace."""
    session = get_backend("onnxruntime").load(model, SystemClock())
    worker = session.worker()
    session.preparer(model)(_frame(picture), worker.staging(0), 0)
    worker.enqueue(0, 1)
    return {name: np.array(value[:1]) for name, value in worker.wait(0).items()}


def _there(server: Triton, name: str, tensors: dict[str, np.ndarray], outputs: list[str]) -> dict[str, np.ndarray]:
    """The outputs of Triton for tensors."""
    with asked(served_model(f"{server.url}/v2/models/{name}")) as remote:
        remote.send(tensors)
        return remote.receive(outputs, {})


@pytest.mark.long
def test_plans_run_in_triton_with_the_answers_they_have_here(tmp_path: Path) -> None:
    """Seven plans: batched, live, letterboxed, folded, in INT8, with options; pictures in, the same outputs out."""
    picture = np.random.default_rng(0).integers(0, 256, (120, 200, 3), dtype=np.uint8)
    plans = {name: _plan(name) for name in PLANS}
    for plan in plans.values():
        export(plan, tmp_path / "repository", runtime="python")
    with triton(tmp_path / "repository") as server:
        for plan in plans.values():
            _check(server, plan.models[0], picture)
        with urllib.request.urlopen(f"{server.url}/v2/models/live_network/config") as response:
            batching = json.load(response)["dynamic_batching"]
    policy = batching["default_queue_policy"]
    assert policy["timeout_action"] == "REJECT"
    assert int(policy["default_timeout_microseconds"]) == 33_333


@pytest.mark.long
@pytest.mark.real
def test_networks_of_others_run_in_triton_with_the_answers_they_have_here(
    tmp_path: Path, detector_model: Path, classifier_model: Path, recogniser_model: Path
) -> None:
    """A text detector, a direction classifier and a recogniser, with open sizes that the plan closes."""
    sizes = {detector_model: "160x96", classifier_model: "192x48", recogniser_model: "320x48"}
    models = []
    for file, size in sizes.items():
        plan = api.make_case(str(file), fps=30, settings={"size": size, "batch": 2, "mean": "0.5", "std": "0.5"}).plan
        export(plan, tmp_path / "repository", runtime="python")
        models.append(plan.models[0])
    picture = np.random.default_rng(0).integers(0, 256, (120, 200, 3), dtype=np.uint8)
    with triton(tmp_path / "repository") as server:
        for model in models:
            _check(server, model, picture)


def _check(server: Triton, model: ModelPlan, picture: np.ndarray) -> None:
    """The same outputs there, within the rounding of another build of ONNX Runtime."""
    here = _here(model, picture)
    sent = {"picture": picture[None]}
    if model.prepare.place == "graph":  # the client resizes
        session = get_backend("onnxruntime").load(model, SystemClock())
        worker = session.worker()
        session.preparer(model)(_frame(picture), worker.staging(0), 0)
        sent = {key: np.array(value[:1]) for key, value in worker.staging(0).items()}
    there = _there(server, model.name, sent, list(here))
    for output, values in here.items():
        np.testing.assert_allclose(there[output], values, rtol=1e-3, atol=1e-4, err_msg=f"{model.name}: {output}")
