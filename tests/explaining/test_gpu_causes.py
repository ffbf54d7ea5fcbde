"""Causes of a GPU, end to end on the simulated device: what is switched on is named first, else nothing is."""

from __future__ import annotations

from typing import Any

import pytest
from _pytest.mark import ParameterSet

from framepace import api
from framepace.facts.finding import Explanation
from framepace.facts.workload import Closed, Load

PACED: dict[str, Any] = {"fps": 30.0}
IDEAL = {"option.device": "ideal"}


def explained(load: dict[str, Any], settings: dict[str, Any]) -> Explanation:
    """The explanation of a made-up network on the simulated device, in virtual time."""
    chosen = {"backend": "simulated", "spinning": False, **settings}
    return api.explain(load.get("model", "null"), settings=chosen, **{k: v for k, v in load.items() if k != "model"})


def closed(concurrency: int) -> dict[str, Any]:
    """A closed loop."""
    load: Load = Closed(concurrency=concurrency)
    return {"fps": None, "load": load}


CASES: dict[str, tuple[dict[str, Any], dict[str, Any], str, str]] = {
    "a batch that does not suit tensor cores": (
        closed(18),
        {**IDEAL, "batch": 9, "precision": "fp16", "transfer": "device", "option.gflops": 50.0, "option.blocks": 300,
         "option.mbytes": 1.0, "option.weights_mb": 1.0, "option.product_share": 1.0, "option.fp16_multiple": 8,
         "option.uneven_share": 0.5},
        "FP030", "batching",
    ),
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
        {**IDEAL, "transfer": "pageable", "option.pageable_gb_s": 0.2, "option.gflops": 10.0},
        "FP006", "transfer",
    ),
    "memory": (
        PACED,
        {**IDEAL, "option.mbytes": 2000.0, "option.gflops": 0.5, "option.dram_gb_s": 500.0},
        "FP007", "memory bandwidth",
    ),
    "cold caches": (
        PACED,
        {**IDEAL, "option.gflops": 10.0, "option.cold_us": 4000.0, "option.cold_ms": 5.0},
        "FP003", "host",
    ),
    "copies from pageable memory that hide launches": (
        PACED,
        {**IDEAL, "transfer": "pageable", "option.pageable_gb_s": 0.02, "option.gflops": 10.0, "option.launch_us": 1.0},
        "FP006", "transfer",
    ),
    "arithmetic": (
        {"fps": 30.0, "model": "builtin:resnet50@1280x704"},
        {**IDEAL, "option.fp32_tflops": 15.0, "option.fp16_tflops": 60.0, "option.dram_gb_s": 8000.0},
        "FP008", "compute",
    ),
    "a device with room": (
        {"fps": 100.0},
        {**IDEAL, "option.gflops": 40.0, "option.blocks": 40.0},
        "FP009", "under-filled",
    ),
    "nodes on the CPU": (
        PACED,
        {**IDEAL, "option.gflops": 10.0, "option.fallback_share": 0.2},
        "FP016", "host",
    ),
    "shared stream": (
        closed(4),
        {**IDEAL, "workers": 2, "stream": "shared", "option.gflops": 10.0, "option.blocks": 50},
        "FP010", "serialised",
    ),
}  # fmt: skip


# The slowest, and near twins of others: in the long tests.
SLOW = (
    "a batch that does not suit tensor cores",
    "copies",
    "nodes on the CPU",
    "memory",
    "copies from pageable memory that hide launches",
    "cold caches",
    "power",
    "sleeping host",
    "arithmetic",
    "shared stream",
    "a device with room",
)


def cases() -> list[ParameterSet]:
    """The names of all cases, the slow ones marked as long."""
    return [pytest.param(name, marks=(pytest.mark.long,) if name in SLOW else ()) for name in CASES]


@pytest.mark.parametrize("name", cases())
def test_the_cause_that_is_switched_on_is_named_first(name: str) -> None:
    """The worst confirmed finding is the cause that the device was given, and the class says so."""
    load, settings, code, bottleneck = CASES[name]
    found = explained(load, settings)
    assert [finding.code for finding in found.confirmed][:1] == [code]
    assert found.bottleneck == bottleneck


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.long), pytest.param(2, marks=pytest.mark.long)])
def test_a_healthy_device_has_no_cause(seed: int) -> None:
    """Jitter of 2 % and nothing else: no finding is confirmed."""
    found = explained(PACED, {**IDEAL, "option.jitter": 0.02, "option.seed": seed})
    assert found.confirmed == ()
    assert found.bottleneck == "healthy"


@pytest.mark.long
def test_a_lower_clock_and_cold_caches_are_told_apart() -> None:
    """Both are brought back by a heartbeat; each is judged by what the other cannot change, and both are named."""
    clock = {"option.idle_delay_ms": 10.0, "option.idle_mhz": 700, "option.boost_mhz": 1000, "option.fall_ms": 5.0}
    cold = {"option.gflops": 20.0, "option.cold_us": 5000.0, "option.cold_ms": 20.0}
    found = {f.code: f for f in explained(PACED, {**IDEAL, **clock, **cold}).confirmed}
    assert list(found) == ["FP003", "FP001"]
    assert found["FP001"].intervention is not None
    assert found["FP001"].intervention.ratio.value == pytest.approx(0.7, abs=0.03)


@pytest.mark.long
def test_what_each_class_takes_of_the_budget_is_told() -> None:
    """Two causes of two classes: the shares of the frame budget are their worth, worst first."""
    clock = {"option.idle_delay_ms": 10.0, "option.idle_mhz": 600, "option.boost_mhz": 1000, "option.fall_ms": 5.0}
    found = explained(PACED, {**IDEAL, **clock, "option.gflops": 15.0, "option.pinned_gb_s": 0.01})
    assert list(found.shares) == ["transfer", "clocks"]
    evidence = found.confirmed[0].evidence
    assert found.shares["transfer"] == pytest.approx((evidence["h2d_ns"] + evidence["d2h_ns"]) * 30 / 1e9, rel=0.05)


def test_an_explanation_of_a_simulated_device_says_so() -> None:
    """The first note tells that nothing was measured."""
    found = explained({**PACED, "time_limit": 5}, IDEAL)
    assert found.notes[0].startswith("simulated")


@pytest.mark.long
def test_fallen_clocks_come_with_the_command_and_its_undo() -> None:
    """Locking clocks is for a person: the command is told with what takes it back, and not run."""
    remedy = explained(PACED, {"option.device": "t4"}).confirmed[0].remedy
    assert remedy is not None
    assert remedy.command is not None
    assert "lock-gpu-clocks" in remedy.command
    assert remedy.undo == "sudo nvidia-smi --reset-gpu-clocks"
