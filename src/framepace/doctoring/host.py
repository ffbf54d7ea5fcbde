"""What this machine can do, and what is set wrong on it: `look` probes, `judge` decides from what was seen."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from framepace.backends.base import backend_names
from framepace.doctoring.gpu import GpuLooks, judge_gpus, look_gpus
from framepace.facts.check import Check
from framepace.facts.machine import Machine
from framepace.recording.machine import cpu_groups, text
from framepace.units import NS_PER_MS, NS_PER_US, format_bytes, format_ms

_ROOT = Path("/")
_SLEEP_NS = 2 * NS_PER_MS
_SLEEPS = 120
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "MKL_NUM_THREADS", "KMP_BLOCKTIME", "MALLOC_ARENA_MAX")
_CODECS = ("h264", "hevc", "av1", "vp9", "mjpeg")
_GIB = 1 << 30


@dataclass(frozen=True)
class Looks:
    """What was seen of the machine beyond its description; the defaults are those of a healthy one.

    Times in ns, sizes in bytes; `throttled` is the share of scheduling periods in which the control group ran out of
    its quota, `wake_latency` that of the deepest idle state, None where the system does not say.
    """

    oversleep_p50: float = 0.0
    oversleep_p99: float = 0.0
    clock_read: float = 0.0
    clock_source: str | None = None
    wake_latency: int | None = None
    load: float = 0.0
    steal_share: float = 0.0
    throttled: float | None = None
    memory_free: int = 1 << 40
    swap_used: int = 0
    memlock: int | None = None
    disk_free: int = 1 << 40
    variables: dict[str, str] = field(default_factory=dict)
    gil: bool = True
    backends: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    codecs: tuple[str, ...] = _CODECS
    decoders: tuple[str, ...] = ()
    gpu: GpuLooks = field(default_factory=GpuLooks)


def checks(machine: Machine) -> list[Check]:
    """All checks of this machine; takes about half a second, most of it sleeping."""
    return list(judge(machine, look()))


def look(root: Path = _ROOT) -> Looks:
    """Look at the machine: some short sleeps, memory, limits, libraries and the environment.

    Args:
        root: where `proc` and `sys` are.
    """
    import psutil

    sleeps = sorted(_oversleep() for _ in range(_SLEEPS))
    codecs, decoders = _video()
    return Looks(
        oversleep_p50=sleeps[_SLEEPS // 2],
        oversleep_p99=sleeps[_SLEEPS * 99 // 100],
        clock_read=_clock_read(),
        clock_source=text(root / "sys/devices/system/clocksource/clocksource0/current_clocksource"),
        wake_latency=wake_latency(root),
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0,
        steal_share=steal_share(text(root / "proc/stat") or ""),
        throttled=throttled(root),
        memory_free=psutil.virtual_memory().available,
        swap_used=psutil.swap_memory().used,
        memlock=_memlock(),
        disk_free=shutil.disk_usage(Path.cwd()).free,
        variables={name: os.environ[name] for name in _THREAD_VARIABLES if name in os.environ},
        gil=getattr(sys, "_is_gil_enabled", lambda: True)(),
        backends=tuple(backend_names()),
        providers=_providers(),
        codecs=codecs,
        decoders=decoders,
        gpu=look_gpus(root),
    )


def judge(machine: Machine, seen: Looks) -> Iterator[Check]:
    """The checks, from what was found alone."""
    yield from _cpu(machine, seen)
    yield from _quota(machine, seen)
    yield from _timing(machine, seen)
    yield from _room(seen)
    yield from judge_gpus(machine, seen.gpu, seen.providers)
    yield from _libraries(machine, seen)


def _cpu(machine: Machine, seen: Looks) -> Iterator[Check]:
    cores = f"{machine.cores_physical} cores, {machine.cores_logical} threads"
    yield Check(name="CPU", state="info", found=f"{machine.cpu}, {cores}, {format_bytes(machine.memory_bytes)}")
    if machine.governor in (None, "performance"):
        yield Check(
            name="frequency governor",
            state="ok" if machine.governor else "info",
            found=machine.governor or "not visible here",
            why="" if machine.governor else "a falling clock shows only as slower inference",
        )
    else:
        yield Check(
            name="frequency governor",
            state="warn",
            found=machine.governor,
            why="cores slow down in the gaps between frames and take milliseconds to come back",
            fix="sudo cpupower frequency-set -g performance",
            undo=f"sudo cpupower frequency-set -g {machine.governor}",
        )
    yield from _idle(machine, seen)


def _idle(machine: Machine, seen: Looks) -> Iterator[Check]:
    name, driver = "idle states", machine.idle_driver or "not visible here"
    if seen.wake_latency is None or seen.wake_latency < 100 * NS_PER_US:
        yield Check(name=name, state="info", found=driver)
    else:
        yield Check(
            name=name,
            state="warn",
            found=f"{driver}, the deepest takes {format_ms(seen.wake_latency)} to leave",
            why="a core that sleeps between frames starts each of them late; shallow idle states cost power",
            fix="sudo cpupower idle-set -D 50",
            undo="sudo cpupower idle-set -E",
        )


def _quota(machine: Machine, seen: Looks) -> Iterator[Check]:
    if machine.cpu_limit is not None and machine.cpu_limit < machine.cores_logical:
        stalled = f", stalled in {seen.throttled:.1%} of its periods" if seen.throttled else ""
        yield Check(
            name="CPU quota",
            state="bad",
            found=f"{machine.cpu_limit:g} of {machine.cores_logical} cores{stalled}",
            why="libraries start a thread for every core they see; a quota then stalls all of them at once",
            fix=f"framepace bench MODEL --set threads={max(1, int(machine.cpu_limit))}",
        )


def _timing(machine: Machine, seen: Looks) -> Iterator[Check]:
    late = seen.oversleep_p99 > NS_PER_MS
    yield Check(
        name="timer",
        state="warn" if late else "ok",
        found=f"sleeps end {format_ms(seen.oversleep_p50)} late, p99 {format_ms(seen.oversleep_p99)}",
        why="a late timer is added to every frame that is waited for by sleeping" if late else "",
        fix="framepace bench MODEL --set wait=spin" if late else None,
    )
    yield from _clock(seen)
    if machine.virtual:
        yield Check(
            name="virtual machine",
            state="warn" if seen.steal_share > 0.01 else "info",
            found=f"{machine.virtual}; {seen.steal_share:.1%} of CPU time stolen since boot",
            why="the host takes the cores away while frames wait",
        )
    busy = seen.load > 0.5 * machine.cores_logical
    yield Check(
        name="neighbours",
        state="warn" if busy else "ok",
        found=f"load average {seen.load:.2f} on {machine.cores_logical} cores",
        why="other work takes cores and caches while you measure; `top` says which" if busy else "",
    )


def _clock(seen: Looks) -> Iterator[Check]:
    slow, source = seen.clock_read > NS_PER_US, seen.clock_source
    where = "/sys/devices/system/clocksource/clocksource0/current_clocksource"
    yield Check(
        name="clock",
        state="warn" if slow else "ok",
        found=f"a reading costs {seen.clock_read:.0f} ns{f', from {source}' if source else ''}",
        why="every stage of every frame is stamped with it" if slow else "",
        fix=f"echo tsc | sudo tee {where}" if slow and source else None,
        undo=f"echo {source} | sudo tee {where}" if slow and source else None,
    )


def _room(seen: Looks) -> Iterator[Check]:
    low = seen.memory_free < _GIB
    why = "models and decoded frames do not fit, and the system starts to swap" if low else ""
    yield Check(name="free memory", state="warn" if low else "ok", found=format_bytes(seen.memory_free), why=why)
    if seen.swap_used > _GIB // 4:
        yield Check(
            name="swap",
            state="warn",
            found=f"{format_bytes(seen.swap_used)} in use",
            why="a page that comes back from swap stalls a frame for milliseconds",
            fix="sudo swapoff -a",
            undo="sudo swapon -a",
        )
    if seen.memlock is not None and seen.memlock < _GIB:
        why = "the setting lock-memory needs more"
        yield Check(name="locked memory limit", state="info", found=format_bytes(seen.memlock), why=why)
    full = seen.disk_free < _GIB
    why = "traces are written to the current folder; a million frames take about 250 MB until they are packed"
    yield Check(
        name="disk",
        state="warn" if full else "ok",
        found=f"{format_bytes(seen.disk_free)} free",
        why=why if full else "",
    )


def _libraries(machine: Machine, seen: Looks) -> Iterator[Check]:
    yield Check(name="backends", state="info", found=", ".join(seen.backends))
    found = ", ".join(f"{name} {version}" for name, version in machine.libraries.items())
    yield Check(name="libraries", state="info", found=found)
    if {"onnxruntime", "onnxruntime-gpu"} <= machine.libraries.keys():
        yield Check(
            name="ONNX Runtime",
            state="bad",
            found="onnxruntime and onnxruntime-gpu are both installed",
            why="they write the same files: which providers there are depends on which came last",
            fix="pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu",
        )
    yield from _decoding(seen)
    yield Check(name="Python", state="ok", found=machine.python + ("" if seen.gil else ", free-threaded"))
    for name, value in seen.variables.items():
        why = "it changes how many threads libraries start, or how they wait"
        yield Check(name=name, state="info", found=value, why=why, fix=f"unset {name}", undo=f"export {name}={value}")


def _decoding(seen: Looks) -> Iterator[Check]:
    missing = [codec for codec in _CODECS if codec not in seen.codecs]
    hardware = f"; built for {', '.join(seen.decoders)}" if seen.decoders else ""
    yield Check(
        name="video decoding",
        state="warn" if missing else "ok",
        found=f"without {', '.join(missing)}" if missing else ", ".join(_CODECS) + hardware,
        why="such videos cannot be read" if missing else "",
        fix="pip install --force-reinstall av" if missing else None,
    )


def wake_latency(root: Path = _ROOT) -> int | None:
    """Exit latency in ns of the deepest idle state that the kernel may use, None where it does not say."""
    states = (root / "sys/devices/system/cpu/cpu0/cpuidle").glob("state*")
    allowed = (state for state in states if text(state / "disable") != "1")
    return max((int(text(state / "latency") or 0) * NS_PER_US for state in allowed), default=None)


def throttled(root: Path = _ROOT) -> float | None:
    """Share of periods in which a control group above this process used up its CPU quota, None without a quota."""
    shares = []
    for group in cpu_groups(root):
        lines = (line.split() for line in (text(group / "cpu.stat") or "").splitlines())
        stat = {line[0]: int(line[1]) for line in lines if len(line) == 2 and line[1].isdigit()}
        if stat.get("nr_periods"):
            shares.append(stat["nr_throttled"] / stat["nr_periods"])
    return max(shares, default=None)


def steal_share(stat: str) -> float:
    """Share of CPU time since boot that the hypervisor gave to others: field 8 of the first line of /proc/stat."""
    ticks = [int(number) for number in stat.split("\n", 1)[0].split()[1:9]]
    return ticks[7] / max(1, sum(ticks)) if len(ticks) == 8 else 0.0


def _oversleep() -> int:
    began = time.perf_counter_ns()
    time.sleep(_SLEEP_NS / 1e9)
    return time.perf_counter_ns() - began - _SLEEP_NS


def _clock_read() -> float:
    began = time.perf_counter_ns()
    for _ in range(1000):
        time.perf_counter_ns()
    return (time.perf_counter_ns() - began) / 1000


def _memlock() -> int | None:
    """The limit on locked memory, None where there is none or it does not bind this user."""
    try:
        from resource import RLIM_INFINITY, RLIMIT_MEMLOCK, getrlimit
    except ImportError:
        return None
    soft = getrlimit(RLIMIT_MEMLOCK)[0]
    return None if soft == RLIM_INFINITY or os.geteuid() == 0 else soft


def _providers() -> tuple[str, ...]:
    try:
        import onnxruntime
    except ImportError:
        return ()
    return tuple(onnxruntime.get_available_providers())


def _video() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Codecs of interest that PyAV can decode, and the hardware decoders it was built with."""
    try:
        from av.codec import codecs_available
        from av.codec.hwaccel import hwdevices_available
    except ImportError:
        return (), ()
    return tuple(codec for codec in _CODECS if codec in codecs_available), tuple(hwdevices_available())
