"""FP16 and INT8 on a GPU against FP32 on the same frames: how far off, how fast, with and without mending.

    python bench/accuracy_gpu.py --networks FOLDER --video FILE [--backends onnxruntime tensorrt] [--json] [--out FILE]

One row per network, library and precision. Agreement is that of the device's own outputs; what a precision breaks is
found by emulation (`mend`) and held against FP32 on the device again. Latencies of all ways are taken in turn. With
`--device cpu` it is a dry run, in INT8 only.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from common import show
from gpu_tables import TENSORRT_OPTIONS, Row, usable

from framepace import api
from framepace.backends.base import get_backend
from framepace.cases import make_case
from framepace.errors import FramepaceError
from framepace.facts.mending import Mended, Price
from framepace.pricing import prices
from framepace.progress import silent

# Of networks that leave them open: what their packages use.
_SIZES = {"classifier": "192x48", "recogniser": "320x48", "detector": "640x480", "320n": "320x320"}


def main() -> None:
    """Check, mend, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=Path, required=True, help="folder of ONNX files")
    parser.add_argument("--video", required=True, help="whose frames are used, also to calibrate INT8")
    parser.add_argument("--backends", nargs="+", default=["onnxruntime", "tensorrt"])
    parser.add_argument("--precisions", nargs="+", default=["fp16", "int8"])
    parser.add_argument("--frames", type=int, default=32)
    parser.add_argument("--level", help="TensorRT's builder optimisation level (3)")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="file for one JSON line per row, written as it comes")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    rows = list(_rows(args))
    show("accuracy on a GPU", args, [{"what": _what(row), "got": _got(row)} for row in rows], cells=rows)


def _rows(args: argparse.Namespace) -> Iterator[Row]:
    for path in sorted(args.networks.glob("*.onnx")):
        for backend in usable(args.backends):
            for precision in args.precisions:
                yield _kept(_row(path, backend, precision, args), args.out)


def _kept(row: Row, out: Path | None) -> Row:
    print(f"{_what(row)}: {_got(row)}", flush=True)
    if out is not None:
        with out.open("a") as file:
            file.write(json.dumps(row) + "\n")
    return row


def _row(path: Path, backend: str, precision: str, args: argparse.Namespace) -> Row:
    """What came of a precision, or why nothing did."""
    began = time.monotonic()
    row: Row = {"network": path.stem, "backend": backend, "precision": precision}
    try:
        row |= _measured(str(path), precision, args, _settings(path, backend, precision, args))
    except FramepaceError as error:
        row["refused"] = " / ".join(str(error).splitlines())
    return {**row, "seconds": round(time.monotonic() - began, 1)}


def _settings(path: Path, backend: str, precision: str, args: argparse.Namespace) -> dict[str, Any]:
    settings: dict[str, Any] = {"backend": backend, "device": args.device}
    if path.stem in _SIZES:
        settings["size"] = _SIZES[path.stem]
    if precision == "int8":
        settings["calibration"] = args.video
    if backend == "tensorrt" and get_backend(backend).versions()["tensorrt"] < "9":
        settings |= {f"option.{name}": value for name, value in TENSORRT_OPTIONS.items()}
    if backend == "tensorrt" and args.level is not None:
        settings["option.level"] = args.level
    return settings


def _measured(path: str, precision: str, args: argparse.Namespace, settings: Mapping[str, Any]) -> Row:
    """The agreement of the plain precision, and of the mended one where the plain one does not pass."""
    check = partial(api.accuracy, path, frames=args.frames, videos=(args.video,), settings=settings)
    plain = check(versus={"precision": precision}).agreement
    row: Row = {"error": _error(plain), "passed": plain.passed, "why": list(plain.why)}
    case = make_case(path, videos=(args.video,), settings=settings)
    if plain.passed:
        low = make_case(path, videos=(args.video,), settings={**settings, "precision": precision}).plan.models[0]
        return {**row, "ms": _times(prices(case, low, (), silent))}
    mended: Mended = api.mend(case, precision=precision, frames=args.frames)
    row |= {"kept": [node.name for node in mended.kept], "nodes": mended.nodes, "holds": mended.holds}
    row["ms"] = _times(mended.prices or prices(case, mended.model, (), silent))
    if mended.kept:
        again = check(versus={"precision": precision, "fp32-nodes": list(row["kept"])}).agreement
        row |= {"mended error": _error(again), "mended passed": again.passed, "mended why": list(again.why)}
    return row


def _times(priced: tuple[Price, ...]) -> dict[str, float]:
    return {price.name: round(price.p50_ms, 4) for price in priced}


def _error(agreement: Any) -> float | None:
    """The largest relative L2 error over the outputs."""
    return max((output.relative_l2 for output in agreement.outputs if output.relative_l2 is not None), default=None)


def _what(row: Row) -> str:
    return f"{row['network']}, {row['backend']}, {row['precision']}"


def _got(row: Row) -> str:
    if "refused" in row:
        return f"refused: {row['refused']}"
    parts = [f"error {row['error']:.2g}" if row["error"] is not None else "no error to tell"]
    parts.append("passed" if row["passed"] else "FAILED")
    if "kept" in row:
        parts.append(f"{len(row['kept'])} of {row['nodes']} nodes in FP32")
    if "mended error" in row:
        verdict = "passed" if row["mended passed"] else "FAILED"
        parts.append(f"then error {row['mended error']:.2g} {verdict}")
    parts += [f"{name} {value:.3g} ms" for name, value in row["ms"].items()]
    return ", ".join(parts)


if __name__ == "__main__":
    main()
