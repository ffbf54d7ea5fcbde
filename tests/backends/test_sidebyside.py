"""Whether requests answer the same at once as alone, on workers that keep what they compute in one place, or two."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from framepace.backends.base import Tensors, Worker
from framepace.backends.sidebyside import disagreeing
from framepace.facts.plan import Batching
from framepace.testing import FakeClock
from tests.doubles.engine import MS
from tests.doubles.net import BATCH, Net


class Doubling(Worker):
    """Doubles x when it is waited for, from where its requests put it; `noise` is added, anew each time."""

    slots = 2

    def __init__(self, scratches: int, noise: float = 0.0) -> None:
        self._inputs = [{"x": np.full((2, 3), slot, np.float32), "n": np.array([slot])} for slot in range(2)]
        self._scratch = [np.zeros((2, 3), np.float32) for _ in range(scratches)]
        self._noise = noise
        self._random = np.random.default_rng(1)

    def staging(self, slot: int) -> Tensors:
        """See Worker."""
        return self._inputs[slot]

    def enqueue(self, slot: int, count: int) -> None:
        """See Worker."""
        self._scratch[slot % len(self._scratch)][...] = self._inputs[slot]["x"]

    def wait(self, slot: int) -> Tensors:
        """See Worker."""
        x = self._scratch[slot % len(self._scratch)]
        return {"y": 2 * x + self._noise * self._random.random(x.shape), "same": np.ones(2)}

    def close(self) -> None:
        """See Worker."""


@pytest.mark.parametrize(("scratches", "noise", "expected"), [(1, 0.0, ["y"]), (2, 0.0, []), (2, 1.0, [])])
def test_requests_that_share_memory_are_found(scratches: int, noise: float, expected: list[str]) -> None:
    """Outputs that differ between requests alone, too, are no proof; the inputs are as before."""
    worker = Doubling(scratches, noise)
    assert disagreeing(worker, 2) == expected
    assert [worker.staging(slot)["x"][0, 0] for slot in range(2)] == [0, 1]


def test_a_worker_whose_requests_disagree_runs_them_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so, and its kernels follow each other from then on."""
    found: list[Any] = [["y"]]
    monkeypatch.setattr("framepace.backends.deviceworker.disagreeing", lambda worker, count: found.pop())
    net = Net(FakeClock(start=1000), graph=True, stream="slot", batch=Batching(max=BATCH, sizes=(BATCH,)))
    net.worker.prime()
    assert net.notes == ["kernels of a worker follow each other: side by side y came out otherwise"]
    net.worker.enqueue(0, BATCH)
    net.worker.enqueue(1, BATCH)
    net.worker.wait(0), net.worker.wait(1)
    first, second = net.worker.times(0), net.worker.times(1)
    assert second.compute_at == first.compute_at + first.compute
    assert first.compute == 5 * MS
