"""Rows of a trace as OpenTelemetry spans: one per sampled frame, with a child per stage of its way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from framepace.analyze.sampling import sampled
from framepace.analyze.stages import STAGES, stages
from framepace.clock.system import SystemClock
from framepace.errors import UsageError
from framepace.facts.trace import REQUEST_COLUMNS, Column, DropCause, Outcome, Trace, TraceMeta

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
    from opentelemetry.trace import Tracer

_COLUMNS = tuple(REQUEST_COLUMNS)
_OF_MODEL = ("prepare", "infer", "finish")
_OTHERS = "other models"
_MOST_WAITING = 10_000  # frames of which a row is missing; the oldest are given up
_FRAME = _COLUMNS.index("frame")


@dataclass(frozen=True)
class StageSpan:
    """A stage of a frame; `model` is '' for those that its models share. Times in ns on the trace's clock."""

    name: str
    model: str
    start: int
    end: int


@dataclass(frozen=True)
class FrameSpan:
    """A frame from when it was due to when its last model delivered, with its stages in order."""

    source: str
    frame: int
    start: int
    end: int
    batch_size: int
    outcome: str
    cause: str
    stages: tuple[StageSpan, ...]


def frame_spans(rows: NDArray[np.int64], meta: TraceMeta) -> Iterator[FrameSpan]:
    """The frames in rows [n, columns] of whole frames; stages that took no time are left out."""
    order = np.lexsort((rows[:, _COLUMNS.index("batched")], rows[:, _FRAME]))
    requests = {name: rows[order, column] for column, name in enumerate(_COLUMNS)}
    lengths = stages(Trace(meta, requests, {}))
    starts = np.flatnonzero(np.diff(requests["frame"], prepend=-1))
    for start, end in zip(starts, [*starts[1:], len(rows)], strict=True):
        yield _frame(requests, lengths, meta, range(start, end))


def _frame(r: Mapping[str, Column], lengths: Mapping[str, Column], meta: TraceMeta, rows: range) -> FrameSpan:
    worst = max(rows, key=lambda row: r["outcome"][row])
    return FrameSpan(
        source=meta.sources[r["source"][worst]],
        frame=int(r["frame"][worst]),
        start=int(r["due"][rows.start]),
        end=int(max(r["delivered"][row] for row in rows)),
        batch_size=int(r["batch_size"][worst]),
        outcome=Outcome.NAMES[int(r["outcome"][worst])],
        cause=DropCause.NAMES.get(int(r["cause"][worst]), ""),
        stages=tuple(_stages(r, lengths, meta, rows)),
    )


def _stages(
    r: Mapping[str, Column], lengths: Mapping[str, Column], meta: TraceMeta, rows: range
) -> Iterator[StageSpan]:
    for row in rows:
        at = int(r["due"][row])
        for name in STAGES:
            end = at + int(lengths[name][row])
            shared = name not in _OF_MODEL
            if end > at and name != _OTHERS and (row == rows.start or not shared):
                yield StageSpan(name, "" if shared else meta.names[r["model"][row]], at, end)
            at = end


class SampledRows:
    """Takes packed rows, and gives those of some frames on as soon as all models of them have one.

    Args:
        share: of the frames, 0 to 1.
        models: rows per frame.
    """

    def __init__(self, share: float, models: int) -> None:
        self._share = share
        self._models = models
        self._waiting: dict[int, list[NDArray[np.int64]]] = {}

    def add(self, packed: bytes) -> NDArray[np.int64]:
        """The rows [n, columns] of the frames that are whole now."""
        table = np.frombuffer(packed, np.int64).reshape(-1, len(_COLUMNS))
        whole: list[NDArray[np.int64]] = []
        for row in table[sampled(table[:, _FRAME], self._share)]:
            rows = self._waiting.setdefault(int(row[_FRAME]), [])
            rows.append(row)
            if len(rows) == self._models:
                whole += self._waiting.pop(int(row[_FRAME]))
        while len(self._waiting) > _MOST_WAITING:
            del self._waiting[next(iter(self._waiting))]
        return np.array(whole, np.int64).reshape(-1, len(_COLUMNS))


class Spans:
    """Takes the packed rows of a run, and makes spans of a share of its frames.

    Args:
        now: the clock of the rows (ns), by default the system's.
    """

    def __init__(self, tracer: Tracer, share: float, models: int, now: Callable[[], int] = SystemClock.now) -> None:
        self._tracer = tracer
        self._rows = SampledRows(share, models)
        self._now = now

    def take(self, packed: bytes, meta: TraceMeta) -> None:
        """Make spans of the frames that are whole now."""
        rows = self._rows.add(packed)
        if len(rows):
            to_wall = time.time_ns() - self._now()
            for frame in frame_spans(rows, meta):
                self._emit(frame, to_wall)

    def _emit(self, frame: FrameSpan, to_wall: int) -> None:
        from opentelemetry.trace import Status, StatusCode, set_span_in_context

        attributes = {
            "framepace.source": frame.source,
            "framepace.frame": frame.frame,
            "framepace.batch_size": frame.batch_size,
            "framepace.outcome": frame.outcome,
        }
        whole = self._tracer.start_span("frame", attributes=attributes, start_time=frame.start + to_wall)
        if frame.cause:
            whole.set_status(Status(StatusCode.ERROR, frame.cause))
        inside = set_span_in_context(whole)
        for stage in frame.stages:
            of_model = {"framepace.model": stage.model} if stage.model else {}
            child = self._tracer.start_span(stage.name, inside, attributes=of_model, start_time=stage.start + to_wall)
            child.end(stage.end + to_wall)
        whole.end(frame.end + to_wall)


@contextmanager
def tracing(processor: SpanProcessor | None = None) -> Iterator[Tracer]:
    """Inside, spans are sent to where OpenTelemetry's own environment variables say, on a thread of its library.

    Args:
        processor: gets the spans instead.

    Raises UsageError where the extra 'otel' is not installed.
    """
    try:
        provider = _provider(processor)
    except ImportError as error:
        fix = "install it: pip install 'framepace[otel]', or leave --spans out"
        raise UsageError("spans need a package that is not installed", got=error.name, fix=fix) from error
    try:
        yield provider.get_tracer("framepace", version("framepace"))
    finally:
        provider.shutdown()


def _provider(processor: SpanProcessor | None) -> TracerProvider:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    if processor is None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        processor = BatchSpanProcessor(OTLPSpanExporter())
    resource: Any = Resource.create({"service.version": version("framepace")})
    if resource.attributes.get("service.name", "unknown_service").startswith("unknown_service"):
        resource = resource.merge(Resource({"service.name": "framepace"}))
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(processor)
    return provider
