"""GPU telemetry on a scripted NVML."""

from __future__ import annotations

import math
import threading
from typing import Any

import pytest

from framepace.devices.nvml import find
from framepace.facts.trace import TELEMETRY_COLUMNS
from framepace.recording.gpm import INTERVAL_NS, open_gpm
from framepace.recording.gpu import NvmlSampler, Throughput, gpu_samplers
from framepace.recording.telemetry import Telemetry
from framepace.store import rows_to_columns
from tests.doubles.nvml import BUSY, LOST, Activity, Clock, NVMLError, ScriptedNvml

FIRST, SECOND = "0000:19:00.0", "0000:3b:00.0"


def sampler(nvml: ScriptedNvml, clock: Clock | None = None) -> NvmlSampler:
    """A sampler of the first device, number 0."""
    return NvmlSampler(nvml, FIRST, 0, clock or Clock())


@pytest.mark.parametrize("name", [FIRST, "GPU-0000-19-00.0", "0000-19-00.0", "MIG-0000:19:00.0"])
def test_a_device_is_found_by_what_cuda_calls_it(name: str) -> None:
    """PCI bus id, UUID with and without its prefix, and a MIG instance as the GPU it is a part of."""
    assert find(ScriptedNvml({SECOND: {}, FIRST: {}}), name) == FIRST


def test_numbers_are_the_callers_and_not_those_of_nvml() -> None:
    """CUDA's second device may be NVML's first: the key is the telemetry's number."""
    nvml = ScriptedNvml({FIRST: BUSY, SECOND: {**BUSY, "nvmlDeviceGetPowerUsage": 70_000}})
    both = gpu_samplers({0: SECOND, 1: FIRST}, nvml)
    second = gpu_samplers({1: SECOND}, nvml)
    assert [(s.device, s.read()["power_mw"]) for s in both] == [(0, 70_000), (1, 310_500)]
    assert [(s.device, s.read()["power_mw"]) for s in second] == [(1, 70_000)]
    for s in both + second:
        s.close()


def test_what_is_not_there_is_not_sampled() -> None:
    """Unknown devices are left out, one that is named twice is sampled once, and no driver means no samplers."""
    nvml = ScriptedNvml({FIRST: BUSY})
    found = gpu_samplers({0: "0000:ff:00.0", 1: FIRST, 2: f"GPU-{FIRST.replace(':', '-')}"}, nvml)
    assert [s.device for s in found] == [1]
    found[0].close()
    assert gpu_samplers({0: FIRST}, ScriptedNvml(error=9)) == []


def test_every_start_of_the_library_is_undone() -> None:
    """NVML counts starts: after the last sampler is closed, twice even, none is left."""
    nvml = ScriptedNvml({FIRST: BUSY, SECOND: BUSY})
    found = gpu_samplers({0: FIRST, 1: SECOND, 2: "0000:ff:00.0"}, nvml)
    assert nvml.running == 2
    for s in found * 2:
        s.close()
    assert nvml.running == 0


def test_a_row_has_what_the_device_says() -> None:
    """Every column in its unit; KB/s of PCIe traffic become bytes, 'received' is what goes to the device."""
    gpu = sampler(ScriptedNvml({FIRST: BUSY}))
    assert gpu.read() == {
        "sm_clock_mhz": 1980,
        "memory_clock_mhz": 2619,
        "power_mw": 310_500,
        "event_reasons": 4,
        "energy_mj": 5_000_000_000,
        "temperature_c": 61,
        "pcie_generation": 5,
        "pcie_lanes": 16,
        "utilisation": 87,
        "device_memory_bytes": 3 << 30,
        "pcie_rx_bytes_s": 9_000_000,
        "pcie_tx_bytes_s": 2_000_000,
    }
    assert gpu.read().keys() <= TELEMETRY_COLUMNS.keys()
    gpu.close()


def test_what_a_device_does_not_tell_is_left_out() -> None:
    """A device that knows its clock alone (and does not support a thing beside it) is sampled for that."""
    gpu = sampler(ScriptedNvml({FIRST: {"nvmlDeviceGetClockInfo": {1: 1300, 2: 900}}}))
    assert gpu.read() == {"sm_clock_mhz": 1300, "memory_clock_mhz": 900}
    gpu.close()


