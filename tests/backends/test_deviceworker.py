"""The worker of all GPU backends, on a scripted device in virtual time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from framepace.backends.deviceworker import DeviceWorker, Produced, Slot
from framepace.engine.pipeline import Pipeline
from framepace.engine.step import Run, Step
from framepace.engine.strategies import serve_overlapped
from framepace.errors import BackendError, DeviceLost, DeviceMemoryError
from framepace.facts.plan import Batching, EnginePlan, ModelPlan
from framepace.facts.trace import Column, DropCause, Outcome
from framepace.facts.workload import Closed, Load, Paced
from framepace.feeds.arrivals import Interleaved
from framepace.feeds.batchrules import BatchRule
from framepace.feeds.inline import InlineFeed
from framepace.feeds.pacer import Pacer
from framepace.measure.load import arrivals
from framepace.models.spec import Resolved
from framepace.testing import FakeClock
from tests.doubles.device import ScriptedDevice
from tests.doubles.engine import MS, Rows, run_state
from tests.doubles.net import BATCH, TABLE, Net, X, Y


@pytest.fixture
def clock() -> FakeClock:
    """Virtual time."""
    return FakeClock(start=1000)


def test_durations_and_starts_are_those_of_the_device(clock: FakeClock) -> None:
    """Two inputs of 2 ms, kernels of 5 ms, an output of 1 ms: each part has its time and follows the one before."""
    worker = Net(clock).worker
    worker.enqueue(0, BATCH)
    worker.wait(0)
    t = worker.times(0)
    assert (t.h2d, t.compute, t.d2h) == (4 * MS, 5 * MS, MS)
    assert (t.h2d_at, t.compute_at, t.d2h_at) == (1000, 1000 + 4 * MS, 1000 + 9 * MS)
    assert clock.now() == 1000 + 10 * MS


def test_the_copy_of_a_request_overlaps_the_computation_of_the_one_before(clock: FakeClock) -> None:
    """With two slots the second upload runs while the first kernels do, and its kernels start right behind them."""
    worker = Net(clock).worker
    worker.enqueue(0, BATCH)
    worker.enqueue(1, BATCH)
    worker.wait(0), worker.wait(1)
    first, second = worker.times(0), worker.times(1)
    assert first.compute_at <= second.h2d_at < first.compute_at + first.compute
    assert second.compute_at == first.compute_at + first.compute


def test_slots_do_not_mix(clock: FakeClock) -> None:
    """Two requests in flight each get the outputs of their own inputs."""
    worker = Net(clock).worker
    for slot in (0, 1):
        worker.staging(slot)["x"][...] = slot + 1
        worker.enqueue(slot, BATCH)
    assert [worker.wait(slot)["y"].mean() for slot in (1, 0)] == [4, 2]


def test_a_smaller_batch_copies_only_its_items(clock: FakeClock) -> None:
    """One of four items: a quarter of the batched input and output, all of an input that has no batch."""
    net = Net(clock)
    net.worker.enqueue(0, 1)
    net.worker.wait(0)
    assert net.device.uploads == [8, 12]
    assert net.device.downloads == [8]


def test_a_batch_between_two_sizes_is_padded_to_the_larger(clock: FakeClock) -> None:
    """With sizes 2 and 4, three frames are copied and run as four and one as two; their outputs are theirs."""
    net = Net(clock, batch=Batching(max=BATCH, sizes=(2, 4)))
    net.worker.staging(0)["x"][...] = 3
    for count in (3, 1):
        net.worker.enqueue(0, count)
        assert (net.worker.wait(0)["y"][:count] == 6).all()
    assert net.device.uploads == [32, 12, 16, 12]


def test_device_resident_tensors_are_copied_once(clock: FakeClock) -> None:
    """With transfer=device the first request of a slot copies, the second only computes, and outputs stay there."""
    net = Net(clock, transfer="device", slots=1)
    net.worker.enqueue(0, BATCH)
    first = net.worker.wait(0)["y"].copy()
    copies = len(net.device.uploads), len(net.device.downloads)
    net.worker.enqueue(0, BATCH)
    assert np.array_equal(net.worker.wait(0)["y"], first)
    assert (len(net.device.uploads), len(net.device.downloads)) == copies
    t = net.worker.times(0)
    assert (t.h2d, t.compute, t.d2h, t.h2d_at) == (0, 5 * MS, 0, -1)


def test_outputs_of_changing_size_take_host_memory_once(clock: FakeClock) -> None:
    """Locked memory is slow to get and freed with the device: batches of changing size use the same, however many."""
    net = Net(clock, produced=True)
    net.worker.prime()
    before = net.device.hosts
    for count in (4, 2, 1, 3) * 5:
        net.worker.enqueue(0, count)
        assert net.worker.wait(0)["y"].shape == (count, 2)
    assert net.device.hosts == before


@pytest.mark.parametrize("own_graph", [False, True])
@pytest.mark.parametrize("produced", [False, True])
@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("fail_at", range(4))
def test_a_failed_launch_is_an_error_and_the_slot_goes_on(
    clock: FakeClock, fail_at: int, graph: bool, produced: bool, own_graph: bool
) -> None:
    """A request fails with the library's words, or goes without a graph; the next ones on that slot answer rightly."""
    net = Net(clock, graph=graph, produced=produced, own_graph=own_graph)
    net.fail_at = fail_at
    net.worker.staging(0)["x"][...] = 3
    told = [text for text in (failure(net) for _ in range(5)) if text]
    tried = range(1, 3 if own_graph else 4) if graph else ()  # launches of a graph that is given up when one fails
    assert len(told) == (fail_at not in tried and net.launches > fail_at)
    assert all("launch failed" in text for text in told)


