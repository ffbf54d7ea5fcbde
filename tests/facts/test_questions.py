"""The command that asks another question: followed, it asks it of the same model, run the same way."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from typer.testing import CliRunner

from framepace.cli import mending
from framepace.cli.app import app
from framepace.facts.inputs import Inputs, Window
from framepace.facts.plan import ModelPlan, Prepare
from framepace.facts.questions import mend_question
from framepace.facts.settings import Case
from framepace.models.builtin import model_bytes


def _asked(command: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Case, dict[str, Any]]:
    """What the command line makes of a command."""
    seen: dict[str, Any] = {}

    def note(case: Case, precision: str | None, asked: Any, out: Any, **question: Any) -> None:
        seen.update(case=case, **asked, **question)

    monkeypatch.setattr(mending, "command", note)
    result = CliRunner().invoke(app, shlex.split(command)[1:], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return seen.pop("case"), seen


def test_a_command_that_is_followed_asks_the_same_model(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes, settings, options, inputs, videos with a space in their name, and the metric come back as they were."""
    path = tmp_path / "a net.onnx"
    path.write_bytes(model_bytes("classifier"))
    prepare = Prepare(colour="bgr", mean=(0.5, 0.25, 1 / 3), scale=1.0)
    model = ModelPlan(
        name="a net", model=str(path), precision="int8", size=(96, 64), prepare=prepare, threads=2, spinning=False,
        calibration="some pictures", calibration_method="minmax", options={"optimisation": "basic"},
        inputs=Inputs(images=("images",)),
    )  # fmt: skip
    command = mend_question(model, ("a b.mp4", "c.mp4"), 8, "--metric", "text")
    case, seen = _asked(command, monkeypatch)
    assert case.plan.models == (model,)
    assert case.workload.input.videos == ("a b.mp4", "c.mp4")
    assert (seen["frames"], seen["metric"], str(seen["mend"])) == (8, "text", "a_net-int8-mixed.onnx")


def test_shapes_states_values_and_windows_are_options() -> None:
    """Each as it is typed."""
    inputs = Inputs(values={"sr": "16000"}, states={"h": "hn"}, previous=("p",), window=Window(pictures=4, stride=2))
    model = ModelPlan(name="n", model="n.onnx", precision="fp16", shapes={"x": (1, 512)}, inputs=inputs)
    assert mend_question(model) == (
        "framepace accuracy n.onnx --precision fp16 --shape x=1x512 --previous p --input sr=16000 --state h=hn "
        "--window 4:2 --mend n-fp16-mixed.onnx"
    )


def test_a_precision_of_which_no_file_can_be_written_is_ranked() -> None:
    """And a long path is not cut."""
    path = "x" * 200 + ".onnx"
    command = mend_question(ModelPlan(name="n", model=path, precision="bf16"), (), 4, "--metric", "text")
    assert command == f"framepace accuracy {path} --precision bf16 --frames 4 --rank"


def test_two_models_are_not_mended_into_one_file() -> None:
    """The file is called by the model and the precision, so that one command does not undo another."""
    models = [ModelPlan(name=name, model=f"{name}.onnx", precision="fp16") for name in ("one", "other/net: 2")]
    files = [mend_question(model).split()[-1] for model in models]
    assert files == ["one-fp16-mixed.onnx", "other_net_2-fp16-mixed.onnx"]


def test_nobody_asks_for_the_nodes_of_what_is_no_onnx_file() -> None:
    """A program of PyTorch, an engine, a model of a server: none has nodes that could be lowered one by one."""
    for model in ("net.pt2", "net.engine", "http://127.0.0.1:8000/v2/models/net"):
        assert mend_question(ModelPlan(name="net", model=model, precision="fp16")) == ""
