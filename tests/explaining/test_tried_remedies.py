"""Remedies of a model that takes the time itself: which are tried, which are in force, and what decides the rest."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from msgspec.structs import replace

from framepace import api
from framepace.clock.virtual import VirtualClock
from framepace.explaining.causes.compute_bound import ComputeBound
from framepace.explaining.remedies import held_against
from framepace.explaining.run import explain
from framepace.facts.finding import Explanation, Finding, Gain, Intervention, Remedy, TriedRemedy
from framepace.facts.summary import Estimate
from framepace.reporting.documents import explain_document
from framepace.reporting.views.answer import answer_lines
from framepace.reporting.views.explanation import explanation_view
from framepace.reporting.views.tried import tried_line, tried_rows

MS = 1_000_000
SLOW: dict[str, Any] = {
    "backend": "simulated",
    "option.device": "ideal",
    "option.fp32_tflops": 0.07,
    "option.sm_count": 4,
}


@cache
def explained(time_limit: float = 40, **settings: Any) -> Explanation:
    """A network on a device that takes most of the budget for its arithmetic, in virtual time."""
    case = api.make_case("builtin:classifier", fps=30, settings={**SLOW, **settings})
    return explain(case, clock=VirtualClock(), causes=(ComputeBound(),), time_limit=time_limit)


def by_kind(explanation: Explanation) -> dict[str, TriedRemedy]:
    """The remedies by what they are."""
    return {remedy.kind: remedy for remedy in explanation.remedies}


def metric(remedy: TriedRemedy) -> str:
    """What its trial was judged by."""
    assert remedy.intervention is not None
    return remedy.intervention.metric


def ratio(remedy: TriedRemedy) -> float:
    """After/before of its trial."""
    assert remedy.intervention is not None
    return remedy.intervention.ratio.value


@pytest.mark.long
def test_size_precision_and_a_second_worker_are_tried_in_the_whole_stream() -> None:
    """Half the pixels take half the time, fewer bits less; a second worker is judged by the time between frames."""
    found = by_kind(explained())
    assert list(found) == ["size", "precision", "network", "library", "asynchronous"]
    assert ratio(found["size"]) == pytest.approx(0.5, abs=0.15)
    assert found["precision"].changed == {"precision": "fp16"}
    assert ratio(found["precision"]) < 0.9
    assert found["asynchronous"].changed == {"workers": 2}
    assert [metric(found[kind]) for kind in ("size", "precision", "asynchronous")] == [
        "latency", "latency", "time between frames",
    ]  # fmt: skip


def test_without_time_for_a_remedy_the_trial_of_a_cause_with_the_same_change_counts() -> None:
    """FP008 halved the pixels of the model alone: half the time. Nobody tried the other changes."""
    found = by_kind(explained(20))
    assert metric(found["size"]) == "inference"
    assert ratio(found["size"]) == pytest.approx(0.5, abs=0.1)
    assert found["precision"].untried == "no time left (--time-limit)"


def test_what_cannot_be_tried_names_the_experiment_that_decides() -> None:
    """A smaller network has to be named; of another library the floor says the most that it can bring."""
    found = by_kind(explained())
    assert found["network"].untried == "none is named"
    assert "--vary model=MODEL,SMALLER" in found["network"].decide
    assert "left to the floor" in found["library"].untried
    assert "framepace compare A B" in found["library"].decide


def test_what_is_in_force_is_not_offered() -> None:
    """Neither int8 to a model in int8, in words or as a trial, nor a second worker beside two."""
    settings = {"precision": "int8", "workers": 2, "option.int8_tops": 0.07}
    explanation = explained(25, **settings)
    found = by_kind(explanation)
    assert found["precision"].untried == "int8 is in force"
    assert found["asynchronous"].untried == "in force: workers=2"
    assert not found["precision"].changed
    assert not found["asynchronous"].changed
    (remedy,) = (finding.remedy for finding in explanation.confirmed if finding.code == "FP008")
    assert remedy is not None
    assert "lower precision" not in remedy.text


@pytest.mark.long
def test_of_fp16_the_next_lower_one_is_tried() -> None:
    """int8, as fp16 is in force."""
    found = by_kind(explained(**{"precision": "fp16", "option.fp16_tflops": 0.07}))
    assert found["precision"].changed == {"precision": "int8", "calibration": "synthetic"}


@pytest.mark.long
def test_where_the_model_is_not_the_limit_there_is_nothing_to_try() -> None:
    """A device with plenty of room has no such remedies."""
    assert explained(**{"option.fp32_tflops": 50.0}).remedies == ()


def test_the_answer_and_the_document_have_them() -> None:
    """One line at the top, a row each below, and one key in the document."""
    explanation = explained()
    assert explanation_view(explanation).answers[-1].endswith("not tried: network, library")
    assert [remedy["kind"] for remedy in explain_document(explanation)["remedies"]] == list(by_kind(explanation))


def tried(kind: Any, value: float, low: float, high: float) -> TriedRemedy:
    """A remedy whose trial gave this ratio."""
    after = Estimate(value=58 * MS * value)
    record = Intervention(
        changed={"precision": "fp16"}, metric="latency", unit="ns", before=Estimate(value=58 * MS), after=after,
        ratio=Estimate(value=value, low=low, high=high), rounds=2,
    )  # fmt: skip
    return TriedRemedy(kind=kind, changed={"precision": "fp16"}, intervention=record)


def test_a_gain_no_gain_and_a_doubt_are_told_apart() -> None:
    """By the interval: below 0.95 as a whole, above it as a whole, or on both sides; the best comes first."""
    remedies = (tried("size", 0.98, 0.97, 0.99), tried("precision", 0.4, 0.1, 1.5), tried("library", 0.5, 0.48, 0.52))
    assert tried_line(remedies) == "remedies tried: precision not sure, library 2.00x less, size no gain"
    assert tried_rows(remedies[:1]) == (
        ("size", "latency 58.0 ms, with precision=fp16 56.8 ms: no gain, -2.00 % [-3.00, -1.00]"),
    )
    untried = TriedRemedy(kind="network", untried="none is named", decide="framepace sweep MODEL")
    assert tried_rows((untried,)) == (
        ("network", "not tried: none is named"), ("", "would decide: framepace sweep MODEL"),
    )  # fmt: skip
    assert answer_lines((), (untried,)) == ("remedies tried: none; not tried: network",)


def confirmed(ratio: float, **settings: Any) -> Finding:
    """FP028, proven on the model alone with int8 or what else is said."""
    record = tried("precision", ratio, ratio - 0.02, ratio + 0.02).intervention
    return Finding(
        code="FP028", title="t", verdict="confirmed", severity="high", summary="", intervention=record,
        remedy=Remedy(text="run it so", plan=settings), gain=Gain(unit="ns", predicted=MS), share=0.3,
    )  # fmt: skip


def test_a_cause_that_the_whole_stream_contradicts_is_undecided() -> None:
    """int8 made the model alone 0.85x, and the stream surely 1.00x: no gain stands there as proven, a note says why."""
    notes: list[str] = []
    found = held_against(tried("precision", 0.998, 0.99, 1.01), confirmed(0.85), notes)
    assert (found.verdict, found.remedy, found.gain) == ("undecided", None, None)
    assert notes[0].startswith("FP028 is undecided: with precision=fp16 the model alone takes 0.85x the time")


def test_a_doubt_or_another_change_contradicts_nothing() -> None:
    """A stream that may be faster, and a remedy of the plan, which was verified in the stream itself."""
    notes: list[str] = []
    proven = confirmed(0.85)
    assert held_against(tried("precision", 0.9, 0.5, 1.5), proven, notes) is proven
    other = replace(tried("precision", 0.998, 0.99, 1.01), intervention=None)
    assert held_against(other, proven, notes) is proven
    verified = confirmed(0.85, precision="fp16")
    assert held_against(tried("precision", 0.998, 0.99, 1.01), verified, notes) is verified
    assert not notes
