"""Metrics for Prometheus: under Triton's names where they mean the same, and the stages as histograms.

The text format is written here: its client library would add '_total' to names that boards know without it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate

from framepace.serving.model import ServedModel
from framepace.serving.statistics import BOUNDS_S, STAGES, Statistics
from framepace.units import NS_PER_S, NS_PER_US

_PAGE = os.sysconf("SC_PAGE_SIZE")
Number = Callable[[Statistics], float]


@dataclass(frozen=True)
class Counter:
    """A number per model that only grows; `unit` divides it."""

    name: str
    help: str
    number: Number


_COUNTERS = (
    Counter("nv_inference_request_success", "Requests that were answered", lambda s: s.success.count),
    Counter("nv_inference_count", "Items that were inferred", lambda s: s.items),
    Counter("nv_inference_exec_count", "Batches that ran", lambda s: s.executions),
    Counter("nv_inference_request_duration_us", "Time of answered requests in us", lambda s: s.success.ns / NS_PER_US),
    *(
        Counter(
            f"nv_inference_{stage}_duration_us",
            f"Time of answered requests in {stage}, us",
            lambda s, stage=stage: s.stages[stage].ns / NS_PER_US,  # type: ignore[misc]
        )
        for stage in STAGES
    ),
    Counter("framepace_late_requests", "Requests that were answered after their deadline", lambda s: s.late),
)


def exposition(models: Iterable[ServedModel]) -> bytes:
    """All metrics in Prometheus's text format, version 0.0.4."""
    models = list(models)
    for model in models:
        model.statistics.settle()
    lines = [line for counter in _COUNTERS for line in _counter(counter, models)]
    lines += _failures(models)
    lines += _pending(models)
    lines += _histograms(models)
    lines += _process()
    return "\n".join([*lines, ""]).encode()


def _head(name: str, text: str, kind: str) -> list[str]:
    return [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]


def _counter(counter: Counter, models: Iterable[ServedModel]) -> Iterator[str]:
    yield from _head(counter.name, counter.help, "counter")
    for model in models:
        yield f"{counter.name}{{{_labels(model)}}} {counter.number(model.statistics):.15g}"


def _failures(models: Iterable[ServedModel]) -> Iterator[str]:
    name = "nv_inference_request_failure"
    yield from _head(name, "Requests that were refused or failed, by the reason", "counter")
    for model in models:
        with model.statistics.lock:
            failed = dict(model.statistics.failed)
        yield f'{name}{{{_labels(model)},reason="OTHER"}} {failed.pop("internal", 0)}'
        for kind, count in failed.items():
            yield f'{name}{{{_labels(model)},reason="{kind}"}} {count}'


def _pending(models: Iterable[ServedModel]) -> Iterator[str]:
    name = "nv_inference_pending_request_count"
    yield from _head(name, "Items that wait", "gauge")
    for model in models:
        yield f"{name}{{{_labels(model)}}} {len(model.feed)}"


def _histograms(models: Iterable[ServedModel]) -> Iterator[str]:
    name = "framepace_request_stage_seconds"
    yield from _head(name, "Time of answered requests by stage", "histogram")
    for model in models:
        for stage in STAGES:
            yield from _histogram(name, f'{_labels(model)},stage="{stage}"', model.statistics, stage)


def _histogram(name: str, labels: str, statistics: Statistics, stage: str) -> Iterator[str]:
    with statistics.lock:
        counts = list(accumulate(statistics.histograms[stage]))
        total = statistics.stages[stage].ns / NS_PER_S
    for bound, count in zip([*map(str, BOUNDS_S), "+Inf"], counts, strict=True):
        yield f'{name}_bucket{{{labels},le="{bound}"}} {count}'
    yield f"{name}_sum{{{labels}}} {total:.9g}"
    yield f"{name}_count{{{labels}}} {counts[-1]}"


def _process() -> Iterator[str]:
    """CPU time and memory of the server, under the names of Prometheus's client libraries."""
    times = os.times()
    yield from _head("process_cpu_seconds_total", "CPU time", "counter")
    yield f"process_cpu_seconds_total {times.user + times.system:.2f}"
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[1])
    yield from _head("process_resident_memory_bytes", "Resident memory", "gauge")
    yield f"process_resident_memory_bytes {pages * _PAGE}"


def _labels(model: ServedModel) -> str:
    return f'model="{_escaped(model.name)}",version="{model.version}"'


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
