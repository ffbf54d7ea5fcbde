"""Tracks by the package trackers, where it is installed."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest

from framepace.errors import UsageError
from framepace.facts.answers import Detections, Text
from framepace.facts.plan import ModelPlan
from framepace.facts.postprocess import Post
from framepace.postprocess.tracking import Tracker, tracking
from tests.doubles.sinks import result

installed = pytest.mark.skipif(find_spec("trackers") is None, reason="pip install 'framepace[track]'")


def two(time: float, swapped: bool = False) -> Detections:
    """Two objects that move towards each other at 60 pixels per second, in either order."""
    moved = 60 * time
    boxes = np.array([[100 + moved, 100, 140 + moved, 160], [500 - moved, 300, 560 - moved, 380]], np.float32)
    answer = Detections(boxes, np.array([0.9, 0.85], np.float32), np.array([0, 1]), ("a", "b"))
    if not swapped:
        return answer
    return replace(answer, boxes=answer.boxes[::-1], scores=answer.scores[::-1], labels=answer.labels[::-1])


@installed
@pytest.mark.parametrize("kind", ["bytetrack", "sort", "ocsort", "botsort"])
def test_an_object_keeps_its_number_over_dropped_frames(kind: str) -> None:
    """At 30 fps with gaps of up to half a second, and in whatever order the boxes come."""
    track = Tracker(kind)
    times = [number / 30 for number in range(90) if number % 30 < 15 or number < 30]
    by_label: dict[int, set[int]] = {0: set(), 1: set()}
    for number, time in enumerate(times):
        answer = track(two(time, swapped=number % 3 == 0), 1e9 + time)
        assert answer.tracks is not None
        for label, number_of_track in zip(answer.labels.tolist(), answer.tracks.tolist(), strict=True):
            by_label[label].add(number_of_track)
    numbers = [numbers - {-1} for numbers in by_label.values()]
    assert [len(one) for one in numbers] == [1, 1]
    assert numbers[0] != numbers[1]


@installed
def test_a_clock_that_goes_back_begins_anew_and_no_detection_is_lost() -> None:
    """Boxes, scores and their order are as they came, with none, with one, and after a jump."""
    track = Tracker("bytetrack")
    nothing = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
    for time in (1e9, 1e9 + 0.1, 1e9 - 3600, 1e9 - 3600, 1e9 + 86_400):
        answer = track(two(0.0), time)
        assert answer.tracks is not None
        assert answer.tracks.shape == (2,)
        assert (answer.boxes == two(0.0).boxes).all()
        assert len(track(nothing, time + 0.03)) == 0


@installed
def test_sources_and_models_are_tracked_apart() -> None:
    """Only models that ask for it; other answers stay as they are."""
    models = (ModelPlan(name="a", model="x", post=Post(track="sort")), ModelPlan(name="b", model="y"))
    tracked = tracking(models)
    for number in range(6):
        for source in ("gate", "yard"):
            answers = {"a": two(number / 30), "b": two(number / 30)}
            out = tracked(result(number, source, time=1e9 + number / 30, answers=answers))
    assert isinstance(out.answers["a"], Detections)
    assert isinstance(out.answers["b"], Detections)
    assert out.answers["a"].tracks is not None
    assert set(out.answers["a"].tracks.tolist()) == {0, 1}
    assert out.answers["b"].tracks is None
    text = result(answers={"a": Text("x", 1.0)})
    assert tracked(text).answers == text.answers


def test_without_tracks_in_the_plan_nothing_is_done() -> None:
    """The result itself comes back, and the library is not asked for."""
    one = result()
    assert tracking([ModelPlan(name="a", model="x")])(one) is one


@pytest.mark.skipif(find_spec("trackers") is not None, reason="it is installed")
def test_a_missing_library_is_told_with_its_extra() -> None:
    """When the run begins, not with its first picture."""
    with pytest.raises(UsageError, match="trackers") as error:
        tracking([ModelPlan(name="a", model="x", post=Post(track="sort"))])
    assert "framepace[track]" in str(error.value)
