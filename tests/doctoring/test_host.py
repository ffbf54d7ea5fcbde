"""The doctor's judgement on made-up machines, and its probing on made-up kernel files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from framepace.doctoring.host import HostState, judge, observe, steal_share, throttled, wake_latency
from framepace.facts.check import Check
from framepace.testing import make_machine
from tests.doubles.machines import CUDA, GPU, made_up

HEALTHY = make_machine(governor="performance", idle_driver="intel_idle", libraries={"onnxruntime": "1.20"})


def check(name: str, machine: dict[str, Any] | None = None, **state: Any) -> Check | None:
    """The check of that name on a healthy machine with these differences."""
    changed = make_machine(
        **{"governor": "performance", "libraries": {"onnxruntime": "1.20"}, **(machine or {})},
    )
    return next((c for c in judge(changed, replace(HostState(), **state)) if c.name == name), None)


def test_a_healthy_machine_has_nothing_to_mend() -> None:
    """No warning, nothing to do."""
    found = list(judge(HEALTHY, HostState()))
    assert {c.state for c in found} == {"ok", "info"}
    assert not any(c.fix for c in found)


BAD: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("frequency governor", {"governor": "powersave"}, {}, "powersave"),
    ("idle states", {"idle_driver": "intel_idle"}, {"wake_latency": 890_000}, "890 us"),
    ("CPU quota", {"cpu_limit": 1.5}, {"throttled": 0.25}, "1.5 of 4 cores, stalled in 25.0% of its periods"),
    ("CPU quota", {"cpu_limit": 2.0}, {}, "2 of 4 cores"),
    ("timer", {}, {"oversleep_p99": 4e6}, "4.00 ms"),
    ("clock", {}, {"clock_read": 1800.0, "clock_source": "hpet"}, "1800 ns, from hpet"),
    ("virtual machine", {"virtual": "QEMU"}, {"steal_share": 0.07}, "7.0%"),
    ("neighbours", {}, {"load": 3.0}, "3.00 on 4 cores"),
    ("free memory", {}, {"memory_free": 1 << 29}, "512.0 MiB"),
    ("swap", {}, {"swap_used": 1 << 30}, "1.0 GiB"),
    ("disk", {}, {"disk_free": 1 << 20}, "1.0 MiB"),
    ("GPU in ONNX Runtime", {"gpus": (GPU,)}, {"providers": ("CPUExecutionProvider",)}, "CPUExecutionProvider"),
    ("ONNX Runtime", {"libraries": {"onnxruntime": "1", "onnxruntime-gpu": "1"}}, {}, "both"),
    ("video decoding", {}, {"codecs": ("h264", "vp9", "mjpeg")}, "without hevc, av1"),
]


@pytest.mark.parametrize(("name", "machine", "seen", "found"), BAD)
def test_what_is_set_wrong_is_said_with_its_reason(name: str, machine: Any, seen: Any, found: str) -> None:
    """The number that was found, and why it matters."""
    wrong = check(name, machine, **seen)
    assert wrong is not None
    assert wrong.state in ("warn", "bad")
    assert found in wrong.found
    assert wrong.why


@pytest.mark.parametrize(("name", "machine", "seen", "found"), BAD)
def test_what_is_set_right_is_not_complained_about(name: str, machine: Any, seen: Any, found: str) -> None:
    """The same check on a healthy machine is silent or in order: it is the difference that it sees."""
    right = check(name)
    assert right is None or right.state in ("ok", "info")


@pytest.mark.parametrize(
    ("name", "machine", "seen"),
    [row[:3] for row in BAD if row[0] in ("frequency governor", "idle states", "clock", "swap")],
)
def test_a_command_that_changes_the_system_can_be_undone(name: str, machine: Any, seen: Any) -> None:
    """Every fix that needs root comes with its undo."""
    wrong = check(name, machine, **seen)
    assert wrong is not None
    assert wrong.fix is not None
    assert "sudo" in wrong.fix
    assert wrong.undo is not None


def test_the_undo_of_the_governor_is_the_one_that_was_found() -> None:
    """Undoing goes back to what the machine had."""
    wrong = check("frequency governor", {"governor": "schedutil"})
    assert wrong is not None
    assert wrong.undo == "sudo cpupower frequency-set -g schedutil"


def test_a_gpu_that_onnx_runtime_uses_is_in_order() -> None:
    """With the CUDA provider there is nothing to say but which GPU it is."""
    machine = {"gpus": (GPU,)}
    assert check("GPU in ONNX Runtime", machine, providers=CUDA) is None
    gpu = check("GPU", machine)
    assert gpu is not None
    assert "T4" in gpu.found


def test_variables_that_move_threads_are_shown() -> None:
    """Each with its value and how to take it back."""
    found = check("OMP_NUM_THREADS", variables={"OMP_NUM_THREADS": "1"})
    assert found == Check(
        name="OMP_NUM_THREADS",
        state="info",
        found="1",
        why="it changes how many threads libraries start, or how they wait",
        fix="unset OMP_NUM_THREADS",
        undo="export OMP_NUM_THREADS=1",
    )


def test_a_free_threaded_python_is_said() -> None:
    """The interpreter lock changes what threads can do."""
    found = check("Python", gil=False)
    assert found is not None
    assert found.found.endswith("free-threaded")


def test_the_deepest_idle_state_that_is_allowed_counts(tmp_path: Path) -> None:
    """Exit latencies are in us; a state that was switched off does not count; without states there is no answer."""
    assert wake_latency(tmp_path) is None
    idle = "sys/devices/system/cpu/cpu0/cpuidle/state"
    files = {f"{idle}{i}/latency": f"{us}\n" for i, us in enumerate((0, 2, 133, 890))}
    assert wake_latency(made_up(tmp_path, files)) == 890_000
    assert wake_latency(made_up(tmp_path, {f"{idle}3/disable": "1\n"})) == 133_000


def test_stalls_of_the_quota_are_a_share_of_its_periods(tmp_path: Path) -> None:
    """nr_throttled over nr_periods, of the group that stalls most."""
    assert throttled(tmp_path) is None
    files = {
        "proc/self/cgroup": "0::/a\n",
        "sys/fs/cgroup/a/cpu.stat": "usage_usec 9\nnr_periods 200\nnr_throttled 50\n",
        "sys/fs/cgroup/cpu.stat": "usage_usec 9\nnr_periods 0\nnr_throttled 0\n",
    }
    assert throttled(made_up(tmp_path, files)) == 0.25


def test_stolen_time_is_a_share_of_all_time() -> None:
    """Guest time, which is in user already, does not count twice; no file, nothing stolen."""
    assert steal_share("cpu  10 0 10 70 0 0 0 10 5 5\ncpu0 1 1 1") == 0.1
    assert steal_share("") == 0.0


def test_looking_at_this_machine_finds_its_timer_and_its_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sleeps end after they are due, reading the clock takes time, the built-in backends are there."""
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    seen = observe(sleeps=10)
    assert 0 < seen.oversleep_p50 <= seen.oversleep_p99
    assert seen.clock_read > 0
    assert seen.variables["OMP_NUM_THREADS"] == "3"
    assert "null" in seen.backends
    assert "CPUExecutionProvider" in seen.providers
    assert seen.disk_free > 0
