"""Agreement: the numbers of two outputs, and what a gate makes of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from msgspec.structs import replace

from framepace.analyze.agreement import Tally, judged, metric_scores, same_top, worst_frames
from framepace.facts.accuracy import Gate, OutputAgreement, default_gate

# Nothing so small that a square of it is no number any more.
_VALUES = st.floats(-60000, 60000, width=32).filter(lambda x: x == 0 or abs(x) > 1e-30)
_ANY = st.floats(width=32)


def pair(values: st.SearchStrategy[float]) -> st.SearchStrategy[tuple[Any, Any]]:
    """Two arrays of the same length."""
    array = st.integers(1, 20).map(lambda n: hnp.arrays(np.float32, (n,), elements=values))
    return array.flatmap(lambda one: st.tuples(one, one))


def tallied(*frames: tuple[Any, Any], name: str = "y") -> OutputAgreement:
    """The numbers over some frames of (reference, candidate)."""
    tally = Tally(name)
    for reference, candidate in frames:
        tally.add(np.asarray(reference), np.asarray(candidate))
    return tally.result()


def why(out: OutputAgreement, **gate: Any) -> tuple[str, ...]:
    """Why the output does not pass the default gate, or a changed one."""
    return judged(1, [out], replace(Gate(), **gate)).why


@given(pair(_VALUES))
def test_the_numbers_are_those_of_the_definitions(given: tuple[Any, Any]) -> None:
    """Relative L2, cosine and the largest difference, as NumPy computes them from whole arrays."""
    r, c = (x.astype(np.float64) for x in given)
    found = tallied(given)
    assert found.max_abs == np.abs(r - c).max()
    assert found.compared == r.size
    if r.any():
        assert found.relative_l2 == pytest.approx(np.linalg.norm(c - r) / np.linalg.norm(r), rel=1e-9)
    if r.any() and c.any():
        assert found.cosine == pytest.approx(r @ c / np.linalg.norm(r) / np.linalg.norm(c), abs=1e-9)


@given(pair(_ANY))
def test_every_value_is_counted_once_and_every_number_is_finite(given: tuple[Any, Any]) -> None:
    """NaN and infinities of either side are counted, and never reach the other numbers."""
    reference, candidate = given
    found = tallied(given)
    assert found.compared + found.nonfinite + found.undefined == reference.size
    assert found.undefined == np.count_nonzero(~np.isfinite(reference))
    assert found.nonfinite == np.count_nonzero(np.isfinite(reference) & ~np.isfinite(candidate))
    numbers = [found.relative_l2, found.worst_l2, found.cosine, found.max_abs]
    assert all(number is None or math.isfinite(number) for number in numbers)


@given(pair(_ANY))
def test_equal_outputs_pass_the_strictest_gate_with_no_error(given: tuple[Any, Any]) -> None:
    """Whatever they hold; NaN and infinities where the reference has them too."""
    found = tallied((given[0], given[0]))
    assert found.nonfinite == 0
    assert found.relative_l2 in (0.0, None)
    assert found.max_abs in (0.0, None)
    assert found.cosine in (1.0, None)
    if found.compared:
        assert why(found, cosine=1.0, relative_l2=0.0, top1=1.0) == ()


@given(pair(_VALUES), pair(_VALUES))
def test_frames_add_up_to_the_numbers_of_all_of_them(one: tuple[Any, Any], other: tuple[Any, Any]) -> None:
    """Frame by frame gives what all in one array give, and the worst frame is at least as far off as all together."""
    reference, candidate = map(np.concatenate, zip(one, other, strict=True))
    together = tallied((reference, candidate))
    apart = tallied(one, other)
    assert apart.relative_l2 == pytest.approx(together.relative_l2, rel=1e-9)
    assert apart.cosine == pytest.approx(together.cosine, abs=1e-9)
    assert apart.max_abs == together.max_abs
    if one[0].any() and other[0].any():
        assert apart.worst_l2 is not None
        assert apart.worst_l2 >= together.worst_l2 * (1 - 1e-9)  # type: ignore[operator]


@given(pair(_VALUES), st.floats(0.01, 100))
def test_scale_does_not_matter(given: tuple[Any, Any], factor: float) -> None:
    """Both sides times the same factor: the same relative error and the same cosine."""
    reference, candidate = (x.astype(np.float64) * factor for x in given)
    scaled = tallied((reference, candidate))
    plain = tallied(given)
    assert scaled.relative_l2 == pytest.approx(plain.relative_l2, rel=1e-6)
    assert scaled.cosine == pytest.approx(plain.cosine, abs=1e-6)


def test_a_reference_of_zeros_has_numbers() -> None:
    """Nothing is divided by zero: no error between zeros, all of it against something."""
    zeros, ones = np.zeros(3, np.float32), np.ones(3, np.float32)
    assert tallied((zeros, zeros)).relative_l2 == 0
    assert tallied((zeros, ones)).relative_l2 == 1
    assert tallied((zeros, ones)).cosine == 0


def test_top_1_is_counted_over_frames_of_one_row_of_scores() -> None:
    """Two of three frames agree; boxes (several rows per frame) and vectors have no class."""
    frames = [([[1.0, 2]], [[1.0, 3]]), ([[1.0, 2]], [[1.5, 1.4]]), ([[4.0, 2]], [[4.0, 2]])]
    assert tallied(*frames).top1 == pytest.approx(2 / 3)
    for shape in [(2, 4), (3,), (1, 1), (1, 3, 4)]:
        assert tallied((np.ones(shape), np.ones(shape))).top1 is None


def test_either_of_two_equal_highest_scores_is_the_top() -> None:
    """A tie of the reference is no class of its own, nor is what FP16 cannot tell apart; a NaN is never the top."""
    assert same_top(np.array([2.0, 1.999, 1]), np.array([1.999, 2.0, 1]))
    assert not same_top(np.array([2.0, 1.99, 1]), np.array([1.99, 2.0, 1]))
    assert not same_top(np.array([np.inf, 2, 1]), np.array([1.0, 2, 1]))
    assert same_top(np.array([2.0, 2, 1]), np.array([2.0, 2.1, 1]))
    assert not same_top(np.array([2.0, 2, 1]), np.array([1.0, 1, 2]))
    assert not same_top(np.array([2.0, 1]), np.array([2.0, np.nan]))


def test_values_that_name_things_are_equal_or_not() -> None:
    """Integers, booleans and strings: the share of equal ones, judged as top-1 is."""
    found = tallied(([1, 2, 3, 4], [1, 2, 3, 5]))
    assert (found.equal, found.relative_l2, found.cosine) == (0.75, None, None)
    assert why(found) == ("output 'y': 75.0% of the values are equal, not 99.0%",)
    assert why(found, top1=0.7) == ()
    assert tallied(([True, False], [True, True])).equal == 0.5
    assert tallied((np.array(["a"], object), np.array(["a"], object))).equal == 1.0


@pytest.mark.parametrize(
    ("numbers", "loosened", "reason"),
    [
        ({"cosine": 0.9}, {"cosine": 0.9}, "cosine 0.9 is under 0.999"),
        ({"relative_l2": 0.04}, {"relative_l2": None}, "relative L2 error 0.04 is over 0.03"),
        ({"top1": 0.5}, {"top1": None}, "50.0% of the frames have the same top-1 class, not 99.0%"),
        ({"nonfinite": 1}, {"finite": False}, "1 of 10 values are NaN or infinite"),
    ],
)
def test_each_threshold_holds_alone_and_can_be_moved(numbers: Any, loosened: Any, reason: str) -> None:
    """A number that falls short is one sentence, which names the output; a looser gate has none."""
    out = OutputAgreement(name="boxes", compared=9, **numbers)
    assert why(out) == (f"output 'boxes': {reason}",)
    assert why(out, **loosened) == ()


def test_an_output_of_nearly_zeros_passes_with_a_note() -> None:
    """A text detector on frames without text: off by 7 %, but of 1e-6. A larger error, or a NaN, is not excused."""
    reference = np.full(100, 1e-6, np.float32)
    found = tallied((reference, reference * np.float32(1.07)))
    passed = judged(1, [found], Gate())
    assert passed.passed
    assert "relative L2 error 0.07 is over 0.03, but no value is off by more than 7e-08" in passed.notes[0]
    assert why(found, negligible=0.0) == ("output 'y': relative L2 error 0.07 is over 0.03",)
    assert why(tallied((reference * 1000, reference * 1100)))
    assert why(replace(found, nonfinite=1))


def test_what_is_right_needs_no_note() -> None:
    """Small errors of small values that are small beside them too."""
    found = tallied((np.full(9, 1e-6), np.full(9, 1.001e-6)))
    assert judged(1, [found], Gate()).notes == ()


def test_int8_has_a_wider_gate_of_its_own() -> None:
    """What INT8 may lose, FP16 and BF16 may not."""
    out = OutputAgreement(name="y", compared=9, cosine=0.995, relative_l2=0.1)
    passed = {p: judged(1, [out], default_gate(p)).passed for p in ("fp32", "fp16", "bf16", "int8")}
    assert passed == {"fp32": False, "fp16": False, "bf16": False, "int8": True}


def test_nothing_to_compare_does_not_pass() -> None:
    """All NaN on both sides, or only infinities of the candidate: agreement is not shown, whatever is asked."""
    for reference in ([math.nan], [1.0]):
        assert why(tallied((reference, [math.nan])), finite=False)


def test_other_shapes_are_a_reason_and_no_crash() -> None:
    """A box that one side did not find: the frame is told, the others are compared."""
    found = tallied((np.ones((2, 4)), np.ones((3, 4))), (np.ones((2, 4)), np.ones((2, 4))))
    assert found.compared == 8
    assert why(found) == ("output 'y': has the shape 3x4 instead of 2x4 on a frame",)


def test_a_metric_decides_in_place_of_the_numbers() -> None:
    """Its mean over the frames that have a score; NaN where the reference has none is wrong whatever it says."""
    off = OutputAgreement(name="y", compared=4, relative_l2=0.9, cosine=0.1, max_abs=9.0, mismatch="2x4 instead of 3x4")
    passed = judged(3, [off], Gate(), metric_scores("text", (1.0, None, 1.0), 0.99))
    assert (passed.passed, passed.metric and passed.metric.mean) == (True, 1.0)
    short = judged(3, [off], Gate(), metric_scores("text", (1.0, 0.5, 1.0), 0.99, ("a note",)))
    assert short.why == ("text: 0.8333 on average is under 0.99; 1 of 3 frames are not equal",)
    assert short.notes == ("a note",)
    assert short.metric is not None
    assert (short.metric.median, short.metric.worst, short.metric.worst_frame) == (1.0, 0.5, 1)
    nothing = judged(1, [off], Gate(), metric_scores("text", (None,), 0.99))
    assert "nothing is compared" in nothing.why[0]
    broken = OutputAgreement(name="y", compared=4, nonfinite=2)
    assert "NaN" in judged(1, [broken], Gate(), metric_scores("text", (1.0,), 0.99)).why[0]


def test_the_worst_frames_are_those_of_the_metric_or_of_the_largest_error() -> None:
    """The worst first; of equal scores the one with the larger error; a frame without both is none."""
    outputs = [
        OutputAgreement(name="a", compared=4, relative_l2=0.1, frames_l2=(0.1, 0.4, None, 0.2), max_abs=1.0),
        OutputAgreement(name="b", compared=4, relative_l2=0.1, frames_l2=(0.3, 0.0, None, 0.1), max_abs=1.0),
    ]
    plain = judged(4, outputs, Gate())
    assert [(frame.frame, frame.error) for frame in worst_frames(plain, 3)] == [(1, 0.4), (0, 0.3), (3, 0.2)]
    scored = judged(4, outputs, Gate(), metric_scores("top1", (1.0, 1.0, None, 0.0), 0.9))
    assert [frame.frame for frame in worst_frames(scored, 2)] == [3, 1]


def test_a_frame_that_is_nan_or_of_another_shape_is_worse_than_any_error() -> None:
    """It has no error that could be compared, and is told first; also where no frame could be compared."""
    tally = Tally("y")
    good = np.ones((1, 2), np.float32)
    for candidate in (good, 2 * good, np.array([[np.nan, 1]], np.float32), good[:, :1]):
        tally.add(good, candidate)
    found = tally.result()
    assert found.lost_frames == (2, 3)
    assert [frame.frame for frame in worst_frames(judged(4, [found], Gate()), 4)] == [2, 3, 1, 0]
    lost = Tally("y")
    lost.add(good, np.nan * good)
    assert [frame.lost for frame in worst_frames(judged(1, [lost.result()], Gate()), 2)] == [True]


def test_outputs_without_values_tell_nothing_and_zeros_little() -> None:
    """Nothing compared is no agreement; one empty output beside another is told, and so is one of zeros."""
    empty, zero, full = Tally("e"), Tally("z"), Tally("y")
    empty.add(np.zeros((0, 4), np.float32), np.zeros((0, 4), np.float32))
    zero.add(np.zeros((1, 4), np.float32), np.zeros((1, 4), np.float32))
    full.add(np.ones((1, 4), np.float32), np.ones((1, 4), np.float32))
    nothing = judged(1, [empty.result()], Gate())
    assert nothing.says_nothing
    assert "nothing is compared" in nothing.why[0]
    some = judged(1, [empty.result(), zero.result(), full.result()], Gate())
    assert some.passed
    assert [note.split(" on ")[0] for note in some.notes] == ["output 'e' is empty", "output 'z' is zero"]
    broken = Tally("e")
    broken.add(np.ones(2, np.float32), np.full(2, np.nan, np.float32))
    assert not judged(1, [broken.result()], Gate(), metric_scores("text", (None,), 0.9)).says_nothing


def test_values_that_the_reference_has_not_are_told_with_their_number() -> None:
    """Where half of an output is NaN or infinite in FP32 itself, the verdict is of the other half, by a metric too."""
    half = tallied((np.array([1, math.nan, math.inf, 4], np.float32), np.array([1, 2, 3, 4], np.float32)))
    for metric in (None, metric_scores("own:metric", [1.0], 0.9)):
        made = judged(1, [half], Gate(), metric)
        assert made.passed
        assert "output 'y': 2 of 4 values are NaN or infinite in the reference already" in made.notes[0]


@pytest.mark.parametrize(
    ("name", "scores", "told"),
    [
        ("detections", [None] * 7 + [1.0], "only 1 of 8 frames has a detection"),
        ("detections@0.4", [1.0, None, 1.0, None, None], "only 2 of 5 frames have a detection"),
        ("text", [None, 1.0], "only 1 of 2 frames has text"),
        ("own:metric", [1.0] * 4 + [None] * 5, "only 4 of 9 frames have an answer"),
        ("detections", [1.0] * 5 + [None] * 3, ""),
        ("detections", [1.0], ""),
        ("detections", [None, None], ""),
    ],
)
def test_a_verdict_that_rests_on_few_frames_says_on_how_many(name: str, scores: list[float | None], told: str) -> None:
    """On the others neither way answers anything; where all frames count, or none, there is nothing to warn of."""
    notes = judged(len(scores), (), Gate(), metric_scores(name, scores, 0.9)).notes
    assert [note.partition(", on which")[0] for note in notes] == [f"{name}: {told}"] * bool(told)
