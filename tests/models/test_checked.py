"""A low precision that nobody has checked on frames is said to be so, once."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from framepace import accuracy, bench
from framepace.facts.plan import ModelPlan
from framepace.facts.workload import Stop
from framepace.models.checked import note_check, precision_note
from framepace.video.source import synthetic_video


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of its own."""
    monkeypatch.setenv("FRAMEPACE_CACHE", str(tmp_path / "cache"))


def test_a_check_holds_for_what_decides_the_answers() -> None:
    """Not for other nodes in FP32, another device or precision; frames of a pattern are no check."""
    model = ModelPlan(name="c", model="builtin:classifier", precision="fp16", device="cuda")
    assert precision_note(replace(model, precision="fp32")) == ""
    note_check(model, (), True)
    assert "nobody has held its answers in fp16 against FP32 here" in precision_note(model)
    note_check(model, ("a.mp4",), True)
    assert precision_note(model) == ""
    assert precision_note(replace(model, threads=1)) == ""
    for other in ({"fp32_nodes": ("a",)}, {"device": "cuda:1"}, {"precision": "bf16"}, {"backend": "tensorrt"}):
        assert "nobody" in precision_note(replace(model, **other))
    note_check(model, ("a.mp4",), False)
    assert precision_note(model) == (
        "its answers in fp16 are not those of FP32 on a.mp4: framepace accuracy builtin:classifier --precision fp16 "
        "--set device=cuda --video a.mp4 --mend c-fp16-mixed.onnx"
    )


def test_a_run_says_so_until_it_is_checked(tmp_path: Path) -> None:
    """Once per model, with the command that checks it; after that the run has nothing to say."""
    video = tmp_path / "a.mp4"
    video.write_bytes(synthetic_video((64, 64)))
    settings = {"precision": "int8", "calibration": str(video)}

    def notes() -> list[str]:
        trace = bench("builtin:classifier@64x64", fps=100, scope="model", settings=settings, stop=Stop(count=5))
        return [note for note in trace.meta.notes if "nobody has held" in note]

    (note,) = notes()
    assert note.startswith("classifier@64x64: nobody has held its answers in int8")
    assert accuracy("builtin:classifier@64x64", videos=[str(video)], frames=2, settings=settings).agreement.passed
    assert notes() == []
