"""The host's telemetry: CPU time, switches, faults, garbage collection, memory, threads, run-queue delay, frequency.

Python's garbage collections are in it as GC_CLOCK counted them. The sampling thread shares the interpreter lock with
the workers: every read that releases it may wait a whole switch interval (5 ms) to get it back while a worker computes
in Python. So a sample makes one such read, and the others come five times per second.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from pathlib import Path

from framepace.clock.usage import GC_CLOCK
from framepace.recording.machine import cpu_groups, usable_cores
from framepace.units import NS_PER_S

_SLOW_EVERY = 10
_STAT_BYTES = 1 << 17  # a line of up to 250 bytes per core comes before the interrupts


def worker_pids() -> list[int]:
    """Processes that multiprocessing runs for this one."""
    import multiprocessing

    return [child.pid for child in multiprocessing.active_children() if child.pid is not None]


def host_sampler(workers: Callable[[], Iterable[int]] = worker_pids) -> LinuxHost | PortableHost:
    """The sampler for this system; `workers` finds the processes that count with this one."""
    if os.path.exists("/proc/self/statm"):
        return LinuxHost(workers=workers)
    return PortableHost(workers)


class LinuxHost:
    """Reads /proc and /sys through descriptors that stay open; -1 where the kernel does not say.

    Args:
        root: where `proc` and `sys` are.
        workers: finds the worker processes, five times per second. CPU time of one that ended stays counted.
    """

    device = -1
    period: float | None = None

    def __init__(self, root: Path = Path("/"), workers: Callable[[], Iterable[int]] = worker_pids) -> None:
        self._proc = str(root / "proc")
        self._cores = usable_cores()
        self._stat = _Line(root / "proc/stat", _STAT_BYTES)
        self._workers = _Workers(workers)
        self._delay = _RunDelay(self._proc)
        self._frequency = _Frequency(root)
        self._stalls = _Stalls(root)
        self._tick_ns = NS_PER_S // os.sysconf("SC_CLK_TCK")
        self._page_bytes = os.sysconf("SC_PAGE_SIZE")
        self._slow: dict[str, int] = {}
        self._round = 0

    def read(self) -> dict[str, int]:
        """See Sampler."""
        if self._round % _SLOW_EVERY == 0:
            self._slow = self._read_slow()
        self._round += 1
        row = {**self._slow, **_resources(), "process_cpu": time.process_time_ns() + self._workers.cpu()}
        if line := self._stat.read():
            row["system_busy"] = busy_ticks(line, self._cores) * self._tick_ns
        return row

    def close(self) -> None:
        """See Sampler."""
        for part in (self._stat, self._frequency, self._stalls):
            part.close()

    def _read_slow(self) -> dict[str, int]:
        processes = ["self", *map(str, self._workers.find())]
        row = self._delay.read(processes) | self._frequency.read() | self._stalls.read()
        pages = [int(line.split()[1]) for p in processes if (line := _once(f"{self._proc}/{p}/statm"))]
        if pages:
            row["memory_bytes"] = sum(pages) * self._page_bytes
        return row


class PortableHost:
    """The same through psutil, for other systems: no run-queue delay, and workers' time every fifth of a second."""

    device = -1
    period: float | None = None

    def __init__(self, workers: Callable[[], Iterable[int]] = worker_pids) -> None:
        import psutil

        self._psutil = psutil
        self._process = psutil.Process()
        self._pids = workers
        self._workers: dict[int, int] = {}
        self._slow: dict[str, int] = {}
        self._round = 0

    def read(self) -> dict[str, int]:
        """See Sampler."""
        if self._round % _SLOW_EVERY == 0:
            self._slow = self._read_slow()
        self._round += 1
        cpu = time.process_time_ns() + sum(self._workers.values())
        return {**self._slow, **_resources(), "process_cpu": cpu, "system_busy": self._busy()}

    def close(self) -> None:
        """See Sampler."""

    def _busy(self) -> int:
        times = self._psutil.cpu_times()
        # These exist on some systems only; busy_ticks counts them too.
        others = sum(getattr(times, name, 0.0) for name in ("nice", "irq", "softirq", "steal"))
        return int((times.user + times.system + others) * NS_PER_S)

    def _read_slow(self) -> dict[str, int]:
        for pid in self._pids():
            try:
                used = self._psutil.Process(pid).cpu_times()
                self._workers[pid] = int((used.user + used.system) * NS_PER_S)
            except self._psutil.Error:
                continue
        return {"threads": self._process.num_threads(), "memory_bytes": self._process.memory_info().rss}


def busy_ticks(stat: bytes, cores: Collection[int] | None = None) -> int:
    """Ticks that `cores` (None: all) were not idle since boot, from /proc/stat; time that a hypervisor took counts.

    A line is: cpu user nice system idle iowait irq softirq steal guest guest_nice; guest time is in user. The first is
    the sum of all cores, then each has one.
    """
    whole, *each = (line.split()[:9] for line in stat.split(b"\n") if line.startswith(b"cpu"))
    if cores is not None and len(cores) < len(each):
        chosen = {b"cpu%d" % core for core in cores}
        return sum(_busy(line) for line in each if line[0] in chosen)
    return _busy(whole)


def _busy(line: list[bytes]) -> int:
    user, nice, system, _, _, irq, softirq, steal = map(int, line[1:])
    return user + nice + system + irq + softirq + steal


