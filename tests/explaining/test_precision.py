"""FP028: the precision that it advises is checked with a command that can be pasted."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from framepace import api
from framepace.explaining.causes.precision import HighPrecision


def advice(precision: str, *models: str, **options: Any) -> tuple[str, str]:
    """What is advised, and what to mind, in a run with these models of which a trial in `precision` was faster."""
    case = api.make_case(models, **options)
    evidence: Any = SimpleNamespace(case=case, models=case.plan.models)
    blocks: Any = SimpleNamespace(change={"precision": precision})
    remedy = HighPrecision().remedy(evidence, blocks)
    return remedy.text, remedy.cost or ""


def test_the_command_is_of_this_run() -> None:
    """The model, its settings, the videos and a file of that name: nothing is left to be filled in."""
    text, cost = advice("fp16", "builtin:classifier", videos=["a b.mp4"], settings={"colour": "bgr"})
    assert text == "run it in fp16 (--set precision=fp16)"
    assert cost == (
        "accuracy: check it on your own frames (framepace accuracy builtin:classifier --precision fp16 "
        "--set colour=bgr --video 'a b.mp4' --mend classifier-fp16-mixed.onnx)"
    )


@pytest.mark.parametrize(("videos", "calibration"), [((), "synthetic"), (("a b.mp4", "c.mp4"), "a b.mp4")])
def test_int8_is_calibrated_on_the_first_source_of_the_run(videos: tuple[str, ...], calibration: str) -> None:
    """As text that a shell takes, in the setting and in the command."""
    text, cost = advice("int8", "builtin:classifier", videos=videos)
    quoted = f"'calibration={calibration}'" if " " in calibration else f"calibration={calibration}"
    assert text == f"run it in int8 (--set precision=int8 --set {quoted})"
    assert f"--precision int8 --set {quoted}" in cost


def test_every_model_has_a_command_with_a_file_of_its_own() -> None:
    """Two models are mended into two files; the second command does not undo the first."""
    _, cost = advice("fp16", "builtin:classifier", "builtin:detector")
    assert "builtin:classifier --precision fp16 --mend classifier-fp16-mixed.onnx; framepace" in cost
    assert "builtin:detector --precision fp16 --mend detector-fp16-mixed.onnx)" in cost
