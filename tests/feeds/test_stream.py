"""Sources with threads of their own, and feeds built from a plan without a workload."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from framepace.clock.system import Clock, SystemClock
from framepace.clock.virtual import VirtualClock
from framepace.errors import SourceError, UsageError
from framepace.facts.plan import EnginePlan, Plan, SourcePolicy
from framepace.facts.trace import DropCause
from framepace.feeds.batchrules import BatchRule
from framepace.feeds.build import build_feed
from framepace.feeds.cameraclock import CameraClock
from framepace.feeds.pacer import Pacer
from framepace.feeds.runstate import RunState
from framepace.feeds.stream import StreamFeed
from framepace.feeds.window import WindowBatcher
from framepace.measure.load import Recorded
from framepace.video.frame import Frame
from tests.doubles.engine import run_state
from tests.doubles.simulation import MS, ONE_MS, plan


class _Ending:
    live = False

    def __init__(self, count: int) -> None:
        self.left = count

    def read(self) -> int | None:
        """A picture, while there are some."""
        self.left -= 1
        return 1 if self.left >= 0 else None


class Asked:
    """A batcher that takes three frames when there are three, or all when it must; it keeps what it was asked."""

    def __init__(self) -> None:
        self.musts: list[bool] = []

    def take(
        self, now: int, buffers: Mapping[int, deque[Frame]], over: bool, full: bool = False
    ) -> tuple[list[Frame], int | None]:
        """See Batcher."""
        must = over or full
        self.musts.append(must)
        there = sorted((frame for buffer in buffers.values() for frame in buffer), key=lambda frame: frame.due)
        if len(there) < 3 and not must:
            return [], None
        for frame in there[:3]:
            buffers[frame.source].popleft()
        return there[:3], None


@contextmanager
def streams(batcher: Any, frames: int, policy: SourcePolicy, drops: list[int]) -> Iterator[StreamFeed]:
    """Two sources whose frames were due at the start; the calling thread is the only worker."""
    clock = VirtualClock(start=10**9)
    parts = [Recorded(np.arange(frames), 0) for _ in range(2)]
    pacer = Pacer(EnginePlan(), clock, run_state(10**6))
    with StreamFeed(
        [_Ending(frames) for _ in parts], parts, batcher, policy, pacer, lambda frame, cause: drops.append(cause)
    ) as feed, clock.joined(0, 1):  # fmt: skip
        yield feed


def batches(batcher: Any, frames: int, policy: SourcePolicy, drops: list[int]) -> list[list[Frame]]:
    """All batches to the end."""
    with streams(batcher, frames, policy, drops) as feed:
        return list(iter(lambda: feed.take(None) or [], []))


def test_frames_stay_in_their_buffers_until_the_batcher_takes_them() -> None:
    """Sixty frames of two sources come in batches of three, each source in order, the rest at the end."""
    taken = batches(Asked(), 30, SourcePolicy(buffer=64), [])
    assert [len(frames) for frames in taken] == [3] * 20
    for source in range(2):
        own = [frame.due for frames in taken for frame in frames if frame.source == source]
        assert own == sorted(own)
        assert len(own) == 30


def test_a_full_buffer_is_not_waited_on() -> None:
    """With room for one frame a source no third one can come: the batcher is told that it must."""
    asked = Asked()
    taken = batches(asked, 5, SourcePolicy(buffer=1, drop="never"), [])
    assert sum(map(len, taken)) == 10
    assert any(asked.musts[:-1])


def test_a_window_gathers_more_frames_than_a_buffer_holds() -> None:
    """Frames join the open batch as they come, so batches of five come from buffers of one frame; none is dropped."""
    drops: list[int] = []
    window = WindowBatcher(BatchRule(5, window=10**10))
    taken = batches(window, 10, SourcePolicy(buffer=1, drop="never"), drops)
    assert [len(frames) for frames in taken] == [5] * 4
    assert not drops


def test_a_window_without_company_is_waited_out() -> None:
    """One frame, and the next one 50 ms after the window has closed: each goes alone, when its window ends."""
    clock = VirtualClock()
    state = run_state(100)
    feed = StreamFeed([_Ending(2)], [Recorded(np.array([0, 70 * MS]), 0)], WindowBatcher(BatchRule(2, 20 * MS)),
                      SourcePolicy(), Pacer(EnginePlan(wait="sleep"), clock, state), ignored)  # fmt: skip
    taken = []
    with feed, clock.joined(0, 1):
        while frames := feed.take(None):
            taken.append((len(frames), clock.now()))
    assert taken[0] == (1, 20 * MS)
    assert [count for count, _ in taken] == [1, 1]


def test_stale_frames_are_dropped_before_a_batch_is_made() -> None:
    """Frames due a second ago, with a limit of 100 ms: all are dropped with that cause."""
    drops: list[int] = []
    assert batches(Asked(), 4, SourcePolicy(buffer=64, stale_ms=100.0), drops) == []
    assert drops == [DropCause.STALE] * 8


def test_an_open_batch_is_not_ready_for_a_worker_that_has_other_work() -> None:
    """Without `wait`, a batch that may still grow is left where it is, for whoever is free first."""
    with streams(_Holding(), 1000, SourcePolicy(buffer=4), []) as feed:
        assert feed.take(None, wait=False) == []


class _Holding:
    def take(
        self, now: int, buffers: Mapping[int, deque[Frame]], over: bool, full: bool = False
    ) -> tuple[list[Frame], int | None]:
        """Never ready."""
        return [], now + MS


class _Broken(_Ending):
    """A source that fails when it has no picture left."""

    def read(self) -> int | None:
        """A picture, while there are some."""
        picture = super().read()
        if picture is None:
            raise SourceError("broken")
        return picture


def test_a_source_that_fails_ends_alone() -> None:
    """The other one is read to its end; the error is kept by the number of its source."""
    clock = VirtualClock()
    parts = [Recorded(np.arange(6), 0)] * 2
    feed = StreamFeed([_Ending(6), _Broken(2)], parts, Asked(), SourcePolicy(buffer=64),
                      Pacer(EnginePlan(), clock, run_state(100)), ignored)  # fmt: skip
    with feed, clock.joined(0, 1):
        taken = list(iter(lambda: feed.take(None) or [], []))
    assert [frame.source for frames in taken for frame in frames].count(0) == 6
    assert [str(error) for error in feed.errors.values()] == ["broken"]
    assert list(feed.errors) == [1]


class _Faulty(_Ending):
    """A source with a fault that nobody expects."""

    def read(self) -> int | None:
        """Never a picture."""
        raise OSError("the camera is on fire")


def test_a_source_that_fails_as_nobody_expects_is_named_too() -> None:
    """Whatever it raises is kept as the error of that source; the other one is read to its end."""
    clock = VirtualClock()
    parts = [Recorded(np.arange(6), 0)] * 2
    feed = StreamFeed([_Ending(6), _Faulty(2)], parts, Asked(), SourcePolicy(buffer=64),
                      Pacer(EnginePlan(), clock, run_state(100)), ignored)  # fmt: skip
    with feed, clock.joined(0, 1):
        taken = list(iter(lambda: feed.take(None) or [], []))
    assert sum(map(len, taken)) == 6
    (error,) = feed.errors.values()
    assert isinstance(error, SourceError)
    assert "OSError: the camera is on fire" in str(error)


def test_nothing_is_read_before_a_feed_is_entered_nor_after_it_is_left() -> None:
    """Threads are made on entering and have ended on leaving."""
    source = _Ending(10**9)
    feed = StreamFeed([source], [Recorded(np.arange(10**5), 0)], Asked(), SourcePolicy(buffer=4),
                      Pacer(EnginePlan(), SystemClock(), run_state(10**6)), ignored)  # fmt: skip
    assert source.left == 10**9
    with feed:
        assert feed.take(None)
    left = source.left
    assert left < 10**9
    assert not [thread for thread in threading.enumerate() if thread.name == "source-0"]


# --- built from a plan ------------------------------------------------------------------------------------------------


class _Camera(_Ending):
    live = True


def test_live_sources_need_no_load() -> None:
    """Without arrivals each picture is due when it is there, whatever the workload would say."""
    clock = VirtualClock(start=5 * MS)
    whole = Plan(models=(plan(ONE_MS),))
    feed = build_feed(whole, [_Camera(3)], None, Pacer(EnginePlan(), clock, RunState(clock)), ignored, threads=False)
    with feed, clock.joined(0, 1):
        taken = list(iter(lambda: feed.take(None) or [], []))
    assert [frame.due for frames in taken for frame in frames] == [5 * MS] * len(taken)
    assert taken


@dataclass
class _Picture:
    """A picture with its camera's timestamp, s."""

    time: float | None


