"""CUDA graphs of the worker of all GPU backends, on a scripted device in virtual time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from framepace.backends.deviceworker import Slot
from framepace.facts.plan import Batching
from framepace.testing import FakeClock
from tests.doubles.engine import MS
from tests.doubles.net import BATCH, Net


@pytest.fixture
def clock() -> FakeClock:
    """Virtual time."""
    return FakeClock(start=1000)


def test_all_sizes_are_set_up_before_the_first_frame(clock: FakeClock) -> None:
    """Priming captures a graph for each size of each slot; no batch afterwards captures another."""
    net = Net(clock, graph=True, batch=Batching(max=BATCH, sizes=(1, 2, 4)))
    net.worker.prime()
    assert len(net.device.graphs) == 6
    for count in range(1, BATCH + 1):
        net.worker.enqueue(count % 2, count)
        net.worker.wait(count % 2)
    assert len(net.device.graphs) == 6


def test_a_graph_is_captured_once_for_each_slot_and_count(clock: FakeClock) -> None:
    """Ten requests on two slots capture two graphs, try them twice and replay them; another count is another graph."""
    net = Net(clock, graph=True)
    for _ in range(5):
        for slot in (0, 1):
            net.worker.enqueue(slot, BATCH)
            net.worker.wait(slot)
    assert [graph.launches for graph in net.device.graphs] == [7, 7]
    net.worker.enqueue(0, 1)
    assert len(net.device.graphs) == 3


@pytest.mark.parametrize("produced", [False, True])
@pytest.mark.parametrize("slots", [1, 2, 3])
def test_a_request_with_a_graph_is_one_launch_and_one_wait(clock: FakeClock, slots: int, produced: bool) -> None:
    """Nothing else is asked of the driver, and each slot answers its own inputs, whole batches and parts of them."""
    net = Net(clock, graph=True, slots=slots, produced=produced, batch=Batching(max=BATCH, sizes=(2, 4)))
    net.worker.prime()
    for slot in range(slots):
        net.worker.staging(slot)["x"][...] = slot + 1
    for count in (4, 2):
        for slot in range(slots):
            net.device.calls.clear()
            net.device.syncs = 0
            net.worker.enqueue(slot, count)
            assert (net.worker.wait(slot)["y"][:count] == 2 * (slot + 1)).all()
            assert net.device.calls == ["launch"]
            assert net.device.syncs == 1
    assert net.notes == []


@pytest.mark.parametrize("slots", [1, 2])
def test_times_within_a_graph_are_those_of_the_parts_apart(clock: FakeClock, slots: int) -> None:
    """Copies, kernels and when each began: the same durations with a graph as without, one behind the other."""
    net = Net(clock, graph=True, slots=slots)
    net.worker.prime()
    began = clock.now()
    net.worker.enqueue(0, BATCH)
    net.worker.wait(0)
    times = net.worker.times(0)
    assert (times.h2d, times.compute, times.d2h) == (4 * MS, 5 * MS, MS)
    assert (times.h2d_at, times.compute_at, times.d2h_at) == (began, began + 4 * MS, began + 9 * MS)


def test_with_graphs_kernels_of_a_worker_follow_each_other_and_copies_overlap_them(clock: FakeClock) -> None:
    """The slots share the memory of the kernels: those of the second request begin where those of the first end."""
    net = Net(clock, graph=True)
    net.worker.prime()
    for _ in range(3):
        net.worker.enqueue(0, BATCH)
        net.worker.enqueue(1, BATCH)
        net.worker.wait(0), net.worker.wait(1)
        first, second = net.worker.times(0), net.worker.times(1)
        assert second.h2d_at < first.compute_at + first.compute
        assert second.compute_at == first.compute_at + first.compute
        assert (first.compute, second.compute) == (5 * MS, 5 * MS)


@pytest.mark.parametrize("slots", [1, 2])
def test_copies_that_cannot_be_captured_go_apart_and_it_is_told(clock: FakeClock, slots: int) -> None:
    """The kernels alone are a graph then, answers and times are right, and the driver's words are in the note."""
    net = Net(clock, graph=True, slots=slots, refused="copy")
    net.worker.prime()
    net.worker.staging(0)["x"][...] = 3
    net.device.calls.clear()
    net.worker.enqueue(0, BATCH)
    assert (net.worker.wait(0)["y"] == 6).all()
    assert "launch" in net.device.calls
    assert len(net.device.calls) > 1
    times = net.worker.times(0)
    assert (times.h2d, times.compute, times.d2h) == (4 * MS, 5 * MS, MS)
    (note,) = net.notes
    assert "only the kernels of a request are a CUDA graph" in note
    assert "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED" in note


