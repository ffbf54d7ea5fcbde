"""Metrics of a run for Prometheus. Names and base units as https://prometheus.io/docs/practices/naming asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import accumulate
from typing import TYPE_CHECKING, Any, get_args

from framepace.facts.address import without_secrets
from framepace.facts.running import (
    AGE_BOUNDS_MS,
    DeviceStatus,
    EngineStatus,
    RunStatus,
    SinkStatus,
    SourceState,
    SourceStatus,
)

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

MS_PER_S = 1000.0
HZ_PER_MHZ = 1e6
Sample = tuple[Sequence[str], float]
"""Values of the labels, and the number."""


@dataclass(frozen=True)
class Series:
    """One metric: counters end in '_total'. `samples` takes them from a run."""

    name: str
    help: str
    labels: tuple[str, ...]
    samples: Callable[[RunStatus], Iterator[Sample]]


def exposition(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """All metrics as text, in the format that the Accept header asks for, and its media type."""
    from prometheus_client.exposition import choose_encoder

    encode, media_type = choose_encoder(accept)
    return encode(registry), media_type


def registry_of(status: Callable[[], RunStatus]) -> CollectorRegistry:
    """The metrics of a run and of its process; they are read when they are asked for."""
    from prometheus_client import CollectorRegistry, ProcessCollector

    registry = CollectorRegistry()
    registry.register(_Collector(status))
    ProcessCollector(registry=registry)
    return registry


class _Collector:
    def __init__(self, status: Callable[[], RunStatus]) -> None:
        self._status = status

    def describe(self) -> Iterable[Metric]:
        """Nothing: what there is shows when it is collected."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All metrics of the run."""
        status = without_secrets(self._status())
        yield from (_family(series, status) for series in SERIES)
        yield _ages(status)


def _family(series: Series, status: RunStatus) -> Metric:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    kind = CounterMetricFamily if series.name.endswith("_total") else GaugeMetricFamily
    family = kind(series.name, series.help, labels=series.labels)
    for labels, value in series.samples(status):
        family.add_metric(labels, value)
    return family


def _ages(status: RunStatus) -> Metric:
    from prometheus_client.core import HistogramMetricFamily

    family = HistogramMetricFamily(
        "framepace_source_age_seconds", "How old pictures were when their results were there.", labels=("source",)
    )
    bounds = [*(str(bound / MS_PER_S) for bound in AGE_BOUNDS_MS), "+Inf"]
    for source in status.sources:
        if source.ages is not None:
            buckets = [*zip(bounds, map(float, accumulate(source.ages.counts)), strict=True)]
            family.add_metric((source.name,), buckets, source.ages.sum_ms / MS_PER_S)
    return family


def _of_run(name: str, text: str, number: Callable[[RunStatus], float | None]) -> Series:
    def samples(status: RunStatus) -> Iterator[Sample]:
        value = number(status)
        if value is not None:
            yield (), value

    return Series(f"framepace_run_{name}", text, (), samples)


def _of_source(name: str, text: str, number: Callable[[SourceStatus], float | None]) -> Series:
    return _of_each("source", name, text, number, lambda status: status.sources)


def _of_sink(name: str, text: str, number: Callable[[SinkStatus], float | None]) -> Series:
    return _of_each("sink", name, text, number, lambda status: status.sinks)


def _of_device(name: str, text: str, number: Callable[[DeviceStatus], float | None]) -> Series:
    return _of_each("device", name, text, number, lambda status: status.devices)


def _of_engine(name: str, text: str, number: Callable[[EngineStatus], float | None]) -> Series:
    return _of_each("engine", name, text, number, lambda status: status.engines)


def _of_each(
    kind: str,
    name: str,
    text: str,
    number: Callable[[Any], float | None],
    things: Callable[[RunStatus], Iterable[Any]],
) -> Series:
    """One sample per thing whose number is known, with its name as the label."""

    def samples(status: RunStatus) -> Iterator[Sample]:
        for thing in things(status):
            value = number(thing)
            if value is not None:
                yield (thing.name,), value

    return Series(f"framepace_{kind}_{name}", text, (kind,), samples)


