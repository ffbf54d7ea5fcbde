"""The documents that a server answers questions with, as far as framepace reads them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import msgspec

from framepace.errors import BackendError
from framepace.facts.served import ServerCounts

_T = TypeVar("_T")


class Tensor(msgspec.Struct):
    """An input or output: -1 in its shape is open."""

    name: str
    datatype: str
    shape: list[int]


class Metadata(msgspec.Struct):
    """What a model is."""

    name: str
    inputs: list[Tensor]
    outputs: list[Tensor]
    platform: str = ""
    versions: list[str] = []


class Configuration(msgspec.Struct):
    """How it runs, where the server has the extension 'model_configuration'; 0: no batches."""

    max_batch_size: int = 0


class ServerMetadata(msgspec.Struct):
    """What the server is."""

    name: str = ""
    version: str = ""
    extensions: list[str] = []


class _Duration(msgspec.Struct):
    count: int = 0
    ns: int = 0


class _Durations(msgspec.Struct):
    success: _Duration = msgspec.field(default_factory=_Duration)
    fail: _Duration = msgspec.field(default_factory=_Duration)
    queue: _Duration = msgspec.field(default_factory=_Duration)
    compute_input: _Duration = msgspec.field(default_factory=_Duration)
    compute_infer: _Duration = msgspec.field(default_factory=_Duration)
    compute_output: _Duration = msgspec.field(default_factory=_Duration)
    cache_hit: _Duration = msgspec.field(default_factory=_Duration)


class _Batch(msgspec.Struct):
    batch_size: int = 0
    compute_infer: _Duration = msgspec.field(default_factory=_Duration)


class _ModelStatistics(msgspec.Struct):
    inference_count: int = 0
    execution_count: int = 0
    inference_stats: _Durations = msgspec.field(default_factory=_Durations)
    batch_stats: list[_Batch] = []


_TIMES = {
    "total": "success",
    "queue": "queue",
    "input": "compute_input",
    "compute": "compute_infer",
    "output": "compute_output",
}
_COUNTS = {"requests": "success", "failed": "fail", "cached": "cache_hit"}


class Statistics(msgspec.Struct):
    """The statistics of a model, one entry per version."""

    model_stats: list[_ModelStatistics] = []

    @property
    def counts(self) -> ServerCounts:
        """All versions together."""
        models = self.model_stats
        times = [model.inference_stats for model in models]
        sums = {name: sum(getattr(time, field).ns for time in times) for name, field in _TIMES.items()}
        counts = {name: sum(getattr(time, field).count for time in times) for name, field in _COUNTS.items()}
        return ServerCounts(
            items=sum(model.inference_count for model in models),
            executions=sum(model.execution_count for model in models),
            batches=_batches(batch for model in models for batch in model.batch_stats),
            **sums,
            **counts,
        )


class ModelState(msgspec.Struct):
    """A line of the repository's index."""

    name: str
    version: str = ""
    state: str = ""
    reason: str = ""


class Message(msgspec.Struct):
    """What a server says of an error."""

    error: str = ""


def _batches(rows: Iterable[_Batch]) -> dict[str, int]:
    """Executions by the batch size."""
    counts: dict[str, int] = {}
    for row in rows:
        size = str(row.batch_size)
        counts[size] = counts.get(size, 0) + row.compute_infer.count
    return counts


def ready(states: Iterable[ModelState]) -> tuple[str, ...]:
    """The names of models that are ready."""
    return tuple(sorted({state.name for state in states if state.state in ("", "READY")}))


def read(body: bytes, kind: type[_T], what: str) -> _T:
    """The document in `body`. Raises BackendError for what is not one: the server is no KServe v2 server."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as error:
        got = f"{error}: {body[:80]!r}"
        fix = "check that the address is that of a KServe v2 server (framepace serve, Triton, KServe, MLServer)"
        raise BackendError(f"the server does not answer with {what}", got=got, expected="JSON", fix=fix) from error


def message_of(body: bytes) -> str:
    """What the server says of an error: its message, or the body where that is not one."""
    try:
        return msgspec.json.decode(body, type=Message).error or body.decode(errors="replace")
    except msgspec.DecodeError:
        return body.decode(errors="replace")