@pytest.mark.parametrize("plan", [{"transfer": "pageable"}, {"stream": "shared"}])
def test_what_no_graph_can_hold_stays_apart(clock: FakeClock, plan: dict[str, Any]) -> None:
    """Pageable memory, and kernels on a stream of all workers: only the kernels are captured, without a word."""
    net = Net(clock, graph=True, **plan)
    net.worker.prime()
    net.device.calls.clear()
    net.worker.enqueue(0, BATCH)
    net.worker.wait(0)
    assert net.device.calls.count("launch") == 1
    assert net.device.calls.count("record") == 6
    assert net.notes == []


@pytest.mark.parametrize(("slots", "calls"), [(1, 4), (2, 6)])
def test_a_graph_of_the_librarys_own_has_graphs_of_the_copies_beside_it(
    clock: FakeClock, slots: int, calls: int
) -> None:
    """The library launches its kernels itself; each copy and its events are one launch, and times are as before."""
    net = Net(clock, graph=True, own_graph=True, slots=slots)
    net.worker.prime()
    net.worker.staging(0)["x"][...] = 3
    net.device.calls.clear()
    net.worker.enqueue(0, BATCH)
    assert (net.worker.wait(0)["y"] == 6).all()
    assert len(net.device.calls) == calls
    times = net.worker.times(0)
    assert (times.h2d, times.compute, times.d2h) == (4 * MS, 5 * MS, MS)
    assert (times.compute_at - times.h2d_at, times.d2h_at - times.compute_at) == (4 * MS, 5 * MS)


def test_copies_beside_a_graph_of_the_librarys_own_are_plain_where_they_cannot_be_captured(clock: FakeClock) -> None:
    """It is told, and the answers are right."""
    net = Net(clock, graph=True, own_graph=True, refused="copy")
    net.worker.prime()
    net.worker.staging(0)["x"][...] = 3
    net.worker.enqueue(0, BATCH)
    assert (net.worker.wait(0)["y"] == 6).all()
    assert len(net.notes) == 1


def test_a_graph_that_answers_otherwise_is_not_used(clock: FakeClock) -> None:
    """Its first launch is held against the request without it: here the captured copy out is lost."""
    net = Net(clock, graph=True)
    captured = net.device.capture

    def lossy(work: Any) -> Any:
        graph = captured(work)
        if len(graph.nodes) > 3:
            del graph.nodes[-2]
        return graph

    net.worker._graphs._capture = lossy
    for slot in (0, 1):
        net.worker.staging(slot)["x"][...] = 3
    net.worker.prime()
    assert "answers otherwise" in net.notes[0]
    net.worker.enqueue(0, BATCH)
    assert (net.worker.wait(0)["y"] == 6).all()


def test_a_network_that_never_answers_the_same_keeps_its_graph(clock: FakeClock) -> None:
    """Where two runs without a graph differ as well, a difference says nothing about the graph."""
    net = Net(clock, graph=True)
    launch = net.worker._launch

    def noisy(index: int, slot: Slot, count: int, stream: Any) -> Any:
        made = launch(index, slot, count, stream)
        y = net.device.addresses[slot.pointers["y"]].view(np.float32)
        stream.run(0, lambda: np.add(y, net.device.clock.now() / MS, out=y))
        return made

    net.worker._launch = noisy
    net.worker.prime()
    assert net.notes == []
    assert len(net.device.graphs) == 2


def test_graphs_are_freed_after_what_runs_and_before_their_memory(clock: FakeClock) -> None:
    """A worker closed with a request in flight waits for it; closing twice is harmless."""
    net = Net(clock, graph=True)
    net.worker.prime()
    net.worker.enqueue(0, BATCH)
    ends = clock.now() + 10 * MS
    net.worker.close()
    assert clock.now() >= ends
    assert all(graph.closed for graph in net.device.graphs)
    net.worker.close()


def test_a_worker_of_a_lost_device_closes(clock: FakeClock) -> None:
    """What waits for the device fails; the rest is freed all the same."""
    net = Net(clock, graph=True)
    net.worker.prime()
    net.worker.enqueue(0, BATCH)
    net.device.lost = True
    net.worker.close()
    assert net.device.closed
    assert all(graph.closed for graph in net.device.graphs)


@pytest.mark.parametrize("graph", [False, True])
def test_outputs_that_the_library_places_itself_are_fetched_from_there(clock: FakeClock, graph: bool) -> None:
    """Produced outputs have the shape of the request, for any count, and whatever was captured last."""
    worker = Net(clock, produced=True, graph=graph).worker
    worker.staging(0)["x"][...] = 3
    for count in (4, 2, 4):
        worker.enqueue(0, count)
        out = worker.wait(0)["y"]
        assert out.shape == (count, 2)
        assert (out == 6).all()


def test_priming_runs_every_slot_once_and_captures_its_graph(clock: FakeClock) -> None:
    """After prime() each slot's graph is there, so that no measured request pays for it."""
    net = Net(clock, graph=True)
    net.worker.prime()
    assert [graph.launches for graph in net.device.graphs] == [3, 3]
    net.worker.enqueue(0, BATCH)
    assert len(net.device.graphs) == 2


