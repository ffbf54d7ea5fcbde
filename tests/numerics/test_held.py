"""Whether the answers of the chosen settings are those of the plain way, for bench, explain and remedies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

import tests.doubles.skewed
from framepace import api
from framepace.explaining.draft import Draft
from framepace.explaining.refusing import refusal, without_refused
from framepace.facts.finding import Finding, Gain, Remedy
from framepace.facts.heldanswers import HeldAnswers
from framepace.facts.plan import Batching, ModelPlan
from framepace.facts.settings import Case, apply
from framepace.facts.workload import Input, Stop
from framepace.lab.answers import held_answers, held_in
from framepace.lab.lab import Lab
from framepace.numerics import held
from framepace.progress import silent
from framepace.video.source import decode_all

MODEL = ModelPlan(name="m", model="builtin:classifier", threads=1, spinning=False)
INPUT = Input(size=(96, 128))
assert tests.doubles.skewed.SkewedBackend.name == "skewed"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is known before a test."""
    monkeypatch.setenv("FRAMEPACE_CACHE", str(tmp_path))


def skewed(**options: Any) -> ModelPlan:
    """The model by a backend that answers otherwise."""
    return replace(MODEL, backend="skewed", options=options)


def case(**settings: Any) -> Case:
    """A run of the model."""
    return api.make_case("builtin:classifier", settings=settings, stop=Stop(count=20))


def test_what_differs_from_the_plain_way_is_named() -> None:
    """As settings; threads and spinning change no answer."""
    assert held.chosen(MODEL) == {}
    changed = replace(MODEL, batch=Batching(max=4), graph_shapes="fixed", options={"optimisation": "off"})
    assert held.chosen(changed) == {"batch": "4", "shapes": "fixed", "option.optimisation": "off"}
    on_device = replace(MODEL, device="cuda", graph=True, prepare=replace(MODEL.prepare, place="device"))
    assert held.chosen(on_device, 0) == {
        "device": "cuda", "graph": "on", "prepare-place": "device", "decode": "gpu"
    }  # fmt: skip


def test_a_batch_that_answers_the_same_is_told_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """With how far it is off; the second time nothing is loaded."""
    batched = replace(MODEL, batch=Batching(max=4))
    found = held.held(batched, INPUT)
    assert found.agreement is not None
    assert found.agreement.passed
    assert "with batch=4 its answers are those of the plain way" in found.text
    monkeypatch.setattr(held, "agreement", lambda *_, **__: pytest.fail("compared again"))
    assert held.held(replace(batched, name="n"), INPUT) == replace(found, model="n")


def test_wrong_answers_name_the_output_and_the_error() -> None:
    """Outputs twice as large."""
    found = held.held(skewed(by=2.0), INPUT)
    assert found.differ
    assert "output 'y0'" in found.text
    assert "relative L2 error 1" in found.text
    assert "worst on frame" in found.text


def test_two_runs_that_differ_are_told_though_both_pass() -> None:
    """A race changes the answers a little, and each time anew."""
    found = held.held(skewed(by=1.0, drift=1e-4), INPUT)
    assert not found.differ
    assert found.unsteady == 8
    assert "8 frames differently" in found.text


def test_pictures_that_a_gpu_decodes_are_held_against_those_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here it decodes others: that is told; the host's way is not asked of a GPU."""
    asked: list[int | None] = []

    def of_gpu(spec: str, limit: int, *, size: Any, seed: int, gpu: int | None) -> list[Any]:
        asked.append(gpu)
        return decode_all(spec, limit, size=size, seed=seed if gpu is None else seed + 99)

    monkeypatch.setattr("framepace.numerics.gate.decode_all", of_gpu)
    found = held.held(MODEL, INPUT, decoded_on=0)
    assert found.settings == {"decode": "gpu"}
    assert found.agreement is not None
    assert found.agreement.outputs[0].max_abs
    assert asked == [None, 0, 0]


def test_what_cannot_be_compared_says_why() -> None:
    """A device that is not here; a camera, which shows something else the next time."""
    assert "nobody has held" in held.held(replace(MODEL, backend="torch", device="cuda:7"), INPUT).text
    live = held.held(replace(MODEL, batch=Batching(max=2)), replace(INPUT, videos=("rtsp://camera/1",)))
    assert live.agreement is None
    assert "otherwise each time" in live.why


@pytest.mark.long
def test_bench_tells_it_in_its_trace() -> None:
    """As a record, and in the notes; a plain plan has nothing to tell."""
    trace = api.bench(case(batch=2))
    assert [answers.settings for answers in trace.meta.answers] == [{"batch": "2"}]
    assert trace.meta.answers[0].text in trace.meta.notes
    assert api.bench(case()).meta.answers == ()
    assert held_answers(case(backend="null", batch=2), silent) == ()


def remedy(**plan: Any) -> Finding:
    """A confirmed cause whose remedy is these settings."""
    return Finding(
        code="FP008",
        title="",
        bottleneck="compute",
        verdict="confirmed",
        severity="high",
        summary="",
        evidence={},
        remedy=Remedy(text="try it", plan=plan),
        gain=Gain(unit="ns", predicted=1.0),
    )


def test_explain_refuses_a_remedy_that_answers_otherwise() -> None:
    """It is told with output and error, and not applied; those that answer the same, or change nothing in it, stay."""
    wrong = {"backend": "skewed", "option.by": 2.0}
    draft = Draft()
    with Lab(60.0) as lab:
        kept = [remedy(batch=2), remedy(workers=2)]
        assert without_refused(lab, case(), kept, draft) == kept
        (refused,) = without_refused(lab, case(), [remedy(**wrong)], draft)
    assert refused.remedy is not None
    assert refused.remedy.plan == {}
    assert "output 'y0'" in refused.remedy.text
    assert draft.remedied_answers[0].settings == {"batch": "2"}


def test_a_plan_that_answers_otherwise_as_it_was_given_refuses_nothing() -> None:
    """What was wrong before is told of the plan, not of its remedies."""
    given = apply(case(), {"backend": "skewed", "option.by": 2.0})
    with Lab(60.0) as lab:
        draft = Draft(answers=held_in(lab, given))
        assert draft.answers[0].differ
        assert refusal(lab, given, {"batch": 2}, draft) == ""


def test_nothing_is_refused_where_no_time_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor anything loaded."""
    monkeypatch.setattr(held, "agreement", lambda *_, **__: pytest.fail("compared"))
    with Lab(0.0) as lab:
        assert refusal(lab, case(), {"backend": "skewed", "option.by": 2.0}, Draft()) == ""


def test_a_sentence_for_what_was_never_compared() -> None:
    """The settings and the reason."""
    found = HeldAnswers(model="m", settings={"graph": "on"}, why="the device is lost")
    assert found.text == "m: with graph=on nobody has held its answers against the plain way: the device is lost"
