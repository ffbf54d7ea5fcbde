"""Outliers of known kinds: each is injected into known frames of a run, and each slow frame must say what it was.

A finish hook collects garbage, touches fresh memory, sleeps, writes to the disk, waits for a lock, computes, or starts
neighbours in every 25th frame. Counted are the frames that came out slow, those whose receipt names the right stage,
those that name a right cause, and those of which nothing was seen (goal: at most 1 in 10). Real time: on a busy machine
the machine itself makes outliers, which are not counted.
"""

from __future__ import annotations

import argparse
import atexit
import gc
import mmap
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from common import show
from rich.console import Console
from rich.table import Table

import framepace
from framepace.analyze.late import receipts
from framepace.facts.trace import Outcome

EVERY = 25
FIRST = 7
RATE = 50.0
USUAL_US = 2000
BUDGET_NS = 8_000_000
_STALL_S = 0.02
_FRESH_BYTES = 24 << 20
_WRITTEN = bytes(8 << 20)
_LOCK = threading.Lock()
_LIVE: list[list[int]] = []
_SPIN = "while True: pass"
_NEIGHBOURS: list[subprocess.Popen[bytes]] = []


def _is_struck(frame: int) -> bool:
    return frame % EVERY == FIRST


def collection(model: str, outputs: Any, frame: int) -> None:
    """A full collection over many live objects."""
    if not _LIVE:
        _LIVE.extend([number] for number in range(400_000))
    if _is_struck(frame):
        gc.collect()


def page_faults(model: str, outputs: Any, frame: int) -> None:
    """Fresh memory, touched page by page."""
    if _is_struck(frame):
        with mmap.mmap(-1, _FRESH_BYTES) as memory:
            memory.madvise(mmap.MADV_NOHUGEPAGE)
            np.frombuffer(memory, np.uint8)[:: mmap.PAGESIZE] = 1


def sleep(model: str, outputs: Any, frame: int) -> None:
    """A wait for time to pass."""
    if _is_struck(frame):
        time.sleep(_STALL_S)


def write(model: str, outputs: Any, frame: int) -> None:
    """A file that is written through to the disk."""
    if _is_struck(frame):
        with tempfile.TemporaryFile(dir=os.environ.get("OUTLIERS_DISK")) as file:
            file.write(_WRITTEN)
            file.flush()
            os.fsync(file.fileno())


def lock(model: str, outputs: Any, frame: int) -> None:
    """A lock that another thread holds."""
    if not _is_struck(frame):
        return
    holds = threading.Event()
    holder = threading.Thread(target=_hold, args=(holds,))
    holder.start()
    holds.wait()
    with _LOCK:
        holder.join()


def _hold(holds: threading.Event) -> None:
    with _LOCK:
        holds.set()
        time.sleep(_STALL_S)


def computing(model: str, outputs: Any, frame: int) -> None:
    """Work that depends on the frame."""
    if _is_struck(frame):
        end = time.thread_time() + _STALL_S
        while time.thread_time() < end:
            pass


def neighbours(model: str, outputs: Any, frame: int) -> None:
    """Processes that take all cores for a while, as the frame computes."""
    if not _NEIGHBOURS:
        _NEIGHBOURS.extend(_stopped_neighbour() for _ in range(4 * (os.cpu_count() or 1)))
    if _is_struck(frame):
        _signal(signal.SIGCONT)
        end = time.thread_time() + _STALL_S / 5
        while time.thread_time() < end:
            pass
        _signal(signal.SIGSTOP)


def _stopped_neighbour() -> subprocess.Popen[bytes]:
    neighbour = subprocess.Popen([sys.executable, "-S", "-E", "-c", _SPIN])
    atexit.register(neighbour.kill)
    neighbour.send_signal(signal.SIGSTOP)
    return neighbour


def _signal(number: int) -> None:
    for neighbour in _NEIGHBOURS:
        neighbour.send_signal(number)


class Kind(NamedTuple):
    """What is injected, and the causes that are right for it."""

    hook: Callable[[str, Any, int], None]
    right: tuple[str, ...]


KINDS = {
    "collection": Kind(collection, ("gc",)),
    "page faults": Kind(page_faults, ("page faults",)),
    "sleep": Kind(sleep, ("blocked",)),
    "write": Kind(write, ("disk", "blocked", "computing")),
    "lock": Kind(lock, ("blocked",)),
    "computing": Kind(computing, ("computing",)),
    "neighbours": Kind(neighbours, ("neighbours", "preempted")),
}


def main() -> None:
    """Inject each kind, count, print."""
    args = _options()
    sys.path.insert(0, str(Path(__file__).parent))
    rows = [counted(name, args.seconds) for name in args.only]
    if args.json:
        show("outliers", args, rows)
        return
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*map(str, row.values()))
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--seconds", type=float, default=8.0, help="of frames in each run; a busy machine takes longer")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.set_defaults(seed=0)  # nothing here is by chance
    return parser.parse_args()


def counted(name: str, seconds: float) -> dict[str, Any]:
    """A run with one kind of outlier, and what its receipts say of the frames that were struck."""
    kind = KINDS[name]
    trace = framepace.bench(
        "null",
        fps=RATE,
        p99_ms=BUDGET_NS / 1e6,
        scope="pipeline",
        stop=framepace.Stop(count=round(RATE * seconds)),
        settings={"backend": "null", "option.latency_us": USUAL_US, "finish": f"outliers:{kind.hook.__name__}"},
    )
    late = (receipt for receipt in receipts(trace, BUDGET_NS) if receipt.late)  # lost ones came to no hook
    struck = [receipt for receipt in late if _is_struck(receipt.frame)]
    causes = Counter(receipt.cause or "nothing seen" for receipt in struck)
    rows = trace.measured().requests
    injected = sum(_is_struck(int(frame)) for frame in rows["frame"][rows["outcome"] == Outcome.OK])
    return {
        "what": name,
        "injected": injected,
        "slow": len(struck),
        "stage right": sum(receipt.stage == "finish" for receipt in struck),
        "cause right": sum(causes[cause] for cause in kind.right),
        "nothing seen": causes["nothing seen"],
        "got": f"{causes['nothing seen']} of {len(struck)}",
        "goal": "at most 1 in 10",
        "met": 10 * causes["nothing seen"] <= len(struck),
        "causes": ", ".join(f"{cause} {count}" for cause, count in causes.most_common()),
    }


if __name__ == "__main__":
    main()
