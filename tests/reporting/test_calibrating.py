"""A study of calibrations, and a ranking, in words."""

from __future__ import annotations

from msgspec.structs import replace

from framepace.reporting.views.calibrating import calibration_view
from framepace.reporting.views.mending import ranking_view
from tests.reporting import samples


def test_the_sentence_says_whether_int8_will_do() -> None:
    """With the best method, the frames and the error on held-out ones; the reason where it will not."""
    study = samples.calibrations()
    assert calibration_view(study).sentence == (
        "INT8 of net.onnx will do without training: calibrated by percentile on 4 frames, it is off by 0.12 "
        "(relative L2) on 4 held-out frames"
    )
    worse = calibration_view(replace(study, best=1))
    assert "will not do" in worse.sentence
    assert worse.sentence.endswith("relative L2 error 0.31 is over 0.15")
    assert any("more frames will not help" in note for note in worse.notes)


def test_frames_that_tell_nothing_are_no_verdict() -> None:
    """Outputs of nearly zeros pass any gate, whatever their relative error is."""
    study = samples.calibrations()
    empty = replace(study, points=(replace(study.points[0], error=63.0, negligible=True), *study.points[1:]))
    assert not empty.passed
    view = calibration_view(empty)
    assert "cannot be judged: its outputs are nearly zero" in view.sentence
    assert view.rows[0][-1] == "says nothing"
    scored = replace(study.points[0], score=1.0, scored=2)
    text = calibration_view(replace(study, metric="text", points=(scored, *study.points[1:]))).sentence
    assert text.endswith("it scores 1 on 2 of 4 held-out frames that show anything")


def test_few_frames_are_told_with_numbers() -> None:
    """Ten or fewer: the errors of the curve stand beside."""
    notes = calibration_view(samples.calibrations()).notes
    assert any("only 4 frames" in note and "0.4 on 1, 0.12 on 2, 0.12 on 4" in note for note in notes)
    enough = replace(samples.calibrations(), available=40)
    assert any("2 frames are enough" in note for note in calibration_view(enough).notes)
    falling = replace(enough, falling=True)
    assert any("give more than 40" in note for note in calibration_view(falling).notes)


def test_slower_int8_is_explained_by_its_nodes() -> None:
    """Those that run in FP32 between pairs are named, and it is not offered."""
    study = samples.calibrations()
    note = calibration_view(study).notes[-1]
    assert "9.00 ms in INT8, 4.00 ms in FP32" in note
    assert "4 nodes in FP32 between Q/DQ pairs (conv1, conv2, fc1, ...)" in note
    assert "not here" in note
    assert study.speed is not None
    faster = replace(study, speed=replace(study.speed, int8_ns=2 * samples.MS))
    assert calibration_view(faster).notes[-1].endswith("2 times as fast")
    unsigned = replace(study, speed=replace(study.speed, uint8_ns=2 * samples.MS))
    assert "With --set option.activations=uint8 it takes 2.00 ms" in calibration_view(unsigned).notes[-1]


def test_what_was_stopped_does_not_say_that_nothing_helps() -> None:
    """Other methods and numbers of frames were not tried; the nodes to keep can be asked for all the same."""
    study = samples.calibrations()
    failed = replace(study, best=1)
    view = calibration_view(failed)
    assert any("more frames will not help" in note for note in view.notes)
    assert view.todo == (
        "framepace accuracy net.onnx --precision int8 --set calibration=a.mp4 --set calibration-method=minmax "
        "--mend net-int8-mixed.onnx"
    )
    stopped = calibration_view(replace(failed, complete=False)).notes
    assert any("stopped before all was tried" in note for note in stopped)
    assert not any("will not help" in note for note in stopped)
    assert calibration_view(study).todo == ""


def test_a_ranking_that_was_stopped_does_not_say_what_untried_nodes_cost() -> None:
    """Where it was not, they lie in blocks that cost little."""
    stopped = ranking_view(samples.ranking()).lines
    assert "stopped before all was tried (1 node not): the same command goes on" in stopped
    whole = ranking_view(replace(samples.ranking(), complete=True)).lines
    assert "1 node lies in blocks that cost less than a tenth of what the gate allows" in whole
    nothing = replace(samples.ranking(), nodes=samples.ranking().nodes[-1:])
    assert not any("the worst" in line for line in ranking_view(nothing).lines)
