"""Valid logs of other programs, small, in every format that is read."""

from __future__ import annotations

import gzip
import json
from io import BytesIO

_ROWS = 60
_ANALYZER = "Model,Concurrency,Model Config Path,Throughput (infer/sec),p99 Latency (ms)"
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


def tables() -> tuple[tuple[str, bytes], ...]:
    """Tables of loads: perf_analyzer's CSV, console and requests, and Model Analyzer's CSV."""
    parts = "Inferences/Second,Client Send,Network+Server Send/Recv,Server Queue,Server Compute,Client Recv"
    rows = [f"{load},{70 + load},2,20,{9 * load},110,1,{140 * load},{210 * load}" for load in range(1, 9)]
    analyzer = [f"m,{load},m_{load % 2},{70 + load},{1.5 * load}" for load in range(1, 9)]
    section = "Request concurrency: {0}\n Throughput: 7{0} infer/sec\n Avg latency: {0}00 usec (standard 1)\n"
    requests = [{"timestamp": at, "response_timestamps": [at + 5000]} for at in range(0, 90_000, 3000)]
    experiment = {"experiment": {"mode": "concurrency", "value": 2}, "requests": requests}
    return (
        ("perf.csv", "\n".join([f"Concurrency,{parts},p50 latency,p99 latency", *rows, ""]).encode()),
        ("models.csv", "\n".join([_ANALYZER, *analyzer, "", "Model,GPU ID", "m,0", ""]).encode()),
        ("console.txt", "".join(section.format(load) for load in range(1, 6)).encode()),
        ("requests.json", json.dumps({"experiments": [experiment]}).encode()),
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
