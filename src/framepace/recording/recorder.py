"""Recording a run: rows from any thread and telemetry beside them, written while the run goes on.

Whoever runs an engine, or observes a program, records it in the same way: measuring, serving, running for good.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Protocol

from msgspec.structs import replace

from framepace.clock.system import Clock
from framepace.errors import StoreError
from framepace.facts.trace import Trace, TraceMeta
from framepace.recording.gpu import gpu_samplers
from framepace.recording.host import host_sampler
from framepace.recording.telemetry import Sink, Telemetry
from framepace.simulate.telemetry import VirtualTelemetry

FLUSH_S = 0.25


class Writer(Protocol):
    """Where rows go: MemoryWriter, TraceWriter or RotatingWriter of the package store."""

    def append(self, name: str, rows: bytes) -> None:
        """Append packed rows to the table 'requests' or 'telemetry'. Raises StoreError."""

    def close(self, meta: TraceMeta) -> Trace:
        """End the trace, described by `meta`, and return it."""


class Sampling(Protocol):
    """Telemetry of one run: samples from when it is entered until it is left."""

    failures: dict[str, str]

    @property
    def overhead(self) -> dict[str, float]:
        """The cost of sampling, by name (see Telemetry)."""

    def __enter__(self) -> object: ...

    def __exit__(self, *_: object) -> None: ...


# Makes the telemetry of one run from the sink of its rows.
MakeSampling = Callable[[Sink], Sampling]
# Called when something has happened.
Notice = Callable[[], None]


class Rows:
    """Collects packed rows from any thread; `drain` takes them out."""

    def __init__(self) -> None:
        self._rows: list[bytes] = []
        self.add: Sink = self._rows.append

    def drain(self) -> bytes:
        """All rows so far, joined. Threads may append meanwhile: only what was counted is removed."""
        count = len(self._rows)
        packed = b"".join(self._rows[:count])
        del self._rows[:count]
        return packed


def sampling_for(clock: Clock, gpus: Mapping[int, str], simulated: Callable[[], bytes]) -> MakeSampling:
    """The samplers of a run: host and GPUs of the machine or, on a virtual clock, the simulated devices.

    Args:
        gpus: PCI bus ids by the number in the column 'device'.
        simulated: packed telemetry rows of simulated devices since the last call.
    """
    if clock.virtual:
        return lambda sink: VirtualTelemetry(sink, clock, simulated)
    return lambda sink: Telemetry(sink, samplers=[host_sampler(), *gpu_samplers(gpus)])


def _into(rows: Rows, sampling: MakeSampling | None) -> Sampling | None:
    """The telemetry whose rows go into `rows`; None where none is recorded."""
    if sampling is None:
        return None
    return sampling(rows.add)


def _nothing() -> None:
    """The notice that nobody takes."""


class Recorder:
    """Records one run: a context manager around the run, then `close`.

    `sink` takes packed request rows (facts.trace.REQUEST_COLUMNS) from any thread. A thread moves them to the writer
    four times per second. When writing fails, `on_failure` is called once, later rows are dropped, and `error` is set.

    Args:
        sampling: makes the telemetry; None records none.
        on_failure: ends the run; called by whoever flushes.
        on_flush: called after every flush while the run goes on, by the same thread.
    """

    def __init__(
        self,
        writer: Writer,
        sampling: MakeSampling | None = None,
        *,
        on_failure: Notice = _nothing,
        on_flush: Notice = _nothing,
    ) -> None:
        self._writer = writer
        # Telemetry first: a segment that ends with these requests then has the samples taken beside them.
        self._tables = {"telemetry": Rows(), "requests": Rows()}
        self._on_failure = on_failure
        self._on_flush = on_flush
        self._ended = threading.Event()
        self._flushing = threading.RLock()  # a writer may ask for a flush from within one
        self._thread = threading.Thread(target=self._flush_until_ended, name="flusher", daemon=True)
        self._open = ExitStack()
        self._sampling = _into(self._tables["telemetry"], sampling)
        self.sink: Sink = self._tables["requests"].add
        self.error: StoreError | None = None

    def __enter__(self) -> Recorder:
        self._thread.start()
        self._open.callback(self._stop_flushing)
        if self._sampling is not None:
            try:
                self._open.enter_context(self._sampling)
            except BaseException:
                self._open.close()
                raise
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def close(self, meta: TraceMeta) -> Trace:
        """End the trace, described by `meta` and what telemetry adds to it; called after the run."""
        return self._writer.close(self._with_telemetry(meta))

    def _with_telemetry(self, meta: TraceMeta) -> TraceMeta:
        """`meta` with the cost of sampling, and why some telemetry is missing."""
        if self._sampling is None:
            return meta
        notes = [f"telemetry without {name}: {why}" for name, why in self._sampling.failures.items()]
        return replace(meta, notes=(*meta.notes, *notes), overhead=self._sampling.overhead)

    def _stop_flushing(self) -> None:
        self._ended.set()
        self._thread.join()
        self.flush()

    def _flush_until_ended(self) -> None:
        while not self._ended.wait(FLUSH_S):
            self.flush()
            self._on_flush()

    def flush(self) -> None:
        """Move what there is to the writer, now."""
        with self._flushing:
            failed_before = self.error is not None
            for name, rows in self._tables.items():
                packed = rows.drain()
                if packed and not failed_before:
                    self._append(name, packed)

    def _append(self, name: str, packed: bytes) -> None:
        try:
            self._writer.append(name, packed)
        except StoreError as error:
            if self.error is None:
                self.error = error
                self._on_failure()
