"""A check of accuracy in words."""

from __future__ import annotations

from msgspec.structs import replace

from framepace.facts.accuracy import Emulation, MetricScores, WorstFrame
from framepace.reporting.views.accuracy import accuracy_view
from tests.reporting import samples


def test_the_sentence_says_which_way_is_held_against_which() -> None:
    """And whether it gives the same answers, on how many frames of what."""
    check = samples.accuracy()
    assert accuracy_view(check).sentence == (
        "net.onnx in fp16, emulated on the CPU, does not give the same answers as net.onnx in fp32 (onnxruntime), "
        "on 3 frames of a moving pattern"
    )
    passed = replace(check, agreement=replace(check.agreement, why=()), videos=("a.mp4",))
    assert "gives the same answers as" in accuracy_view(passed).sentence
    assert accuracy_view(passed).sentence.endswith("of a.mp4")


def test_two_ways_of_one_file_are_told_apart_by_their_settings() -> None:
    """File, precision and library read alike, so that each way names what it has and the other has not."""
    check = samples.accuracy()
    other = replace(check.reference, threads=1, options={"session.x": 2})
    sentence = accuracy_view(replace(check, candidate=other, emulation=None)).sentence
    assert "(onnxruntime, threads=1, option.session.x=2) does not give" in sentence
    assert "(onnxruntime, threads=0, option.session.x=none), on 3 frames" in sentence


def test_frames_of_the_calibration_are_told() -> None:
    """INT8 that is judged on the pictures it was calibrated on is flattered."""
    check = samples.accuracy()
    int8 = replace(check.candidate, precision="int8", calibration="a.mp4")
    notes = {
        video: accuracy_view(replace(check, candidate=int8, videos=(video,))).notes for video in ("a.mp4", "b.mp4")
    }
    assert any("calibrated" in note for note in notes["a.mp4"])
    assert not any("calibrated" in note for note in notes["b.mp4"])


def test_an_output_is_a_row() -> None:
    """Frames without anything to compare are left out of the median; outputs that are no floats have a share only."""
    scores, labels = accuracy_view(samples.accuracy()).rows
    assert scores == ("scores", "3,000", "0.05", "0.11", "0.2 (frame 2)", "0.998700", "0.3", "66.7%")
    assert labels == ("labels", "30", "", "", "", "", "", "100.0%")


def test_what_the_numbers_do_not_show_is_said() -> None:
    """FP16 on a CPU, and frames that are no pictures of the user's."""
    view = accuracy_view(samples.accuracy())
    notes = view.notes
    assert any("moving pattern" in note for note in notes)
    assert any("no device ran it" in note for note in notes)
    assert any("2,185,000 (node /conv11), fp16 holds 65,504 at most: it overflows" in note for note in notes)
    assert view.todo.startswith("framepace accuracy net.onnx --precision fp16 ")
    assert view.todo.endswith("--mend net-fp16-mixed.onnx")


def test_how_much_room_the_precision_has_is_said() -> None:
    """Where it is little: BF16 holds numbers as large as FP32's. Without an emulation there is nothing to say."""
    failed = samples.accuracy()
    check = replace(failed, agreement=replace(failed.agreement, why=()))
    room = {100.0: "fp16 holds 655 times as much", 1e-3: ""}
    for reach, text in room.items():
        notes = accuracy_view(replace(check, emulation=Emulation(largest=65504.0, reach=reach, node="n"))).notes
        assert any("times as much" in note for note in notes) == bool(text)
        assert any(text in note for note in notes)
    room_that_did_not_help = replace(failed, emulation=Emulation(largest=65504.0, reach=100.0, node="n"))
    assert not any("times as much" in note for note in accuracy_view(room_that_did_not_help).notes)
    bf16 = replace(failed, candidate=replace(check.candidate, precision="bf16"))
    assert accuracy_view(bf16).todo.endswith("--rank")
    assert not any("emulated" in note for note in accuracy_view(replace(check, emulation=None)).notes)


def test_which_nodes_break_it_is_asked_only_where_a_precision_does() -> None:
    """Not of two files, not in FP32, not where nothing was compared; a metric is asked for again."""
    failed = samples.accuracy()
    other = replace(failed.candidate, model="other.onnx")
    assert accuracy_view(replace(failed, candidate=other)).todo == ""
    assert accuracy_view(replace(failed, candidate=replace(failed.reference, threads=1))).todo == ""
    nothing = replace(failed.agreement, outputs=(), metric=MetricScores(name="text", least=0.9, scores=(None,)))
    view = accuracy_view(replace(failed, agreement=nothing))
    assert "cannot be held against" in view.sentence
    assert view.todo == ""
    scored = MetricScores(name="text", least=0.9, scores=(None, 0.5), mean=0.5, median=0.5, worst=0.5, worst_frame=1)
    view = accuracy_view(replace(failed, agreement=replace(failed.agreement, metric=scored)))
    assert "--metric text --least 0.9 --mend" in view.todo
    assert view.metric == "text: 0.5 on average of 1 frame (median 0.5, worst 0.5 on frame 1), 0.9 wanted"


def test_a_model_without_pictures_is_not_said_to_have_seen_the_video() -> None:
    """Nor that frames of one's own would tell more."""
    check = replace(samples.accuracy(), pictures=False)
    assert accuracy_view(check).sentence.endswith("on 3 sets of values (it takes no picture)")
    assert not any("moving pattern" in note for note in accuracy_view(check).notes)


def test_a_frame_with_nan_is_the_worst_one() -> None:
    """Its error is infinite, whatever those of other frames are."""
    check = samples.accuracy()
    scores, labels = check.agreement.outputs
    outputs = (replace(scores, lost_frames=(1,)), labels)
    view = accuracy_view(
        replace(
            check,
            agreement=replace(check.agreement, outputs=outputs),
            worst=(WorstFrame(frame=1, error=0.2, lost=True, seconds=0.5),),
        )
    )
    assert view.rows[0][4] == "inf (frame 1)"
    assert view.worst == ("frame 1 (at 0.50 s): NaN, infinity or another shape, error 0.2",)
