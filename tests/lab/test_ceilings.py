"""The calibration finds what the simulated device was given, and keeps what it found on a real one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from framepace.backends.base import get_backend, register
from framepace.backends.simulated import SimulatedBackend
from framepace.clock.virtual import VirtualClock
from framepace.errors import BackendError
from framepace.facts.bounds import Ceilings
from framepace.facts.plan import ModelPlan
from framepace.lab import ceilings as ceilings_module
from framepace.lab.ceilingmodels import Sizes
from framepace.lab.ceilings import known_ceilings, measure_ceilings
from framepace.simulate.parameters import NetworkModel
from framepace.simulate.presets import preset
from framepace.testing import make_machine
from tests.gpus import has_gpu

MACHINE = make_machine()
NETWORK = NetworkModel()


def simulated(device: str, options: dict[str, Any] | None = None, **fields: Any) -> ModelPlan:
    """A model on a simulated device; what it is does not matter."""
    return ModelPlan(
        name="m", model="null", backend="simulated", options={"device": device, **(options or {})}, **fields
    )


@pytest.mark.parametrize(
    ("device", "precision"),
    [("t4", "fp32"), ("t4", "fp16"), ("t4", "int8"), ("h200", "fp32"), ("h200", "bf16"), ("xavier", "fp32")],
)
def test_peak_and_bandwidth_are_those_the_simulated_device_has(device: str, precision: str) -> None:
    """Within 5 %: peak of the precision x efficiency, and dram_gb_s x dram_efficiency; and those of its copies."""
    truth, found = preset(device), measure_ceilings(simulated(device), [precision], MACHINE)
    assert found.peaks[precision] == pytest.approx(truth.peak(precision) * NETWORK.efficiency, rel=0.05)
    true_bandwidth = pytest.approx(truth.dram_gb_s * 1e9 * NETWORK.dram_efficiency, rel=0.05)
    assert [speed for _, speed in found.bandwidth] == [true_bandwidth] * len(found.bandwidth)
    assert [found.h2d_bytes_s, found.d2h_bytes_s] == [pytest.approx(truth.pinned_gb_s * 1e9, rel=0.05)] * 2


def test_a_kernel_among_others_takes_its_launch_or_its_least_time() -> None:
    """5 us to launch and 2 us at least: 5 us without a graph, 2 us with one."""
    options = {"launch_us": 5.0, "kernel_us": 2.0, "graph_us": 9.0}
    plain, graph = (measure_ceilings(simulated("ideal", options, graph=g), ["fp32"], MACHINE) for g in (False, True))
    assert plain.launch == pytest.approx(5000, rel=0.05)
    assert graph.launch == pytest.approx(2000, rel=0.05)


def test_efficiencies_count_and_what_else_belongs_to_the_model_does_not() -> None:
    """A network made up by options (kernels, failures) is not the calibration's; what it reaches of the peak is."""
    made_up = {"gflops": 500.0, "kernels": 900, "mbytes": 5.0, "blocks": 3.0, "fail_at": 1}
    plain = measure_ceilings(simulated("ideal"), ["fp32"], MACHINE)
    assert measure_ceilings(simulated("ideal", made_up), ["fp32"], MACHINE) == plain
    better = measure_ceilings(simulated("ideal", {"efficiency": 1.0}), ["fp32"], MACHINE)
    assert better.peaks["fp32"] == pytest.approx(2 * plain.peaks["fp32"], rel=0.01)


def test_a_simulated_device_is_asked_each_time() -> None:
    """Nothing of it is kept: another version may simulate it otherwise."""
    measure_ceilings(simulated("ideal"), ["fp32"], MACHINE)
    assert known_ceilings(simulated("ideal"), ["fp32"], MACHINE) is None


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModelPlan:
    """A plan on this CPU, and an empty cache."""
    monkeypatch.setenv("FRAMEPACE_CACHE", str(tmp_path))
    return ModelPlan(name="m", model="m.onnx", threads=1)