class _Timed:
    """A camera of 50 fps whose pictures wait in its socket until they are read."""

    live = True

    def __init__(self, clock: VirtualClock, count: int) -> None:
        self._clock = clock
        self._start = clock.now()
        self._pictures = iter(range(count))

    def read(self) -> _Picture | None:
        """The next picture, once it was taken."""
        number = next(self._pictures, None)
        if number is None:
            return None
        self._clock.spin_until(self._start + number * 20 * MS)
        return _Picture(1000 + number * 0.02)


@pytest.mark.parametrize(("drop", "behind"), [("never", True), ("oldest", False)])
def test_the_latency_of_a_live_picture_counts_from_its_camera(drop: Any, behind: bool) -> None:
    """A worker of 25 fps on a camera of 50: without drops it falls behind; dropping keeps it live."""
    clock = VirtualClock(start=5 * MS)
    whole = Plan(models=(plan(ONE_MS),), source=SourcePolicy(drop=drop))
    source = _Timed(clock, 100)
    feed = build_feed(whole, [source], None, Pacer(EnginePlan(), clock, RunState(clock)), ignored, threads=False)
    ages = []
    with feed, clock.joined(0, 1):
        while frames := feed.take(None):
            clock.spin_until(clock.now() + 40 * MS)
            ages += [clock.now() - frame.due for frame in frames]
    if behind:
        assert ages[50] - ages[25] == pytest.approx(25 * 20 * MS, rel=0.1)
    else:
        assert max(ages) <= 130 * MS