def _info(status: RunStatus) -> Iterator[Sample]:
    yield (version("framepace"), ",".join(status.plan)), 1.0


def _states(status: RunStatus) -> Iterator[Sample]:
    for source in status.sources:
        yield from (((source.name, state), float(source.state == state)) for state in get_args(SourceState))


def _dropped(status: RunStatus) -> Iterator[Sample]:
    for source in status.sources:
        yield from (((source.name, cause), count) for cause, count in source.dropped.items())


def _boxes(status: RunStatus) -> Iterator[Sample]:
    for source in status.sources:
        for model, counts in source.boxes.items():
            for outcome in ("answered", "failed", "left_out"):
                yield (source.name, model, outcome.replace("_", " ")), getattr(counts, outcome)


def _over(value: float | None, divisor: float) -> float | None:
    return None if value is None else value / divisor


SERIES: tuple[Series, ...] = (
    Series("framepace_run_info", "The version and the models; always 1.", ("version", "models"), _info),
    _of_run("start_time_seconds", "When the run began, in seconds since 1970.", lambda run: run.began),
    _of_run("target_age_seconds", "How old results may be.", lambda run: _over(run.target_ms, MS_PER_S)),
    _of_run("degraded", "How many measures against overload are in force.", lambda run: len(run.degraded)),
    Series("framepace_source_state", "1 for the state that a source is in.", ("source", "state"), _states),
    _of_source("frames_taken_total", "Pictures that came.", lambda source: source.taken),
    _of_source("frames_delivered_total", "Pictures whose results were delivered.", lambda source: source.delivered),
    _of_source("frames_late_total", "Results that were older than the target.", lambda source: source.late),
    _of_source("frames_skipped_total", "Pictures that the plan leaves out.", lambda source: source.skipped),
    _of_source("frames_failed_total", "Pictures whose inference failed.", lambda source: source.failed),
    Series(
        "framepace_source_frames_dropped_total", "Pictures that were dropped, by cause.", ("source", "cause"), _dropped
    ),
    Series(
        "framepace_source_boxes_total",
        "Boxes that a model runs on, by what became of them.",
        ("source", "model", "outcome"),
        _boxes,
    ),
    _of_source("frames_waiting", "Pictures that wait or are being inferred.", lambda source: source.waiting),
    _of_source("every", "Only one of so many pictures is inferred.", lambda source: source.every),
    _of_source("reconnections_total", "How often it was connected again.", lambda source: source.reconnections),
    _of_sink("results_written_total", "Results that were written.", lambda sink: sink.written),
    _of_sink("results_dropped_total", "Results that its queue had no room for.", lambda sink: sink.dropped),
    _of_sink("results_failed_total", "Results that could not be written.", lambda sink: sink.failed),
    _of_sink("results_waiting", "Results in its queue.", lambda sink: sink.waiting),
    _of_device("use_ratio", "Share of time in which it computes.", lambda device: device.use),
    _of_device("decoder_use_ratio", "Share of time in which it decodes.", lambda device: device.decoder_use),
    _of_device("memory_use_ratio", "Share of its memory in use.", lambda device: device.memory_use),
    _of_device("clock_hertz", "Its clock.", lambda device: _over(device.clock_mhz, 1 / HZ_PER_MHZ)),
    _of_device("power_watts", "Its power.", lambda device: device.power_w),
    _of_engine("live", "1 while it takes sources.", lambda engine: engine.state == "live"),
    _of_engine("starts_total", "How often it was started.", lambda engine: engine.starts),
    _of_engine("sources", "Sources that it has.", lambda engine: engine.sources),
    _of_engine("share_ratio", "Share of its capacity that its sources ask for.", lambda engine: engine.share),
)