def test_an_older_driver_gives_the_reasons_by_their_older_name() -> None:
    """Where the C library has no 'clocks event reasons' there are 'clocks throttle reasons'."""
    nvml = ScriptedNvml({FIRST: {**BUSY, "nvmlDeviceGetCurrentClocksThrottleReasons": 0x40}})
    nvml.absent = {"nvmlDeviceGetCurrentClocksEventReasons"}
    gpu = sampler(nvml)
    assert gpu.read()["event_reasons"] == 0x40
    gpu.close()


def test_dear_readings_come_five_times_a_second_and_are_held_in_between() -> None:
    """In a second of samples every 10 ms, memory is asked for five times, and every row has it."""
    nvml, clock = ScriptedNvml({FIRST: BUSY}), Clock()
    gpu = sampler(nvml, clock)
    rows = []
    for _ in range(100):
        rows.append(gpu.read())
        clock.pass_ms(10)
    assert nvml.calls["nvmlDeviceGetMemoryInfo"] == 5
    assert all(row["device_memory_bytes"] == 3 << 30 for row in rows)
    gpu.close()


def test_a_clock_that_moves_is_seen_at_once() -> None:
    """Clock and power are never held."""
    nvml, clocks = ScriptedNvml({FIRST: BUSY}), {1: 1980, 2: 2619}
    nvml.devices[FIRST]["nvmlDeviceGetClockInfo"] = clocks
    gpu = sampler(nvml)
    assert gpu.read()["sm_clock_mhz"] == 1980
    clocks[1] = 345
    assert gpu.read()["sm_clock_mhz"] == 345
    gpu.close()


def test_a_device_that_is_lost_ends_its_sampling_with_a_reason() -> None:
    """The telemetry goes on without it and can say why; NVML is let go."""
    nvml = ScriptedNvml({FIRST: BUSY})
    gpu = sampler(nvml)
    rows: list[bytes] = []
    with Telemetry(rows.append, 60.0, [gpu]) as telemetry:

        def lost(*_: Any) -> int:
            raise NVMLError(LOST)

        nvml.devices[FIRST] = dict.fromkeys(BUSY, lost)
        telemetry.sample()
    assert len(rows) == 1
    assert telemetry.failures == {"NvmlSampler": "RuntimeError: the GPU no longer answers"}
    assert nvml.running == 0


def test_of_two_lost_devices_both_are_named() -> None:
    """The second does not hide the first."""
    nvml = ScriptedNvml({FIRST: BUSY, SECOND: BUSY})
    with Telemetry(lambda row: None, 60.0, gpu_samplers({0: FIRST, 1: SECOND}, nvml)) as telemetry:
        nvml.devices = {FIRST: {}, SECOND: {}}
        telemetry.sample()
    assert list(telemetry.failures) == ["NvmlSampler", "NvmlSampler (device 1)"]


