"""What a strategy costs and why it is where it is, from traces whose truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framepace.analyze.strategies import cost, reasons
from framepace.analyze.summary import summarize
from framepace.facts.plan import EnginePlan, ModelPlan, Plan
from framepace.facts.summary import Cost, Summary
from framepace.facts.trace import REQUEST_COLUMNS, Trace
from framepace.facts.workload import Closed, Workload
from framepace.testing import make_meta, make_trace

MS = 1_000_000
FRAMES = 50


def side_by_side(times: Sequence[int], *, cpu: Sequence[int] | None = None, waiting: float = 0.0, **meta: Any) -> Trace:
    """Frames back to back whose models begin together and take `times` ns, `cpu` ns of it on a core."""
    names = [f"m{i}" for i in range(len(times))]
    period = max(times)
    begun = np.repeat(np.arange(FRAMES) * period + MS, len(times))
    took, used = np.tile(times, FRAMES), np.tile(cpu or times, FRAMES)
    rows = {name: np.full(len(begun), -1) for name in REQUEST_COLUMNS}
    rows |= {name: np.zeros(len(begun), np.int64) for name in ("source", "worker", "outcome", "cause", "marks", "gc")}
    rows |= dict.fromkeys(("due", "available", "captured", "decoded", "queued", "batched", "started"), begun)
    rows |= dict.fromkeys(("enqueued", "finished", "delivered"), begun + took)
    rows |= {"frame": np.repeat(np.arange(FRAMES), len(times)), "model": np.tile(np.arange(len(times)), FRAMES)}
    rows |= {"batch_id": np.arange(len(begun)), "batch_size": np.ones_like(begun), "cpu": used}
    meta = {"workload": Workload(load=Closed()), **meta}
    return Trace(make_meta(names, **meta), rows, telemetry(FRAMES * period, waiting))


def telemetry(span: int, waiting: float, memory: int = 100 << 20) -> dict[str, Any]:
    """Samples over `span` ns with `waiting` threads waiting for a core all the time."""
    times = np.linspace(0, span + 2 * MS, 20).astype(np.int64)
    given = {"time": times, "run_delay": (times * waiting).astype(np.int64), "process_cpu": times * 2}
    given |= {"memory_bytes": np.full(20, memory)}
    return make_trace([MS] * 3, telemetry=given).telemetry  # type: ignore[return-value]


def in_turn(times: Sequence[int], **meta: Any) -> Trace:
    """The same frames with the models one after the other."""
    names = [f"m{i}" for i in range(len(times))]
    given = telemetry(FRAMES * sum(times), 0.0)
    trace = make_trace(stages={"infer": [times[0]] * FRAMES}, models=names, fps=None, **meta)
    period, r = sum(times), dict(trace.requests)
    begun = (np.arange(FRAMES)[:, None] * period + np.cumsum([0, *times[:-1]]) + MS).ravel()
    took = np.tile(times, FRAMES)
    due = np.repeat(np.arange(FRAMES) * period + MS, len(times))
    r |= dict.fromkeys(("due", "available", "captured", "decoded", "queued"), due)
    r |= dict.fromkeys(("batched", "started"), begun)
    r |= dict.fromkeys(("enqueued", "finished", "delivered"), begun + took)
    return Trace(trace.meta, r | {"cpu": took}, given)


def test_a_thread_that_waits_for_a_device_on_a_core_does_not_compute() -> None:
    """Of 4 ms on a core 3 pass after the call; without a device all of them count."""
    trace = side_by_side([4 * MS])
    begun = trace.requests["started"]
    on_device = {"enqueued": begun + MS, "compute": np.full(len(begun), 2 * MS)}
    for changes, ms in ((on_device, 1), ({"enqueued": begun + MS}, 4)):
        found = summarize(Trace(trace.meta, {**trace.requests, **changes}, trace.telemetry)).cost
        assert found is not None
        assert found.computing == FRAMES * ms * MS


times_of_models = st.lists(st.integers(MS, 20 * MS), min_size=2, max_size=4)


@settings(max_examples=30, deadline=None)
@given(times_of_models)
def test_rate_is_models_at_once_times_busy_over_work(times: list[int]) -> None:
    """The identity that the reasons stand on: n / T = together * busy / (W / n), exactly."""
    for trace in (side_by_side(times), in_turn(times)):
        s = summarize(trace)
        assert s.cost is not None
        work = sum(s.cost.models.values()) / s.frames.requests
        assert s.throughput == pytest.approx(s.cost.together * s.cost.busy / work * 1e9)


@settings(max_examples=30, deadline=None)
@given(times_of_models)
def test_each_models_time_is_added_up(times: list[int]) -> None:
    """So many frames times what a model takes; together is their sum over the longest, 1 in turn."""
    beside, turn = (cost_of(trace) for trace in (side_by_side(times), in_turn(times)))
    assert beside.models == turn.models == {f"m{i}": FRAMES * t for i, t in enumerate(times)}
    assert beside.together == pytest.approx(sum(times) / max(times))
    assert turn.together == pytest.approx(1)
    assert beside.computing == FRAMES * sum(times)


def cost_of(trace: Trace) -> Cost:
    """The cost in the summary of a trace."""
    found = summarize(trace).cost
    assert found is not None
    return found


def test_a_batch_counts_once() -> None:
    """Two rows that share an inference of 4 ms are 4 ms of work."""
    trace = side_by_side([4 * MS])
    shared = {**trace.requests, "batch_id": np.arange(FRAMES) // 2, "batched": trace.requests["batched"][::2].repeat(2)}
    shared["delivered"] = shared["batched"] + 4 * MS
    found = cost(Trace(trace.meta, shared, trace.telemetry), trace.telemetry, {})
    assert found.models == {"m0": FRAMES // 2 * 4 * MS}


def test_what_was_not_measured_is_none() -> None:
    """Without telemetry and start-up times there are neither cores nor memory nor start-up."""
    trace = make_trace([MS] * 10)
    found = cost(trace, trace.telemetry, {})
    assert (found.startup, found.cores, found.waiting, found.memory, found.device_memory) == (None,) * 5


def told(name: str, own: Trace, **others: Trace) -> str:
    """The reason of one strategy among others."""
    traces = {name: own, **others}
    return reasons({strategy: summarize(trace) for strategy, trace in traces.items()})[name]


SERIAL = in_turn([10 * MS, 10 * MS], startup={"models": 200 * MS, "workers": 0})


def test_faster_side_by_side_says_how_many_at_once() -> None:
    """Two models of 10 ms together instead of in turn: twice the rate, because two are at work."""
    text = told("threads", side_by_side([10 * MS, 10 * MS]), serial=SERIAL)
    assert text.startswith("2.00 times the frames/s of serial, 2.0 models at work at once instead of 1.0")
    assert "take" not in text


def test_a_lost_core_is_told_from_a_lost_lock() -> None:
    """Models that take twice as long for the same CPU time: runnable threads waited for a core, else for the lock."""
    slow, fast = [20 * MS] * 2, [10 * MS] * 2
    core = told("threads", side_by_side(slow, cpu=fast, waiting=1.0), serial=SERIAL)
    lock = told("threads", side_by_side(slow, cpu=fast, waiting=0.0), serial=SERIAL)
    more = told("threads", side_by_side(slow, cpu=slow), serial=SERIAL)
    assert "its models take 2.00 times as long: per frame 20.0 ms waiting for a core" in core
    assert "20.0 ms waiting for the interpreter lock" in lock
    assert "20.0 ms computing more" in more
    for text, word in ((core, "lock"), (lock, "for a core"), (more, "waiting")):
        assert word not in text
    apart = told("processes", side_by_side(slow, cpu=fast), serial=SERIAL)
    assert "lock" not in apart  # processes share none


def test_without_the_run_queue_core_and_lock_are_not_told_apart() -> None:
    """A kernel without schedstat leaves the question open, and so does the sentence."""
    trace = side_by_side([20 * MS] * 2, cpu=[10 * MS] * 2)
    blind = Trace(trace.meta, trace.requests, {**trace.telemetry, "run_delay": np.full(20, -1)})
    assert "waiting for a core or the interpreter lock" in told("threads", blind, serial=SERIAL)


def test_a_blocked_event_loop_is_named() -> None:
    """asyncio around blocking calls: the same rate, and why."""
    text = told("asyncio", in_turn([10 * MS, 10 * MS]), serial=SERIAL)
    assert text.startswith("As many frames/s as serial")
    assert "a blocking call holds the event loop" in text


def test_start_up_and_memory_are_told_where_they_are_much() -> None:
    """Three seconds and 200 MiB more are told; the same is not."""
    trace = side_by_side([10 * MS, 10 * MS], startup={"models": 3000 * MS, "workers": 100 * MS})
    large = Trace(trace.meta, trace.requests, telemetry(FRAMES * 10 * MS, 0.0, 300 << 20))
    text = told("processes", large, serial=SERIAL)
    assert "200.0 MiB more memory" in text
    assert "3,100 ms to start instead of 200 ms" in text
    assert "start" not in told("threads", side_by_side([10 * MS] * 2, startup={"models": 210 * MS}), serial=SERIAL)


def test_reasons_need_something_measured() -> None:
    """No summary with a cost, no reason; without serial or workers the first is what others are held against."""
    empty = summarize(make_trace([]))
    assert reasons({"serial": empty}) == {}
    found: dict[str, Summary] = {n: summarize(side_by_side([MS, MS])) for n in ("processes", "threads")}
    assert reasons(found)["processes"].startswith("The baseline: ")
    assert reasons(found)["threads"].startswith("As many frames/s as processes")


def two_workers(away: int, **engine: Any) -> Trace:
    """Two workers with inferences of 5 ms back to back, off their cores for `away` ns of each."""
    plan = Plan(models=(ModelPlan(name="m0", model="null"),), engine=EnginePlan(**{"workers": 2, **engine}))
    trace = in_turn([5 * MS], plan=plan)
    rows = {
        **trace.requests,
        "worker": np.arange(len(trace.requests["frame"])) % 2,
        "cpu": trace.requests["cpu"] - away,
    }
    return Trace(trace.meta, rows, trace.telemetry)


def lock_wait(trace: Trace) -> float | None:
    """What the summary says."""
    cost = summarize(trace).cost
    assert cost is not None
    return cost.lock_wait


def test_workers_that_share_a_lock_are_off_their_cores_for_it() -> None:
    """The part of an inference in which its thread used no CPU time; less what threads waited for cores."""
    assert lock_wait(two_workers(MS)) == pytest.approx(MS)
    assert lock_wait(two_workers(0)) == 0
    short = two_workers(MS)
    queued = Trace(short.meta, short.requests, telemetry(FRAMES * 5 * MS, 0.1))
    assert lock_wait(queued) == pytest.approx(0.5 * MS, rel=0.1)


@pytest.mark.parametrize("engine", [{"workers": 1}, {"strategy": "worker-processes"}, {"finish": "hooks:wait"}])
def test_what_may_wait_for_something_else_says_nothing_of_the_lock(engine: dict[str, Any]) -> None:
    """One worker, processes, and hooks that may wait for a disk."""
    assert lock_wait(two_workers(MS, **engine)) is None
