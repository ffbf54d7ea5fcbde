"""`framepace accuracy --mend` and its sisters as commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.doubles.commands import Command
from tests.numerics.networks import SIZE, Network


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of its own."""
    monkeypatch.setenv("FRAMEPACE_CACHE", str(tmp_path / "cache"))


@pytest.mark.long
def test_a_model_is_mended_and_the_document_has_its_plan(tmp_path: Path) -> None:
    """Exit code 0, the mixed file, and in the plan the nodes that stay in FP32."""
    network = Network()
    network.add("Mul", "scaled", "x", network.weight("scale", 30.0))
    network.add("Exp", "power", "scaled")
    network.add("Log", "back", "power")
    model = network.plan(tmp_path, "back", shape=(1, 3, SIZE, SIZE)).model
    options = ("--precision", "fp16", "--frames", 4, "--mend", tmp_path / "mixed.onnx", "--json")
    with Command(tmp_path, "accuracy", model, *options) as command:
        assert command.wait(100.0) == 0, command.err
        document = json.loads(command.out)
    assert (document["schema"], document["passed"]) == ("framepace.mend/1", True)
    assert document["model"]["fp32_nodes"] == ["power", "back"]
    assert (tmp_path / "mixed.onnx").is_file()


def test_a_time_limit_without_a_search_is_refused(tmp_path: Path) -> None:
    """Nothing else of accuracy ends by time, and an option that does nothing would be believed."""
    with Command(tmp_path, "accuracy", "builtin:classifier", "--rank", "--time-limit", 5) as command:
        assert command.wait(100.0) == 2
        assert "--time-limit is for the search of --mend" in command.err


def test_two_questions_at_once_are_refused(tmp_path: Path) -> None:
    """Each has an answer and a document of its own."""
    with Command(tmp_path, "accuracy", "builtin:classifier", "--hunt", "--rank") as command:
        assert command.wait(100.0) == 2
        assert "one question at a time" in command.err
