"""Where the own cost of a request with one graph goes: a bare loop, the worker, and one step more at a time."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import Any

import gpu_graph_bare
import numpy as np
from gpu_graph_parts import graph_plan, head, open_engine, period, run_closed

from framepace.clock.system import SystemClock
from framepace.clock.usage import thread_usage
from framepace.engine.engine import Engine
from framepace.facts.workload import Stop

Row = dict[str, Any]
Step = Callable[[], object]
_COUNT = 400


def steps(backend: str, args: argparse.Namespace) -> Iterator[Row]:
    """Medians of a request one after the other, in turn, of loops that do more and more of what the engine does."""
    with open_engine(graph_plan(backend)) as engine:
        loops = _loops(backend, engine)
        found: dict[str, list[float]] = {name: [] for name in (*loops, "the engine")}
        for turn in range(3 * args.rounds):
            for name in list(found) if turn % 2 == 0 else list(found)[::-1]:
                found[name].append(_us(loops[name]) if name in loops else _engine_us(engine))
        loops.clear()  # they hold the session, which must go before its device
    bare = found["a bare loop"]
    for name, values in found.items():
        more = median(a - b for a, b in zip(values, bare, strict=True))
        yield head(backend, f"step: {name}", f"{median(values):.1f} us, {more:+.1f} over bare", us=more)


def _loops(backend: str, engine: Engine) -> dict[str, Sequence[Step]]:
    """What each loop does, by its name."""
    session = engine.sessions[0]
    bare = gpu_graph_bare.bare(backend, session, 0, 1)
    run_closed(engine, 1, Stop(count=_COUNT))
    worker = session.worker()
    worker.prime()
    usage = thread_usage(SystemClock())
    request: tuple[Step, ...] = (lambda: worker.enqueue(0, 1), lambda: worker.wait(0))
    timed = (*request, lambda: worker.times(0))
    return {
        "a bare loop": (lambda: bare.launch(0), lambda: bare.wait(0)),
        "the worker alone": request,
        "and device times read": timed,
        "and two clocks, two looks at the thread's usage": (*timed, *2 * (worker.sm_clock, usage)),
    }


def _us(loop: Sequence[Step]) -> float:
    """Median time of a pass, us; the first fifth is left out."""
    ended = []
    for _ in range(_COUNT):
        for step in loop:
            step()
        ended.append(time.perf_counter_ns())
    return float(np.median(np.diff(ended[_COUNT // 5 :]))) / 1e3


def _engine_us(engine: Engine) -> float:
    return period(run_closed(engine, 1, Stop(count=_COUNT))) / 1e3
