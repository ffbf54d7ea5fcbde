"""What the plan says of the remedies, what gains are of, and what is not tried without being asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from framepace import api
from framepace.analyze.account import SLOWER, account
from framepace.analyze.summary import summarize
from framepace.analyze.sweeps import best_sentence
from framepace.explaining.causes.oversubscribed import Oversubscribed
from framepace.explaining.causes.under_filled import UnderFilled
from framepace.explaining.evidence import Evidence
from framepace.explaining.hypothesis import Probe
from framepace.facts.finding import Account, Explanation, Finding, Gain, Intervention, MetricKind, Remedy
from framepace.facts.plan import ModelPlan, Plan
from framepace.facts.summary import Estimate
from framepace.facts.sweep import Cell
from framepace.reporting.views.finding import finding_view
from framepace.reporting.views.remedies import remedy_lines
from framepace.store import load_plan, save_plan
from framepace.testing import make_trace

MS = 1_000_000
PLAN = Plan(models=(ModelPlan(name="m", model="m.onnx"),))


def finding(code: str, remedy: Remedy, gain: Gain | None = None, kind: MetricKind = "latency") -> Finding:
    """A confirmed cause."""
    number = Estimate(value=1.0)
    trial = Intervention(
        changed={}, metric="x", kind=kind, unit="ns", before=number, after=number, ratio=number, rounds=2
    )
    return Finding(
        code=code,
        title="t",
        verdict="confirmed",
        severity="high",
        summary="",
        intervention=trial,
        remedy=remedy,
        gain=gain,
    )


def explanation(*findings: Finding, **changes: object) -> Explanation:
    """An explanation with these findings."""
    empty = Account(model=0, pipeline=0, stream=0, lines=(), unexplained=0)
    plain = Explanation(
        verdict="",
        bottleneck="host",
        met=None,
        account=empty,
        findings=findings,
        summaries={},
        plan=PLAN,
        traces=(),
        seconds=0,
    )
    return replace(plain, **changes)


def test_the_plan_names_every_remedy_with_what_is_known_of_it(tmp_path: Path) -> None:
    """One in the plan and verified, one that did harm, one for a person; and the plan loads as before."""
    good = finding("FP019", Remedy(text="", plan={"batch": 1}), Gain(unit="ns", predicted=MS, verified=2 * MS))
    bad = finding("FP003", Remedy(text="", plan={"heartbeat-ms": 4.0}), Gain(unit="ns", predicted=MS, verified=-MS))
    advice = finding("FP028", Remedy(text="run it in fp16"))
    found = explanation(good, bad, advice, applied={"batch": 1})
    save_plan(PLAN, tmp_path / "plan.yaml", remedy_lines(found))
    text = (tmp_path / "plan.yaml").read_text()
    assert "# FP019 batch=1: in this plan; saves 2.00 ms of latency per frame" in text
    assert "# FP003 heartbeat-ms=4: not in this plan; none: adds 1.00 ms" in text
    assert "# FP028 run it in fp16: not in this plan, and not verified" in text
    assert load_plan(tmp_path / "plan.yaml") == PLAN


@pytest.mark.parametrize(("kind", "words"), [("cpu", "of CPU time per frame"), ("throughput", "between frames")])
def test_a_gain_says_what_it_is_of(kind: MetricKind, words: str) -> None:
    """Milliseconds of CPU time are not milliseconds of latency."""
    gain = Gain(unit="ns", predicted=MS, verified=MS)
    assert words in finding_view(finding("FP013", Remedy(text=""), gain, kind)).gain


def crowded(may: bool, others: int = 11) -> Evidence:
    """A stream that waits for cores which others use, for that many core seconds in 3 s of two cores or more."""
    case = api.make_case("null", fps=30, settings={"threads": 1})
    end = 4 * 10**9
    telemetry = {
        "time": [10**9, end], "process_cpu": [0, 10**8], "system_busy": [0, others * 10**9], "run_delay": [0, 2 * 10**9]
    }  # fmt: skip
    trace = make_trace(np.full(100, 10 * MS), plan=case.plan, telemetry=telemetry)
    return Evidence(case, {"stream": trace}, {scope: summarize(trace) for scope in ("stream", "model")}, 2, may)


def test_a_higher_priority_is_tried_only_where_that_was_allowed() -> None:
    """Root or not: neighbours run later meanwhile, so their share of the cores is told and nothing is done to them."""
    assert Oversubscribed().suspect(crowded(False)) is not None
    said = Oversubscribed().probe(crowded(False))
    assert isinstance(said, str)
    assert "--raise-priority" in said
    probe = Oversubscribed().probe(crowded(True))
    assert isinstance(probe, Probe)
    assert probe.change == {"nice": -10}


def test_inferences_in_unlike_batches_are_not_called_slower() -> None:
    """Batches of four alone, single frames in the stream: the line says so, and no negative 'slower than alone'."""
    model = make_trace(stages={"infer": np.full(60, 20 * MS)}, columns={"batch_size": 4})
    stream = make_trace(stages={"infer": np.full(60, 8 * MS)})
    names = [line.name for line in account(model, stream, stream).lines]
    assert "inference in batches of 1.0, alone of 4.0" in names
    assert SLOWER not in names


def cell(workers: int, ms: float) -> Cell:
    """A cell of a closed loop whose frames take that long."""
    return Cell(settings={"workers": workers}, summary=summarize(make_trace(np.full(200, int(ms * MS)), fps=None)))


def test_a_sweep_ends_with_its_best_cell_the_knee_and_the_limit() -> None:
    """Three workers are hardly better than two, and both better than one."""
    cells = [cell(1, 20), cell(2, 10), cell(3, 9.8)]
    sentence = best_sentence(cells, {"workers": ("1", "2", "3")})
    assert sentence is not None
    assert sentence.startswith("best: workers=3 (102.0 frames/s")
    assert "workers=2 is within 5 % of it" in sentence
    assert "there, the inference takes 100% of the latency" in sentence


def test_there_is_no_knee_at_the_end_of_what_was_measured() -> None:
    """More may still bring more."""
    sentence = best_sentence([cell(1, 20), cell(2, 10)], {"workers": ("1", "2")})
    assert sentence is not None
    assert "brings nothing" not in sentence


def test_one_cell_is_no_choice() -> None:
    """And neither are cells that failed."""
    assert best_sentence([cell(1, 20), Cell(settings={"workers": 2}, error="x")], {"workers": ("1", "2")}) is None


def test_the_more_cores_neighbours_have_the_likelier_they_are() -> None:
    """Of a tenth of the cores a thread that waits may wait for another reason; of most of them hardly."""
    few, most = (Oversubscribed().suspect(crowded(False, others)) for others in (2, 11))
    assert few is not None
    assert most is not None
    assert few.numbers["others_share"] < 0.5 < most.numbers["others_share"]
    assert few.share == pytest.approx(0.3)
    assert most.share == pytest.approx(most.numbers["others_share"])


@pytest.mark.parametrize(("others", "is_suspected"), [(11, False), (1, True)])
def test_cores_that_neighbours_have_are_not_idle(others: int, is_suspected: bool) -> None:
    """150 fps of 10 ms each are more than a worker carries; with all cores in others' hands two carry no more."""
    telemetry = crowded(False, others).traces["stream"].telemetry
    case = api.make_case("null", fps=150, settings={"threads": 1})
    stages = {"backlog": np.arange(100) * 2 * MS, "infer": np.full(100, 10 * MS)}
    trace = make_trace(stages=stages, plan=case.plan, telemetry=telemetry)
    evidence = Evidence(case, {"stream": trace}, {scope: summarize(trace) for scope in ("stream", "model")}, 2)
    assert evidence.overloaded
    assert (UnderFilled().suspect(evidence) is not None) is is_suspected
