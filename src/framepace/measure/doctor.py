"""What this machine can do, and what is set wrong on it: probing in `look`, judging in `judge`."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from framepace.exec.backend import backend_names
from framepace.facts.check import Check
from framepace.facts.machine import Machine
from framepace.units import format_bytes, format_ms

_SLEEP_NS = 2_000_000
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "MKL_NUM_THREADS", "KMP_BLOCKTIME", "MALLOC_ARENA_MAX")


@dataclass(frozen=True)
class Looks:
    """What was seen of the machine beyond its description. Times in ns."""

    oversleep_p50: float = 0.0
    oversleep_p99: float = 0.0
    clock_read: float = 0.0
    load: float = 0.0
    steal_share: float = 0.0
    memory_free: int = 1 << 40
    swap_used: int = 0
    memlock: int | None = None
    disk_free: int = 1 << 40
    variables: dict[str, str] = field(default_factory=dict)
    gil: bool = True
    backends: tuple[str, ...] = ()


def checks(machine: Machine) -> list[Check]:
    """All checks of this machine; takes about a third of a second."""
    return list(judge(machine, look()))


def look() -> Looks:
    """Look at the machine: a hundred short sleeps, memory, limits and the environment."""
    import psutil

    sleeps = sorted(_oversleep() for _ in range(100))
    return Looks(
        oversleep_p50=sleeps[50],
        oversleep_p99=sleeps[99],
        clock_read=_clock_read(),
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0,
        steal_share=_steal(),
        memory_free=psutil.virtual_memory().available,
        swap_used=psutil.swap_memory().used,
        memlock=_memlock(),
        disk_free=shutil.disk_usage(Path.cwd()).free,
        variables={name: os.environ[name] for name in _THREAD_VARIABLES if name in os.environ},
        gil=getattr(sys, "_is_gil_enabled", lambda: True)(),
        backends=tuple(backend_names()),
    )


def judge(machine: Machine, seen: Looks) -> Iterator[Check]:
    """The checks, from what was found alone."""
    yield from _cpu(machine)
    yield from _limits(machine, seen)
    yield from _timing(machine, seen)
    yield from _gpu(machine)
    yield from _environment(machine, seen)


def _cpu(machine: Machine) -> Iterator[Check]:
    cores = f"{machine.cores_physical} cores, {machine.cores_logical} threads"
    yield Check(name="CPU", state="info", found=f"{machine.cpu}, {cores}, {format_bytes(machine.memory_bytes)}")
    if machine.governor is None:
        why = "clocks are not visible here, so a falling clock shows only as slower inference"
        yield Check(name="frequency governor", state="info", found="not visible", why=why)
    elif machine.governor == "performance":
        yield Check(name="frequency governor", state="ok", found="performance")
    else:
        yield Check(
            name="frequency governor",
            state="warn",
            found=machine.governor,
            why="cores slow down in the gaps between frames and take milliseconds to come back",
            fix="sudo cpupower frequency-set -g performance",
            undo=f"sudo cpupower frequency-set -g {machine.governor}",
        )
    if machine.idle_driver:
        yield Check(name="idle driver", state="info", found=machine.idle_driver)


def _limits(machine: Machine, seen: Looks) -> Iterator[Check]:
    if machine.cpu_limit is not None and machine.cpu_limit < machine.cores_logical:
        why = "libraries start a thread for every core they see, and the quota then stalls all of them"
        found = f"{machine.cpu_limit:g} of {machine.cores_logical} cores"
        fix = f"framepace bench MODEL --set threads={max(1, int(machine.cpu_limit))}"
        yield Check(name="container CPU quota", state="bad", found=found, why=why, fix=fix)
    low = seen.memory_free < 1 << 30
    yield Check(name="free memory", state="warn" if low else "ok", found=format_bytes(seen.memory_free))
    if seen.swap_used > 1 << 28:
        why = "a page that comes back from swap stalls a frame for milliseconds"
        yield Check(name="swap", state="warn", found=f"{format_bytes(seen.swap_used)} in use", why=why)
    if seen.memlock is not None and seen.memlock < 1 << 30:
        yield Check(
            name="locked memory limit",
            state="info",
            found=format_bytes(seen.memlock),
            why="the setting lock-memory needs more, unless run as root",
        )
    if seen.disk_free < 1 << 30:
        yield Check(
            name="disk", state="warn", found=f"{format_bytes(seen.disk_free)} free", why="traces are written here"
        )


def _timing(machine: Machine, seen: Looks) -> Iterator[Check]:
    late = seen.oversleep_p99 > 1_000_000
    yield Check(
        name="timer",
        state="warn" if late else "ok",
        found=f"sleeps end {format_ms(seen.oversleep_p50)} late, p99 {format_ms(seen.oversleep_p99)}",
        why="a late timer is added to every frame that is waited for by sleeping" if late else "",
        fix="framepace bench MODEL --set wait=spin" if late else None,
    )
    yield Check(name="clock", state="ok", found=f"a reading costs {seen.clock_read:.0f} ns")
    if machine.virtual:
        found = f"{machine.virtual}, {seen.steal_share:.1%} of CPU time stolen since boot"
        yield Check(
            name="virtual machine",
            state="warn" if seen.steal_share > 0.01 else "info",
            found=found,
            why="the host may take the core away",
        )
    busy = seen.load > 0.5 * machine.cores_logical
    yield Check(
        name="neighbours",
        state="warn" if busy else "ok",
        found=f"load average {seen.load:.2f} on {machine.cores_logical} cores",
        why="other work takes cores and caches while you measure" if busy else "",
    )


def _gpu(machine: Machine) -> Iterator[Check]:
    if not machine.gpus:
        yield Check(name="GPU", state="info", found="no NVIDIA driver answers")
    for gpu in machine.gpus:
        found = f"{gpu.name}, {format_bytes(gpu.memory_bytes)}, driver {gpu.driver}"
        yield Check(name="GPU", state="info", found=found)


def _environment(machine: Machine, seen: Looks) -> Iterator[Check]:
    yield Check(name="backends", state="info", found=", ".join(seen.backends))
    libraries = ", ".join(f"{name} {version}" for name, version in machine.libraries.items())
    yield Check(name="libraries", state="info", found=libraries)
    lock = "" if seen.gil else ", free-threaded"
    yield Check(name="Python", state="ok", found=machine.python + lock)
    for name, value in seen.variables.items():
        why = "it changes how many threads libraries start, or how they wait"
        yield Check(name=name, state="info", found=value, why=why, fix=f"unset {name}", undo=f"export {name}={value}")


def _oversleep() -> int:
    began = time.perf_counter_ns()
    time.sleep(_SLEEP_NS / 1e9)
    return time.perf_counter_ns() - began - _SLEEP_NS


def _clock_read() -> float:
    began = time.perf_counter_ns()
    for _ in range(1000):
        time.perf_counter_ns()
    return (time.perf_counter_ns() - began) / 1000


def _steal() -> float:
    """Share of CPU time since boot that the hypervisor gave to others (/proc/stat, field 8)."""
    try:
        fields = [int(f) for f in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    except OSError:
        return 0.0
    return fields[7] / max(1, sum(fields))


def _memlock() -> int | None:
    try:
        from resource import RLIM_INFINITY, RLIMIT_MEMLOCK, getrlimit
    except ImportError:
        return None
    soft = getrlimit(RLIMIT_MEMLOCK)[0]
    return None if soft == RLIM_INFINITY else soft
