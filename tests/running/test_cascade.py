"""Models after models on sources: boxes of one are the pictures of the next, and every box is accounted for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from framepace import api
from framepace.analyze.stages import STAGES, frames
from framepace.errors import FramepaceError, PlanError, UsageError
from framepace.facts.answers import Classes, Crops, Detections
from framepace.facts.batching import Batching
from framepace.facts.plan import EnginePlan, ModelPlan, Plan, Target
from framepace.facts.postprocess import Post
from framepace.facts.running import BoxCounts, Result, RunStatus, SourceSpec
from framepace.facts.trace import Outcome
from framepace.facts.workload import Stop
from framepace.running.options import Options
from framepace.running.run import Run
from framepace.sinks.records import record
from framepace.store import load_trace, segments
from tests.doubles.finding import BOXES
from tests.running.rtsp import of
from tests.running.runs import assert_accounted, free, sink
from tests.running.videos import PICTURES, video

FINDING = "tests.doubles.finding"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A video of PICTURES pictures of 48 x 64."""
    return video(tmp_path_factory.mktemp("videos") / "video.mp4")


def model(name: str, reads: str, **fields: Any) -> ModelPlan:
    """A model that computes nothing, whose outputs are read by a function of `tests.doubles.finding`."""
    post = Post(read=reads if reads == "auto" else f"{FINDING}:{reads}")
    return ModelPlan(name=name, model="builtin:classifier", backend="null", post=post, **fields)


def plan(*models: ModelPlan, **engine: Any) -> Plan:
    """Models on 30 pictures per second."""
    return Plan(models=models, engine=EnginePlan(**engine), target=Target(fps=30))


def ran(plan: Plan, sources: list[SourceSpec], options: Options | None = None) -> tuple[list[Result], RunStatus]:
    """The results of a run to its end, and how it stands then."""
    results: list[Result] = []
    status = Run(plan, sources, [sink(results.append)], options).start().wait(60)
    assert_accounted(status)
    return results, status


def sizes(answer: Any) -> list[tuple[int, int]]:
    """(height, width) of what a model with the reader `size` was given."""
    assert isinstance(answer, Crops)
    labels = [int(part.labels[0]) for part in answer.answers if isinstance(part, Classes)]
    return [divmod(label, 1000) for label in labels]


def test_a_model_runs_on_the_boxes_of_another(path: str) -> None:
    """Every picture has an answer per box, in the order of the boxes, cut out to the (even) pixel."""
    results, status = ran(plan(model("d", "three"), model("c", "size", after="d")), [free("a", path)])
    assert len(results) == PICTURES
    for result in results:
        answer = result.answers["c"]
        assert isinstance(answer, Crops)
        assert (answer.of, answer.places.tolist()) == ("d", [0, 1, 2])
        assert answer.boxes.tolist() == [list(map(float, box)) for box in BOXES]
        assert sizes(answer) == [(10, 16), (30, 30), (8, 8)]
    assert of(status, "a").boxes == {"c": BoxCounts(found=3 * PICTURES, answered=3 * PICTURES)}
    assert record(results[0])["answers"]["c"][1]["crop"] == 1


def test_boxes_over_the_limit_are_left_out_and_counted(path: str) -> None:
    """The surest are taken; the status, each answer and a note say how many were not."""
    results, status = ran(plan(model("d", "three"), model("c", "size", after="d", crops=2)), [free("a", path)])
    answers = [result.answers["c"] for result in results]
    assert {(tuple(a.places.tolist()), a.left_out) for a in answers if isinstance(a, Crops)} == {((0, 1), 1)}
    assert of(status, "a").boxes["c"] == BoxCounts(found=90, answered=60, left_out=30)


def test_the_surest_boxes_are_taken_in_whatever_order_they_were_found(path: str) -> None:
    """A hook need not sort them; the answers are in the order of the boxes."""
    results, status = ran(plan(model("d", "rising"), model("c", "size", after="d", crops=2)), [free("a", path)])
    answer = results[0].answers["c"]
    assert isinstance(answer, Crops)
    assert (answer.places.tolist(), answer.left_out) == ([2, 3], 2)
    assert of(status, "a").boxes["c"].left_out == 2 * PICTURES