def test_a_gpu_sets_the_pace_and_the_host_keeps_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a GPU at a period of 1 ms and a host at 4 ms, the host is read at every fourth sample of the GPU."""
    monkeypatch.setattr(NvmlSampler, "period", 0.001)
    rows: list[int] = []
    enough = threading.Event()

    class Host:
        device = -1
        period: float | None = None

        def read(self) -> dict[str, int]:
            return {}

        def close(self) -> None:
            pass

    def sink(row: bytes) -> None:
        rows.append(int(rows_to_columns("telemetry", row)["device"][0]))
        if len(rows) >= 2 + 5 * 5:
            enough.set()

    with Telemetry(sink, 0.004, [Host(), sampler(ScriptedNvml({FIRST: BUSY}))]):
        assert enough.wait(20)
    assert rows[:27] == [-1, 0, *[0, 0, 0, -1, 0] * 5]


def test_the_product_samples_a_gpu_a_hundred_times_a_second_and_the_host_fifty() -> None:
    """The periods as they are shipped."""
    from framepace.recording.telemetry import PERIOD_S

    assert (NvmlSampler.period, PERIOD_S) == (0.01, 0.02)


def with_activity(metrics: dict[int, float] | None = None) -> tuple[ScriptedNvml, Activity]:
    """A device that has GPM."""
    activity = Activity(metrics or {2: 41.26, 5: 12.5, 10: 66.0, 20: 3.0, 21: 1500.5})
    return activity.give_to(ScriptedNvml({FIRST: BUSY}), FIRST), activity


def test_activity_is_in_per_mille_and_traffic_in_bytes() -> None:
    """Per cent times ten and MiB/s times 2^20; nothing before a whole interval has passed."""
    nvml, _ = with_activity()
    clock = Clock()
    gpm = open_gpm(nvml, FIRST, clock)
    assert gpm is not None
    assert gpm.read() == {}
    clock.pass_ms(120)
    assert gpm.read() == {
        "sm_activity": 413,
        "tensor_activity": 125,
        "dram_activity": 660,
        "pcie_rx_bytes_s": round(1500.5 * 2**20),
        "pcie_tx_bytes_s": 3 << 20,
    }
    gpm.close()


def test_activity_is_of_intervals_that_follow_each_other() -> None:
    """Each interval begins where the one before ended and is longer than the 100 ms that the device needs."""
    nvml, activity = with_activity()
    clock = Clock()
    gpm = open_gpm(nvml, FIRST, clock)
    assert gpm is not None
    for _ in range(100):
        clock.pass_ms(10)
        activity.now = clock.time
        gpm.read()
    gpm.close()
    assert len(activity.taken) == 8
    assert all(end - begin >= INTERVAL_NS > 100_000_000 for begin, end in activity.taken[1:])
    assert all(a[1] == b[0] for a, b in zip(activity.taken, activity.taken[1:], strict=False))
    assert activity.open == 0


def test_a_metric_that_a_device_has_not_is_left_out() -> None:
    """As is one that is no number."""
    nvml, _ = with_activity({2: 50.0, 5: math.nan})
    clock = Clock()
    gpm = open_gpm(nvml, FIRST, clock)
    assert gpm is not None
    clock.pass_ms(200)
    assert gpm.read() == {"sm_activity": 500}
    gpm.close()


def test_counters_that_are_taken_away_come_back() -> None:
    """While sampling fails nothing is held that is no longer true; it goes on when the counters are there again."""
    nvml, activity = with_activity()
    clock = Clock()
    gpm = open_gpm(nvml, FIRST, clock)
    assert gpm is not None
    found = []
    for failing in (False, True, False):
        activity.failing = failing
        clock.pass_ms(130)
        found.append("sm_activity" in gpm.read())
    assert found == [True, False, True]
    gpm.close()


@pytest.mark.parametrize("why", ["no such function", "not this device", "not allowed"])
def test_without_activity_counters_there_is_the_slow_way(why: str) -> None:
    """Older GPUs, and those in MIG mode: PCIe traffic then comes from NVML, and buffers are given back."""
    nvml, activity = with_activity()
    if why == "no such function":
        del nvml.devices[FIRST]["nvmlGpmQueryDeviceSupport"]
    elif why == "not this device":
        nvml.devices[FIRST]["nvmlGpmQueryDeviceSupport"].isSupportedDevice = 0
    else:
        activity.failing = True
    gpu = sampler(nvml)
    row = gpu.read()
    assert "sm_activity" not in row
    assert row["pcie_rx_bytes_s"] == 9_000_000
    gpu.close()
    assert activity.open == 0


def test_with_activity_counters_nothing_blocks() -> None:
    """The call that takes 20 ms is not made where GPM tells the same."""
    nvml, _ = with_activity()
    clock = Clock()
    gpu = sampler(nvml, clock)
    gpu.read()
    clock.pass_ms(500)
    assert gpu.read()["pcie_rx_bytes_s"] == round(1500.5 * 2**20)
    gpu.close()
    assert nvml.calls["nvmlDeviceGetPcieThroughput"] == 0


def test_traffic_is_read_on_a_thread_of_its_own() -> None:
    """New figures arrive without anybody asking for them, and closing ends the thread."""
    read, nvml = threading.Event(), ScriptedNvml({FIRST: BUSY})
    figures = iter(range(1, 10**6))

    def throughput(handle: str, kind: int) -> int:
        value = next(figures)
        if value > 6:
            read.set()
        return value

    nvml.devices[FIRST]["nvmlDeviceGetPcieThroughput"] = throughput
    traffic = Throughput(nvml, FIRST, period=0.001)
    assert read.wait(20)
    traffic.close()
    assert traffic.last["pcie_tx_bytes_s"] >= 6_000
    assert not any(thread.name == "pcie-throughput" for thread in threading.enumerate())