def test_timestamps_of_a_camera_that_began_anew_are_laid_anew() -> None:
    """After a jump back, and for pictures without a timestamp, a picture is due when it is there."""
    camera = CameraClock()
    assert camera.due(_Picture(50.0), 1000 * MS) == 1000 * MS
    assert camera.due(_Picture(50.02), 1050 * MS) == pytest.approx(1020 * MS, abs=MS // 10)
    assert camera.due(_Picture(0.0), 2000 * MS) == 2000 * MS
    assert camera.due(_Picture(None), 2100 * MS) == 2100 * MS
    assert camera.due(_Picture(float("nan")), 2100 * MS) == 2100 * MS


class _Line:
    """Arrivals as they were recorded of MPEG-TS at 25 per second: FFmpeg holds two pictures back, until the end."""

    def __init__(self) -> None:
        self.connection = 0
        self.camera = CameraClock(lambda: self.connection)

    def ages(self, first: int, count: int, burst: int = 0) -> list[float]:
        """How old pictures from number `first` on are when they are read, in ms; the first `burst` come together."""
        ages = []
        for number in range(first, first + count):
            read = max(number, first + burst) + 2
            now = 40 * MS * min(read, first + count - 1)
            ages.append((now - self.camera.due(_Picture(number / 25), now)) / MS)
        return ages


@pytest.mark.parametrize("burst", [0, 25])
@pytest.mark.parametrize("restarts", [False, True])
def test_pictures_that_come_with_the_end_of_a_connection_make_those_of_the_next_no_older(
    burst: int, restarts: bool
) -> None:
    """Timestamps that go on, or begin anew; a connection that begins with a second of pictures at once, or does not."""
    line = _Line()
    before = line.ages(0, 200)
    line.connection = 1
    after = line.ages(0 if restarts else 400, 200, burst=burst)
    assert before[:-2] == pytest.approx([0] * 198, abs=0.1)
    assert after[burst:-2] == pytest.approx([0] * (198 - burst), abs=0.1)


def test_a_file_without_arrivals_is_refused() -> None:
    """Nobody would know when its frames are due."""
    clock = VirtualClock()
    with pytest.raises(UsageError, match="only live sources"):
        build_feed(Plan(models=(plan(ONE_MS),)), [_Ending(3)], None, Pacer(EnginePlan(), clock, RunState(clock)),
                   ignored, threads=True)  # fmt: skip


def ignored(frame: Frame, cause: int) -> None:
    """Nobody counts the drops."""


def test_an_open_batch_is_one_for_all_workers() -> None:
    """A worker that looks and leaves has not taken the frames: the next to look continues with the same batch."""
    batcher = WindowBatcher(BatchRule(3, window=20 * MS))
    buffers = {0: deque([Frame(0, 0, 0, 0, 0, 0, 0)]), 1: deque([Frame(1, 1, 5 * MS, 0, 0, 0, 0)])}
    assert batcher.take(5 * MS, buffers, over=False) == ([], 20 * MS)
    assert not any(buffers.values())
    buffers[0].append(Frame(2, 0, 10 * MS, 0, 0, 0, 0))
    frames, until = batcher.take(10 * MS, buffers, over=False)
    assert [frame.number for frame in frames] == [0, 1, 2]
    assert until is None


@pytest.mark.parametrize("clock", [SystemClock(), VirtualClock()])
def test_a_source_thread_that_cannot_start_ends_those_that_did(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    """A system without room for one more thread: no source is still read when the error arrives."""
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "source-2":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    pacer = Pacer(EnginePlan(), clock, run_state(10**6))
    arrivals = [Recorded(np.zeros(10**6, dtype=np.int64), 0) for _ in range(3)]  # frames without end, in full buffers
    sources = [_Ending(10**6) for _ in arrivals]
    feed = StreamFeed(sources, arrivals, Asked(), SourcePolicy(), pacer, lambda frame, cause: None)
    with pytest.raises(RuntimeError, match="new thread"), feed:
        pass
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("source-")]


def test_a_camera_whose_clock_runs_slow_does_not_seem_to_fall_behind() -> None:
    """A quartz that is 100 ppm slow loses 9 s in a day: its pictures still come in time; half a second of lag shows."""
    camera = CameraClock()
    for second in range(24 * 3600):
        now = second * 10**9
        stamp = second * (1 - 100e-6)
        assert now - camera.due(_Picture(stamp), now) < MS
    late = now + 10**9
    assert late - camera.due(_Picture(stamp + 0.5), late) == pytest.approx(500 * MS, abs=MS)


def test_sources_come_and_go_while_others_run() -> None:
    """Added while it runs, a source is read; removed, its waiting frames are dropped as such and the other goes on."""
    drops: list[tuple[int, int]] = []
    queued: list[int] = []
    clock = SystemClock()
    state = run_state(10**6)
    feed = StreamFeed([], None, WindowBatcher(BatchRule(1)), SourcePolicy(buffer=3), Pacer(EnginePlan(), clock, state),
                      lambda frame, cause: drops.append((frame.source, cause)),
                      on_queue=lambda frame: queued.append(frame.source), stays=True)  # fmt: skip
    with feed:
        assert feed.take(None, wait=False) == []
        first = feed.add(_Camera(10**9))
        second = feed.add(_Camera(10**9))
        taken = [frames[0].source for frames in (feed.take(None) for _ in range(200)) if frames]
        while queued.count(first) == taken.count(first):  # until one waits
            threading.Event().wait(0.001)
        feed.remove(first)
        after = [frames[0].source for frames in (feed.take(None) for _ in range(50)) if frames]
        assert set(after) == {second}
        assert {cause for source, cause in drops if source == first} == {DropCause.REMOVED}
        feed.remove(second)
    assert len(queued) == len(taken) + len(after) + len(drops)


def test_a_feed_that_stays_ends_when_it_is_stopped() -> None:
    """Without sources it waits for others; stopped, it is over."""
    state = run_state(10**6)
    feed = StreamFeed([], None, WindowBatcher(BatchRule(1)), SourcePolicy(), Pacer(EnginePlan(), SystemClock(), state),
                      ignored, stays=True)  # fmt: skip
    with feed:
        threading.Timer(0.05, lambda: state.stop("finished")).start()
        assert feed.take(None) is None