@pytest.mark.parametrize(
    ("fields", "places"),
    [
        ({"crop_names": ("cat",)}, [0, 2]),
        ({"crop_names": ("1",)}, [1]),
        ({"crop": "picture"}, [0]),
        ({"crop_names": ("cat",), "crops": 1}, [0]),
    ],
)
def test_which_boxes_a_model_runs_on(path: str, fields: dict[str, Any], places: list[int]) -> None:
    """Those of the classes it wants, by name or number; or the whole picture, once."""
    results, _ = ran(plan(model("d", "three"), model("c", "size", after="d", **fields)), [free("a", path)])
    answer = results[0].answers["c"]
    assert isinstance(answer, Crops)
    assert answer.places.tolist() == places
    if fields.get("crop") == "picture":
        assert sizes(answer) == [(48, 64)]


def test_pictures_in_which_nothing_is_found_cost_nothing(path: str, tmp_path: Path) -> None:
    """Their results say so, the trace has no row of the second model."""
    results, status = ran(
        plan(model("d", "none"), model("c", "size", after="d")), [free("a", path)], Options(out=tmp_path)
    )
    answer = results[0].answers["c"]
    assert isinstance(answer, Crops)
    assert (len(answer), len(results)) == (0, PICTURES)
    assert of(status, "a").boxes == {"c": BoxCounts()}
    assert set(load_trace(segments(tmp_path / "trace")[0]).requests["model"].tolist()) == {0}


def test_boxes_beside_the_picture_are_left_out(path: str) -> None:
    """A box that is beside it, or no number: counted, and the others keep their numbers."""
    results, status = ran(plan(model("d", "beside"), model("c", "size", after="d")), [free("a", path)])
    answer = results[0].answers["c"]
    assert isinstance(answer, Crops)
    assert (answer.places.tolist(), answer.left_out) == ([2], 2)
    assert of(status, "a").boxes["c"].left_out == 2 * PICTURES


def test_three_models_in_a_row_stay_in_pixels_of_the_picture(path: str) -> None:
    """The third runs on what the second found in the crops of the first, where it is in the whole picture."""
    third = model("e", "size", after="c")
    results, status = ran(plan(third, model("c", "inside", after="d"), model("d", "three")), [free("a", path)])
    second = results[0].answers["c"]
    assert isinstance(second, Crops)
    parts = [part.boxes.tolist() for part in second.answers if isinstance(part, Detections)]
    assert parts == [[[left + 1, top + 1, right - 1, bottom - 1]] for left, top, right, bottom in BOXES]
    assert sizes(results[0].answers["e"]) == [(9, 15), (29, 29), (7, 7)]  # from even pixels on
    assert of(status, "a").boxes["e"].answered == 3 * PICTURES


def test_boxes_of_several_cameras_share_inferences(path: str, tmp_path: Path) -> None:
    """Frames that were taken together have their boxes run together, up to the batch of the second model."""
    detector = model("d", "three", batch=Batching(max=4, window_ms=500))
    second = model("c", "size", after="d", batch=Batching(max=8))
    sources = [free(name, path) for name in "abcd"]
    _, status = ran(plan(detector, second), sources, Options(out=tmp_path))
    r = load_trace(segments(tmp_path / "trace")[0]).requests
    rows = r["model"] == 1
    assert r["batch_size"][rows].max() == 8
    shared = [len(set(r["source"][rows & (r["batch_id"] == number)])) for number in set(r["batch_id"][rows].tolist())]
    assert max(shared) > 1
    assert np.count_nonzero(rows) == 4 * 3 * PICTURES
    assert {source.boxes["c"].answered for source in status.sources} == {3 * PICTURES}


