"""Everything that only a GPU can show: contract, calibration, independent instruments, overhead, and the tables.

Run it with the Python that has the library: parts that need another one are skipped with the reason. `--only` names
parts. Figures are printed as tables; `--out FOLDER` keeps them as JSON and as Markdown.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gpu_checks
import gpu_tables

from framepace.devices import cuda
from framepace.recording.machine import probe
from framepace.reporting.views.machine import machine_line

Row = dict[str, Any]
PARTS: dict[str, Callable[[gpu_tables.Bench], list[Row]]] = {
    "contract": gpu_checks.contract,
    "calibration": gpu_checks.calibration,
    "instrument": gpu_checks.instrument,
    "overhead": gpu_checks.overhead,
    "faults": gpu_checks.faults,
    "delays": gpu_tables.delays,
    "precision-small": gpu_tables.precision_small,
    "precision-large": gpu_tables.precision_large,
    "streams": gpu_tables.streams,
    "batches": gpu_tables.batches,
    "transfers": gpu_tables.transfers,
    "compiled": gpu_tables.compiled,
    "partition": gpu_tables.partition,
}


def main() -> None:
    """Run the parts and print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--backends", nargs="+", default=["onnxruntime", "torch", "tensorrt"])
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a measurement")
    parser.add_argument("--limit", type=float, default=540.0, help="seconds after which no further part is begun")
    parser.add_argument("--out", type=Path, help="folder for JSON and Markdown")
    parser.add_argument("--name", default="gpu", help="name of the files in --out")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    args = parser.parse_args()
    bench = gpu_tables.Bench(gpu_tables.usable(args.backends), args.seconds)
    began, done = time.monotonic(), dict[str, Any]()
    for part in args.only:
        if time.monotonic() - began > args.limit:
            done[part] = [{"what": "not begun: no time left"}]
            continue
        began_part = time.monotonic()
        done[part] = _rows(PARTS[part], bench)
        print(f"# {part}: {time.monotonic() - began_part:.1f} s", file=sys.stderr, flush=True)
        _save(args, bench, done)
    if args.json:
        json.dump(_document(args, bench, done), sys.stdout, indent=1)
    else:
        print(_text(bench, done))


def _rows(part: Callable[[gpu_tables.Bench], list[Row]], bench: gpu_tables.Bench) -> list[Row]:
    try:
        return part(bench)
    except Exception as error:  # one part that fails must not take the others with it
        traceback.print_exc()
        return [{"what": "failed", "error": f"{type(error).__name__}: {error}"[:300]}]


def _document(args: argparse.Namespace, bench: gpu_tables.Bench, done: dict[str, Any]) -> dict[str, Any]:
    machine = probe()
    command = " ".join(["python", "bench/gpu.py", *sys.argv[1:]])
    return {
        "bench": "gpu",
        "date": time.strftime("%Y-%m-%d"),
        "command": command,
        "device": cuda.identity(None),
        "machine": machine_line(machine),
        "libraries": machine.libraries | bench.versions,
        "parts": done,
    }


def _save(args: argparse.Namespace, bench: gpu_tables.Bench, done: dict[str, Any]) -> None:
    if args.out is None:
        return
    args.out.mkdir(parents=True, exist_ok=True)
    document = _document(args, bench, done)
    (args.out / f"{args.name}.json").write_text(json.dumps(document, indent=1) + "\n")
    (args.out / f"{args.name}.md").write_text(_text(bench, done))


def _text(bench: gpu_tables.Bench, done: dict[str, Any]) -> str:
    parts = [f"{machine_line(probe())}; {', '.join(f'{k} {v}' for k, v in bench.versions.items())}\n"]
    for part, rows in done.items():
        parts.append(f"## {part}\n\n{table(rows)}\n")
    return "\n".join(parts)


def table(rows: Sequence[Row]) -> str:
    """Rows as a Markdown table; columns in order of their first appearance."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [names, ["---"] * len(names), *([_cell(row.get(name)) for name in names] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "NO"
    return f"{value:,.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
