"""JSON: a record per line or a list of records, and what trtexec, ONNX Runtime, PyTorch and perf_analyzer write."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from framepace.logs.cells import cells_of
from framepace.logs.errors import not_understood
from framepace.logs.table import Cells, Floats, LogTable

Record = Mapping[str, Any]

_MOST_COLUMNS = 1_000
_DEEPEST = 4  # records within records
# What one run of the model is called in a profile, the surest first.
_RUNS = ("model_run", "ProfilerStep", "SequentialExecutor::Execute", "inference", "infer", "frame", "iteration", "step")
_OLD_TRTEXEC = {"startInMs": "startH2dMs", "endInMs": "endH2dMs", "startOutMs": "startD2hMs", "endOutMs": "endD2hMs"}
_SPANS_FIX = "profile several runs, each in a span of its own, e.g. torch.profiler.record_function('inference')"
_LAYERS_FIX = "run trtexec with --exportTimes=times.json; for its layers see `framepace layers`"
_SPAN_TIMES = {"start [us]": "ts", "latency [us]": "dur"}
_TRTEXEC_PARTS = {"H2d": "h2d [ms]", "Compute": "compute [ms]", "D2h": "d2h [ms]", "Enq": "call [ms]"}


def read_json(file: str, data: bytes) -> LogTable:
    """The table in a JSON file of any of these kinds. Raises StoreError."""
    try:
        content = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return read_json_lines(file, data)
    events = _events(content)
    if events:
        return _from_events(file, events)
    if isinstance(content, dict) and isinstance(content.get("experiments"), list):
        return _from_experiments(file, content["experiments"])
    records = _records(content)
    if any(map(_is_layer_of_trtexec, records)):
        raise not_understood(file, "a profile of trtexec, with a row per layer and none per run", _LAYERS_FIX)
    if records and _is_trtexec(records[0]):
        return _from_trtexec(file, records)
    return _from_records(file, "JSON", records, 0)


def read_json_lines(file: str, data: bytes) -> LogTable:
    """The table in a file with a JSON object per line; lines that are none are left out. Raises StoreError."""
    records: list[Record] = []
    odd = 0
    for line in data.splitlines():
        if not line.strip():
            continue
        try:
            records.append(msgspec.json.decode(line, type=dict[str, Any]))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            odd += 1
    if odd > len(records):
        raise not_understood(file, f"{odd:,} of {odd + len(records):,} lines are no JSON objects")
    return _from_records(file, "JSON lines", records, odd)


def _records(content: Any) -> list[Record]:
    """The longest list of records in the file: itself, or one of its entries."""
    candidates = [content, *(content.values() if isinstance(content, dict) else ())]
    lists: list[list[Record]] = [
        [row for row in rows if isinstance(row, dict)] for rows in candidates if isinstance(rows, list)
    ]
    return max(lists, key=len, default=[])


def _from_records(file: str, kind: str, records: Sequence[Record], odd: int) -> LogTable:
    flat = [dict(_flattened(record)) for record in records]
    names = list(dict.fromkeys(name for record in flat for name in record))
    if not names:
        raise not_understood(file, "it has no rows")
    if len(names) > _MOST_COLUMNS:
        raise not_understood(file, f"{len(names):,} different names")
    columns = {name: cells for name in names if (cells := _cells([record.get(name) for record in flat])) is not None}
    return LogTable(file, kind, columns, len(flat), left_out=odd)


def _flattened(record: Record, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Names and plain values, those of records within it dotted."""
    for name, value in record.items():
        if isinstance(value, dict) and depth < _DEEPEST:
            yield from _flattened(value, f"{prefix}{name}.", depth + 1)
        else:
            yield f"{prefix}{name}", value


def _cells(values: Sequence[Any]) -> Cells | None:
    """The cells of plain values; None where any is a list."""
    import pyarrow as pa

    if any(isinstance(value, list | dict) for value in values):
        return None
    if any(isinstance(value, str) for value in values):
        texts = [None if value is None else str(value) for value in values]
        return cells_of(pa.array(texts, pa.large_string()))
    return Cells(numbers=_numbers(values))


