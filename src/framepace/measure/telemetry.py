"""Telemetry: what the machine and the process do while a run goes on, sampled on a thread of its own.

Samplers fill columns; the host's is here, a GPU's stands beside it in the same list.
"""

from __future__ import annotations

import os
import struct
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from framepace.exec.usage import GC_CLOCK
from framepace.facts.trace import TELEMETRY_COLUMNS
from framepace.units import NS_PER_S

_NAMES = list(TELEMETRY_COLUMNS)
_ROW = struct.Struct(f"<{len(_NAMES)}q")
PERIOD_S = 0.02
_SLOW_EVERY = 25  # frequency and memory change slowly and cost the most


class Sampler(Protocol):
    """Reads some columns of one device (-1: the host)."""

    device: int

    def read(self) -> dict[str, int]:
        """Columns by name; the rest of the row is -1."""


class Telemetry:
    """Samples every `period` seconds and hands packed rows to `sink`; a context manager.

    `overhead` says what it cost in CPU time: the median microseconds a sample and the share of one core.
    """

    def __init__(
        self, sink: Callable[[bytes], None], period: float = PERIOD_S, samplers: Sequence[Sampler] | None = None
    ) -> None:
        self._sink, self._period = sink, period
        self._samplers = [HostSampler()] if samplers is None else list(samplers)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="telemetry", daemon=True)
        self._costs: list[int] = []
        self._began = time.perf_counter_ns()

    def __enter__(self) -> Telemetry:
        GC_CLOCK.start()
        self.sample()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        self.sample()
        GC_CLOCK.stop()

    def sample(self) -> None:
        """Take one sample of every device."""
        for sampler in self._samplers:
            began = time.thread_time_ns()
            row = {"time": time.perf_counter_ns(), "device": sampler.device, **sampler.read()}
            self._sink(_ROW.pack(*(row.get(name, -1) for name in _NAMES)))
            self._costs.append(time.thread_time_ns() - began)

    @property
    def overhead(self) -> dict[str, float]:
        """'sample_us' (median) and 'core_share' so far."""
        costs = sorted(self._costs) or [0]
        wall = max(1, time.perf_counter_ns() - self._began)
        return {"sample_us": costs[len(costs) // 2] / 1000, "core_share": sum(costs) / wall}

    def _loop(self) -> None:
        while not self._end.wait(self._period):
            self.sample()


class HostSampler:
    """CPU time, switches, faults, memory, garbage collection and frequency; -1 where the system does not say."""

    device = -1

    def __init__(self) -> None:
        self._stat, self._statm, self._system = _file("/proc/self/stat"), _file("/proc/self/statm"), _file("/proc/stat")
        self._sched = _file("/proc/self/schedstat")
        self._tick, self._page = _sysconf("SC_CLK_TCK"), _sysconf("SC_PAGE_SIZE")
        self._round = 0
        self._slow: dict[str, int] = {}
        self._frequencies = sorted(Path("/sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_cur_freq"))

    def read(self) -> dict[str, int]:
        """See Sampler. About 30 us, most of it in reads that release the interpreter lock."""
        row = {"process_cpu": time.process_time_ns() + self._children(), "gc_count": GC_CLOCK.count, "gc": GC_CLOCK.ns}
        row |= _resources()
        if self._system is not None:
            row["system_busy"] = self._busy(os.pread(self._system, 256, 0))
        if self._round % _SLOW_EVERY == 0:
            self._slow = self._read_slow()
        self._round += 1
        return row | self._slow

    def _children(self) -> int:
        """CPU time of worker processes, running ones included, in ns."""
        import multiprocessing

        return sum(_process_cpu(child.pid, self._tick) for child in multiprocessing.active_children())

    def _busy(self, line: bytes) -> int:
        # cpu user nice system idle iowait irq softirq steal
        fields = line.split(b"\n", 1)[0].split()[1:9]
        ticks = [int(f) for f in fields]
        return (sum(ticks) - ticks[3] - ticks[4]) * NS_PER_S // self._tick

    def _read_slow(self) -> dict[str, int]:
        row: dict[str, int] = {"threads": threading.active_count()}
        if self._statm is not None:
            row["memory_bytes"] = int(os.pread(self._statm, 128, 0).split()[1]) * self._page
        if self._stat is not None:
            row["threads"] = int(os.pread(self._stat, 1024, 0).rsplit(b")", 1)[1].split()[17])
        if self._frequencies:
            values = [int(path.read_text()) // 1000 for path in self._frequencies]
            row["cpu_mhz"] = sum(values) // len(values)
        if self._sched is not None:
            row["run_delay"] = _run_delay()
        return row


def _resources() -> dict[str, int]:
    try:
        from resource import RUSAGE_SELF, getrusage
    except ImportError:
        return {}
    used = getrusage(RUSAGE_SELF)
    return {
        "switched": used.ru_nvcsw,
        "preempted": used.ru_nivcsw,
        "faults_minor": used.ru_minflt,
        "faults_major": used.ru_majflt,
    }


def _run_delay() -> int:
    """Time that the process's threads were runnable and waited for a core, ns (field 2 of schedstat, all threads)."""
    total = 0
    for task in os.scandir("/proc/self/task"):
        try:
            with open(f"{task.path}/schedstat", "rb") as file:
                total += int(file.read().split()[1])
        except OSError:  # the thread has ended
            continue
    return total


def _process_cpu(pid: int | None, tick: int) -> int:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rsplit(b")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) * NS_PER_S // tick
    except OSError:
        return 0


def _file(path: str) -> int | None:
    try:
        return os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    except OSError:
        return None


def _sysconf(name: str) -> int:
    return os.sysconf(name) if hasattr(os, "sysconf") else 1
