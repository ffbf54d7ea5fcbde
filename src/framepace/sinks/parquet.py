"""Parquet: a folder of files, each written as a whole, that pyarrow, pandas, DuckDB and Spark read as one table.

A row per result and model, with the objects of its answer as a list. A file has what came in some seconds: a killed
process leaves no half file, and loses only what waited.
"""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from framepace import values
from framepace.errors import SinkError
from framepace.facts.answers import Answer, Tensors
from framepace.facts.running import Result
from framepace.sinks.base import ResultSink
from framepace.sinks.files import failed
from framepace.sinks.records import objects
from framepace.sinks.sinktext import SinkText

_ROWS = 20_000  # results of a file
_SECONDS = 30.0
_SIDES = ("left", "top", "right", "bottom")
_RESULT = {
    "source": "string",
    "number": "int64",
    "time": "int64",
    "age_ms": "float64",
    "late": "bool",
    "error": "string",
    "model": "string",
}
_OBJECT = {
    **dict.fromkeys(_SIDES, "float32"),
    "score": "float32",
    "label": "int64",
    "name": "string",
    "track": "int64",
    "text": "string",
    "share": "float32",
    "crop": "int32",
}


class ParquetFolder(ResultSink):
    """Writes 'results-TIME-NUMBER.parquet' files of at most `rows` results, or of what came in `wait`."""

    def __init__(self, text: SinkText) -> None:
        text.check_options(("rows", "wait"))
        self.name = text.name
        self.batch = text.whole("rows", _ROWS, limit=1_000_000)
        self.linger_s = text.seconds("wait", _SECONDS)
        self.capacity = 2 * self.batch
        self._folder = values.path(text.place, "--sink parquet")
        self._number = 0

    def open(self) -> None:
        """Make the folder. Raises SinkError, SinkUnavailable.

        The library is loaded here: at the end of a run, on a busy machine, there may be no time for it.
        """
        importlib.import_module("pyarrow.parquet")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise failed("opened", self._folder, error) from error
        if not os.access(self._folder, os.W_OK | os.X_OK):
            fix = "name a folder that can be written to"
            raise SinkError("the sink's folder cannot be written to", got=self._folder, fix=fix)

    def write(self, results: Sequence[Result]) -> None:
        """Write one file with all results. Raises SinkError, SinkUnavailable."""
        import pyarrow.parquet as pq

        table = _table([row for result in results for row in rows(result)])
        path = self._next_path()
        partial = path.with_name(f".{path.name}.part")
        try:
            pq.write_table(table, partial, compression="zstd")
            os.replace(partial, path)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise failed("written", self.name, error) from error

    def close(self) -> None:
        """Nothing is open between two files."""

    def _next_path(self) -> Path:
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        self._number += 1
        return self._folder / f"results-{stamp}-{os.getpid()}-{self._number:06}.parquet"


def rows(result: Result) -> Iterator[dict[str, Any]]:
    """A row per model; one without a model where there are no answers."""
    common = {
        "source": result.source,
        "number": result.number,
        "time": round(result.time * 1e6),
        "age_ms": result.age_ms,
        "late": result.late,
        "error": result.error,
    }
    if not result.answers:
        yield {**common, "model": None, "objects": []}
    for model, answer in result.answers.items():
        yield {**common, "model": model, "objects": _flat(answer)}


def _flat(answer: Answer) -> list[dict[str, Any]]:
    """The objects with their boxes as columns; tensors and masks have none."""
    if isinstance(answer, Tensors):
        return []
    return [_flat_object(one) for one in objects(answer)]


def _flat_object(one: dict[str, Any]) -> dict[str, Any]:
    box = one.get("box")
    if box is None:
        return one
    return {**one, **dict(zip(_SIDES, box, strict=True))}


def _table(plain: list[dict[str, Any]]) -> Any:
    import pyarrow as pa

    return pa.Table.from_pylist(plain, schema=_schema())


@lru_cache
def _schema() -> Any:
    import pyarrow as pa

    columns = {name: pa.type_for_alias(kind) for name, kind in _OBJECT.items()}
    columns["keypoints"] = pa.list_(pa.list_(pa.float32()))
    of_result = {name: pa.type_for_alias(kind) for name, kind in _RESULT.items()}
    of_result["time"] = pa.timestamp("us", tz="UTC")
    of_result["objects"] = pa.list_(pa.struct(columns.items()))
    return pa.schema(of_result.items())
