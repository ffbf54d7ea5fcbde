"""What explain got wrong again and again in the labelled suite, in small."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from framepace import api
from framepace.analyze.summary import summarize
from framepace.clock.virtual import VirtualClock
from framepace.explaining.causes.clocks_fall import ClocksFall
from framepace.explaining.causes.cold_caches import ColdCaches
from framepace.explaining.causes.compute_bound import ComputeBound
from framepace.explaining.causes.few_threads import FewThreads
from framepace.explaining.causes.new_sizes import NewSizes
from framepace.explaining.causes.throttled import Throttled
from framepace.explaining.causes.unfilled_batches import UnfilledBatches
from framepace.explaining.conclusion import conclude
from framepace.explaining.draft import Draft
from framepace.explaining.evidence import Evidence
from framepace.explaining.hypothesis import Probe, Suspicion
from framepace.explaining.metrics import LATENCY, TAIL, Metric
from framepace.explaining.run import explain
from framepace.explaining.suspects import try_causes
from framepace.explaining.trial import Blocks, judge
from framepace.explaining.verdict import sentence
from framepace.facts.finding import Account, Bottleneck, Remedy
from framepace.facts.trace import Mark, Trace
from framepace.lab.lab import Lab
from framepace.testing import make_trace

MS = 1_000_000
FRAMES = 200


def trial(before: list[float], after: list[float]) -> Blocks:
    """Blocks of these latencies in ms, one after the other without noise."""
    sides = ([make_trace(np.full(40, round(ms * MS))) for ms in side] for side in (before, after))
    return Blocks(before=next(sides), after=next(sides))


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        ([2.83, 2.43, 2.43], [2.24, 2.24, 2.24], "confirmed"),
        ([2.83, 2.43], [2.24, 2.24], "undecided"),
        ([2.83, 2.43, 2.30], [2.24, 2.24, 2.31], "undecided"),
        ([2.24, 2.24, 2.24], [2.83, 2.43, 2.43], "refuted"),
    ],
)
def test_sides_that_lie_apart_decide_where_one_of_them_varies(
    before: list[float], after: list[float], verdict: str
) -> None:
    """A clock that has not settled makes blocks of one side differ; from three on, the nearest two say enough."""
    assert judge(trial(before, after).ratio(LATENCY)) == verdict


def evidence_of(clocks: dict[str, int], kernels_ms: dict[str, float]) -> Evidence:
    """Scopes at these SM clocks, with kernels of these times; 30 fps, a frame of twice the time of its kernels."""
    traces = {}
    for scope, clock in clocks.items():
        kernels = round(kernels_ms[scope] * MS)
        columns = {"sm_clock_before": clock, "compute": kernels}
        traces[scope] = make_trace(np.full(FRAMES, 2 * kernels), columns=columns)
    case = api.make_case("null", fps=30, settings={"backend": "simulated"})
    return Evidence(case, traces, {name: summarize(trace) for name, trace in traces.items()}, 2)


def scopes(evidence: Evidence) -> list[str]:
    """The scopes in which FP001 and FP003 are tried."""
    probes = [cause.probe(evidence) for cause in (ClocksFall(), ColdCaches())]
    return [probe.base.workload.scope for probe in probes if isinstance(probe, Probe)]


def test_a_clock_that_falls_in_the_whole_stream_only_is_tried_there() -> None:
    """The model alone keeps 1,900 MHz, the stream falls to 1,200: FP001 and FP003 share a trial of the stream."""
    times = {"stream": 3.3, "pipeline": 2.1, "model": 2.1, "gapless": 2.0}
    found = evidence_of({"stream": 1200, "pipeline": 1900, "model": 1900, "gapless": 1980}, times)
    suspicion = ClocksFall().suspect(found)
    assert suspicion is not None
    assert suspicion.numbers["kernels_slower_ns"] == pytest.approx(1.3 * MS)
    assert scopes(found) == ["stream", "stream"]
    alone = evidence_of({"stream": 1200, "pipeline": 1200, "model": 1200, "gapless": 1980}, {**times, "model": 3.3})
    assert scopes(alone) == ["model", "model"]


def all_in_the_call(trace: Trace, spent: NDArray[np.int64]) -> Trace:
    """The trace with calls that return when the inference is over."""
    return Trace(trace.meta, {**trace.requests, "enqueued": trace.requests["started"] + spent}, trace.telemetry)


def sized(sizes: list[int], slow: dict[int, float], warm: int) -> Evidence:
    """Batches of these sizes, 2 ms each but those at places `slow` (ms); the first `warm` of them are warm-up."""
    places = np.arange(len(sizes))
    spent = np.full(len(sizes), 2 * MS)
    spent[list(slow)] = [round(ms * MS) for ms in slow.values()]
    columns: dict[str, Any] = {
        "batch_size": sizes,
        "batch_id": places,
        "marks": np.where(places < warm, Mark.WARMUP, 0),
    }
    trace = all_in_the_call(make_trace(spent, columns=columns), spent)
    case = api.make_case("null", fps=30, settings={"backend": "simulated", "batch": 8})
    return Evidence(case, {"stream": trace}, {"stream": summarize(trace)}, 2)


ONES = [1] * 20


@pytest.mark.parametrize(
    ("sizes", "slow", "is_suspected"),
    [
        ([*[1, 2, 3, 4], *ONES, 2, 3, 4, *ONES], {0: 100, 1: 100, 2: 100, 3: 100}, True),
        ([*ONES, 5, *ONES, 7, *ONES], {20: 100, 41: 100}, True),
        ([*[1, 2, 3, 4], *ONES, 2, 3, 4, *ONES], {0: 100}, False),
        ([*[1, 2, 3, 4], *ONES, 2, 3, 4, *ONES], {30: 100, 35: 100}, False),
    ],
    ids=["met in warm-up", "met once", "the first of all", "others are slow"],
)
def test_new_sizes_are_seen_where_chance_brings_them(
    sizes: list[int], slow: dict[int, float], is_suspected: bool
) -> None:
    """In warm-up, or never a second time; the very first inference is slow in every library, and no sign."""
    found = sized(sizes, slow, warm=8)
    assert (NewSizes().suspect(found) is not None) is is_suspected
    assert (UnfilledBatches().suspect(found) is None) is is_suspected


def test_a_quota_is_judged_by_the_mean_where_the_slowest_frames_are_too_few() -> None:
    """Both on one trial, which is run once."""
    case = api.make_case("null", fps=10, settings={"wait": "spin"})
    trace = make_trace(np.full(FRAMES, MS), plan=case.plan)
    probes = Throttled().probe(Evidence(case, {"stream": trace}, {"stream": summarize(trace)}, 2))
    assert isinstance(probes, tuple)
    assert [(probe.metric.kind, probe.base, probe.change) for probe in probes] == [
        ("tail", case, {"wait": "sleep", "spinning": False}),
        ("latency", case, {"wait": "sleep", "spinning": False}),
    ]


class Made:
    """A made-up cause that nothing confirms, whose trial takes blocks of `least_s`."""

    title = "made up"
    bottleneck: Bottleneck = "compute"

    def __init__(self, code: str, share: float, least_s: float, metric: Metric) -> None:
        self.code = code
        self._share = share
        self._least_s = least_s
        self._metric = metric

    def suspect(self, evidence: Evidence) -> Suspicion | None:
        """As likely as it was made."""
        return Suspicion("made up", {}, self._share)

    def probe(self, evidence: Evidence) -> Probe | tuple[Probe, ...] | str:
        """Noise of another seed, which decides nothing."""
        change: dict[str, Any] = {"option.seed": ord(self.code[-1])}
        return Probe(evidence.case, change, self._metric, least_s=self._least_s)

    def remedy(self, evidence: Evidence, blocks: Blocks) -> Remedy:
        """None is asked for."""
        return Remedy(text="none")


def test_the_likeliest_cause_leaves_time_for_the_next() -> None:
    """Of 30 s four pairs of two seconds leave too little for two pairs of four: three are run, and both are tried."""
    case = api.make_case("null", fps=4, settings={"backend": "null", "option.noise": 1.0})
    trace = make_trace(np.full(FRAMES, 2 * MS), plan=case.plan)
    draft = Draft()
    causes = (Made("FP901", 0.9, 2.0, TAIL), Made("FP902", 0.5, 4.0, TAIL))
    with Lab(limit_s=36, clock=VirtualClock()) as lab:
        try_causes(lab, Evidence(case, {"stream": trace}, {"stream": summarize(trace)}, 2), causes, draft)
    assert [finding.code for finding in draft.findings] == ["FP901", "FP902"]


def test_a_batch_that_never_fills_is_not_what_the_model_takes() -> None:
    """Four frames take 36 ms of a period of 33, back to back; one by one they take 9: FP019, and no model too slow."""
    settings = {"backend": "null", "batch": 4, "window-ms": 15, "option.latency_us": 9_000, "option.batch_us": 9_000}
    case = api.make_case("null", fps=30, settings={**settings, "option.noise": 0.0})
    found = explain(case, time_limit=30, clock=VirtualClock())
    assert [finding.code for finding in found.confirmed] == ["FP019"]
    assert not {"FP008", "FP020", "FP028", "FP029"} & found.not_tested.keys()


def test_free_cores_are_tried_before_the_arithmetic() -> None:
    """One thread of two, 20 ms of 33: the second core comes first; with both in use there is the arithmetic only."""
    trace = make_trace(np.full(FRAMES, 20 * MS))
    traces = dict.fromkeys(("stream", "model", "gapless"), trace)
    summaries = {name: summarize(trace) for name in traces}
    shares = []
    for threads in (1, 2):
        case = api.make_case("builtin:classifier", fps=30, settings={"threads": threads})
        found = [cause.suspect(Evidence(case, traces, summaries, 2)) for cause in (FewThreads(), ComputeBound())]
        shares.append([suspicion and suspicion.share for suspicion in found])
    assert shares == [[pytest.approx(0.5), pytest.approx(0.4)], [None, pytest.approx(1.0)]]


@pytest.mark.parametrize(("source", "offered"), [("camera://1", 50), ("a.mp4", 20)])
def test_throughput_is_told_beside_the_rate_of_all_sources(source: str, offered: int) -> None:
    """Two files at 10 fps are 20 frames per second; two cameras that send 25 are 50, whatever --fps says."""
    case = api.make_case("null", fps=10, settings={"cameras": 2})
    places = np.arange(200)
    stages: dict[str, Any] = {"backlog": places * 20 * MS, "infer": 60 * MS}
    meta: dict[str, Any] = {"plan": case.plan, "sources": (source,) * 2, "workload": case.workload}
    due = 10**9 + places // 2 * 40 * MS
    trace = make_trace(stages=stages, due=due, columns={"source": places % 2}, **meta)
    summaries = {scope: summarize(trace) for scope in ("stream", "model")}
    evidence = Evidence(case, dict.fromkeys(summaries, trace), summaries, 2)
    met, told = sentence(evidence, Account(model=0, pipeline=0, stream=0, lines=(), unexplained=0))
    assert met is False
    assert f"of {offered} frames per second" in told


def test_a_budget_that_is_undecided_says_of_how_many_frames() -> None:
    """None of 253 frames is late: one in a hundred may be, and only the number of frames says why that is open."""
    case = api.make_case("null", fps=30)
    trace = make_trace(np.full(253, 2 * MS), plan=case.plan)
    evidence = Evidence(case, {"stream": trace}, {"stream": summarize(trace)}, 2)
    met, told = sentence(evidence, Account(model=0, pipeline=0, stream=0, lines=(), unexplained=0))
    assert met is None
    assert "0.0 % of 253 frames late, undecided" in told


def test_a_note_of_another_scope_than_the_stream_says_which() -> None:
    """'93,539 frames count as 43' is of the model back to back, and says nothing about the frames that people see."""
    case = api.make_case("null", fps=30)
    noted = {"stream": ("a",), "pipeline": ("a", "b"), "model": ("b", "c"), "gapless": ()}
    traces = {scope: make_trace(np.full(400, 2 * MS), plan=case.plan, notes=notes) for scope, notes in noted.items()}
    assert conclude(case, Draft(traces=traces), 1.0).notes == ("a", "pipeline: b", "model: c")