def _numbers(values: Sequence[Any]) -> Floats:
    numbers = np.array([_float(value) for value in values], np.float64)
    numbers[~(np.abs(numbers) < 1e19)] = np.nan
    return numbers


def _float(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return float("nan")


def _is_trtexec(record: Record) -> bool:
    return "latencyMs" in record and ("startComputeMs" in record or "computeMs" in record)


def _is_layer_of_trtexec(record: Record) -> bool:
    return {"name", "averageMs", "percentage"} <= record.keys()


def _from_trtexec(file: str, records: Sequence[Record]) -> LogTable:
    """`trtexec --exportTimes`: a run's moments and durations, in ms."""
    numbers = {_OLD_TRTEXEC.get(name, name): _numbers([record.get(name) for record in records]) for name in records[0]}
    times = {"latency [ms]": numbers["latencyMs"]}
    for start in ("startH2dMs", "startComputeMs"):
        if start in numbers:
            times.setdefault("start [ms]", numbers[start])
    for part, name in _TRTEXEC_PARTS.items():
        if f"start{part}Ms" in numbers and f"end{part}Ms" in numbers:
            times[name] = numbers[f"end{part}Ms"] - numbers[f"start{part}Ms"]
    return _of_times(file, "times of trtexec", times)


def _of_times(file: str, kind: str, times: Mapping[str, Floats]) -> LogTable:
    """A table of columns that have their unit in their name."""
    columns = {name: Cells(numbers=numbers) for name, numbers in times.items()}
    return LogTable(file, kind, columns, min(map(len, times.values())))


def _from_experiments(file: str, experiments: Sequence[Any]) -> LogTable:
    """`perf_analyzer --profile-export-file`: requests and when their responses came, in ns."""
    requests = [*_answered(experiments)]
    if not requests:
        raise not_understood(file, "it has no requests with responses")
    start = _numbers([request.get("timestamp") for request, _ in requests])
    end = _numbers([request["response_timestamps"][-1] for request, _ in requests])
    loads = _numbers([load for _, load in requests])
    times = {"start [ns]": start, "end [ns]": end}
    if len(np.unique(loads)) > 1:  # the latency goes with it, or not
        times["offered"] = loads
    return _of_times(file, "requests of perf_analyzer", times)


def _answered(experiments: Sequence[Any]) -> Iterator[tuple[Record, Any]]:
    """The requests that have an answer, each with the load of its experiment."""
    for experiment in experiments:
        if isinstance(experiment, dict):
            for request in experiment.get("requests") or ():
                if isinstance(request, dict) and request.get("response_timestamps"):
                    yield request, _load_of(experiment)


def _load_of(experiment: Record) -> Any:
    """Requests in flight, or per second, of an experiment."""
    setting = experiment.get("experiment")
    return setting.get("value") if isinstance(setting, dict) else None


def _events(content: Any) -> list[Record]:
    """The spans of a profile in the format of Chrome's traces; empty where it is none."""
    if isinstance(content, dict):
        content = content.get("traceEvents")
    if not isinstance(content, list):
        return []
    return [event for event in content if isinstance(event, dict) and event.get("ph") == "X" and "dur" in event]


def _from_events(file: str, events: Sequence[Record]) -> LogTable:
    """Each run of the model in the profile of ONNX Runtime or PyTorch; times in us."""
    counts = Counter(_event_name(event) for event in events)
    span = next((run for run in _RUNS if counts[run] > 1), None)
    if span is None:
        spans = ", ".join(name for name, _ in counts.most_common(5))
        raise not_understood(file, f"a profile without runs of a model; its spans: {spans}", _SPANS_FIX)
    runs = [event for event in events if _event_name(event) == span]
    times = {name: _numbers([run.get(key) for run in runs]) for name, key in _SPAN_TIMES.items()}
    return _of_times(file, f"profile, its spans {span!r}", times)


def _event_name(event: Record) -> str:
    """The name of a span; PyTorch numbers its steps ('ProfilerStep#3')."""
    return str(event.get("name", "")).partition("#")[0]
