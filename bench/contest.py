"""Several ways to run the same frames, paired: every round measures each of them once, in an order of its own.

Each measurement has a process of its own, so that start-up and memory are its own.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from framepace.analyze.stats import paired_ratio
from framepace.analyze.summary import summarize
from framepace.facts.settings import Case
from framepace.facts.summary import Estimate, Summary
from framepace.lab.measuringprocess import measure_apart
from framepace.units import format_bytes, format_ms

Round = dict[str, Summary]


def rounds(ways: Mapping[str, Case], count: int, seed: int) -> list[Round]:
    """Each way once a round, in a drawn order, so that a busy minute falls on all alike."""
    rng, found = np.random.default_rng(seed), list[Round]()
    for number in range(count):
        measured = {}
        for name in rng.permutation(list(ways)).tolist():
            print(f"\rround {number + 1}/{count}: {name:<17}", end="", file=sys.stderr, flush=True)
            measured[name] = summarize(measure_apart(ways[name].plan, ways[name].workload))
        found.append({name: measured[name] for name in ways})
    print(file=sys.stderr)
    return found


def compared(found: Sequence[Round], name: str, base: str, number: str = "fps") -> Estimate:
    """A number of `name` over that of `base`, with its interval over the rounds."""
    before, after = ([np.array([v]) for v in _numbers([r[n] for r in found])[number]] for n in (base, name))
    return paired_ratio(before, after)


def rows(found: Sequence[Round], what: str, base: str) -> list[dict[str, Any]]:
    """A row a way: the ratio of its frames/s to the base's, and medians over the rounds."""
    return [_row(found, name, what, base) for name in found[0]]


def middle(found: Sequence[Round]) -> Round:
    """Of each way the round with the median rate."""
    return {name: sorted((r[name] for r in found), key=lambda s: s.throughput)[len(found) // 2] for name in found[0]}


def _row(found: Sequence[Round], name: str, what: str, base: str) -> dict[str, Any]:
    ratio, each = compared(found, name, base), [r[name] for r in found]
    numbers = {key: float(np.median(values)) for key, values in _numbers(each).items()}
    models = ", ".join(f"{m} {format_ms(numbers[f'model {m}'])}" for m in each[0].cost.models) if each[0].cost else ""
    told = (
        f"{ratio.value:.2f} [{ratio.low or 0:.2f}, {ratio.high or 0:.2f}]"
        f"  {numbers['fps']:5.1f} fps  p50 {format_ms(numbers['p50'])}  CPU per frame {format_ms(numbers['cpu'])}"
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
        "cpu": [s.process_cpu or 0.0 for s in each],
        "together": [c.together for c in costs],
        "cores": [c.cores or 0.0 for c in costs],
        "memory": [c.memory or 0.0 for c in costs],
        "startup": [c.startup or 0.0 for c in costs],
        "others": [s.neighbours_cpu or 0.0 for s in each],
    }  # fmt: skip


def _p50(s: Summary) -> float:
    found = s.frames.percentile(50)
    return s.frames.mean if found is None or found.estimate is None else found.estimate.value
