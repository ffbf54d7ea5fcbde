"""Telemetry: rows, counters, workers, and what happens when something is not there."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from framepace.facts.trace import TELEMETRY_COLUMNS, Column
from framepace.recording.host import LinuxHost, PortableHost, busy_ticks, mean_mhz
from framepace.recording.telemetry import Telemetry
from framepace.store import rows_to_columns

linux = pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="reads /proc")


class Fixed:
    """A sampler of one device that says the same each time."""

    period: float | None = None

    def __init__(self, device: int, **row: int) -> None:
        self.device, self.row, self.closed = device, row, False

    def read(self) -> dict[str, int]:
        """The row."""
        return self.row

    def close(self) -> None:
        """Note that it was closed."""
        self.closed = True


class Broken(Fixed):
    """A sampler whose driver went away."""

    def read(self) -> dict[str, int]:
        """Fail."""
        raise RuntimeError("the driver is gone")


def columns(rows: list[bytes]) -> dict[str, Column]:
    """Rows as a sink got them, by column."""
    return rows_to_columns("telemetry", b"".join(rows))


def test_each_device_has_a_row_and_the_rest_is_not_measured() -> None:
    """Samplers fill their columns; all others are -1; the rows of one sample follow each other."""
    rows: list[bytes] = []
    with Telemetry(rows.append, 60.0, [Fixed(-1, process_cpu=5), Fixed(0, sm_clock_mhz=1500)]):
        pass
    found = columns(rows)
    assert found["device"].tolist() == [-1, 0, -1, 0]
    assert found["process_cpu"].tolist() == [5, -1, 5, -1]
    assert found["sm_clock_mhz"].tolist() == [-1, 1500, -1, 1500]
    assert found["threads"].tolist() == [-1] * 4
    assert (np.diff(found["time"]) > 0).all()


def test_the_run_is_between_the_first_sample_and_the_last() -> None:
    """Differences of counters cover all of the run, however short it is."""
    rows: list[bytes] = []
    with Telemetry(rows.append, 60.0, [Fixed(-1)]):
        began = time.perf_counter_ns()
        ended = time.perf_counter_ns()
    stamps = columns(rows)["time"]
    assert stamps[0] < began
    assert ended < stamps[-1]


def test_sampling_goes_on_in_a_thread_of_its_own() -> None:
    """Samples come while the caller does something else, and end with the context."""
    rows: list[bytes] = []
    enough = threading.Event()

    def sink(row: bytes) -> None:
        rows.append(row)
        if len(rows) == 10:
            enough.set()

    with Telemetry(sink, 0.001, [Fixed(-1)]):
        assert enough.wait(20)
    assert not any(thread.name == "telemetry" for thread in threading.enumerate())


def test_a_sampler_that_fails_is_left_out_and_named() -> None:
    """The others go on, the failed one is closed, and the reason can be told."""
    rows: list[bytes] = []
    broken, good = Broken(0), Fixed(-1, gc=1)
    with Telemetry(rows.append, 60.0, [broken, good]) as sampling:
        sampling.sample()
    assert columns(rows)["device"].tolist() == [-1, -1, -1]
    assert sampling.failures == {"Broken": "RuntimeError: the driver is gone"}
    assert broken.closed
    assert good.closed


def test_its_own_cost_is_the_cpu_time_of_sampling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples of 30 us of CPU time each, with 1 ms between them, cost 30 us and 3 % of a core."""
    now = iter(range(10**6, 10**12, 10**6))
    cpu = iter(range(0, 10**9, 30_000))
    monkeypatch.setattr(time, "perf_counter_ns", lambda: next(now))
    monkeypatch.setattr(time, "thread_time_ns", lambda: next(cpu))
    sampling = Telemetry(lambda row: None, 60.0, [])
    with sampling:
        for _ in range(98):
            sampling.sample()
            next(now)
    assert sampling.overhead["sample_us"] == 30.0
    assert sampling.overhead["core_share"] == pytest.approx(0.03, rel=0.05)


