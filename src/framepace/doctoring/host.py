"""What this machine can do, and what is set wrong on it: `observe` reads its state, `judge` decides from that alone."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from framepace.backends.base import backend_names
from framepace.doctoring.check import bad, info, ok, warn, warn_if
from framepace.doctoring.gpu import DriverState, judge_gpus, observe_gpus
from framepace.facts.check import Check
from framepace.facts.machine import Machine
from framepace.recording.machine import cpu_groups, text
from framepace.units import NS_PER_MS, NS_PER_US, format_bytes, format_ms

_ROOT = Path("/")
_SLEEP_NS = 2 * NS_PER_MS
_SLEEPS = 120
_CLOCK_READS = 1000
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "MKL_NUM_THREADS", "KMP_BLOCKTIME", "MALLOC_ARENA_MAX")
_CODECS = ("h264", "hevc", "av1", "vp9", "mjpeg")
_CLOCK_SOURCE = "sys/devices/system/clocksource/clocksource0/current_clocksource"
_INVISIBLE = "not visible here"
_GIB = 1 << 30


@dataclass(frozen=True)
class HostState:
    """The state of a machine beyond its description; the defaults are those of a healthy one.

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
    gpu: DriverState = field(default_factory=DriverState)


def checks(machine: Machine) -> list[Check]:
    """All checks of this machine; takes about half a second, most of it sleeping."""
    return list(judge(machine, observe()))


def observe(root: Path = _ROOT, sleeps: int = _SLEEPS) -> HostState:
    """The state of this machine: some short sleeps, memory, limits, libraries and the environment.

    Args:
        root: where `proc` and `sys` are.
        sleeps: how many sleeps of 2 ms the timer is judged by.
    """
    state = _with_timers(HostState(), root, sleeps)
    state = _with_room(state)
    state = _with_software(state)
    return replace(
        state,
        load=_load_average(),
        steal_share=steal_share(text(root / "proc/stat") or ""),
        throttled=throttled(root),
        gpu=observe_gpus(root),
    )


