"""A check of accuracy in words."""

from __future__ import annotations

from msgspec.structs import replace

from framepace.reporting.views.accuracy import accuracy_view
from tests.reporting import samples


def test_the_sentence_says_which_way_is_held_against_which() -> None:
    """And whether it gives the same answers, on how many frames of what."""
    check = samples.accuracy()
    assert accuracy_view(check).sentence == (
        "net.onnx in fp16 (onnxruntime on cpu) does not give the same answers as net.onnx in fp32 (onnxruntime), "
        "on 3 frames of a moving pattern"
    )
    passed = replace(check, agreement=replace(check.agreement, why=()), videos=("a.mp4",))
    assert "gives the same answers as" in accuracy_view(passed).sentence
    assert accuracy_view(passed).sentence.endswith("of a.mp4")


def test_an_output_is_a_row() -> None:
    """Frames without anything to compare are left out of the median; outputs that are no floats have a share only."""
    scores, labels = accuracy_view(samples.accuracy()).rows
    assert scores == ("scores", "3,000", "0.05", "0.11", "0.2 (frame 2)", "0.998700", "0.3", "66.7%")
    assert labels == ("labels", "30", "", "", "", "", "", "100.0%")


def test_what_the_numbers_do_not_show_is_said() -> None:
    """FP16 on a CPU, and frames that are no pictures of the user's."""
    notes = accuracy_view(samples.accuracy()).notes
    assert any("moving pattern" in note for note in notes)
    assert any("FP32" in note for note in notes)
