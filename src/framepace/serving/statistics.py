"""What a served model has done: counts and times, as the protocol's statistics extension has them."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass, field

from framepace.openinference.errors import Kind
from framepace.serving.request import Ticket
from framepace.units import NS_PER_S

BOUNDS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Where the counts of stages are divided, in s."""
_BOUNDS_NS = tuple(round(bound * NS_PER_S) for bound in BOUNDS_S)
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
    """Counts and times of one version of a model; any thread may add to them."""

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

    def answered(self, ticket: Ticket) -> None:
        """Count a request that was answered or has failed."""
        total = ticket.answered - ticket.arrived
        with self.lock:
            if ticket.error is not None:
                self.fail.add(total)
                self.failed[ticket.error.kind] += 1
                return
            self.success.add(total)
            self.items += ticket.items
            self.last_ms = time.time_ns() // 1_000_000
            self.late += ticket.deadline is not None and ticket.answered > ticket.deadline
            self._add_stages(ticket)

    def _add_stages(self, ticket: Ticket) -> None:
        before = ticket.arrived
        for stage, at in zip(STAGES, stamps(ticket), strict=True):
            self.stages[stage].add(at - before)
            self.histograms[stage][bisect_left(_BOUNDS_NS, at - before)] += 1
            before = at

    def refused(self, kind: Kind) -> None:
        """Count a request that was not accepted."""
        with self.lock:
            self.fail.add(0)
            self.failed[kind] += 1

    def executed(self, size: int, ns: int) -> None:
        """Count a batch of `size` items that took `ns`."""
        with self.lock:
            self.executions += 1
            self.batches.setdefault(size, Duration()).add(ns)

    def document(self, name: str, version: str) -> dict[str, object]:
        """As the protocol has it."""
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


def _batch(size: int, duration: Duration) -> dict[str, object]:
    """All of a batch's time is that of its inference: what each request in it took is in the totals."""
    aside = {"count": duration.count, "ns": 0}
    return {
        "batch_size": size,
        "compute_input": aside,
        "compute_infer": duration.document(),
        "compute_output": aside,
    }
