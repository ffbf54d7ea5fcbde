"""Strategies for several models a frame, paired: every round measures each of them once, in an order of its own.

Three OCR networks (or three built-in ones, where the development data is not there) on decoded video, back to back;
then the same with 2 ms of pure Python for each model and frame, which threads of one interpreter cannot share.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common import options, show
from contest import middle, rounds, rows

from framepace.analyze.strategies import reasons
from framepace.api import make_case
from framepace.facts.settings import Case, apply
from framepace.facts.workload import Stop

DATA = Path(__file__).resolve().parent.parent / ".data"
OCR = {"detector": "320x192", "classifier": "192x48", "recogniser": "320x48"}
BUILTIN = ("detector", "classifier", "manykernels")
BASE = "serial"
PLAIN = (BASE, "workers", "threads", "processes", "asyncio", "asyncio-threads", "worker-processes")
PYTHON = (BASE, "threads", "processes")
_PYTHON_NS = 2_000_000


def python_work(picture: Any) -> Any:
    """A preparation hook of pure Python: 2 ms of this thread's CPU time with the interpreter lock held."""
    until = time.thread_time_ns() + _PYTHON_NS
    while time.thread_time_ns() < until:
        sum(range(200))
    return picture


def case(seconds: float, threads: int) -> Case:
    """Three models a frame, back to back, whole stream."""
    files = [DATA / f"{name}.onnx" for name in OCR]
    settings: dict[str, Any] = {"threads": threads, "spinning": False}
    videos = [str(DATA / "bikes.mp4")]
    if all(path.exists() for path in (*files, Path(videos[0]))):
        sizes = {f"{name}.size": size for name, size in OCR.items()}
        return make_case([str(f) for f in files], videos=videos, fps=None, stop=Stop(seconds=seconds),
                         settings=settings | sizes)  # fmt: skip
    print("no OCR models (run: make data); built-in ones on synthetic video instead", file=sys.stderr)
    names = [f"builtin:{name}" for name in BUILTIN]
    return make_case(names, fps=None, stop=Stop(seconds=seconds), settings=settings)


def main() -> None:
    """Measure and print."""
    args = options(__doc__ or "", seconds=3, rounds=4, threads=1)
    given = case(args.seconds, args.threads)
    hooked = apply(given, {"prepare-hook": "strategies:python_work"})
    plain = rounds(_strategies(given, PLAIN), args.rounds, args.seed)
    python = rounds(_strategies(hooked, PYTHON), args.rounds, args.seed)
    told = rows(plain, "plain", BASE) + rows(python, "2 ms of Python a model", BASE)
    why = {"plain": reasons(middle(plain)), "python": reasons(middle(python))}
    show("strategies", args, told, why=why, threads=args.threads, models=[m.model for m in given.plan.models])
    if not args.json:
        for part, texts in why.items():
            print("\n".join(f"  {part}: {name}: {text}" for name, text in texts.items()))


def _strategies(given: Case, names: Sequence[str]) -> dict[str, Case]:
    return {name: apply(given, {"strategy": name}) for name in names}


if __name__ == "__main__":
    main()