@pytest.mark.parametrize("graph", [False, True])
def test_with_a_stream_per_slot_kernels_of_a_worker_run_side_by_side(clock: FakeClock, graph: bool) -> None:
    """The second request's kernels begin behind its own copy, while those of the first run; answers do not mix."""
    net = Net(clock, graph=graph, stream="slot")
    net.worker.prime()
    for turn in range(3):
        for slot in (0, 1):
            net.worker.staging(slot)["x"][...] = 10 * turn + slot
            net.worker.enqueue(slot, BATCH)
        answers = [net.worker.wait(slot)["y"].copy() for slot in (0, 1)]
        first, second = net.worker.times(0), net.worker.times(1)
        assert second.compute_at == second.h2d_at + second.h2d < first.compute_at + first.compute
        assert (first.compute, second.compute) == (5 * MS, 5 * MS)
        assert [set(answer.ravel()) for answer in answers] == [{20.0 * turn}, {20.0 * turn + 2}]


@pytest.mark.parametrize("slots", [2, 3])
def test_graphs_that_run_side_by_side_hold_no_events(clock: FakeClock, slots: int) -> None:
    """The device notes the times; the host launches the graph, records one event behind it and waits for that."""
    net = Net(clock, graph=True, slots=slots, stream="slot", batch=Batching(max=BATCH, sizes=(2, 4)))
    net.worker.prime()
    assert net.device.stamped == slots
    for count in (4, 2):
        for slot in range(slots):
            net.device.calls.clear()
            net.device.syncs = 0
            began = clock.now()
            net.worker.enqueue(slot, count)
            net.worker.wait(slot)
            assert net.device.calls == ["launch", "record"]
            assert net.device.syncs == 1
            times = net.worker.times(slot)
            assert (times.h2d, times.compute, times.d2h) == (4 * MS, 5 * MS, MS)
            assert (times.h2d_at, times.compute_at, times.d2h_at) == (began, began + 4 * MS, began + 9 * MS)
    assert net.notes == []


def test_where_kernels_cannot_be_compiled_graphs_hold_events_and_it_is_told(clock: FakeClock) -> None:
    """Times and answers are the same; the sentence says what it costs."""
    net = Net(clock, graph=True, stream="slot", refused="stamp")
    net.worker.prime()
    net.device.calls.clear()
    net.worker.staging(1)["x"][...] = 4
    net.worker.enqueue(1, BATCH)
    assert (net.worker.wait(1)["y"] == 8).all()
    assert net.device.calls == ["launch"]
    times = net.worker.times(1)
    assert (times.h2d, times.compute, times.d2h) == (4 * MS, 5 * MS, MS)
    assert [note.partition(",")[0] for note in net.notes] == ["times come from events"]


@pytest.mark.parametrize(("graph", "stream", "slots"), [(False, "slot", 2), (True, "own", 2), (True, "slot", 1)])
def test_the_device_notes_times_only_where_graphs_run_side_by_side(
    clock: FakeClock, graph: bool, stream: str, slots: int
) -> None:
    """Elsewhere events are cheaper for the device, and keep nothing from running."""
    net = Net(clock, graph=graph, stream=stream, slots=slots)
    net.worker.prime()
    assert net.device.stamped == 0


def test_a_library_with_a_graph_of_its_own_runs_its_slots_in_turn_all_the_same(clock: FakeClock) -> None:
    """They share its memory: with a stream per slot kernels follow each other as without."""
    net = Net(clock, graph=True, own_graph=True, stream="slot")
    net.worker.prime()
    net.worker.enqueue(0, BATCH)
    net.worker.enqueue(1, BATCH)
    net.worker.wait(0), net.worker.wait(1)
    first, second = net.worker.times(0), net.worker.times(1)
    assert second.compute_at >= first.compute_at + first.compute


@pytest.mark.parametrize(("times", "told"), [(2, 0), (9, 1)])
def test_a_capture_that_is_broken_from_outside_is_tried_again(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch, times: int, told: int
) -> None:
    """As by a video decoder that opens meanwhile; where it is broken each time, the copies go apart, and it is told."""
    net = Net(clock, graph=True)
    capture = net.device.capture
    broken = iter(range(times))

    def disturbed(work: Any) -> Any:
        if net.worker._scope == "request" and next(broken, None) is not None:
            raise RuntimeError("CUDA error: operation failed due to a previous error during capture")
        return capture(work)

    monkeypatch.setattr(net.worker._graphs, "_capture", disturbed)
    net.worker.prime()
    assert len(net.notes) == told
    assert len(net.device.graphs) == 2
    assert (net.worker._scope == "request") == (told == 0)
