"""What the host does to some frames, in virtual time: hooks that wait, quotas, sizes that are new, shapes, bursts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from framepace import api
from framepace.analyze.summary import summarize
from framepace.clock.virtual import VirtualClock
from framepace.explaining.causes import CAUSES
from framepace.explaining.evidence import Evidence
from framepace.explaining.hypothesis import Hypothesis
from framepace.explaining.run import explain
from framepace.facts.device import DeviceSummary
from framepace.facts.finding import Explanation, Finding
from framepace.facts.plan import ModelPlan, Plan
from framepace.facts.workload import Burst, Closed, Poisson
from framepace.testing import make_machine, make_trace
from tests.explaining.hooks import Virtual

MS = 1_000_000
BY_CODE: dict[str, Hypothesis] = {cause.code: cause for cause in CAUSES}
SIMULATED = {"backend": "simulated", "spinning": False, "option.device": "ideal", "option.gflops": 10.0}


def explained(
    *codes: str, settings: dict[str, Any] | None = None, quota: float | None = None, **load: Any
) -> Explanation:
    """A network of 2 ms in virtual time, on backend null unless told otherwise; only the causes `codes` are tried."""
    plan = Plan(models=(ModelPlan(name="m", model="null", backend="null"),))
    Virtual.clock = VirtualClock(quota=quota)
    of_null = {} if "backend" in (settings or {}) else {"option.latency_us": 2000, "option.noise": 0.0}
    case = api.make_case(plan, settings={**of_null, **(settings or {})}, **load)
    return explain(case, time_limit=45, clock=Virtual.clock, causes=tuple(BY_CODE[code] for code in codes))


def named(found: Explanation, code: str) -> Finding:
    """The confirmed finding of that code."""
    return next(finding for finding in found.confirmed if finding.code == code)


@pytest.mark.long
def test_a_sink_that_stalls_is_told_apart_from_a_hook_that_computes() -> None:
    """One frame in twenty waits 60 ms for a disk: FP024, not FP017, and another worker is tried in the stream."""
    found = explained("FP017", "FP024", settings={"finish": "tests.explaining.hooks:stalling_sink"}, fps=30)
    finding = named(found, "FP024")
    assert [finding.code for finding in found.confirmed] == ["FP024"]
    assert finding.evidence["waiting_share"] == pytest.approx(1.0)
    assert finding.remedy is not None
    assert finding.remedy.plan == {"workers": 2}
    assert finding.gain is not None
    assert finding.gain.verified is not None


@pytest.mark.long
def test_a_hook_that_computes_is_not_said_to_wait() -> None:
    """22 ms of work on some frames: FP017 alone."""
    found = explained("FP017", "FP024", settings={"finish": "tests.explaining.hooks:crowded"}, fps=30)
    assert [finding.code for finding in found.confirmed] == ["FP017"]


@pytest.mark.long
def test_a_quota_that_spinning_uses_up_is_found_and_spared() -> None:
    """Half a core, and a worker that spins through the gap: stopped for tenths of the time, until it sleeps."""
    found = explained("FP027", settings={"wait": "spin"}, quota=0.5, fps=30)
    finding = named(found, "FP027")
    assert finding.evidence["throttled_share"] > 0.3
    assert finding.remedy is not None
    assert finding.remedy.plan == {"wait": "sleep", "spinning": False}
    assert found.plan.engine.wait == "sleep"


def test_without_a_quota_nobody_is_throttled() -> None:
    """The same worker on a whole core: nothing is suspected."""
    assert explained("FP027", settings={"wait": "spin"}, fps=30).findings == ()


@pytest.mark.long
def test_sizes_that_are_set_up_as_they_come_are_found() -> None:
    """Batches of 1 to 8 as chance brings them, 50 ms for each new one: one size for all is tried."""
    settings = {**SIMULATED, "batch": 8, "option.new_size_ms": 50.0}
    found = explained("FP019", "FP025", settings=settings, load=Poisson(fps=400), fps=None)
    finding = named(found, "FP025")
    assert [finding.code for finding in found.confirmed] == ["FP025"]
    assert finding.intervention is not None
    assert finding.intervention.changed == {"shapes": "fixed"}


@pytest.mark.long
def test_shapes_that_the_host_computes_are_found() -> None:
    """3 ms of shape arithmetic on the CPU beside 2 ms on the device: FP023 by shapes=fixed; FP016 stays silent."""
    found = explained("FP016", "FP023", settings={**SIMULATED, "option.shapes_us": 3000.0}, fps=30)
    finding = named(found, "FP023")
    assert finding.remedy is not None
    assert finding.remedy.plan == {"shapes": "fixed"}
    assert found.plan.models[0].graph_shapes == "fixed"
    assert [finding.code for finding in found.confirmed] == ["FP023"]


@pytest.mark.long
def test_nodes_on_the_cpu_that_cost_nothing_are_an_observation() -> None:
    """They are told, and never as a cause."""
    found = explained(
        "FP016", "FP023", settings={**SIMULATED, "option.fallback_share": 0.05, "option.cpu_gflops": 1e6}, fps=30
    )
    assert found.confirmed == ()
    assert {finding.code: finding.verdict for finding in found.findings}["FP016"] == "undecided"


@pytest.mark.long
def test_the_fewest_in_flight_that_keep_the_throughput_are_told() -> None:
    """Batches of four on one worker: fewer than four in flight would fill no batch, so four it is, of 40."""
    settings = {"batch": 4, "option.latency_us": 40_000, "option.batch_us": 100}
    found = explained("FP018", settings=settings, load=Closed(concurrency=40), fps=None)
    finding = named(found, "FP018")
    assert finding.intervention is not None
    assert finding.intervention.changed["concurrency"] in (4, 5)
    assert finding.remedy is not None
    assert f"--load closed:{finding.intervention.changed['concurrency']}" in finding.remedy.text


@pytest.mark.long
def test_bursts_are_run_as_a_batch() -> None:
    """Eight frames at once on one worker: the last waits for seven; one batch of eight is tried, and in the plan."""
    found = explained("FP018", settings={"option.batch_us": 100}, load=Burst(fps=40, size=8), fps=None)
    finding = named(found, "FP018")
    assert finding.remedy is not None
    assert finding.remedy.plan == {"batch": 8}
    assert found.plan.models[0].batch.max == 8


def short_of_memory(faults: int, settings: dict[str, Any] | None = None) -> Evidence:
    """100 frames in which so many pages came from disk."""
    case = api.make_case("null", fps=30, settings=settings)
    end = 3 * 10**9 + 10**9
    telemetry = {"time": [10**9, end], "faults_major": [5, 5 + faults], "memory_stalled": [0, end // 10]}
    trace = make_trace(np.full(100, 10 * MS), plan=case.plan, telemetry=telemetry, machine=make_machine())
    return Evidence(case, {"stream": trace}, {"stream": summarize(trace)}, 2)


@pytest.mark.parametrize(("faults", "there"), [(0, False), (1, False), (50, True)])
def test_when_a_short_memory_is_suspected(faults: int, there: bool) -> None:
    """Pages read from disk in every other frame; one in the whole run is nothing."""
    assert (BY_CODE["FP026"].suspect(short_of_memory(faults)) is not None) is there


def test_locked_memory_is_tried_unless_it_is_set() -> None:
    """The setting of framepace's own, judged on the slowest frames, and on the mean where these are too few."""
    probes = BY_CODE["FP026"].probe(short_of_memory(50))
    assert isinstance(probes, tuple)
    assert [(probe.change, probe.metric.kind) for probe in probes] == [
        ({"lock-memory": True}, "tail"),
        ({"lock-memory": True}, "latency"),
    ]


