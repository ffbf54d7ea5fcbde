"""The strategy 'worker-processes': every worker is a process of its own with its own interpreter and its own models.

Open loads are dealt out in turn; a closed loop runs in each process. Rows come back through a pipe.
"""

from __future__ import annotations

import multiprocessing as mp
import threading
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import Any

import numpy as np
from msgspec.structs import replace

from framepace.clock.system import Clock, SystemClock
from framepace.engine.pipeline import Sink
from framepace.errors import BackendError, UsageError
from framepace.facts.plan import Plan
from framepace.facts.trace import REQUEST_COLUMNS, Mark
from framepace.facts.workload import Closed, Stop, Warmup, Workload
from framepace.feeds.runstate import RunState
from framepace.measure.frames import LEAD_NS, open_frames

_COLUMNS = list(REQUEST_COLUMNS)
_AT = {name: _COLUMNS.index(name) for name in ("frame", "worker", "batch_id", "due", "delivered", "marks", "model")}
_SEND_S = 0.1


def run_processes(
    plan: Plan, workload: Workload, clock: Clock, state: RunState, sink: Sink, startup: dict[str, int]
) -> list[Exception]:
    """Run `workload` on `plan.engine.workers` processes; rows go to `sink`, deliveries to `state`.

    `startup` is told when all were ready ('workers', ns).

    Raises UsageError where the case cannot be split; an error in a process is raised here.
    """
    workers = plan.engine.workers
    if clock.virtual:
        raise UsageError("processes cannot share a virtual clock", fix="use strategy: workers")
    began, context = clock.now(), mp.get_context("spawn")
    share = _share(plan, workload, workers)
    with _Children(context, share, workers) as children:
        children.start(clock)
        startup["workers"] = clock.now() - began
        return children.collect(state, sink)


def _share(plan: Plan, workload: Workload, workers: int) -> tuple[Plan, Workload]:
    """What one process runs: one worker, its part of the load, until told to stop."""
    load = workload.load
    if isinstance(load, Closed):
        load = Closed(concurrency=max(1, (load.concurrency or workers) // workers))
    engine = replace(plan.engine, workers=1, strategy="workers", decode="inline")
    # Warm-up is the parent's to judge, over all processes.
    warmup, forever = Warmup(seconds_max=0.0), Stop(seconds=86400.0)
    return replace(plan, engine=engine), replace(workload, load=load, stop=forever, warmup=warmup)


@dataclass
class _Child:
    process: Any
    pipe: Connection
    ready: bool = False


class _Children:
    """The processes of one run; leaving the context ends them whatever happened."""

    def __init__(self, context: Any, share: tuple[Plan, Workload], workers: int) -> None:
        self._children: list[_Child] = []
        plan, workload = share
        self._last = len(plan.models) - 1
        for index in range(workers):
            ours, theirs = context.Pipe()
            process = context.Process(target=_child, args=(theirs, plan, workload, index, workers), daemon=True)
            process.start()
            theirs.close()
            self._children.append(_Child(process, ours))

    def __enter__(self) -> _Children:
        return self

    def __exit__(self, *_: object) -> None:
        for child in self._children:
            child.pipe.close()
            child.process.join(timeout=2)
            if child.process.is_alive():
                child.process.kill()
                child.process.join()

    def start(self, clock: Clock) -> None:
        """Wait until every process has loaded its models, then let all begin at one time on the common clock."""
        for child in self._children:
            self._receive(child)
        begin = clock.now() + LEAD_NS
        for child in self._children:
            child.pipe.send(begin)

    def collect(self, state: RunState, sink: Sink) -> list[Exception]:
        """Pass rows on until the state stops the run, then what is left."""
        errors: list[Exception] = []
        running = {child.pipe: child for child in self._children}
        told = False
        while running:
            if state.stopped is not None and not told:
                told = True
                for pipe in running:
                    pipe.send("stop")
            ready = set(wait(list(running), timeout=_SEND_S))
            for child in [c for pipe, c in running.items() if pipe in ready]:
                message = self._receive(child)
                if isinstance(message, bytes):
                    self._pass_on(message, self._children.index(child), state, sink)
                else:
                    errors.extend(message)
                    del running[child.pipe]
        return errors

    def _receive(self, child: _Child) -> Any:
        try:
            message = child.pipe.recv()
        except EOFError:
            child.process.join(timeout=2)
            raise BackendError("a worker process died", got=f"exit code {child.process.exitcode}") from None
        if isinstance(message, BaseException):
            raise message
        return message

    def _pass_on(self, packed: bytes, index: int, state: RunState, sink: Sink) -> None:
        rows = np.frombuffer(packed, np.int64).reshape(-1, len(_COLUMNS)).copy()
        count = len(self._children)
        rows[:, _AT["worker"]] = index
        rows[:, _AT["frame"]] = rows[:, _AT["frame"]] * count + index
        rows[:, _AT["batch_id"]] = rows[:, _AT["batch_id"]] * count + index
        for row in rows[rows[:, _AT["model"]] == self._last]:
            state.delivered(int(row[_AT["delivered"]] - row[_AT["due"]]), int(row[_AT["delivered"]]))
        rows[:, _AT["marks"]] |= Mark.WARMUP if state.warming else 0
        sink(rows.tobytes())


def _child(pipe: Connection, plan: Plan, workload: Workload, index: int, of: int) -> None:
    """The body of a worker process: load, report ready, run until told to stop, sending rows all the while."""
    import signal

    from framepace.engine.engine import Engine
    from framepace.measure.stop import Enough, Steady
    from framepace.recording.recorder import Rows

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    clock = SystemClock()
    try:
        engine, frames = Engine(plan, clock), open_frames(workload, clock)
        pipe.send("ready")
        begin = pipe.recv()
        state, rows = RunState(Steady(workload.warmup), Enough(workload.stop)), Rows()
        feed = partial(frames.feed, plan, workload, clock, state, rows.add, start=begin, share=(index, of))
        over = threading.Event()
        sender = threading.Thread(target=_send, args=(pipe, rows, state, over), daemon=True)
        sender.start()
        errors = engine.run(workload.scope, feed, state, rows.add, frames.sample)
        over.set()
        sender.join()
        pipe.send(errors)
        engine.close()
    except (EOFError, BrokenPipeError):
        return
    except BaseException as error:
        pipe.send(error)


def _send(pipe: Connection, rows: Any, state: RunState, over: threading.Event) -> None:
    """Send rows every moment until the run is `over`; stop it when the parent says so or is gone."""
    ended = False
    while not ended:
        ended = over.wait(_SEND_S)  # and then once more, for the rows of the frames that were in work
        try:
            if pipe.poll():
                pipe.recv()
                state.stop("finished")
            if packed := rows.drain():
                pipe.send(packed)
        except (EOFError, OSError):
            state.stop("finished")
            return
