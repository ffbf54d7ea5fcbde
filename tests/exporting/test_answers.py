"""Every setting has an answer in Triton, and the answer is true of the repository that is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from framepace import api
from framepace.exporting.answers import RULES
from framepace.exporting.repository import export
from framepace.facts.exported import SettingAnswer
from framepace.facts.settings import SETTINGS

MODEL = "builtin:classifier"
# A plan in which every setting below means something.
BASE: dict[str, Any] = {"batch": 4, "drop": "oldest"}
VALUES: dict[str, Any] = {
    "model": "builtin:detector", "batch": 2, "window-ms": 3, "batch-policy": "deadline", "batch-sizes": "2+4",
    "threads": 2, "spinning": "off", "precision": "int8", "backend": "tensorrt", "size": "64x64",
    "resize": "letterbox", "layout": None, "colour": "bgr", "scale": 1, "mean": "0.5", "std": "0.25", "pad-value": 0,
    "prepare-constant": "on", "prepare-place": "graph", "prepare-hook": "json:dumps", "post": "none", "score": 0.5,
    "iou": 0.5, "names": "x.txt", "track": "sort", "after": None, "crop": "picture", "crops": 3,
    "crop-names": "cat", "device": None, "slots": 1, "transfer": "pageable", "graph": None,
    "stream": "shared", "sms": None, "nvtx": "on", "calibration": None, "calibration-method": None,
    "fp32-nodes": None, "workers": 3, "strategy": "serial", "decode": "inline", "wait": "spin", "spin-us": 500,
    "keeper": "on", "heartbeat-ms": 5, "gc": "off", "lock-memory": "on", "nice": 5, "finish": "json:dumps",
    "buffer": 8, "drop": "never", "stale-ms": 20, "shapes": None, "slow": "infer:1",
}  # fmt: skip
"""A value of each setting of a plan; None where it means something with others only (tested apart)."""
NEEDS: dict[str, dict[str, Any]] = {
    "batch-policy": {"window-ms": 3},
    "precision": {"calibration": "synthetic"},
    "pad-value": {"resize": "letterbox", "size": "64x48"},
}
WRITTEN = ("expressed", "approximated", "in the file")
# What is so by itself, or changes nothing on a CPU.
NO_TRACE = {"backend", "transfer", "strategy"}


def written(folder: Path, settings: dict[str, Any], runtime: str | None = None) -> dict[str, bytes]:
    """The files of a repository by name."""
    case = api.make_case(MODEL, fps=30, settings=settings)
    exported = export(case.plan, folder, runtime=runtime)
    return {name: (folder / name).read_bytes() for name in exported.files}


def answers(folder: Path, settings: dict[str, Any], runtime: str | None = None) -> dict[str, SettingAnswer]:
    """The answers by setting."""
    case = api.make_case(MODEL, fps=30, settings=settings)
    return {answer.setting: answer for answer in export(case.plan, folder, runtime=runtime).answers}


def test_every_setting_is_answered() -> None:
    """The table has all settings, and none that there is not."""
    assert RULES.keys() == SETTINGS.keys()


def test_every_setting_of_a_plan_is_tried() -> None:
    """The values below leave no setting of a plan out."""
    assert VALUES.keys() == {name for name, setting in SETTINGS.items() if setting.part not in ("workload", "load")}


@pytest.mark.parametrize("name", [name for name, value in VALUES.items() if value is not None])
def test_what_is_said_to_be_expressed_changes_the_repository_and_nothing_else_does(tmp_path: Path, name: str) -> None:
    """The files differ with the setting exactly where its answer says that it is written."""
    needed = NEEDS.get(name, {})
    before = written(tmp_path / "before", {**BASE, **needed}, "python")
    changes = {**BASE, **needed, name: VALUES[name]}
    kind = answers(tmp_path / "after", changes, "python")[name].kind
    after = {n: (tmp_path / "after" / n).read_bytes() for n in written(tmp_path / "again", changes, "python")}
    if name not in NO_TRACE:
        assert (before != after) == (kind in WRITTEN)


def test_graphs_and_accelerators_are_written_for_tensorrt(tmp_path: Path) -> None:
    """A plan for TensorRT runs there within ONNX Runtime, in its precision and with graphs."""
    settings = {"backend": "tensorrt", "device": "cuda:1", "precision": "fp16", "graph": "on", "transfer": "pageable"}
    files = written(tmp_path, {**BASE, **settings})
    text = files["classifier_network/config.pbtxt"].decode()
    for part in (
        'name: "tensorrt"',
        'value: "FP16"',
        "trt_cuda_graph_enable",
        "KIND_GPU",
        "gpus: [1]",
        "enable: false",
    ):
        assert part in text


def test_where_a_setting_cannot_be_expressed_its_cost_is_said(tmp_path: Path) -> None:
    """A heartbeat, for example: nothing keeps clocks up there."""
    answer = answers(tmp_path, {**BASE, "heartbeat-ms": 5})["heartbeat-ms"]
    assert answer.kind == "not expressible"
    assert "clocks" in answer.cost
    assert answer.changed