def failure(net: Net) -> str:
    """What a request fails with; '' for one that answers, which it does rightly."""
    try:
        net.worker.enqueue(0, BATCH)
    except BackendError as error:
        return str(error)
    assert (net.worker.wait(0)["y"] == 6).all()
    return ""


def test_too_little_memory_frees_what_was_taken(clock: FakeClock) -> None:
    """A second slot that does not fit raises, and nothing stays allocated."""
    with pytest.raises(DeviceMemoryError):
        Net(clock, room=100)
    device = ScriptedDevice(clock, room=100)
    inputs = Resolved((X, TABLE), None, frozenset({"x"}))
    with pytest.raises(DeviceMemoryError):
        DeviceWorker(device, ModelPlan(name="m", model="m"), inputs, (Y,), lambda *_: None)
    assert (device.held, device.closed) == (0, True)


def test_only_events_of_the_request_are_waited_for(clock: FakeClock) -> None:
    """Waiting for a request does not wait for the one behind it."""
    net = Net(clock)
    net.worker.enqueue(0, BATCH)
    net.worker.enqueue(1, BATCH)
    net.worker.wait(0)
    assert clock.now() == 1000 + 10 * MS
    assert net.device.syncs == 1


def run(clock: FakeClock, net: Net, load: Load, count: int) -> dict[str, Column]:
    """The engine's own loop over an inline feed."""
    state, rows = run_state(count), Rows()
    pacer = Pacer(EnginePlan(wait="spin"), clock, state)
    batch = net.plan.batch.max
    feed = InlineFeed([Source()], Interleaved(arrivals(load, clock.now(), width=batch)), BatchRule(batch), pacer)
    pipeline = Pipeline([Step(0, "m", net.worker, batch, None)], clock, Run("model", state, rows))
    serve_overlapped(pipeline, feed, None)
    return rows.columns


class Source:
    """Pictures without end."""

    live = False

    def read(self) -> int:
        """The next picture."""
        return 0


def test_a_closed_loop_of_two_keeps_the_device_busy(clock: FakeClock) -> None:
    """Two requests in flight: kernels run back to back though each request also copies 5 ms; with one they do not."""
    busy = run(clock, Net(clock, batch=Batching(max=1)), Closed(concurrency=2), 20)
    gaps = np.diff(busy["compute_at"]) - busy["compute"][:-1]
    assert (gaps[2:] == 0).all()
    lone = run(clock, Net(clock, batch=Batching(max=1)), Closed(concurrency=1), 20)
    assert (np.diff(lone["compute_at"])[2:] == 10 * MS).all()


def test_a_paced_request_is_delivered_when_it_is_done_not_when_the_next_is_due(clock: FakeClock) -> None:
    """At 20 fps and 10 ms per request, each is collected at once although another slot is free."""
    r = run(clock, Net(clock, batch=Batching(max=1)), Paced(fps=20), 10)
    assert (r["delivered"] - r["due"] == 10 * MS).all()


def test_a_backlog_is_worked_off_with_both_slots() -> None:
    """Due every 6 ms with kernels of 5 ms and copies of 5 ms: one slot falls behind by 4 ms per frame, two keep up."""
    last = []
    for slots in (1, 2):
        clock = FakeClock(start=1000)
        r = run(clock, Net(clock, slots=slots, batch=Batching(max=1)), Paced(fps=1000 / 6), 60)
        last.append(int((r["delivered"] - r["due"])[-10:].max()) // MS)
    assert last[0] > 200
    assert last[1] < 20


def test_a_lost_device_ends_the_run_and_keeps_what_was_measured(clock: FakeClock) -> None:
    """After the third request the device is gone: its row says so, the run stops, earlier rows are whole."""
    net = Net(clock, slots=1, batch=Batching(max=1))
    original = net.launch

    def launch(index: int, slot: Slot, count: int, stream: Any) -> Mapping[str, Produced] | None:
        if net.launches == 3:
            raise DeviceLost("gone")
        return original(index, slot, count, stream)

    net.worker._launch = launch
    r = run(clock, net, Closed(), 100)
    assert r["outcome"].tolist() == [Outcome.OK] * 3 + [Outcome.FAILED]
    assert r["cause"][-1] == DropCause.DEVICE


def test_overlapping_requests_do_not_count_each_others_cpu_time(clock: FakeClock) -> None:
    """The thread's CPU time adds up over requests in flight together: nothing is counted twice."""
    r = run(clock, Net(clock, batch=Batching(max=1)), Closed(concurrency=2), 20)
    assert r["cpu"].sum() <= clock.cpu()