@pytest.mark.parametrize("strategy", ["workers", "serial", "threads", "asyncio", "asyncio-threads"])
def test_every_strategy_runs_models_after_models(path: str, strategy: str) -> None:
    """Beside a model on whole pictures, with two workers."""
    models = (model("d", "three"), model("c", "size", after="d"), model("e", "size"))
    results, status = ran(plan(*models, strategy=strategy, workers=2), [free("a", path), free("b", path)])
    assert len(results) == 2 * PICTURES
    assert all(sizes(result.answers["c"]) == [(10, 16), (30, 30), (8, 8)] for result in results)
    assert all(isinstance(result.answers["e"], Classes) for result in results)
    assert of(status, "b").boxes["c"].answered == 3 * PICTURES


def test_boxes_of_which_an_inference_fails_are_counted_as_such(path: str) -> None:
    """The picture is a failed one, with its reason; what was said of the other boxes is there, and none is lost."""
    results, status = ran(plan(model("d", "three"), model("c", "sometimes", after="d")), [free("a", path)])
    assert {"too small" in str(result.error) for result in results} == {True}
    answer = results[0].answers["c"]
    assert isinstance(answer, Crops)
    assert (answer.places.tolist(), answer.failed) == ([0, 1], 1)
    assert of(status, "a").boxes["c"] == BoxCounts(found=90, answered=60, failed=30)
    assert of(status, "a").failed == PICTURES


def test_a_model_that_finds_no_boxes_ends_the_run_and_says_what_to_do(path: str) -> None:
    """Its outputs are something else, in every picture."""
    with pytest.raises(FramepaceError, match="c runs after d, which finds no boxes"):
        ran(plan(model("d", "size"), model("c", "size", after="d")), [free("a", path)])


def test_a_class_that_the_detector_does_not_have_is_told(path: str) -> None:
    """With those that it has."""
    wanted = model("c", "size", after="d", crop_names=("horse",))
    with pytest.raises(FramepaceError, match="knows no such class"):
        ran(plan(model("d", "three"), wanted), [free("a", path)])


TWO = ["builtin:detector", "builtin:classifier"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"classifier.after": "door"}, "no model of the plan"),
        ({"classifier.after": "classifier"}, "waits for itself"),
        ({"detector.after": "classifier", "classifier.after": "detector"}, "waits for itself"),
        ({"classifier.after": "detector", "strategy": "processes"}, "strategy=workers"),
        ({"classifier.after": "detector", "detector.post": "none"}, "post=auto"),
    ],
)
def test_an_order_that_cannot_be_is_refused(settings: dict[str, Any], said: str) -> None:
    """Before anything is loaded, with what to set."""
    with pytest.raises((PlanError, UsageError), match=said):
        api.make_case(TWO, settings=settings)


def test_bench_runs_what_run_runs(path: str, tmp_path: Path) -> None:
    """The same rows, one per box; the latency of a frame counts to its last box, and its stages add up to it."""
    settings = {"detector.post": f"{FINDING}:three", "classifier.after": "detector", "classifier.crops": 2}
    out = tmp_path / "t"
    trace = api.bench(
        TWO, videos=[path], fps=200, settings={**settings, "backend": "null"}, stop=Stop(count=20), out=out
    )
    r = load_trace(out).requests
    second = r["model"] == 1
    assert set(np.unique(r["frame"][second], return_counts=True)[1].tolist()) == {2}
    assert (r["outcome"] == Outcome.OK).all()
    assert any("2 per picture, and left out" in note for note in trace.meta.notes)
    whole = frames(trace.measured())
    last = {frame: r["delivered"][r["frame"] == frame].max() for frame in whole["frame"].tolist()}
    assert whole["delivered"].tolist() == list(last.values())
    assert np.array_equal(np.sum([whole[name] for name in STAGES], axis=0), whole["latency"])
    rows = trace.measured("classifier").requests
    assert len(rows["frame"]) == 2 * len(whole["frame"])


def test_what_cannot_know_how_many_boxes_there_are_says_so() -> None:
    """tune predicts, and there is nothing to predict from."""
    with pytest.raises(UsageError, match="how many boxes"):
        api.tune(TWO, settings={"classifier.after": "detector"}, objective="fps", p99_ms=100, time_limit=5)
