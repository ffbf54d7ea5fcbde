"""Causes of a GPU, end to end on the simulated device: what is switched on is named first, else nothing is."""

from __future__ import annotations

from typing import Any

import pytest

from framepace import api
from framepace.facts.finding import Explanation
from framepace.facts.workload import Closed, Load

PACED: dict[str, Any] = {"fps": 30.0}
IDEAL = {"option.device": "ideal"}


def explained(load: dict[str, Any], settings: dict[str, Any]) -> Explanation:
    """The explanation of a made-up network on the simulated device, in virtual time."""
    chosen = {"backend": "simulated", "spinning": False, **settings}
    return api.explain("null", settings=chosen, time_limit=200, **load)


def closed(concurrency: int) -> dict[str, Any]:
    """A closed loop."""
    load: Load = Closed(concurrency=concurrency)
    return {"fps": None, "load": load}


CASES: dict[str, tuple[dict[str, Any], dict[str, Any], str, str]] = {
    "clocks": (PACED, {"option.device": "t4"}, "FP001", "clocks"),
    "sleeping host": (PACED, {"option.device": "h200"}, "FP002", "host"),
    "power": (
        closed(1),
        {**IDEAL, "option.gflops": 20.0, "option.dynamic_w": 120.0, "option.idle_w": 20.0,
         "option.power_limit_w": 70.0, "option.base_mhz": 500, "option.idle_mhz": 300, "option.boost_mhz": 1500},
        "FP004", "power",
    ),
    "launches": (
        PACED,
        {**IDEAL, "option.kernels": 300, "option.launch_us": 5.0, "option.gflops": 0.1, "option.kernel_us": 1.0},
        "FP005", "launch",
    ),
    "copies": (
        PACED,
        {**IDEAL, "transfer": "pageable", "option.pageable_gb_s": 1.0, "option.gflops": 1.0},
        "FP006", "transfer",
    ),
    "memory": (
        PACED,
        {**IDEAL, "option.mbytes": 2000.0, "option.gflops": 0.5, "option.dram_gb_s": 500.0},
        "FP007", "memory bandwidth",
    ),
    "shared stream": (
        closed(4),
        {**IDEAL, "workers": 2, "stream": "shared", "option.gflops": 2.5, "option.blocks": 50},
        "FP010", "serialised",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_cause_that_is_switched_on_is_named_first(name: str) -> None:
    """The worst confirmed finding is the cause that the device was given, and the class says so."""
    load, settings, code, bottleneck = CASES[name]
    found = explained(load, settings)
    assert [finding.code for finding in found.confirmed][:1] == [code]
    assert found.bottleneck == bottleneck


@pytest.mark.parametrize("seed", range(3))
def test_a_healthy_device_has_no_cause(seed: int) -> None:
    """Jitter of 2 % and nothing else: no finding is confirmed."""
    found = explained(PACED, {**IDEAL, "option.jitter": 0.02, "option.seed": seed})
    assert found.confirmed == ()
    assert found.bottleneck == "healthy"


def test_an_explanation_of_a_simulated_device_says_so() -> None:
    """The first note tells that nothing was measured."""
    found = explained(PACED, IDEAL)
    assert found.notes[0].startswith("simulated")


def test_fallen_clocks_come_with_the_command_and_its_undo() -> None:
    """Locking clocks is for a person: the command is told with what takes it back, and not run."""
    remedy = explained(PACED, {"option.device": "t4"}).confirmed[0].remedy
    assert remedy is not None
    assert remedy.command is not None
    assert "lock-gpu-clocks" in remedy.command
    assert remedy.undo == "sudo nvidia-smi --reset-gpu-clocks"
