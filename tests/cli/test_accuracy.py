"""`framepace accuracy` as a command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from framepace.video.stills import png
from tests.doubles.commands import Command

NET = "builtin:classifier@64x64"


def accuracy(folder: Path, *arguments: object, code: int = 0) -> dict[str, Any]:
    """The document of a check that ends with `code`."""
    with Command(folder, "accuracy", *arguments, "--json") as command:
        assert command.wait(100.0) == code, command.err
        answer: dict[str, Any] = json.loads(command.out)
        return answer


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of its own."""
    monkeypatch.setenv("FRAMEPACE_CACHE", str(tmp_path / "cache"))


@pytest.mark.long
def test_the_reference_of_a_precision_is_fp32_by_onnx_runtime_on_the_cpu(tmp_path: Path) -> None:
    """Whatever the options say of the second way; the second way is as asked for."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "noise.png").write_bytes(png(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)))
    options = ("--precision", "int8", "--set", f"calibration={pictures}", "--set", "threads=1", "--frames", 2)
    found = accuracy(tmp_path, NET, *options)
    way = {name: found["reference"].get(name) for name in ("precision", "backend", "device", "calibration")}
    assert way == {"precision": "fp32", "backend": "onnxruntime", "device": "cpu", "calibration": None}
    assert (found["candidate"]["precision"], found["passed"]) == ("int8", True)
    assert "calibrated on 1 pictures" in found["notes"][0]


def test_calibrations_are_compared(tmp_path: Path) -> None:
    """On held-out frames; the answer is the best one's, and what does not belong to it is refused."""
    for number in range(2):
        noise = np.random.default_rng(number).integers(0, 256, (64, 64, 3), np.uint8)
        (tmp_path / f"{number}.png").write_bytes(png(noise))
    options = ("--precision", "int8", "--calibration", tmp_path, "--methods", "minmax")
    with Command(tmp_path, "accuracy", NET, *options, "--json") as command:
        assert command.wait(100.0) == 0, command.err
        found = json.loads(command.out)
    assert (found["schema"], found["passed"], len(found["points"])) == ("framepace.calibrate/1", True, 1)
    for wrong in (("--precision", "fp16"), ("--precision", "int8", "--worst", 1)):
        with Command(tmp_path, "accuracy", NET, *wrong, "--methods", "minmax") as command:
            assert command.wait(100.0) == 2
            assert "--methods compares" in command.err


def test_a_metric_of_the_users_decides_the_exit_code(tmp_path: Path) -> None:
    """Called with both ways' outputs; under --least the answer is no."""
    (tmp_path / "own.py").write_text("def half(reference, candidate):\n    return 0.5\n")
    options = (NET, "--versus", "threads=1", "--frames", 2, "--metric", "own:half", "--worst", 1)
    found = accuracy(tmp_path, *options, code=1)
    assert found["agreement"]["metric"]["scores"] == [0.5, 0.5]
    assert [frame["score"] for frame in found["worst"]] == [0.5]
    assert accuracy(tmp_path, *options, "--least", 0.5)["passed"]
