"""The simulated device shows the shapes that people report, and the figures that were measured."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from framepace.exec.sim.clock import VirtualClock
from tests.exec.simulation import MS, ONE_MS, US, alone, infer, load, primed


def test_caches_grow_cold_with_the_pause_of_the_same_model() -> None:
    """The refill is the ceiling times 1 - exp(-pause / time constant), exactly; a heartbeat keeps it small."""
    clock = VirtualClock()
    worker = primed(load({**ONE_MS, "cold_us": 100, "cold_ms": 10}, clock))
    first = infer(worker, clock)
    clock.spin_until(clock.now() + 10 * MS)
    assert first == MS + 100 * US
    assert infer(worker, clock) == MS + round(100 * US * (1 - np.exp(-1)))
    assert infer(worker, clock) == MS


def test_another_model_s_run_evicts_the_caches() -> None:
    """Two models in turn both pay the refill each time; one alone pays none."""
    clock = VirtualClock()
    options = {**ONE_MS, "evict_us": 50}
    first, second = primed(load(options, clock)), primed(load(options, clock))
    assert [infer(first, clock), infer(first, clock)] == [MS, MS]
    assert [infer(w, clock) for w in (second, first, second, second)] == [MS + 50 * US] * 3 + [MS]


def test_jitter_and_stalls_have_the_asked_spread_and_share() -> None:
    """Lognormal with the sigma, stalls with the share and the length; the same seed draws the same."""
    options = {**ONE_MS, "jitter": 0.05, "stall_share": 0.02, "stall_ms": 7}

    def latencies(seed: int) -> Any:
        clock = VirtualClock()
        worker = primed(load({**options, "seed": seed}, clock))
        return np.array([infer(worker, clock) for _ in range(4000)])

    once, again, other = latencies(1), latencies(1), latencies(2)
    assert (once == again).all()
    assert (once != other).any()
    stalled = once > 6 * MS
    assert stalled.mean() == pytest.approx(0.02, rel=0.3)
    assert np.log(once[~stalled] / MS).std() == pytest.approx(0.05, rel=0.1)


def test_each_run_has_chances_of_its_own() -> None:
    """A second worker of the same session does not repeat the first one's jitter: repeated runs are independent."""
    clock = VirtualClock()
    session = load({**ONE_MS, "jitter": 0.05}, clock)
    first, second = ([infer(worker, clock) for _ in range(20)] for worker in (primed(session), primed(session)))
    assert first != second


def test_nodes_on_the_cpu_take_the_host_s_time_and_are_told() -> None:
    """Half of the network at 100 GFLOPS on the host: 25 ms of the host's time, and a placement that says so."""
    clock = VirtualClock()
    session = load({**ONE_MS, "fallback_share": 0.5, "kernels": 10}, clock)
    assert infer(primed(session), clock) == 25 * MS + MS // 2
    assert clock.cpu() >= 25 * MS
    assert session.placement == {"cuda": 5, "cpu": 5}
    assert "5 of 10 nodes run on the CPU" in session.notes[0]
    assert load(ONE_MS).notes == ()


def test_a_worker_that_gives_its_core_up_wakes_later() -> None:
    """spinning: false leaves the core and adds the wake-up after the device is done; no CPU time but that is used."""
    clock = VirtualClock()
    worker = primed(load({**ONE_MS, "block_us": 25}, clock, spinning=False))
    assert infer(worker, clock) == MS + 25 * US
    assert (clock.cpu(), clock.halted()) == (25 * US, MS)
    assert alone({**ONE_MS, "block_us": 25}) == MS