def test_nothing_was_sampled_yet_costs_nothing() -> None:
    """The cost can be asked at any time."""
    assert Telemetry(lambda row: None, samplers=[]).overhead == {"sample_us": 0.0, "core_share": 0.0}


@linux
def test_descriptors_are_given_back() -> None:
    """A hundred measurements one after the other leave no file open."""
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(100):
        with Telemetry(lambda row: None, 60.0):
            pass
    assert len(os.listdir("/proc/self/fd")) == before


def test_garbage_collections_are_counted_with_their_time() -> None:
    """A forced collection while sampling shows in count and time."""
    rows: list[bytes] = []
    with Telemetry(rows.append, 60.0) as sampling:
        gc.collect()
        sampling.sample()
    found = columns(rows)
    assert found["gc_count"][1] > found["gc_count"][0]
    assert found["gc"][1] > found["gc"][0]


@pytest.mark.parametrize("host", [pytest.param(LinuxHost, marks=linux), PortableHost])
def test_the_host_tells_what_this_process_used(host: type[LinuxHost] | type[PortableHost]) -> None:
    """CPU time grows with work by at least the thread's own; memory, threads and faults are real; names are known."""
    sampler = host()
    before, own = sampler.read(), time.thread_time_ns()
    while time.thread_time_ns() - own < 20_000_000:
        sum(range(1000))
    after = sampler.read()
    assert after["process_cpu"] - before["process_cpu"] >= 20_000_000
    assert after["system_busy"] >= before["system_busy"] > 0
    assert after["memory_bytes"] > 1 << 20
    assert after["threads"] >= threading.active_count()
    assert after.keys() <= TELEMETRY_COLUMNS.keys()
    sampler.close()


@linux
def test_the_two_readers_of_the_host_agree() -> None:
    """Memory and busy time through /proc and through psutil are the same within what passes between the readings.

    /proc counts the cores that this process may use, psutil all of the machine's.
    """
    direct, portable = LinuxHost(), PortableHost()
    one, other = direct.read(), portable.read()
    assert one["memory_bytes"] == pytest.approx(other["memory_bytes"], rel=0.05)
    shares_all = len(os.sched_getaffinity(0)) == os.cpu_count()
    assert one["system_busy"] <= 1.05 * other["system_busy"]
    assert not shares_all or one["system_busy"] == pytest.approx(other["system_busy"], rel=0.05)
    direct.close()


@contextmanager
def busy_process() -> Iterator[subprocess.Popen[bytes]]:
    """A process that computes until it is told to end."""
    code = "import sys\nfor _ in range(2_000_000): pass\nsys.stdout.write('.'); sys.stdout.flush(); sys.stdin.read()"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.read(1) == b"."
        yield process
    finally:
        process.communicate()


@pytest.mark.parametrize("host", [pytest.param(LinuxHost, marks=linux), PortableHost])
def test_what_a_worker_used_stays_counted_when_it_ended(host: type[LinuxHost] | type[PortableHost]) -> None:
    """CPU time of a worker process is added, and the sum never falls."""
    pids: list[int] = []
    sampler = host(workers=lambda: pids)
    with busy_process() as process:
        pids.append(process.pid)
        during, own = sampler.read()["process_cpu"], time.process_time_ns()
    pids.clear()
    after = [sampler.read()["process_cpu"] for _ in range(12)]
    assert during - own > 1_000_000
    assert min(after) >= during
    sampler.close()


def made_up(root: Path, files: dict[str, str]) -> Path:
    """A tree of kernel files."""
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


@linux
def test_a_kernel_that_says_nothing_leaves_columns_out(tmp_path: Path) -> None:
    """Without /proc and /sys there are the process's own counters and nothing made up."""
    row = LinuxHost(tmp_path, workers=list).read()
    missing = {"cpu_mhz", "system_busy", "run_delay", "threads", "memory_bytes"}
    missing |= {"throttled", "memory_stalled", "io_stalled"}
    assert not missing & row.keys()
    assert row["process_cpu"] > 0