def beside_neighbours(on_gpu: bool, waited: float) -> Evidence:
    """Frames of 10 ms beside processes that take nine tenths of two cores; threads waited that share of a frame."""
    case = api.make_case("null", fps=30, settings={"threads": 1})
    trace = make_trace(np.full(100, 10 * MS), plan=case.plan, machine=make_machine())
    summary = replace(summarize(trace), neighbours_cpu=0.9)
    summary = replace(summary, telemetry={**summary.telemetry, "run_delay_s": waited * 10 * MS * summary.throughput})
    model = replace(summary, devices=(DeviceSummary(device=0),) if on_gpu else ())
    return Evidence(case, {"stream": trace}, {"stream": summary, "model": model}, 2)


@pytest.mark.parametrize("on_gpu", [False, True])
def test_neighbours_keep_the_thread_that_launches_kernels_from_its_core_too(on_gpu: bool) -> None:
    """On a CPU and on a GPU; threads that never wait for a core have no neighbours to suspect."""
    suspicion = BY_CODE["FP012"].suspect(beside_neighbours(on_gpu, waited=0.9))
    assert suspicion is not None
    assert suspicion.share > 0.5
    assert beside_neighbours(on_gpu, waited=0.0).on_gpu is on_gpu
    assert BY_CODE["FP012"].suspect(beside_neighbours(on_gpu, waited=0.0)) is None


