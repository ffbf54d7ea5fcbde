"""A scripted run: so many cameras whose states change from step to step, without an engine."""

from __future__ import annotations

import time

import numpy as np
from msgspec.structs import replace

from framepace.facts.answers import Answer, Classes, Detections
from framepace.facts.running import (
    AGE_BOUNDS_MS,
    Ages,
    BoxCounts,
    DeviceStatus,
    Result,
    RunStatus,
    SinkStatus,
    SourceState,
    SourceStatus,
)

SECRET = "hunter2"
FPS = 30
_BEGAN = 1_795_944_000.0
_NAMES = ("gate", "yard", "lobby")


class ScriptedRun:
    """A run of `cameras` at 30 fps; every call of `step` is a second later.

    The second camera, where there is one, is lost from second 3 to second 5; the third drops two pictures per second.
    From second 4 on the run is degraded, until second 6; the sink fails in second 4.
    """

    def __init__(self, cameras: int, picture: tuple[int, int] = (72, 128)) -> None:
        self.names = [*_NAMES[:cameras], *(f"hall {number}" for number in range(4, cameras + 1))]
        self.second = 1
        self.asked: list[str] = []
        self._size = picture

    def step(self, seconds: int = 1) -> RunStatus:
        """Let time pass, and tell how the run stands then."""
        self.second += seconds
        return self.status()

    def status(self) -> RunStatus:
        """How the run stands."""
        return RunStatus(
            plan=("detector", "classifier"),
            began=_BEGAN,
            seconds=float(self.second),
            target_ms=200.0,
            sources=tuple(self._source(number, name) for number, name in enumerate(self.names)),
            sinks=(self._sink(),),
            devices=(
                DeviceStatus(name="H200", use=0.81, decoder_use=0.34, memory_use=0.4, clock_mhz=1980.0, power_w=512.0),
                DeviceStatus(name="host", use=0.61),
            ),
            degraded=self._degraded(),
        )

    def newest(self, name: str) -> Result | None:
        """A picture of a camera with a box; None for one that has none."""
        self.asked.append(name)
        if name not in self.names or self._state(self.names.index(name)) != "live":
            return None
        return result(name, self.second * FPS, self._size)

    def _source(self, number: int, name: str) -> SourceStatus:
        dropped = 2 * self.second if number == 2 else 0
        taken = FPS * self.second - (0 if number != 1 else FPS * min(max(self.second - 3, 0), 2))
        state = self._state(number)
        alive = state == "live"
        return SourceStatus(
            name=name,
            address=f"rtsp://admin:{SECRET}@10.0.0.{number + 1}/stream",
            state=state,
            taken=taken,
            delivered=taken - dropped,
            skipped=0,
            failed=0,
            waiting=0,
            dropped={"buffer full": dropped} if dropped else {},
            late=dropped // 2,
            boxes={"reader": BoxCounts(found=2 * taken, answered=taken, left_out=taken)},
            reconnections=int(number == 1 and self.second >= 5),
            fps_in=float(FPS) if alive else None,
            fps_out=float(FPS - 2 * (number == 2)) if alive else None,
            age_ms=20.0 + number if alive else None,
            p99_ms=60.0 + number if alive else None,
            size=(1080, 1920),
            every=1,
            note="" if alive else "connection refused; tried again in 4 s",
            ages=Ages(counts=(0, 0, 0, taken - dropped, *(0,) * (len(AGE_BOUNDS_MS) - 3)), sum_ms=20.0 * taken),
        )

    def _state(self, number: int) -> SourceState:
        return "lost" if number == 1 and 3 <= self.second < 5 else "live"

    def _sink(self) -> SinkStatus:
        failed = 1 if self.second >= 4 else 0
        note = "the disk is full" if self.second == 4 else ""
        return SinkStatus(
            name="results.jsonl", written=100 * self.second, dropped=0, failed=failed, waiting=0, note=note
        )

    def _degraded(self) -> tuple[str, ...]:
        return ("every second picture of 3 cameras is skipped",) if 4 <= self.second < 6 else ()


def result(name: str, number: int = 0, size: tuple[int, int] = (72, 128)) -> Result:
    """A picture [height, width] of a camera with a person in its left half, and what a classifier says."""
    height, width = size
    rows = np.linspace(0, 255, height, dtype=np.uint8)[:, None, None]
    picture = np.broadcast_to(rows, (height, width, 3)).copy()
    boxes = np.array([[width * 0.1, height * 0.2, width * 0.4, height * 0.8]], np.float32)
    found = Detections(boxes, np.array([0.92], np.float32), np.array([0]), ("person",), tracks=np.array([7]))
    said = Classes(labels=np.array([1]), scores=np.array([0.5], np.float32), names=("day", "night"))
    answers: dict[str, Answer] = {"detector": found, "classifier": said}
    return Result(name, number, time.time() - 0.3, 41.0, False, answers, picture=picture)


def with_note(status: RunStatus, note: str) -> RunStatus:
    """The same run with a sentence about the whole of it."""
    return replace(status, notes=(note,))
