"""One CUDA graph per request: framepace's own cost, frames per second, answers, device times, and faults.

    python bench/gpu_graph.py --backends torch onnxruntime --networks FOLDER
    python bench/gpu_graph.py --backends tensorrt            # with the Python that has TensorRT
    python bench/gpu_graph.py --dry                          # without a GPU: the same rows from the null backend

Rows are printed as they come (`--out FILE` keeps them as JSON lines). Each part runs in a process of its own with a
limit on its time, so that one that hangs or aborts costs its own rows only. FOLDER holds files of
bench/network_exports.py. All timings are of pairs in turn: framepace's engine, the hand-written loop of
gpu_graph_bare.py, and framepace with its copies apart.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue
from threading import Timer
from typing import Any

Row = dict[str, Any]
_ROOT = Path(__file__).resolve().parent.parent
_LIMITS = {
    "answers": 100.0,
    "cost": 75.0,
    "steps": 60.0,
    "rate": 220.0,
    "poison": 100.0,
    "twice": 75.0,
}  # seconds of a part
_FAULTS = ("poison", "twice")  # those that no time depends on, and of one library unless asked for
_TOGETHER = 4  # processes at once, for them
_REPETITIONS = 20


def main() -> None:
    """Run the parts of each backend, and print what they find."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backends", nargs="+", default=["torch", "onnxruntime"])
    parser.add_argument("--parts", nargs="+", choices=_LIMITS, help="all; faults for ONNX Runtime only, by default")
    parser.add_argument("--networks", type=Path, help="folder of exported networks, for the part 'twice'")
    parser.add_argument("--seconds", type=float, default=0.6, help="length of a measurement")
    parser.add_argument("--rounds", type=int, default=2, help="of each comparison")
    parser.add_argument("--repetitions", type=int, default=_REPETITIONS, help="of the sweep with a poisonous cell")
    parser.add_argument("--limit", type=float, default=235.0, help="seconds after which no further part is begun")
    parser.add_argument("--dry", action="store_true", help="without a GPU: the null backend")
    parser.add_argument("--out", type=Path, help="file for the rows, as JSON lines")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.dry:
        args.backends = ["null"]
    if args.part is not None:
        _be_a_part(args)
        return
    _run_all(args)


def _be_a_part(args: argparse.Namespace) -> None:
    """Print the rows of one part of one backend, and end without the clean-up of libraries."""
    import gpu_graph_parts
    import gpu_graph_steps

    parts = {**gpu_graph_parts.PARTS, "steps": gpu_graph_steps.steps}
    for row in parts[args.part](args.backends[0], args):
        print(json.dumps(row, default=float), flush=True)
    os._exit(0)


def _run_all(args: argparse.Namespace) -> None:
    began = time.monotonic()
    missed = 0
    for backend in args.backends:
        for part in _parts(backend, args):
            if time.monotonic() - began > args.limit:
                _show(args, {"backend": backend, "what": part, "got": "not begun: no time left"})
                continue
            for row in _rows(part, backend, args):
                missed += row.get("met") is False
                _show(args, row)
            print(f"# {backend} {part}: {time.monotonic() - began:.0f} s so far", file=sys.stderr, flush=True)
    print(f"{missed} missed")


def _parts(backend: str, args: argparse.Namespace) -> Sequence[str]:
    if args.parts is not None:
        return list(args.parts)
    return [part for part in _LIMITS if part not in _FAULTS or backend in ("onnxruntime", "null")]


def _rows(part: str, backend: str, args: argparse.Namespace) -> Iterator[Row]:
    """The rows of a part, from as many processes as it takes, as they come."""
    commands = _commands(part, args)
    rows: Queue[Row | None] = Queue()
    with ThreadPoolExecutor(_TOGETHER) as pool:
        for command in commands:
            pool.submit(_told, part, backend, command, args, rows)
        for _ in commands:
            while (row := rows.get()) is not None:
                yield row


def _commands(part: str, args: argparse.Namespace) -> list[Sequence[str]]:
    """What each process of a part is told beside."""
    if part == "poison":
        return [("--repetitions", str(-(-args.repetitions // _TOGETHER)))] * _TOGETHER
    if part == "twice":
        import gpu_graph_parts

        return [("--repetitions", str(number)) for number in range(len(gpu_graph_parts.TWICE))]
    return [()]


def _told(part: str, backend: str, more: Sequence[str], args: argparse.Namespace, rows: Queue[Row | None]) -> None:
    """Pass on what a process that runs a part tells, and how it ended if that was not well; None at the end."""
    command = [sys.executable, __file__, "--part", part, "--backends", backend]
    command += ["--seconds", str(args.seconds), "--rounds", str(args.rounds), *more]
    if args.networks is not None:
        command += ["--networks", str(args.networks.resolve())]
    path = os.pathsep.join([str(_ROOT / "src"), str(_ROOT / "bench"), os.environ.get("PYTHONPATH", "")])
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            command, cwd=_ROOT, env={**os.environ, "PYTHONPATH": path}, text=True, stdout=subprocess.PIPE, stderr=said
        )
        limit = Timer(_LIMITS[part], process.kill)
        limit.start()
        for line in process.stdout or ():
            if line.startswith("{"):
                rows.put(json.loads(line))
        if process.wait() != 0:
            said.seek(0)
            words = " ".join(said.read().split())[-400:]
            got = f"ended with code {process.returncode} (limit {_LIMITS[part]:.0f} s): {words}"
            rows.put({"backend": backend, "what": part, "got": got, "met": False})
        limit.cancel()
    rows.put(None)


def _show(args: argparse.Namespace, row: Row) -> None:
    mark = {None: "", True: "met", False: "MISSED"}[row.get("met")]
    goal = f" (goal {row['goal']})" if "goal" in row else ""
    print(f"{row.get('backend', ''):<12} {row['what']}: {row['got']}{goal} {mark}".rstrip(), flush=True)
    for note in row.get("notes", ()):
        print(f"{'':<12}   {note}", flush=True)
    if args.out is not None:
        with args.out.open("a") as file:
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
