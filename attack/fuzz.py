"""Damaged inputs for everything that framepace reads, tried in processes that may crash or hang."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path

import psutil

from attack import corpus
from attack.counts import WHOLE, Counts, Fault, Finding, Part
from attack.fuzzworker import AT_BYTES, COMMAND_LINE, keep
from attack.mutations import CANARY
from attack.readers import READERS

COMMAND_LINES = 3000
CHUNK = 1000  # inputs of one process
COMPUTES_S = 10.0  # of CPU time that one input may take
WAITS_S = 30.0  # and of time: longer than any deadline, on a machine that does much else
_LOOK_S = 0.1
_ROOT = Path(__file__).parent.parent
Tell = Callable[[str], None]


def plan(share: float, only: str | None = None) -> dict[str, int]:
    """How many inputs of each kind are tried; `share` of a full run's."""
    full = {name: count for name, (_, count) in READERS.items()} | {COMMAND_LINE: COMMAND_LINES}
    return {kind: max(1, round(count * share)) for kind, count in full.items() if only in (None, kind)}


def attack(
    seed: int,
    folder: Path,
    counts: Counts,
    tell: Tell,
    share: float = 1.0,
    only: str | None = None,
    part: Part = WHOLE,
) -> None:
    """Try every kind; what happened is added to `counts` as it comes."""
    place = corpus.make(folder / "corpus", seed)
    for kind, chunks in groupby(part.take(_chunks(share, only)), key=lambda chunk: chunk[0]):
        began = time.monotonic()
        before = len(counts.findings)
        for _, first, last in chunks:
            try_inputs(seed, kind, first, last, place, folder, counts)
        found = len(counts.findings) - before
        tell(f"fuzz {kind}: {counts.tried[kind]:,} inputs, {found} findings, {time.monotonic() - began:.0f} s")


def _chunks(share: float, only: str | None) -> list[tuple[str, int, int]]:
    """The inputs of one process each: their kind, the first, and the one after the last."""
    return [
        (kind, first, min(first + CHUNK, count))
        for kind, count in plan(share, only).items()
        for first in range(0, count, CHUNK)
    ]


def try_inputs(seed: int, kind: str, first: int, last: int, place: Path, folder: Path, counts: Counts) -> None:
    """Try inputs `first` to `last` - 1, in a new process after each one that ended or had to be ended."""
    while first < last:
        with (folder / "stderr").open("wb") as errors:
            arguments = [seed, kind, first, last, place, folder]
            command = [sys.executable, "-m", "attack.fuzzworker", *map(str, arguments)]
            worker = subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.DEVNULL, stderr=errors)
            try:
                fault = _watch(worker, folder)
            finally:
                worker.kill()
                worker.wait()
        at = max(first, _at(folder))
        counts.tried[kind] += at - first
        counts.findings += _findings(folder, kind)
        if fault is not None:
            counts.tried[kind] += 1
            kept = keep(folder, kind, at, seed)
            (kept / "stderr").write_bytes((folder / "stderr").read_bytes()[-20_000:])
            counts.findings.append(Finding(*fault[:1], kind, fault[1], str(kept)))
            at += 1
        if CANARY.encode() in (folder / "stderr").read_bytes():
            counts.findings.append(Finding("secret", kind, "standard error", str(folder / "stderr")))
        first = at


def _watch(worker: subprocess.Popen[bytes], folder: Path) -> tuple[Fault, str] | None:
    """Wait for the worker; what ended it before its last input, if something did."""
    at = -1
    since = (0.0, 0.0)
    while worker.poll() is None:
        now = (time.monotonic(), _cpu(worker.pid))
        if _at(folder) != at:
            at = _at(folder)
            since = now
        if now[1] - since[1] > COMPUTES_S or now[0] - since[0] > WAITS_S:
            worker.send_signal(signal.SIGABRT)  # its stacks go to standard error
            time.sleep(0.5)
            return "alive", "an input that does not end"
        time.sleep(_LOOK_S)
    if worker.returncode < 0:
        return "signal", signal.Signals(-worker.returncode).name
    if worker.returncode > 0:
        return "traceback", f"the process ended with {worker.returncode}"
    return None


def _cpu(pid: int) -> float:
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


def _at(folder: Path) -> int:
    """The input that the worker is at."""
    path = folder / "at"
    if not path.exists():
        return 0
    return int(path.read_bytes()[:AT_BYTES] or 0)


def _findings(folder: Path, kind: str) -> Iterator[Finding]:
    path = folder / "findings"
    if not path.exists():
        return
    for line in path.read_text().splitlines():
        fault, where, kept = json.loads(line)
        yield Finding(fault, kind, where, kept)
    path.unlink()