@linux
def test_kernel_files_mean_what_their_manual_says(tmp_path: Path) -> None:
    """Busy ticks, pages, run-queue delay of all threads, mean frequency, quota and pressure, from made-up files."""
    cpufreq = "sys/devices/system/cpu/cpu{}/cpufreq/scaling_cur_freq"
    files = {
        "proc/stat": "cpu  10 1 5 1000 50 2 3 4 7 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n",
        "proc/self/statm": "500 30 20 1 0 9 0\n",
        "proc/self/task/11/schedstat": "100 7 3\n",
        "proc/self/task/12/schedstat": "100 5 3\n",
        "proc/self/task/13/comm": "a kernel without scheduler statistics\n",
        cpufreq.format(0): "2000000\n",
        cpufreq.format(1): "3000000\n",
        cpufreq.format(2): "<unknown>\n",
        "proc/self/cgroup": "0::/a\n",
        "sys/fs/cgroup/a/cpu.stat": "usage_usec 9\nnr_periods 4\nnr_throttled 2\nthrottled_usec 5\n",
        "proc/pressure/memory": "some avg10=0.00 avg60=0.00 avg300=0.00 total=7\nfull avg10=0.00 total=3\n",
        "proc/pressure/io": "unknown\n",
    }
    row = LinuxHost(made_up(tmp_path, files), workers=list).read()
    assert row["system_busy"] == 25 * 10**9 // os.sysconf("SC_CLK_TCK")
    assert row["memory_bytes"] == 30 * os.sysconf("SC_PAGE_SIZE")
    assert (row["run_delay"], row["threads"], row["cpu_mhz"]) == (12, 3, 2500)
    assert (row["throttled"], row["memory_stalled"]) == (5000, 7000)
    assert "io_stalled" not in row


@linux
@pytest.mark.parametrize(("flags", "mhz"), [("fpu aperfmperf sse", 1500), ("fpu hypervisor", None)])
def test_a_nominal_frequency_is_no_measurement(tmp_path: Path, flags: str, mhz: int | None) -> None:
    """/proc/cpuinfo counts only where the cores count their cycles; a virtual machine's constant does not."""
    lines = f"cpu MHz\t\t: 1000.4\nflags\t\t: {flags}\ncpu MHz\t\t: 1999.6\nflags\t\t: {flags}\n"
    host = LinuxHost(made_up(tmp_path, {"proc/cpuinfo": lines}), workers=list)
    assert host.read().get("cpu_mhz") == mhz


def test_only_the_cores_that_the_process_may_use_are_counted() -> None:
    """Work on the cores of others is nobody's neighbour; with all cores, or none told, the sum of all counts."""
    lines = ("cpu  111 0 0 9", "cpu0 1 0 0 3", "cpu1 10 0 0 3", "cpu2 100 0 0 3")
    stat = "".join(f"{line} 0 0 0 0 0 0\n" for line in lines).encode() + b"intr 5"
    assert busy_ticks(stat) == busy_ticks(stat, {0, 1, 2}) == 111
    assert busy_ticks(stat, {0, 2}) == 101


def test_time_that_was_stolen_is_busy_and_waiting_for_disks_is_not() -> None:
    """Idle and iowait are left out, guest time is in user already."""
    assert busy_ticks(b"cpu  1 2 4 1000 2000 8 16 32 64 128\ncpu0 9 9 9") == 63
    assert mean_mhz("no such line") == -1


@linux
def test_the_delay_of_a_thread_that_ended_stays_counted(tmp_path: Path) -> None:
    """The run-queue delay never falls."""
    files = {"proc/self/task/1/schedstat": "1 100 1\n", "proc/self/task/2/schedstat": "1 30 1\n"}
    host = LinuxHost(made_up(tmp_path, files), workers=list)
    assert host.read()["run_delay"] == 130
    (tmp_path / "proc/self/task/2/schedstat").unlink()
    (tmp_path / "proc/self/task/2").rmdir()
    found = [host.read() for _ in range(12)][-1]
    assert (found["run_delay"], found["threads"]) == (130, 1)
