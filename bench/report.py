"""A long trace to a page: three models a frame at 30 fps, telemetry every 20 ms; time, memory and size of the HTML.

Each half runs in a process of its own, so that making the trace does not count as memory of reading it.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from common import options, show
from numpy.typing import ArrayLike

from framepace.facts.trace import Trace
from framepace.testing import make_trace
from framepace.units import NS_PER_MS, NS_PER_S

MODELS = ("detector", "classifier", "recogniser")
FPS, SAMPLE_NS = 30, 20 * NS_PER_MS


def long_trace(requests: int, seed: int) -> Trace:
    """A level, a ramp and a higher level with 5 % noise and 0.5 % outliers, and what telemetry says meanwhile."""
    rng = np.random.default_rng(seed)
    frames = requests // len(MODELS)
    ms = np.interp(np.arange(frames), [frames / 4, frames / 3], [4.7, 10.1]) * (1 + 0.05 * rng.standard_normal(frames))
    ms[rng.random(frames) < 0.005] *= 4
    at = np.arange(0, frames * NS_PER_S // FPS, SAMPLE_NS)
    telemetry = {
        "time": at + NS_PER_S,
        "cpu_mhz": rng.integers(1800, 3400, len(at)),
        "process_cpu": at // 3,
        "system_busy": at // 2,
        "memory_bytes": rng.integers(1 << 28, 1 << 29, len(at)),
    }
    stages: dict[str, ArrayLike] = {"wake-up": 60_000, "decode": ms * 0.3 * NS_PER_MS, "prepare": ms * 0.05 * NS_PER_MS}
    return make_trace(ms * NS_PER_MS, stages=stages, models=MODELS, fps=FPS, telemetry=telemetry)


def write(folder: Path, requests: int, seed: int) -> None:
    """Save the long trace."""
    from framepace.store import TraceWriter

    trace = long_trace(requests, seed)
    writer = TraceWriter(folder, trace.meta)
    for name, columns in (("requests", trace.requests), ("telemetry", trace.telemetry)):
        rows = np.stack(list(columns.values()), axis=1)
        writer.append(name, rows.astype("<i8").tobytes())
    writer.close(trace.meta)


def read(folder: Path) -> dict[str, float]:
    """Seconds of loading, analysing and rendering; peak memory of the process and size of the page in bytes."""
    from framepace.analyze.summary import summarize
    from framepace.reporting.page.report import render
    from framepace.store import load_trace

    seconds: dict[str, float] = {}

    def timed(name: str, step: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        result = step()
        seconds[name] = time.perf_counter() - began
        return result

    trace = timed("load", lambda: load_trace(folder))
    summary = timed("analyse", lambda: summarize(trace))
    page = timed("render", lambda: render([trace], [summary]).encode())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {**seconds, "peak_bytes": peak, "html_bytes": len(page), "requests": len(trace)}


def apart(step: Callable[..., Any], *arguments: Any) -> Any:
    """The result of `step` in a fresh process."""
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as pool:
        return pool.submit(step, *arguments).result()


def main() -> None:
    """Measure and print."""
    args = options(__doc__ or "", requests=1_000_000)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "trace"
        apart(write, path, args.requests, args.seed)
        got = apart(read, path)
    steps = ("load", "analyse", "render")
    total = sum(got[step] for step in steps)
    rows: list[dict[str, Any]] = [{"what": step, "got": f"{got[step]:.2f} s"} for step in steps]
    rows += [
        _row("load, analyse and render", total, 10, "s"),
        _row("peak memory", got["peak_bytes"] / 1e9, 1, "GB"),
        _row("size of the HTML file", got["html_bytes"] / 1e6, 8, "MB"),
    ]
    show("report", args, rows, figures=got)


def _row(what: str, value: float, goal: float, unit: str) -> dict[str, Any]:
    return {"what": what, "got": f"{value:.2f} {unit}", "goal": f"<= {goal:g} {unit}", "met": bool(value <= goal)}


if __name__ == "__main__":
    main()
