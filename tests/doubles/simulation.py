"""Help for tests of the simulated device: plans, workers, runs in virtual time."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from framepace.backends.base import Session, Worker, get_backend
from framepace.backends.simulated import SimulatedSession
from framepace.clock.virtual import VirtualClock
from framepace.facts.plan import EnginePlan, ModelPlan, Plan
from framepace.facts.trace import TELEMETRY_COLUMNS, Trace, table
from framepace.facts.workload import Load, Stop, Warmup, Workload
from framepace.measure.session import measure

MS, US = 1_000_000, 1000
# 10 TFLOPS in fp32 on 100 SMs at half efficiency: 5 GFLOP take 1 ms in one full wave, 100 blocks, on a single kernel.
ONE_MS: dict[str, Any] = {
    "device": "ideal", "kernels": 1, "gflops": 5.0, "mbytes": 0, "weights_mb": 0, "blocks": 100, "efficiency": 0.5,
}  # fmt: skip


def plan(options: dict[str, Any], **fields: Any) -> ModelPlan:
    """One model on the simulated device; inputs and outputs stay on it unless said otherwise."""
    chosen: dict[str, Any] = {"name": "m", "model": "null", "transfer": "device"} | fields
    return ModelPlan(backend="simulated", options=options, **chosen)


def load(options: dict[str, Any], clock: Any = None, **fields: Any) -> SimulatedSession:
    """The model loaded."""
    session: Session = get_backend("simulated").load(plan(options, **fields), clock or VirtualClock())
    assert isinstance(session, SimulatedSession)
    return session


def primed(session: Session, index: int = 0) -> Worker:
    """A worker as a run has it."""
    worker = session.worker(index)
    worker.prime()
    return worker


def infer(worker: Worker, clock: Any, count: int = 1) -> int:
    """The latency of one inference, ns."""
    began = clock.now()
    worker.enqueue(0, count)
    worker.wait(0)
    return int(clock.now() - began)


def alone(options: dict[str, Any], count: int = 1, **fields: Any) -> int:
    """The latency of the second inference of a fresh device, ns."""
    clock = VirtualClock()
    worker = primed(load(options, clock, **fields))
    infer(worker, clock, count)
    return infer(worker, clock, count)


def together(sessions: Sequence[Session], clock: VirtualClock, count: int = 1, requests: int = 10) -> list[int]:
    """Latencies of all requests of several workers, each in its own thread, back to back."""
    latencies: list[list[int]] = [[] for _ in sessions]
    workers = [primed(session, index) for index, session in enumerate(sessions)]

    def body(index: int) -> None:
        with clock.joined(index, len(sessions)):
            latencies[index] = [infer(workers[index], clock, count) for _ in range(requests)]

    threads = [threading.Thread(target=body, args=(index,), daemon=True) for index in range(len(sessions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    return [latency for own in latencies for latency in own]


def run(
    options: dict[str, Any], load: Load, count: int = 200, fields: dict[str, Any] | None = None, **engine: Any
) -> Trace:
    """A measurement of the scope 'model' in virtual time, without warm-up."""
    whole = Plan(models=(plan(options, **(fields or {})),), engine=EnginePlan(**{"wait": "sleep"} | engine))
    workload = Workload(load=load, scope="model", stop=Stop(count=count), warmup=Warmup(seconds_max=0.0))
    return measure(whole, workload, clock=VirtualClock())


def infer_ns(trace: Trace) -> Any:
    """Time of each inference on the host, ns."""
    return trace.requests["finished"] - trace.requests["started"]


def rows_of(data: bytes) -> dict[str, Any]:
    """Packed telemetry as columns."""
    return table(TELEMETRY_COLUMNS, np.frombuffer(data, np.int64).reshape(-1, len(TELEMETRY_COLUMNS)))
