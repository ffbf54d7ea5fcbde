"""A sweep over places of a cluster: how much of their time is measuring, and whether its cells are as without Ray."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from msgspec.structs import replace

from framepace.cases import make_case
from framepace.clock.system import Clock, SystemClock
from framepace.cluster import Cluster, connect
from framepace.facts.settings import Case
from framepace.facts.summary import Estimate, Summary
from framepace.facts.sweep import Cell, Sweep
from framepace.facts.workload import Closed, Load, Paced, Stop, Warmup
from framepace.sweeping import cells, sweep

Row = dict[str, Any]
_EFFICIENCY = 0.90
_SAMPLED = 4  # cells that are measured without Ray too, to know how long one takes
_SECONDS = 8.0
_GPU_S = 8.0
_GPU_EFFICIENCY = 0.95
_FPS = 20.0
_FRAMES = 60  # in virtual time
_SHORT = Warmup(seconds_max=0.5)


def sweep_rows(count: int, places: int) -> list[Row]:
    """The rows of the table for `count` cells over `places` places of this machine; its GPUs where it has any."""
    grid = grid_of(count)
    before_s = _alone(grid)
    began = time.perf_counter()
    with connect(f"local:{places}") as cluster:
        start_s = time.perf_counter() - began
        same = _same(grid, cluster)
        together_s = _seconds(lambda: _slept(grid, cluster))
    alone_s = min(before_s, _alone(grid))  # other programs make it longer, which is no merit of the places
    share = alone_s * count / (places * together_s)
    whole = alone_s * count / (places * (together_s + start_s))
    return [
        _row(f"efficiency of {count} cells on {places} places", share, together_s),
        _row("the same, with the start of Ray", whole, together_s + start_s),
        {"what": "a cell without Ray", "got": f"{alone_s:.2f} s"},
        {"what": "cells that differ in virtual time", "got": str(same), "goal": "0", "met": same == 0},
    ]


def gpu_rows() -> list[Row]:
    """The same for 16 cells of a real network over all GPUs of this machine."""
    grid: dict[str, Sequence[Any]] = {"batch": [1, 2, 4, 8], "workers": [1, 2, 3, 4]}
    settings = {"backend": "onnxruntime", "device": "cuda"}
    case = make_case("builtin:resnet50", settings=settings, scope="model", load=Closed(), stop=Stop(seconds=_GPU_S))
    alone, alone_s = _timed(lambda: _swept(case, grid, None, None))
    with connect("local") as cluster:
        together, together_s = _timed(lambda: _swept(case, grid, None, cluster))
        places = len(cluster.places)
    share = alone_s / (places * together_s)
    return [
        _row(f"efficiency of 16 cells on {places} GPUs", share, together_s, _GPU_EFFICIENCY),
        {"what": "the same cells one after the other, without Ray", "got": f"{alone_s:.0f} s"},
        {"what": "cells per GPU", "got": str(dict(Counter(cell.site.name for cell in together.cells if cell.site)))},
        *_compared(alone, together),
    ]


def _compared(alone: Sweep, together: Sweep) -> list[Row]:
    """The median latency and frames per second of each cell, on its GPU beside a busy one against the first GPU alone.

    Where the samples of a cell carry no interval, it is not among those that agree or do not.
    """
    pairs = [
        (a.summary, b.summary) for a, b in zip(alone.cells, together.cells, strict=True) if a.summary and b.summary
    ]
    ratios = np.sort([there.throughput / here.throughput for here, there in pairs])
    known = [(x, y) for x, y in ((_median(here), _median(there)) for here, there in pairs) if x and y]
    agreeing = sum(_overlap(x.interval, y.interval) for x, y in known)
    longer = np.median([y.value / x.value for x, y in known]) if known else np.nan
    spread = f"median {np.median(ratios):.3f}, {ratios[0]:.3f} to {ratios[-1]:.3f}"
    return [
        {"what": "cells whose median latencies agree within their intervals", "got": f"{agreeing} of {len(known)}"},
        {"what": "median latency of a cell beside a busy GPU, times that alone", "got": f"{longer:.3f}"},
        {"what": "frames/s of a cell beside a busy GPU, times those alone", "got": spread},
    ]


def _median(summary: Summary) -> Estimate | None:
    percentile = summary.models[0].percentile(50)
    return percentile.estimate if percentile else None


def _overlap(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one[0] <= other[1] and other[0] <= one[1]


def _timed(run: Callable[[], Sweep]) -> tuple[Sweep, float]:
    began = time.perf_counter()
    return run(), time.perf_counter() - began


def grid_of(count: int) -> dict[str, Sequence[Any]]:
    """Cells of batches and kernels, as many as asked for."""
    return {"batch": [1, 2, 4, 8], "option.kernels": [10 * (i + 1) for i in range(count // 4)]}


def _alone(grid: dict[str, Sequence[Any]]) -> float:
    """Seconds that a cell takes without the cluster."""
    return _seconds(lambda: _slept(_sampled(grid), None)) / _SAMPLED


def _sampled(grid: dict[str, Sequence[Any]]) -> dict[str, Sequence[Any]]:
    """The same grid, of which few cells are left."""
    return {name: values[:2] for name, values in grid.items()}


def _row(what: str, share: float, wall_s: float, goal: float = _EFFICIENCY) -> Row:
    met = share >= goal
    return {"what": what, "got": f"{share:.1%} in {wall_s:.0f} s", "goal": f">= {goal:.0%}", "met": met}


def _case(load: Load, warmup: Warmup, stop: Stop) -> Case:
    """A simulated device, whose frames take some milliseconds."""
    settings = {"backend": "simulated", "option.device": "t4"}
    case = make_case("builtin:classifier", settings=settings, scope="model", load=load, stop=stop)
    return replace(case, workload=replace(case.workload, warmup=warmup))


def _slept(grid: dict[str, Sequence[Any]], cluster: Cluster | None) -> Sweep:
    """A sweep whose simulated device sleeps."""
    return _swept(_case(Paced(fps=_FPS), _SHORT, Stop(seconds=_SECONDS)), grid, SystemClock(), cluster)


def _swept(case: Case, grid: dict[str, Sequence[Any]], clock: Clock | None, cluster: Cluster | None) -> Sweep:
    done = sweep(case, grid, clock=clock, cluster=cluster)
    failed = [cell.error for cell in done.cells if cell.error is not None]
    assert not failed, failed[0]
    assert len(done.cells) == len(list(cells(grid)))
    return done


def _same(grid: dict[str, Sequence[Any]], cluster: Cluster) -> int:
    """How many cells differ in virtual time with and without the cluster, in any number of their summary.

    Back to back: between frames the device's clock would fall, from the boost that the first cell of a process meets.
    """
    here, there = (
        _swept(_case(Closed(), Warmup(), Stop(count=_FRAMES)), grid, None, where) for where in (None, cluster)
    )
    return sum(_numbers(a) != _numbers(b) for a, b in zip(here.cells, there.cells, strict=True))


def _numbers(cell: Cell) -> tuple[Any, ...]:
    assert cell.summary is not None
    return cell.settings, cell.summary.frames, cell.summary.throughput


def _seconds(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began
