"""What is told of a GPU: rows of the terminal and the report, from made-up traces."""

from __future__ import annotations

from typing import Any

import numpy as np

from framepace.analyze.summary import summarize
from framepace.facts.model import Layer
from framepace.facts.plan import ModelPlan, Plan
from framepace.facts.trace import Trace
from framepace.reporting.views.device import device_rows, layer_rows
from framepace.reporting.views.measurement import summary_view
from framepace.testing import make_trace

US = 1000


def gpu_trace() -> Trace:
    """Twenty requests, one every 10 ms: 100 us in, 500 us of kernels, 50 us out, 20 us of host."""
    due = 1_000_000_000 + np.arange(20) * 10_000_000
    device: dict[str, Any] = {
        "started": due, "enqueued": due + 10 * US, "finished": due + 670 * US, "delivered": due + 670 * US,
        "h2d": 100 * US, "compute": 500 * US, "d2h": 50 * US,
        "h2d_at": due + 10 * US, "compute_at": due + 110 * US, "d2h_at": due + 610 * US,
        "sm_clock_before": 1980, "sm_clock_after": 1980,
    }  # fmt: skip
    times = np.arange(20) * 10_000_000 + 1_000_000_000
    telemetry: dict[str, Any] = {
        "time": times, "device": 0, "sm_clock_mhz": 1980, "power_mw": 312_000, "temperature_c": 41,
        "event_reasons": np.where(np.arange(20) < 5, 4, 0), "sm_activity": 620, "dram_activity": 80,
        "pcie_generation": 5, "pcie_lanes": 16, "energy_mj": np.arange(20) * 1000,
    }  # fmt: skip
    plan = Plan(models=(ModelPlan(name="model", model="m.onnx", backend="tensorrt", device="cuda"),))
    return make_trace(np.full(20, 670 * US), due=due, columns=device, telemetry=telemetry, plan=plan)


def test_the_parts_of_an_inference_add_up_to_it() -> None:
    """Copy in, kernels, copy out and the host's rest are told, and their sum is the stage 'infer'."""
    frames = summarize(gpu_trace()).frames
    assert frames.parts == {"h2d": 100 * US, "compute": 500 * US, "d2h": 50 * US, "host": 20 * US}
    infer = next(stage for stage in frames.stages if stage.name == "infer")
    assert sum(frames.parts.values()) == infer.mean


def test_clock_power_activity_and_link_are_told() -> None:
    """One line each, with the numbers of the telemetry and the bytes of the model over the copy's time."""
    rows = dict(device_rows(summarize(gpu_trace())))
    assert rows["device clock"] == "SM 1,980 MHz, limited by software power cap 25.0 % of the time"
    assert rows["device power"].startswith("312 W, ")
    assert rows["device activity"] == "SM 62 %, DRAM 8 %"
    assert rows["device copies"] == "in 0.492 GB/s, out 0.00032 GB/s of 63 GB/s that PCIe 5.0 x16 carries"
    assert rows["device time"].startswith("busy 5.2")


def test_a_trace_of_a_cpu_says_nothing_of_devices() -> None:
    """Without device times there are no parts and no devices."""
    summary = summarize(make_trace(np.full(20, 670 * US)))
    assert summary_view(summary).devices == ()
    assert summary.frames.parts == {}


def test_the_slowest_layers_come_first_with_their_share() -> None:
    """Times in order, shares of the sum of all; layers without a time come last."""
    layers = [Layer(name="a", time=1e5), Layer(name="b", time=3e5, kind="Conv", precision="fp16"), Layer(name="c")]
    rows = layer_rows(layers, 3)
    assert [row[0] for row in rows] == ["b", "a", "c"]
    assert rows[0][1:] == ("Conv fp16", "", "300 us", "75.0 %")
