"""The order of findings: what is proven first, and what makes a model fit after what is wrong with it."""

from __future__ import annotations

from msgspec.structs import replace

from framepace.explaining.verdict import ordered, rank, shares, worst
from framepace.facts.finding import Finding, Intervention
from framepace.facts.summary import Estimate
from tests.reporting import samples


def test_a_way_out_stands_behind_every_cause_that_was_proven() -> None:
    """A lower precision may be worth more than a second worker: it is not what is wrong."""
    cause = replace(samples.finding(), code="FP009", severity="low", share=0.1)
    way_out = replace(samples.finding(), code="FP028", severity="high", share=0.6)
    undecided = replace(samples.finding(), code="FP001", verdict="undecided")
    ordered = sorted((way_out, undecided, cause), key=rank)
    assert [finding.code for finding in ordered] == ["FP009", "FP028", "FP001"]


def test_cores_that_are_free_stand_before_the_arithmetic_that_wants_them() -> None:
    """Half the work is worth more than a second core, and is another model; what is not proven moves nothing."""
    arithmetic = replace(samples.finding(), code="FP008", severity="high", share=0.5)
    cores = replace(samples.finding(), code="FP020", severity="high", share=0.4)
    hook = replace(samples.finding(), code="FP011", severity="high", share=0.6)
    assert [finding.code for finding in ordered((cores, arithmetic, hook))] == ["FP011", "FP020", "FP008"]
    undecided = replace(cores, verdict="undecided")
    assert [finding.code for finding in ordered((undecided, arithmetic))] == ["FP008", "FP020"]


def proven() -> Intervention:
    """The trial of a sample."""
    record = samples.finding().intervention
    assert record is not None
    return record


def late_stage(**evidence: object) -> Finding:
    """Frames that are late in one stage, proven: without it they take 0.09 of the time."""
    record = replace(proven(), ratio=Estimate(value=0.09, low=0.05, high=0.17))
    return replace(samples.finding(), code="FP017", severity="high", share=0.9, evidence=evidence, intervention=record)


def test_collections_stand_before_the_hook_in_which_they_fall() -> None:
    """Where the slowest frames are as fast without them as without the hook; else the hook does more than that."""
    hook = late_stage(stage="finish")
    for ratio, codes in ((0.12, ["FP015", "FP017"]), (0.5, ["FP017", "FP015"])):
        record = replace(proven(), ratio=Estimate(value=ratio, low=0.05, high=0.6))
        stalls = replace(samples.finding(), code="FP015", severity="high", share=0.5, intervention=record)
        assert [finding.code for finding in ordered((hook, stalls))] == codes


def slow_stage(ratio: float) -> Finding:
    """Preparation takes long in every frame: without it a typical one takes `ratio` of the time."""
    record = replace(proven(), ratio=Estimate(value=ratio, low=ratio - 0.1, high=ratio + 0.1))
    evidence: dict[str, object] = {"stage": "prepare"}
    return replace(
        samples.finding(), code="FP011", severity="medium", share=0.5, evidence=evidence, intervention=record
    )


def test_a_stage_that_is_slow_stands_before_its_slowest_frames() -> None:
    """Where these take less than twice as long in it, or a typical frame takes a third of its time there."""
    varies = late_stage(stage="prepare", usual_ns=2e6, more_ns=5e6)
    noisy = late_stage(stage="prepare", usual_ns=10e6, more_ns=5e6)
    elsewhere = late_stage(stage="decode", usual_ns=9, more_ns=5)
    for ratio, late, codes in (
        (0.8, noisy, ["FP011", "FP017"]),
        (0.4, varies, ["FP011", "FP017"]),
        (0.8, varies, ["FP017", "FP011"]),
        (0.4, elsewhere, ["FP017", "FP011"]),
    ):
        assert [finding.code for finding in ordered((late, slow_stage(ratio)))] == codes


def test_what_follows_from_a_proven_cause_stands_behind_it() -> None:
    """More threads before more workers, where one worker lacks threads; the lock before the hook that waits for it."""
    for cause, effect in (("FP020", "FP009"), ("FP014", "FP024")):
        small = replace(samples.finding(), code=cause, severity="medium", share=0.2)
        large = replace(samples.finding(), code=effect, severity="high", share=0.6)
        assert [finding.code for finding in ordered((large, small))] == [cause, effect]


def test_cpu_time_alone_explains_no_missed_budget() -> None:
    """Threads that spin cost cores and not latency: a miss beside them is unexplained, and the finding stays."""
    spins = replace(samples.finding(), bottleneck="host", intervention=replace(proven(), kind="cpu"))
    slow = replace(samples.finding(), bottleneck="clocks", intervention=replace(proven(), kind="latency"))
    assert [worst([spins], met) for met in (False, True, None)] == ["unexplained", "host", "host"]
    assert worst([slow, spins], met=False) == "clocks"


def test_only_what_a_typical_frame_takes_is_a_share_of_its_budget() -> None:
    """The slowest frames may take many budgets, and a throughput is no part of one."""
    found = [
        replace(samples.finding(), bottleneck=kind, share=3.0, intervention=replace(proven(), kind=metric))
        for kind, metric in (
            ("host", "tail"),
            ("under-filled", "throughput"),
            ("transfer", "latency"),
            ("clocks", "cpu"),
        )
    ]
    assert shares(found) == {"transfer": 3.0, "CPU time": 3.0}
