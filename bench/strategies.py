"""Strategies for several models a frame, paired: every round measures each of them once, in an order of its own.

Three OCR networks (or three built-in ones, where the development data is not there) on decoded video, back to back;
then the same with 2 ms of pure Python for each model and frame, which threads of one interpreter cannot share. Each
measurement has a process of its own, so that start-up and memory are its own.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import options, show

from framepace.analyze.stats import paired_ratio
from framepace.analyze.strategies import reasons
from framepace.analyze.summary import summarize
from framepace.api import make_case
from framepace.facts.settings import Case, apply
from framepace.facts.summary import Estimate, Summary
from framepace.facts.workload import Stop
from framepace.measure.apart import measure_apart
from framepace.units import format_bytes, format_ms

DATA = Path(__file__).resolve().parent.parent / ".data"
OCR = {"detector": "320x192", "classifier": "192x48", "recogniser": "320x48"}
BUILTIN = ("detector", "classifier", "manykernels")
BASE = "serial"
PLAIN = (BASE, "workers", "threads", "processes", "asyncio", "asyncio-threads", "worker-processes")
PYTHON = (BASE, "threads", "processes")
_PYTHON_NS = 2_000_000

Round = dict[str, Summary]


def python_work(picture: Any) -> Any:
    """A preparation hook of pure Python: 2 ms of this thread's CPU time with the interpreter lock held."""
    until = time.thread_time_ns() + _PYTHON_NS
    while time.thread_time_ns() < until:
        sum(range(200))
    return picture


def case(seconds: float, threads: int) -> Case:
    """Three models a frame, back to back, whole stream."""
    files = [DATA / f"{name}.onnx" for name in OCR]
    settings: dict[str, Any] = {"threads": threads, "spinning": False}
    videos = [str(DATA / "bikes.mp4")]
    if all(path.exists() for path in (*files, Path(videos[0]))):
        sizes = {f"{name}.size": size for name, size in OCR.items()}
        return make_case([str(f) for f in files], videos=videos, fps=None, stop=Stop(seconds=seconds),
                         settings=settings | sizes)  # fmt: skip
    print("no OCR models (run: make data); built-in ones on synthetic video instead", file=sys.stderr)
    names = [f"builtin:{name}" for name in BUILTIN]
    return make_case(names, fps=None, stop=Stop(seconds=seconds), settings=settings)


def rounds(given: Case, strategies: Sequence[str], count: int, seed: int) -> list[Round]:
    """Each strategy once a round, in a drawn order, so that a busy minute falls on all alike."""
    rng, found = np.random.default_rng(seed), list[Round]()
    for number in range(count):
        measured = {}
        for name in rng.permutation(list(strategies)).tolist():
            print(f"\rround {number + 1}/{count}: {name:<17}", end="", file=sys.stderr, flush=True)
            varied = apply(given, {"strategy": name})
            measured[name] = summarize(measure_apart(varied.plan, varied.workload))
        found.append({name: measured[name] for name in strategies})
    print(file=sys.stderr)
    return found


def compared(found: Sequence[Round], name: str) -> Estimate:
    """Frames a second against the base, with its interval over the rounds."""
    base, own = ([np.array([r[n].throughput]) for r in found] for n in (BASE, name))
    return paired_ratio(base, own)


def rows(found: Sequence[Round], what: str) -> list[dict[str, Any]]:
    """A row a strategy: the ratio of its frames/s, and medians over the rounds."""
    return [_row(found, name, what) for name in found[0]]


def _row(found: Sequence[Round], name: str, what: str) -> dict[str, Any]:
    ratio, each = compared(found, name), [r[name] for r in found]
    numbers = {key: float(np.median(values)) for key, values in _numbers(each).items()}
    models = ", ".join(f"{m} {format_ms(numbers[f'model {m}'])}" for m in each[0].cost.models) if each[0].cost else ""
    told = (
        f"{ratio.value:.2f} [{ratio.low or 0:.2f}, {ratio.high or 0:.2f}]"
        f"  {numbers['fps']:5.1f} fps  p50 {format_ms(numbers['p50'])}"
        f"  at once {numbers['together']:.2f}  cores {numbers['cores']:.2f}  {format_bytes(numbers['memory'])}"
        f"  start-up {format_ms(numbers['startup'])}  a frame: {models}"
    )
    plain = {"value": ratio.value, "low": ratio.low, "high": ratio.high}
    return {"what": f"{what}: {name}", "got": told, "ratio": plain, **numbers}


def _numbers(each: Sequence[Summary]) -> Mapping[str, list[float]]:
    costs = [s.cost for s in each if s.cost is not None]
    models = {
        f"model {m}": [c.models[m] / s.frames.requests for c, s in zip(costs, each, strict=True)]
        for m in costs[0].models
    }
    return models | {
        "fps": [s.throughput for s in each],
        "p50": [_p50(s) for s in each],
        "together": [c.together for c in costs],
        "cores": [c.cores or 0.0 for c in costs],
        "memory": [c.memory or 0.0 for c in costs],
        "startup": [c.startup or 0.0 for c in costs],
        "others": [s.neighbours_cpu or 0.0 for s in each],
    }  # fmt: skip


def _p50(s: Summary) -> float:
    found = s.frames.percentile(50)
    return s.frames.mean if found is None or found.estimate is None else found.estimate.value


def main() -> None:
    """Measure and print."""
    args = options(__doc__ or "", seconds=3, rounds=4, threads=1)
    given = case(args.seconds, args.threads)
    plain = rounds(given, PLAIN, args.rounds, args.seed)
    python = rounds(apply(given, {"prepare-hook": "strategies:python_work"}), PYTHON, args.rounds, args.seed)
    told = rows(plain, "plain") + rows(python, "2 ms of Python a model")
    why = {"plain": reasons(_middle(plain)), "python": reasons(_middle(python))}
    show("strategies", args, told, why=why, threads=args.threads, models=[m.model for m in given.plan.models])
    if not args.json:
        for part, texts in why.items():
            print("\n".join(f"  {part}: {name}: {text}" for name, text in texts.items()))


def _middle(found: Sequence[Round]) -> Round:
    """Of each strategy the round with the median rate."""
    return {name: sorted((r[name] for r in found), key=lambda s: s.throughput)[len(found) // 2] for name in found[0]}


if __name__ == "__main__":
    main()