def mean_mhz(cpuinfo: str) -> int:
    """Mean of the 'cpu MHz' lines of /proc/cpuinfo, -1 without one."""
    values = [float(line.split(":")[1]) for line in cpuinfo.splitlines() if line.startswith("cpu MHz")]
    if not values:
        return -1
    return round(sum(values) / len(values))


def _resources() -> dict[str, int]:
    row = {"gc_count": GC_CLOCK.count, "gc": GC_CLOCK.ns}
    try:
        from resource import RUSAGE_SELF, getrusage
    except ImportError:  # Windows
        return row
    used = getrusage(RUSAGE_SELF)
    row |= {"switched": used.ru_nvcsw, "preempted": used.ru_nivcsw}
    return row | {"faults_minor": used.ru_minflt, "faults_major": used.ru_majflt}


class _Line:
    """A small file of the kernel, opened once and read from its start each time."""

    def __init__(self, path: Path, most: int = 512) -> None:
        self._most = most
        try:
            self._file: int | None = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._file = None

    def read(self) -> bytes:
        """The first bytes, or none where there is no such file or it cannot be read any more."""
        if self._file is None:
            return b""
        try:
            return os.pread(self._file, self._most, 0)
        except OSError:
            return b""

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


class _Workers:
    """CPU time of worker processes in ns, with all their threads; the last known value of those that ended."""

    def __init__(self, pids: Callable[[], Iterable[int]]) -> None:
        self._pids = pids
        self._running: list[int] = []
        self._used: dict[int, int] = {}

    def find(self) -> list[int]:
        self._running = list(self._pids())
        return self._running

    def cpu(self) -> int:
        for pid in self._running:
            try:
                # The clock id of a process, as clock_getcpuclockid(3) makes it: the complement of the pid, three bits
                # up, and CPUCLOCK_SCHED.
                self._used[pid] = time.clock_gettime_ns((~pid << 3) | 2)
            except OSError:
                continue
        return sum(self._used.values())


class _RunDelay:
    """How many threads there are, and how long they waited for a core while runnable: field 2 of schedstat, in ns."""

    def __init__(self, proc: str) -> None:
        self._proc = proc
        self._waited: dict[str, int] = {}

    def read(self, processes: Iterable[str]) -> dict[str, int]:
        threads = [task for process in processes for task in self._tasks(process)]
        if not threads:
            return {}
        for task in threads:
            self._note(task)
        row = {"threads": len(threads)}
        # A thread that ended keeps its part, so that the sum never falls.
        if self._waited:
            row["run_delay"] = sum(self._waited.values())
        return row

    def _tasks(self, process: str) -> list[str]:
        folder = f"{self._proc}/{process}/task"
        try:
            return [f"{folder}/{thread}" for thread in os.listdir(folder)]
        except OSError:
            return []

    def _note(self, task: str) -> None:
        # No line: it has ended, or the kernel keeps no such statistics.
        with suppress(IndexError, ValueError):
            self._waited[task] = int(_once(f"{task}/schedstat").split()[1])


class _Stalls:
    """What stopped tasks in ns: the CPU quota of this process's group (cpu.stat), and waiting for memory and disks."""

    def __init__(self, root: Path) -> None:
        groups = [_Line(group / "cpu.stat") for group in cpu_groups(root)]
        self._quotas = [line for line in groups if b"throttled" in line.read()]
        self._pressures = {name: _Line(root / f"proc/pressure/{name}") for name in ("memory", "io")}

    def read(self) -> dict[str, int]:
        row = {f"{name}_stalled": ns for name, line in self._pressures.items() if (ns := _pressure(line.read())) >= 0}
        throttled = [ns for line in self._quotas if (ns := throttled_ns(line.read())) >= 0]
        if throttled:  # a group above may have the tighter quota
            row["throttled"] = max(throttled)
        return row

    def close(self) -> None:
        for line in (*self._quotas, *self._pressures.values()):
            line.close()


def throttled_ns(stat: bytes) -> int:
    """The time for which a quota stopped a group, from its cpu.stat of version 2 (us) or 1 (ns); -1 without."""
    numbers = dict(line.split()[:2] for line in stat.splitlines() if len(line.split()) >= 2)
    if b"throttled_usec" in numbers:
        return 1000 * int(numbers[b"throttled_usec"])
    return int(numbers.get(b"throttled_time", -1))


def _pressure(text: bytes) -> int:
    """Time in ns in which some task waited, from the first line of a file of /proc/pressure: 'some ... total=US'."""
    total = text.split(b"\n", 1)[0].rpartition(b"total=")[2]
    return 1000 * int(total) if total.isdigit() else -1


class _Frequency:
    """Mean frequency of the cores in MHz, where the system measures it; a nominal one is no measurement."""

    def __init__(self, root: Path) -> None:
        cores = sorted((root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_cur_freq"))
        self._cores = [_Line(path) for path in cores]
        self._cpuinfo = root / "proc/cpuinfo"
        # Without a cpufreq driver, /proc/cpuinfo tells the truth only where the cores count their cycles.
        self._counted = not cores and " aperfmperf" in _text(self._cpuinfo)

    def read(self) -> dict[str, int]:
        if self._counted:
            return {"cpu_mhz": mean_mhz(_text(self._cpuinfo))}
        khz = [int(value) for core in self._cores if (value := core.read().strip()).isdigit()]
        if not khz:
            return {}
        return {"cpu_mhz": sum(khz) // len(khz) // 1000}

    def close(self) -> None:
        for core in self._cores:
            core.close()


def _once(path: str) -> bytes:
    """The first bytes of a small file of the kernel, or none."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(file, 128)
    except OSError:
        return b""
    finally:
        os.close(file)


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
