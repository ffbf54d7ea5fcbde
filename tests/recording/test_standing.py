"""How devices stand: what NVML says, what the host says, and nothing where nobody says anything."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from framepace.facts.running import DeviceStatus
from framepace.recording.standing import Standing
from tests.doubles.nvml import BUSY, LOST, NVMLError, ScriptedNvml

GPU, OTHER = "0000:19:00.0", "0000:3b:00.0"
WATCHED = {**BUSY, "nvmlDeviceGetName": "H200", "nvmlDeviceGetDecoderUtilization": [34, 166_000]}


class Watch:
    """A clock that is set by hand."""

    time = 0.0

    def __call__(self) -> float:
        """The time in seconds."""
        return self.time


def test_a_gpu_is_what_nvml_says() -> None:
    """Shares from per cent, memory from bytes, power from mW; the host comes after it."""
    with Standing({0: GPU}, ScriptedNvml({GPU: WATCHED}), Watch()) as standing:
        gpu, host = standing.read()
    expected = DeviceStatus(name="H200", use=0.87, decoder_use=0.34, memory_use=3 / 150, clock_mhz=1980, power_w=310.5)
    assert gpu == expected
    assert host.name == "host"
    assert 0 < (host.memory_use or 0) < 1


def test_two_gpus_have_numbers_and_one_that_is_named_twice_is_there_once() -> None:
    """Plans may name a GPU for each model."""
    nvml = ScriptedNvml({GPU: WATCHED, OTHER: WATCHED})
    with Standing({0: GPU, 1: OTHER, 2: GPU}, nvml, Watch()) as standing:
        assert [device.name for device in standing.read()] == ["H200 0", "H200 1", "host"]
    assert nvml.running == 0


def test_what_a_device_does_not_report_is_not_known() -> None:
    """An integrated GPU without a decoder or a power meter; a device that was lost."""
    few = {"nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=5, memory=1), "nvmlDeviceGetName": b"Orin"}
    with Standing({0: GPU}, ScriptedNvml({GPU: few}), Watch()) as standing:
        assert standing.read()[0] == DeviceStatus(name="Orin", use=0.05)

    def lost(*_: object) -> None:
        raise NVMLError(LOST)

    nvml = ScriptedNvml({GPU: WATCHED})
    with Standing({0: GPU}, nvml, Watch()) as standing:
        nvml.devices[GPU] = dict.fromkeys(WATCHED, lost)
        assert standing.read()[0] == DeviceStatus(name="GPU")


def test_without_a_driver_there_is_the_host() -> None:
    """NVML fails to start, or knows no such device."""
    for nvml in (ScriptedNvml(error=9), ScriptedNvml({OTHER: WATCHED})):
        with Standing({0: GPU}, nvml, Watch()) as standing:
            assert [device.name for device in standing.read()] == ["host"]


def test_devices_are_asked_once_per_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many people watch."""
    nvml = ScriptedNvml({GPU: WATCHED})
    watch = Watch()
    with Standing({0: GPU}, nvml, watch) as standing:
        for _ in range(5):
            standing.read()
        assert nvml.calls["nvmlDeviceGetPowerUsage"] == 1
        watch.time = 1.0
        standing.read()
        assert nvml.calls["nvmlDeviceGetPowerUsage"] == 2


def test_the_use_of_the_host_is_that_since_the_last_reading() -> None:
    """A share; a second of pure work by this process is seen as more than nothing."""
    watch = Watch()
    with Standing({}, None, watch) as standing:
        standing.read()
        sum(number * number for number in range(3_000_000))
        watch.time = 1.0
        (host,) = standing.read()
    assert 0 < (host.use or 0) <= 1
