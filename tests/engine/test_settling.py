"""What is only for the record is written down when the device has other work, or nothing else is to be done."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from framepace.backends.base import DeviceTimes, Tensors
from framepace.engine.pipeline import Pipeline
from framepace.engine.step import Run
from framepace.engine.strategies import serve_overlapped
from framepace.errors import DeviceLost, SourceError
from framepace.facts.plan import EnginePlan
from framepace.facts.trace import Outcome
from framepace.facts.workload import Stop
from framepace.feeds.batchrules import BatchRule
from framepace.feeds.feed import Feed
from framepace.feeds.inline import InlineFeed
from framepace.feeds.pacer import Idle, Pacer
from framepace.feeds.runstate import RunState
from framepace.measure.load import Feedback
from framepace.measure.stoprules import Enough
from framepace.testing import FakeClock
from framepace.video.frame import Frame
from framepace.video.source import MemorySource
from tests.doubles.engine import MS, Rows, ScriptedWorker, run_of, run_state, step


class SlottedWorker(ScriptedWorker):
    """Notes what is asked of it, by slot, in order; the times of a slot are those of its last inference."""

    def __init__(self, slots: int, durations: Sequence[int] = (MS,)) -> None:
        super().__init__(FakeClock(), durations)
        self.slots = slots
        self.calls: list[tuple[str, int]] = []
        self._started = 0
        self._last: dict[int, int] = {}

    def enqueue(self, slot: int, count: int) -> None:
        """See ScriptedWorker."""
        self.calls.append(("enqueue", slot))
        self._started += 1
        self._last[slot] = self._started
        super().enqueue(slot, count)

    def wait(self, slot: int) -> Tensors:
        """See ScriptedWorker."""
        self.calls.append(("wait", slot))
        return super().wait(slot)

    def times(self, slot: int) -> DeviceTimes:
        """The number of the inference as its time."""
        self.calls.append(("times", slot))
        return DeviceTimes(0, self._last[slot], 0)


class Turns(Feed):
    """Gives one frame each time it is asked, as scripted: True for a frame, False where none is ready yet."""

    def __init__(self, worker: SlottedWorker, ready: Sequence[bool]) -> None:
        self._worker = worker
        self._ready = list(ready)
        self._number = 0

    def take(self, idle: Idle | None, wait: bool = True) -> list[Frame] | None:
        """See Feed; one that waits is noted."""
        if not any(self._ready):
            return None
        if wait:
            self._worker.calls.append(("feed waits", 0))
            del self._ready[: self._ready.index(True)]
        if not self._ready.pop(0):
            return []
        self._number += 1
        return [Frame(self._number, 0, 0, 0, 0, 0, 0, self._number)]


def served(worker: SlottedWorker, ready: Sequence[bool]) -> Rows:
    """The rows of a worker that was given frames so."""
    rows = Rows()
    pipeline = Pipeline([step(worker)], FakeClock(start=1000), run_of(run_state(1000), rows))
    serve_overlapped(pipeline, Turns(worker, ready), None)
    return rows


def test_times_are_read_while_the_next_inference_runs() -> None:
    """With two slots in a closed loop: enqueue, wait, and then the next is enqueued before the times are read."""
    worker = SlottedWorker(2)
    served(worker, [True, False, True, False])
    assert worker.calls == [
        ("feed waits", 0), ("enqueue", 0), ("wait", 0),
        ("enqueue", 1), ("times", 0), ("wait", 1),
        ("times", 1),
    ]  # fmt: skip


def test_nothing_is_left_to_settle_while_a_worker_waits_for_frames() -> None:
    """Where no frame comes, the times are read before the worker goes to sleep."""
    worker = SlottedWorker(2)
    served(worker, [True, False, False, False, True])
    assert worker.calls[:5] == [("feed waits", 0), ("enqueue", 0), ("wait", 0), ("times", 0), ("feed waits", 0)]


def test_a_worker_with_one_slot_settles_at_once() -> None:
    """Its slot is needed for the next inference."""
    worker = SlottedWorker(1)
    served(worker, [True, True])
    assert worker.calls[1:7] == [
        ("enqueue", 0), ("wait", 0), ("times", 0), ("feed waits", 0), ("enqueue", 0), ("wait", 0),
    ]  # fmt: skip


def test_a_batch_in_several_parts_keeps_all_slots_at_work() -> None:
    """Four frames for a model that takes one at a time: each slot is filled again as soon as it is free."""
    worker = SlottedWorker(2)
    pipeline = Pipeline([step(worker)], FakeClock(start=1000), run_of(run_state(1000), Rows()))
    pipeline.process([Frame(number, 0, 0, 0, 0, 0, 0, number) for number in range(4)])
    assert [call for call in worker.calls if call[0] != "times"] == [
        ("enqueue", 0), ("enqueue", 1),
        ("wait", 0), ("enqueue", 0),
        ("wait", 1), ("enqueue", 1),
        ("wait", 0), ("wait", 1),
    ]  # fmt: skip


@pytest.mark.parametrize(("slots", "concurrency"), [(1, 1), (2, 2), (4, 2), (4, 3), (4, 4)])
def test_the_cpu_time_of_an_inference_is_not_that_of_writing_others_down(slots: int, concurrency: int) -> None:
    """Of 1 ms each, while every row takes 5 ms to write."""
    clock, rows = FakeClock(), Rows()
    state = RunState(clock, None, Enough(Stop(count=12)))
    worker = ScriptedWorker(clock, [MS])
    worker.slots = slots

    def slow_sink(packed: bytes) -> None:
        clock.spin_until(clock.now() + 5 * MS)
        rows(packed)

    pipeline = Pipeline([step(worker)], clock, Run("pipeline", state, slow_sink))
    loop = Feedback(clock.now(), concurrency)
    feed = InlineFeed([MemorySource([1.0])], loop, BatchRule(1, 0), Pacer(EnginePlan(), clock, state))
    serve_overlapped(pipeline, feed, None)
    assert set(rows.columns["cpu"]) == {MS}


@pytest.mark.parametrize("slots", [1, 2, 3])
@pytest.mark.parametrize("ready", [[True] * 20, [True, False] * 10, [True, True, False, False, True] * 4], ids=str)
def test_every_row_has_the_times_of_its_own_inference(slots: int, ready: list[bool]) -> None:
    """However many slots there are, and however frames come; all rows are there at the end, in order."""
    rows = served(SlottedWorker(slots), ready).columns
    assert rows["compute"].tolist() == list(range(1, sum(ready) + 1))
    assert rows["frame"].tolist() == list(range(1, sum(ready) + 1))


def test_a_failed_inference_is_a_row_among_the_others() -> None:
    """With several in flight, too."""
    rows = served(SlottedWorker(2, (MS, -1, MS)), [True] * 4).columns
    assert rows["outcome"].tolist() == [Outcome.OK, Outcome.FAILED, Outcome.OK, Outcome.OK]


class LostWorker(SlottedWorker):
    """Its device is lost in inference number `lost`: from then on nothing can be asked of it."""

    def __init__(self, slots: int, lost: int) -> None:
        super().__init__(slots)
        self._lost = lost

    def enqueue(self, slot: int, count: int) -> None:
        """See SlottedWorker."""
        super().enqueue(slot, count)
        self._refuse()

    def times(self, slot: int) -> DeviceTimes:
        """See SlottedWorker."""
        if self._started >= self._lost:
            raise RuntimeError("CUDA_ERROR_LAUNCH_FAILED")
        return super().times(slot)

    def _refuse(self) -> None:
        if self._started >= self._lost:
            raise DeviceLost("the device was lost")


@pytest.mark.parametrize("slots", [1, 2, 3])
def test_a_device_that_is_lost_before_the_times_are_read_costs_those_times_alone(slots: int) -> None:
    """The inference that was delivered has its row; the one that lost the device tells, and ends the run."""
    rows = Rows()
    state = run_state(1000)
    pipeline = Pipeline([step(LostWorker(slots, 4))], FakeClock(start=1000), run_of(state, rows))
    worker = pipeline._steps[0].worker
    assert isinstance(worker, SlottedWorker)
    serve_overlapped(pipeline, Turns(worker, [True, False] * 4), None)
    assert rows.columns["outcome"].tolist() == [Outcome.OK] * 3 + [Outcome.FAILED]
    assert rows.columns["compute"].tolist() == ([1, 2, 3, -1] if slots == 1 else [1, 2, -1, -1])
    assert state.stopped == "device lost"
    assert [type(error) for error in pipeline.errors] == [DeviceLost]


class BrokenTurns(Turns):
    """A feed that fails where it has no frame."""

    def take(self, idle: Idle | None, wait: bool = True) -> list[Frame] | None:
        """See Turns."""
        frames = super().take(idle, wait)
        if not frames:
            raise SourceError("the camera is gone")
        return frames


@pytest.mark.parametrize("slots", [1, 2, 3])
def test_what_was_delivered_has_its_row_however_a_worker_ends(slots: int) -> None:
    """A feed that fails leaves nothing between what was counted and what is recorded."""
    rows = Rows()
    state = run_state(1000)
    worker = SlottedWorker(slots)
    pipeline = Pipeline([step(worker)], FakeClock(start=1000), run_of(state, rows))
    with pytest.raises(SourceError):
        serve_overlapped(pipeline, BrokenTurns(worker, [True, True, True, False, True]), None)
    pipeline.close()
    assert len(rows.packed) == state.deliveries
