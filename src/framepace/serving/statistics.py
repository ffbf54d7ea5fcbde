"""What a served model has done: counts and times, as the protocol's statistics extension has them."""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from framepace.openinference.errors import Kind
from framepace.serving.request import Ticket
from framepace.units import NS_PER_S

BOUNDS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Where the counts of stages are divided, in s."""
_BOUNDS_NS = np.array([round(bound * NS_PER_S) for bound in BOUNDS_S])
_T = TypeVar("_T")
_BLOCK = 128  # answers that are counted together
STAGES = ("queue", "compute_input", "compute_infer", "compute_output")


@dataclass(slots=True)
class Duration:
    """How often something was timed, and for how long in all (ns)."""

    count: int = 0
    ns: int = 0

    def add(self, ns: int, count: int = 1) -> None:
        """Add a duration."""
        self.count += count
        self.ns += max(0, ns)

    def document(self) -> dict[str, int]:
        """As the protocol has it."""
        return {"count": self.count, "ns": self.ns}


def stage_times(ticket: Ticket) -> dict[str, int]:
    """How long each stage of an answered request took, in ns; they add up to its time in the server."""
    ends = stamps(ticket)
    begins = (ticket.arrived, *ends)
    return {stage: end - begin for stage, begin, end in zip(STAGES, begins, ends, strict=False)}


def stamps(ticket: Ticket) -> tuple[int, int, int, int]:
    """When each stage of a request ended (ns)."""
    return ticket.taken, ticket.prepared, ticket.inferred, ticket.answered


@dataclass
class Statistics:
    """Counts and times of one version of a model; any thread may add to them.

    What was added last is counted when a block of it is full, or somebody asks: `settle` goes before any reading.
    """

    success: Duration = field(default_factory=Duration)
    fail: Duration = field(default_factory=Duration)
    stages: dict[str, Duration] = field(default_factory=lambda: {stage: Duration() for stage in STAGES})
    histograms: dict[str, list[int]] = field(
        default_factory=lambda: {stage: [0] * (len(BOUNDS_S) + 1) for stage in STAGES}
    )
    failed: dict[Kind, int] = field(default_factory=lambda: defaultdict(int))
    batches: dict[int, Duration] = field(default_factory=dict)
    items: int = 0
    executions: int = 0
    late: int = 0
    last_ms: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    _answers: deque[tuple[int, ...]] = field(default_factory=deque)  # arrived, stamps, items, whether late, at (ms)
    _batches: deque[tuple[int, int]] = field(default_factory=deque)

    def answered(self, ticket: Ticket) -> None:
        """Count a request that was answered or has failed."""
        if ticket.error is not None:
            self._failed(ticket.error.kind, ticket.answered - ticket.arrived)
            return
        is_late = ticket.deadline is not None and ticket.answered > ticket.deadline
        self._answers.append((ticket.arrived, *stamps(ticket), ticket.items, is_late, time.time_ns() // 1_000_000))
        if len(self._answers) >= _BLOCK:
            self.settle()

    def settle(self) -> None:
        """Count what was added last."""
        with self.lock:
            answers = _drained(self._answers)
            if answers:
                self._add(np.array(answers, np.int64))
            for size, ns in _drained(self._batches):
                self.batches.setdefault(size, Duration()).add(ns)
                self.executions += 1

    def _add(self, rows: NDArray[np.int64]) -> None:
        """Count answers, a row each."""
        count = len(rows)
        self.success.add(int((rows[:, 4] - rows[:, 0]).sum()), count)
        self.items += int(rows[:, 5].sum())
        self.late += int(rows[:, 6].sum())
        self.last_ms = int(rows[-1, 7])
        for stage, took in zip(STAGES, np.diff(rows[:, :5]).T, strict=True):
            self._add_stage(stage, took)

    def _add_stage(self, stage: str, took: NDArray[np.int64]) -> None:
        self.stages[stage].add(int(took.sum()), len(took))
        places = np.searchsorted(_BOUNDS_NS, took)
        more = np.bincount(places, minlength=len(BOUNDS_S) + 1).tolist()
        self.histograms[stage] = [old + new for old, new in zip(self.histograms[stage], more, strict=True)]

    def _failed(self, kind: Kind, ns: int) -> None:
        with self.lock:
            self.fail.add(ns)
            self.failed[kind] += 1

    def refused(self, kind: Kind) -> None:
        """Count a request that was not accepted."""
        self._failed(kind, 0)

    def executed(self, size: int, ns: int) -> None:
        """Count a batch of `size` items that took `ns`."""
        self._batches.append((size, ns))
        if len(self._batches) >= _BLOCK:
            self.settle()

    def document(self, name: str, version: str) -> dict[str, object]:
        """As the protocol has it."""
        self.settle()
        with self.lock:
            return {
                "name": name,
                "version": version,
                "last_inference": self.last_ms,
                "inference_count": self.items,
                "execution_count": self.executions,
                "inference_stats": self._totals(),
                "response_stats": {},
                "batch_stats": [_batch(size, duration) for size, duration in sorted(self.batches.items())],
                "memory_usage": [],
            }

    def _totals(self) -> dict[str, object]:
        nothing = Duration().document()
        return {
            "success": self.success.document(),
            "fail": self.fail.document(),
            **{stage: duration.document() for stage, duration in self.stages.items()},
            "cache_hit": nothing,
            "cache_miss": nothing,
        }


def _drained(rows: deque[_T]) -> list[_T]:
    """All rows, taken out; others may add more meanwhile."""
    return [rows.popleft() for _ in range(len(rows))]


def _batch(size: int, duration: Duration) -> dict[str, object]:
    """All of a batch's time is that of its inference: what each request in it took is in the totals."""
    aside = {"count": duration.count, "ns": 0}
    return {
        "batch_size": size,
        "compute_input": aside,
        "compute_infer": duration.document(),
        "compute_output": aside,
    }