def _with_timers(state: HostState, root: Path, sleeps: int) -> HostState:
    """The state with what is seen of sleeps, clocks and idle states."""
    oversleep = sorted(_oversleep() for _ in range(sleeps))
    return replace(
        state,
        oversleep_p50=oversleep[sleeps // 2],
        oversleep_p99=oversleep[sleeps * 99 // 100],
        clock_read=_clock_read(),
        clock_source=text(root / _CLOCK_SOURCE),
        wake_latency=wake_latency(root),
    )


def _with_room(state: HostState) -> HostState:
    """The state with the room in memory and on the disk."""
    from psutil import swap_memory, virtual_memory

    return replace(
        state,
        memory_free=virtual_memory().available,
        swap_used=swap_memory().used,
        memlock=_memlock(),
        disk_free=shutil.disk_usage(Path.cwd()).free,
    )


def _with_software(state: HostState) -> HostState:
    """The state with the libraries, what they can do, and the environment that they read."""
    codecs, decoders = _video()
    return replace(
        state,
        variables={name: os.environ[name] for name in _THREAD_VARIABLES if name in os.environ},
        gil=_has_gil(),
        backends=tuple(backend_names()),
        providers=_providers(),
        codecs=codecs,
        decoders=decoders,
    )


def judge(machine: Machine, state: HostState) -> Iterator[Check]:
    """The checks of a machine in that state."""
    yield from _cpu(machine, state)
    yield from _quota(machine, state)
    yield from _timing(machine, state)
    yield from _room(state)
    yield from judge_gpus(machine, state.gpu, state.providers)
    yield from _libraries(machine, state)


def _cpu(machine: Machine, state: HostState) -> Iterator[Check]:
    cores = f"{machine.cores_physical} cores, {machine.cores_logical} threads"
    yield info("CPU", f"{machine.cpu}, {cores}, {format_bytes(machine.memory_bytes)}")
    yield _governor(machine.governor)
    yield _idle(machine, state)


def _governor(governor: str | None) -> Check:
    name = "frequency governor"
    if governor is None:
        return info(name, _INVISIBLE, "a falling clock shows only as slower inference")
    return warn_if(
        governor != "performance",
        name,
        governor,
        why="cores slow down in the gaps between frames and take milliseconds to come back",
        fix="sudo cpupower frequency-set -g performance",
        undo=f"sudo cpupower frequency-set -g {governor}",
    )


def _idle(machine: Machine, state: HostState) -> Check:
    driver = machine.idle_driver or _INVISIBLE
    if state.wake_latency is None or state.wake_latency < 100 * NS_PER_US:
        return info("idle states", driver)
    return warn(
        "idle states",
        f"{driver}, the deepest takes {format_ms(state.wake_latency)} to leave",
        why="a core that sleeps between frames starts each of them late; shallow idle states cost power",
        fix="sudo cpupower idle-set -D 50",
        undo="sudo cpupower idle-set -E",
    )


def _quota(machine: Machine, state: HostState) -> Iterator[Check]:
    if machine.cpu_limit is None or machine.cpu_limit >= machine.cores_logical:
        return
    limit = f"{machine.cpu_limit:g} of {machine.cores_logical} cores"
    if state.throttled:
        limit += f", stalled in {state.throttled:.1%} of its periods"
    yield bad(
        "CPU quota",
        limit,
        why="libraries start a thread for every core they see; a quota then stalls all of them at once",
        fix=f"framepace bench MODEL --set threads={max(1, int(machine.cpu_limit))}",
    )


def _timing(machine: Machine, state: HostState) -> Iterator[Check]:
    yield warn_if(
        state.oversleep_p99 > NS_PER_MS,
        "timer",
        f"sleeps end {format_ms(state.oversleep_p50)} late, p99 {format_ms(state.oversleep_p99)}",
        why="a late timer delays every frame for which a thread sleeps",
        fix="framepace bench MODEL --set wait=spin",
    )
    yield _clock(state)
    if machine.virtual:
        make = warn if state.steal_share > 0.01 else info
        stolen = f"{machine.virtual}; {state.steal_share:.1%} of CPU time stolen since boot"
        yield make("virtual machine", stolen, "the hypervisor takes cores away while frames wait")
    yield warn_if(
        state.load > 0.5 * machine.cores_logical,
        "neighbours",
        f"load average {state.load:.2f} on {machine.cores_logical} cores",
        why="other work takes cores and caches while you measure; `top` shows which",
    )


def _clock(state: HostState) -> Check:
    cost = f"a reading costs {state.clock_read:.0f} ns"
    fix = None
    undo = None
    if state.clock_source:
        cost += f", from {state.clock_source}"
        fix = f"echo tsc | sudo tee /{_CLOCK_SOURCE}"
        undo = f"echo {state.clock_source} | sudo tee /{_CLOCK_SOURCE}"
    slow = state.clock_read > NS_PER_US
    return warn_if(slow, "clock", cost, "every stage of every frame is stamped with it", fix, undo)


def _room(state: HostState) -> Iterator[Check]:
    why = "models and decoded frames do not fit, and the system starts to swap"
    yield warn_if(state.memory_free < _GIB, "free memory", format_bytes(state.memory_free), why)
    if state.swap_used > _GIB // 4:
        yield warn(
            "swap",
            f"{format_bytes(state.swap_used)} in use",
            why="a page that comes back from swap stalls a frame for milliseconds",
            fix="sudo swapoff -a",
            undo="sudo swapon -a",
        )
    if state.memlock is not None and state.memlock < _GIB:
        yield info("locked memory limit", format_bytes(state.memlock), "the setting lock-memory needs more")
    yield warn_if(
        state.disk_free < _GIB,
        "disk",
        f"{format_bytes(state.disk_free)} free",
        why="traces are written to the current folder; a million frames take about 250 MB until they are packed",
    )


def _libraries(machine: Machine, state: HostState) -> Iterator[Check]:
    yield info("backends", ", ".join(state.backends))
    yield info("libraries", ", ".join(f"{name} {version}" for name, version in machine.libraries.items()))
    if {"onnxruntime", "onnxruntime-gpu"} <= machine.libraries.keys():
        yield bad(
            "ONNX Runtime",
            "onnxruntime and onnxruntime-gpu are both installed",
            why="they overwrite each other's files: the last one installed decides which providers there are",
            fix="pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu",
        )
    yield _decoding(state)
    yield _python(machine, state)
    yield from _variables(state)


def _python(machine: Machine, state: HostState) -> Check:
    if state.gil:
        return ok("Python", machine.python)
    return ok("Python", f"{machine.python}, free-threaded")


def _variables(state: HostState) -> Iterator[Check]:
    for name, value in state.variables.items():
        why = "it changes how many threads libraries start, or how they wait"
        yield Check(name=name, state="info", found=value, why=why, fix=f"unset {name}", undo=f"export {name}={value}")


def _decoding(state: HostState) -> Check:
    missing = [codec for codec in _CODECS if codec not in state.codecs]
    if missing:
        why = "such videos cannot be read"
        return warn("video decoding", f"without {', '.join(missing)}", why, fix="pip install --force-reinstall av")
    codecs = ", ".join(_CODECS)
    if state.decoders:
        codecs += f"; built for {', '.join(state.decoders)}"
    return ok("video decoding", codecs)


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
    if len(ticks) < 8:
        return 0.0
    return ticks[7] / max(1, sum(ticks))


def _oversleep() -> int:
    """By how many ns a sleep of 2 ms ends late."""
    began = time.perf_counter_ns()
    time.sleep(_SLEEP_NS / 1e9)
    return time.perf_counter_ns() - began - _SLEEP_NS


def _clock_read() -> float:
    """What one reading of the clock takes, ns."""
    began = time.perf_counter_ns()
    for _ in range(_CLOCK_READS):
        time.perf_counter_ns()
    return (time.perf_counter_ns() - began) / _CLOCK_READS


def _load_average() -> float:
    """Over the last minute; 0 on Windows, which has none."""
    if not hasattr(os, "getloadavg"):
        return 0.0
    return os.getloadavg()[0]


def _has_gil() -> bool:
    is_enabled = getattr(sys, "_is_gil_enabled", lambda: True)  # from Python 3.13 on
    return bool(is_enabled())


def _memlock() -> int | None:
    """The limit on locked memory, None where there is none or it does not bind this user."""
    try:
        from resource import RLIM_INFINITY, RLIMIT_MEMLOCK, getrlimit
    except ImportError:
        return None
    soft = getrlimit(RLIMIT_MEMLOCK)[0]
    if soft == RLIM_INFINITY or os.geteuid() == 0:
        return None
    return soft


def _providers() -> tuple[str, ...]:
    """The execution providers of ONNX Runtime."""
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
