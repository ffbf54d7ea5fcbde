"""Commands of every verb, short, in the state in which each can be run; and what they leave."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import psutil

import framepace
from attack.counts import Counts, Finding
from framepace.errors import FramepaceError

_NULL = ("null", "--set", "backend=null", "--set", "option.latency_us=300", "--size", "64x64", "--scope", "pipeline")
_SECONDS = ("--seconds", "0.3")
_SIMULATED = ("builtin:classifier", "--backend", "simulated", "--device", "t4", "--fps", "30")
OUT = "out"
VERBS: Mapping[str, tuple[str, ...]] = {
    "bench": ("bench", *_NULL, *_SECONDS, "--out", OUT),
    "bench, processes": ("bench", *_NULL, *_SECONDS, "--set", "strategy=processes", "--out", OUT),
    "bench, worker processes": (
        "bench", *_NULL, *_SECONDS, "--set", "strategy=worker-processes", "--set", "workers=2", "--out", OUT,
    ),
    "sweep": ("sweep", *_NULL, *_SECONDS, "--vary", "workers=1,2,3", "--out", OUT),
    "sweep, processes": ("sweep", *_NULL, *_SECONDS, "--vary", "strategy=serial,processes", "--out", OUT),
    "explain": ("explain", *_SIMULATED, "--time-limit", "3", "--out", OUT),
    "tune": ("tune", *_SIMULATED, "--vary", "workers=1", "--time-limit", "3", "--out", OUT),
    "capacity": ("capacity", *_SIMULATED, "--max", "2", "--time-limit", "2", "--out", OUT),
    "compare": ("compare", "bench", "bench"),
    "report": ("report", "bench", "--out", "report.html"),
    "plan": ("plan", "show", "plan.yaml"),
    "doctor": ("doctor",),
    "settings": ("settings",),
}  # fmt: skip
MARK = "FRAMEPACE_ATTACK"
"""The environment variable that tells the processes of a command from all others."""
GONE_S = 10.0
_STAYS_S = 2.0


def prepared(folder: Path, corpus: Path) -> Path:
    """A new folder with what commands read."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in ("bench", "plan.yaml", "model.onnx", "video.mp4"):
        (folder / name).symlink_to(corpus / name)
    return folder


def marked(mark: str) -> Iterator[psutil.Process]:
    """Processes that run with this mark in their environment; the dead that nobody collected do not count."""
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                yield process


def leftovers(mark: str, patience_s: float = GONE_S) -> list[str]:
    """What still runs so long after the end of a command; it is ended."""
    end = time.monotonic() + patience_s
    while (processes := list(marked(mark))) and time.monotonic() < end:
        time.sleep(0.05)
    lines = []
    for process in processes:
        with suppress(psutil.Error):
            lines.append(" ".join(process.cmdline())[:200])
            process.kill()
    return lines


def shared_memory() -> set[str]:
    """The names in /dev/shm."""
    with suppress(OSError):
        return set(os.listdir("/dev/shm"))
    return set()


def kept_memory(before: set[str]) -> list[str]:
    """What has come to /dev/shm, stays, and is used by nobody any more."""
    fresh = shared_memory() - before
    end = time.monotonic() + _STAYS_S
    while fresh and time.monotonic() < end:  # other programs come and go there, too
        time.sleep(0.1)
        fresh &= shared_memory()
    if not fresh:
        return []
    used = "".join(_mapped())
    return [name for name in fresh if f"/dev/shm/{name}" not in used]


def _mapped() -> Iterator[str]:
    for maps in Path("/proc").glob("[0-9]*/maps"):
        with suppress(OSError):
            yield maps.read_text()


def lost(folder: Path) -> list[str]:
    """Finished results in `folder` that cannot be read: traces, and cells that a sweep's table names."""
    sentences = []
    for meta in folder.rglob("meta.json"):
        if meta.parent.is_symlink():
            continue
        try:
            framepace.load_trace(meta.parent)
        except FramepaceError as error:
            if _began(meta.parent):
                sentences.append(f"{meta.parent.name}: {error}")
    return sentences + _lost_cells(folder / OUT / "sweep.json")


def _began(trace: Path) -> bool:
    """Whether the run had come so far that its files were open."""
    return all(any((trace / f"{name}.{kind}").exists() for kind in ("parquet", "journal")) for name in _TABLES)


_TABLES = ("requests", "telemetry")


def _lost_cells(path: Path) -> list[str]:
    """Cells in a sweep's table whose trace is not there."""
    import msgspec

    from framepace.facts.sweep import Sweep

    if not path.exists():
        return []
    try:
        table = msgspec.json.decode(path.read_bytes(), type=Sweep)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return [f"sweep.json: {error}"]
    folder = path.parent.parent
    return [str(cell.trace) for cell in table.cells if cell.trace and not (folder / cell.trace / "meta.json").exists()]


def check_text(counts: Counts, kind: str, text: str, code: int, shown: str) -> None:
    """Count tracebacks and ends by signal in what a command said."""
    if "Traceback" in text or "this is a bug in framepace" in text:
        line = next(line for line in reversed(text.splitlines()) if line.strip())
        cause = next((line for line in text.splitlines() if "got:" in line), line)
        counts.findings.append(Finding("traceback", kind, cause.strip()[:160], shown))
    elif code < 0:
        counts.findings.append(Finding("signal", kind, f"ended by signal {-code}", shown))
