"""Valid logs of other programs, small, in every format that is read."""

from __future__ import annotations

import gzip
import json
from io import BytesIO

_ROWS = 60
_HEAD = "timestamp,latency_ms,infer_ms,post_ms,clock_mhz,temp,batch,camera,dropped"


def logs() -> tuple[tuple[str, bytes], ...]:
    """File names and contents."""
    return (
        ("log.csv", _csv().encode()),
        ("log.csv.gz", gzip.compress(_csv().encode())),
        ("log.tsv", _csv().replace(",", "\t").encode()),
        ("european.csv", _csv().replace(",", ";").replace(".", ",").encode()),
        ("dates.csv", _dates().encode()),
        ("log.jsonl", _lines().encode()),
        ("times.json", json.dumps([_trtexec(number) for number in range(_ROWS)]).encode()),
        ("profile.json", json.dumps([_span(number) for number in range(_ROWS)]).encode()),
        ("service.log", _pairs().encode()),
        ("log.parquet", _parquet()),
    )


def _latency(number: int) -> float:
    return 9.0 + 0.1 * (number % 7) + 20 * (number % 20 == 3)


def _csv() -> str:
    rows = (
        f"{1.7e9 + number / 30:.4f},{_latency(number):.2f},7.5,{_latency(number) - 8:.2f},{1590 - number},"
        f"{40 + number / 10},{1 + number % 2},{number % 2},{int(number == 9)}"
        for number in range(_ROWS)
    )
    return "\n".join([_HEAD, *rows])


def _dates() -> str:
    rows = (
        f"2026-03-04T05:06:{number // 30:02}.{number % 30 * 33:03}Z,{_latency(number):.2f} ms"
        for number in range(_ROWS)
    )
    return "\n".join(["datetime,e2e", *rows])


def _lines() -> str:
    rows = (
        {"t": number / 30, "latency": _latency(number) / 1e3, "stages": {"infer": 0.0075}} for number in range(_ROWS)
    )
    return "\n".join(map(json.dumps, rows))


def _trtexec(number: int) -> dict[str, float]:
    begin = number * 33.0
    end = begin + _latency(number)
    return {"startComputeMs": begin, "endComputeMs": end, "computeMs": end - begin, "latencyMs": end - begin + 0.2}


def _span(number: int) -> dict[str, object]:
    return {"name": "model_run", "ph": "X", "ts": number * 33_000, "dur": int(_latency(number) * 1e3), "args": {}}


def _pairs() -> str:
    return "\n".join(f"INFO frame={number} latency={_latency(number):.1f}ms" for number in range(_ROWS))


def _parquet() -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = BytesIO()
    columns = {"time_s": [number / 30 for number in range(_ROWS)], "latency_ms": [_latency(n) for n in range(_ROWS)]}
    pq.write_table(pa.table(columns), file)
    return file.getvalue()