def measured(model: ModelPlan, precisions: list[str]) -> Ceilings:
    """A calibration of a few milliseconds."""
    sizes = Sizes(rows=32, width=32, products=2, floats=1024, items=4)
    return measure_ceilings(model, precisions, MACHINE, sizes=sizes, seconds=0.01)


def test_what_was_measured_on_a_cpu_is_known_from_then_on(small: ModelPlan) -> None:
    """Kept by machine, precision and the settings that matter: not by the model."""
    assert known_ceilings(small, ["fp32", "int8"], MACHINE) is None
    found = measured(small, ["int8", "fp32"])
    assert known_ceilings(replace(small, model="other.onnx", name="o"), ["fp32", "int8"], MACHINE) == found
    others = (replace(small, threads=2), ["fp32", "int8"], MACHINE), (small, ["fp32"], MACHINE)
    assert [known_ceilings(*other) for other in others] == [None, None]
    assert known_ceilings(small, ["fp32", "int8"], make_machine(cpu="another")) is None
    assert min(found.launch, *found.peaks.values(), *(speed for _, speed in found.bandwidth)) > 0
    assert [size for size, _ in found.bandwidth] == [8192, 16384, 32768]
    assert found.h2d_bytes_s is None


def test_a_later_calibration_never_lowers_what_was_reached(small: ModelPlan, tmp_path: Path) -> None:
    """A peak that is in the cache stays, however busy the machine is the next time."""
    import msgspec

    found = measured(small, ["fp32"])
    (path,) = tmp_path.glob("ceilings/*.json")
    path.write_bytes(msgspec.json.encode(replace(found, peaks={"fp32": 1e18})))
    assert measured(small, ["fp32"]).peaks == {"fp32": 1e18}
    assert known_ceilings(small, ["fp32"], MACHINE) is not None


def test_a_damaged_file_in_the_cache_is_as_none(small: ModelPlan, tmp_path: Path) -> None:
    """It is measured anew and not fatal."""
    measured(small, ["fp32"])
    (path,) = tmp_path.glob("ceilings/*.json")
    path.write_bytes(path.read_bytes()[:20])
    assert known_ceilings(small, ["fp32"], MACHINE) is None


def test_on_a_cpu_another_backend_is_calibrated_by_onnx_runtime(small: ModelPlan) -> None:
    """Its options are not ONNX Runtime's and do not travel."""
    pytest.importorskip("torch")
    found = measured(replace(small, backend="torch", device="cpu", options={"compile": True}), ["fp32"])
    assert (found.backend, found.device) == ("onnxruntime", "cpu")


class RunsNoOnnx(SimulatedBackend):
    """A library for a GPU that takes other files."""

    name = "runs-no-onnx"

    def takes(self, location: str) -> bool:
        """See Backend."""
        return False


@pytest.fixture
def deaf() -> ModelPlan:
    """A plan on a GPU for a library that does not run the calibration's files."""
    register(RunsNoOnnx)
    return ModelPlan(name="m", model="builtin:classifier", backend=RunsNoOnnx.name, options={"anything": 1})


def test_for_a_library_that_runs_no_onnx_files_another_one_measures_on_its_device(
    deaf: ModelPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first stand-in that runs there, without the options of the library that it stands in for."""
    backends = {"onnxruntime": get_backend("onnxruntime"), "tensorrt": SimulatedBackend(), deaf.backend: RunsNoOnnx()}
    monkeypatch.setattr(ceilings_module, "get_backend", backends.__getitem__)
    found = measure_ceilings(deaf, ["fp32"], MACHINE, VirtualClock())
    assert (found.backend, found.device) == ("tensorrt", "cuda")
    assert found.peaks["fp32"] > 0


@pytest.mark.skipif(has_gpu(), reason="here is a GPU")
def test_where_no_stand_in_runs_the_error_says_which_were_tried(deaf: ModelPlan) -> None:
    """Without a GPU neither runs there, and what is missing is said instead of what PyTorch does not do."""
    assert known_ceilings(deaf, ["fp32"], MACHINE) is None
    with pytest.raises(BackendError, match="of onnxruntime and tensorrt none runs them there"):
        measure_ceilings(deaf, ["fp32"], MACHINE)