@pytest.mark.long
def test_pages_that_come_from_a_disk_are_found_and_kept() -> None:
    """One inference in five waits 5 ms for a page: memory is locked, and the plan says so."""
    found = explained("FP026", settings={**SIMULATED, "option.page_share": 0.2, "option.page_ms": 5.0}, fps=30)
    finding = named(found, "FP026")
    assert finding.evidence["major_faults_per_frame"] == pytest.approx(0.2, abs=0.06)
    assert found.plan.engine.lock_memory
    assert finding.gain is not None
    assert finding.gain.verified is not None
    assert isinstance(BY_CODE["FP026"].probe(short_of_memory(50, {"lock-memory": True})), str)


def beside_a_hook(switched: int, preempted: int) -> Evidence:
    """100 frames, of which one in ten takes 60 ms in a hook, 12 of them with CPU time; it left its core so often."""
    case = api.make_case("null", fps=10, settings={"finish": "tests.explaining.hooks:steady"})
    slow = np.arange(100) % 10 == 5
    counts = {"cpu": 12 * MS * slow, "switched": switched * slow, "preempted": preempted * slow}
    spent = {"infer": 2 * MS, "finish": 60 * MS * slow}
    trace = make_trace(stages=spent, columns=counts, plan=case.plan, fps=10, machine=make_machine())
    return Evidence(case, {"stream": trace}, {"stream": summarize(trace)}, 2)


@pytest.mark.parametrize(("switched", "preempted", "code"), [(1, 0, "FP024"), (2, 30, "FP017"), (5, 1, "FP024")])
def test_a_hook_whose_core_others_take_does_not_wait_for_something_outside(
    switched: int, preempted: int, code: str
) -> None:
    """It computes 12 ms, and neighbours stretch them to 60: FP017. One that gives its core away to wait is FP024's."""
    evidence = beside_a_hook(switched, preempted)
    assert [name for name in ("FP017", "FP024") if BY_CODE[name].suspect(evidence) is not None] == [code]


@pytest.mark.parametrize(("backend", "is_suspected"), [("null", False), ("onnxruntime", True)])
def test_only_a_backend_with_threads_has_idle_ones(backend: str, is_suspected: bool) -> None:
    """A frame with gaps costs ten times the CPU time; on the null backend that is the noise of a busy machine."""
    case = api.make_case("builtin:classifier", fps=30, settings={"backend": backend})
    trace = make_trace(np.full(100, 10 * MS), plan=case.plan, machine=make_machine())
    summary = summarize(trace)
    costs = {"stream": 3.0, "model": 3.0, "gapless": 0.3}
    summaries = {scope: replace(summary, process_cpu=ms * MS) for scope, ms in costs.items()}
    evidence = Evidence(case, dict.fromkeys(costs, trace), summaries, 2)
    assert (BY_CODE["FP013"].suspect(evidence) is not None) is is_suspected


def waiting_for_the_lock(wait: float | None, workers: int = 2) -> Evidence:
    """Inferences of 1 ms, nothing of which is Python's; each waits so long for the lock."""
    case = api.make_case("null", settings={"workers": workers})
    trace = make_trace(np.full(100, MS), plan=case.plan)
    summary = summarize(trace)
    assert summary.cost is not None
    summary = replace(summary, cost=replace(summary.cost, lock_wait=wait))
    return Evidence(case, {"pipeline": trace}, {"pipeline": summary}, 2)


@pytest.mark.parametrize(
    ("wait", "workers", "there"), [(0.2 * MS, 2, True), (0.01 * MS, 2, False), (None, 2, False), (0.2 * MS, 1, False)]
)
def test_the_lock_is_suspected_where_inferences_wait_for_it_though_no_stage_is_python(
    wait: float | None, workers: int, there: bool
) -> None:
    """With how long; not for a wait of a hundredth, nor with a single worker."""
    suspicion = BY_CODE["FP014"].suspect(waiting_for_the_lock(wait, workers))
    assert (suspicion is not None) == there
    if suspicion is not None:
        assert "200 us" in suspicion.sentence
        assert suspicion.numbers["lock_wait_ns"] == pytest.approx(0.2 * MS)
