"""Sampled traces of served models: rows as of any measurement, in segments of which the last ones are kept."""

from __future__ import annotations

import re
import threading
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from framepace.clock.system import Clock
from framepace.engine.engine import Engine
from framepace.errors import StoreError
from framepace.facts.plan import Plan
from framepace.facts.trace import TraceMeta
from framepace.facts.workload import Closed, Workload
from framepace.openinference.errors import RequestError
from framepace.recording.describing import describe
from framepace.recording.recorder import Recorder, sampling_for
from framepace.store import RotatingWriter

LEVELS = ("OFF", "TIMESTAMPS")
_SOURCE = "requests"
_UNLIMITED = -1


class TraceSettings:
    """Which requests are recorded: every `rate`-th, `count` more of them at most (-1: no limit), or none.

    Args:
        available: whether there is a folder to write to.
    """

    def __init__(self, available: bool, rate: int = 1) -> None:
        self._available = available
        self.on = available
        self.rate = rate
        self.count = _UNLIMITED
        self._lock = threading.Lock()

    def wants(self, number: int) -> bool:
        """Whether the rows of the request with this number are recorded; counts it."""
        if not self.on or number % self.rate:
            return False
        if self.count == _UNLIMITED:
            return True
        with self._lock:
            if self.count <= 0:
                return False
            self.count -= 1
            return True

    def update(self, settings: dict[str, Any]) -> None:
        """Change settings by the names of the protocol's extension. Raises RequestError."""
        for name, value in settings.items():
            self._update(name, value)

    def document(self) -> dict[str, Any]:
        """All settings as the extension has them."""
        return {
            "trace_level": [LEVELS[self.on]],
            "trace_rate": str(self.rate),
            "trace_count": str(self.count),
            "log_frequency": "0",
            "trace_file": "",
            "trace_mode": "framepace",
        }

    def _update(self, name: str, value: Any) -> None:
        if name == "trace_level":
            self._set_level(value)
        elif name == "trace_rate":
            self.rate = _number(name, value, least=1)
        elif name == "trace_count":
            self.count = _number(name, value, least=_UNLIMITED)
        elif name not in ("log_frequency", "trace_file", "trace_mode"):
            raise RequestError(f"unknown trace setting '{name}'")

    def _set_level(self, value: Any) -> None:
        levels = [value] if isinstance(value, str) else value
        if not isinstance(levels, list) or not levels or any(level not in LEVELS for level in levels):
            raise RequestError(f"Unable to parse 'trace_level', expected one of {', '.join(LEVELS)}")
        if "OFF" in levels and len(levels) > 1:
            raise RequestError("Expect only one trace level 'OFF' is specified")
        if "TIMESTAMPS" in levels and not self._available:
            raise RequestError("traces have no folder: start the server with --out FOLDER", "unsupported")
        self.on = "TIMESTAMPS" in levels


def _number(name: str, value: Any, least: int) -> int:
    """A setting that is a whole number, also as text or alone in a list; None is the least. Raises RequestError."""
    if isinstance(value, list) and len(value) <= 1:
        value = value[0] if value else None
    if value is None:
        return least
    if isinstance(value, bool) or not re.fullmatch(r"-?[0-9]{1,18}", str(value)):
        raise RequestError(f"Unable to parse '{name}', got: {str(value)[:40]}")
    number = int(value)
    if number < least or number >= 1 << 31:
        raise RequestError(f"Unable to parse '{name}'. Expecting value >= {least}, got: {number}")
    return number


class ModelTrace:
    """The trace of one version of a model: a context manager around its engine's run."""

    def __init__(self, folder: Path, settings: TraceSettings, plan: Plan, engine: Engine, clock: Clock) -> None:
        self._settings = settings
        self._meta = describe(plan, Workload(load=Closed(), scope="pipeline"), engine, (_SOURCE,), clock)
        writer = RotatingWriter(folder, lambda: self._meta)
        sampling = sampling_for(clock, engine.gpus, engine.telemetry)
        self._recorder = Recorder(writer, sampling, on_failure=self._stop)
        self._open = ExitStack()

    def sink(self, row: bytes) -> None:
        """Take the packed row of a request and a model."""
        if self._settings.wants(int.from_bytes(row[:8], "little")):
            self._recorder.sink(row)

    def __enter__(self) -> ModelTrace:
        self._open.enter_context(self._recorder)
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()
        meta: TraceMeta = replace(self._meta, stopped="finished")
        with suppress(StoreError):  # a full disk: the server has said so
            self._recorder.close(meta)

    def _stop(self) -> None:
        """The disk is full: requests are answered without a trace."""
        self._settings.on = False
