"""The ceilings of a device, measured through the backend that runs the model: peak, bandwidth, launches, copies.

Three small ONNX files are run by the backend's own workers, so that the ceilings are those of what runs: large matrix
products in the precision asked for, an elementwise copy of several sizes, and a chain of tiny products. The best of
several runs counts: a ceiling is what was reached, not what is usual. Kept in the cache, but for simulated devices.
For a backend that runs no ONNX files (PyTorch) another library runs them on the same device.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import fields, replace

from framepace.analyze.bounds import highest
from framepace.backends.base import Backend, DeviceTimes, Worker, get_backend
from framepace.clock.system import Clock
from framepace.errors import BackendError, FramepaceError
from framepace.facts.bounds import Ceilings
from framepace.facts.machine import Machine
from framepace.facts.plan import Batching, ModelPlan, Plan, Prepare
from framepace.lab.ceilingmodels import CHAIN, ON_DEVICE, Sizes, copy, products, sizes_on_cpu
from framepace.measure.session import clock_for
from framepace.simulate.parameters import NetworkModel
from framepace.store import cache
from framepace.units import NS_PER_S

_VERSION = 1  # to be raised when the same device would be measured differently
_SECONDS = 0.25  # of runs, for each number
_MOST_RUNS = 50
_FEWEST_RUNS = 3
_STAND_INS = ("onnxruntime", "tensorrt")  # for a backend that runs no ONNX files, in the order in which they are tried
_OF_ANY_NETWORK = ("efficiency", "dram_efficiency")  # parameters of a simulated network that hold for any network


def known_ceilings(model: ModelPlan, precisions: Iterable[str], machine: Machine) -> Ceilings | None:
    """The ceilings that were measured before for what `model` runs on; None when they were not."""
    kept = (_kept(probe, precisions, machine) for probe in _probes(model))
    return next((ceilings for ceilings in kept if ceilings is not None), None)


def _kept(probe: ModelPlan, precisions: Iterable[str], machine: Machine) -> Ceilings | None:
    """What the calibration of `probe` left in the cache; None without it, or without its library."""
    try:
        path = cache.folder() / _cache_name(probe, precisions, machine)
    except FramepaceError:  # a stand-in that is not installed
        return None
    if get_backend(probe.backend).simulated or not path.is_file():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=Ceilings)
    except (msgspec.MsgspecError, OSError):  # half a file, or of another version: measured anew
        return None


def measure_ceilings(
    model: ModelPlan,
    precisions: Iterable[str],
    machine: Machine,
    clock: Clock | None = None,
    *,
    sizes: Sizes | None = None,
    seconds: float = _SECONDS,
) -> Ceilings:
    """Measure what the device of `model` can do, in about 3 s on a CPU and 5 s on a GPU, and keep it in the cache.

    On a CPU ONNX Runtime measures, whatever the backend, with the model's threads. On a GPU the backend itself does, or
    for one that runs no ONNX files ONNX Runtime or TensorRT. What an earlier calibration reached is never lowered.

    Args:
        sizes: of the models that are run; by default what fills the device.
        seconds: of runs for each number.

    Raises what the backend does; BackendError where no stand-in runs on the device.
    """
    precisions = sorted(set(precisions))
    probe, ceilings = _first_measured(_probes(model), precisions, clock, sizes, seconds)
    if get_backend(probe.backend).simulated:
        return ceilings
    earlier = _kept(probe, precisions, machine)
    if earlier is not None:
        ceilings = highest(ceilings, earlier)
    cache.put(_cache_name(probe, precisions, machine), msgspec.json.encode(ceilings))
    return ceilings


def _first_measured(
    probes: Sequence[ModelPlan], precisions: Iterable[str], clock: Clock | None, sizes: Sizes | None, seconds: float
) -> tuple[ModelPlan, Ceilings]:
    """The first of the plans that runs here, and what it reached. Raises what the only one does."""
    *earlier, last = probes
    for probe in earlier:
        with suppress(FramepaceError):
            return probe, _measured(probe, precisions, clock, sizes or _sizes(probe), seconds)
    try:
        return last, _measured(last, precisions, clock, sizes or _sizes(last), seconds)
    except FramepaceError as error:
        if not earlier:
            raise
        raise _no_stand_in(probes, error) from error


def _no_stand_in(probes: Sequence[ModelPlan], error: FramepaceError) -> BackendError:
    """The failure of all stand-ins, with what the last one said."""
    names = " and ".join(probe.backend for probe in probes)
    problem = f"the peaks of {_device(probes[0])} are measured with ONNX files, and of {names} none runs them there"
    return BackendError(problem, got=error.what, fix="install one of them for this device: onnxruntime-gpu, tensorrt")


def _measured(
    probe: ModelPlan, precisions: Iterable[str], clock: Clock | None, sizes: Sizes, seconds: float
) -> Ceilings:
    clock = clock or clock_for(Plan(models=(probe,)))
    rig = _Rig(get_backend(probe.backend), probe, clock, seconds)
    peaks = {precision: rig.peak(sizes, precision) for precision in precisions}
    bandwidth, copies = rig.copies(sizes)
    return Ceilings(
        backend=probe.backend, device=_device(probe), peaks=peaks, bandwidth=bandwidth, launch=rig.launch(), **copies
    )


def _device(model: ModelPlan) -> str:
    return get_backend(model.backend).device_of(model)


def _sizes(probe: ModelPlan) -> Sizes:
    return sizes_on_cpu(probe.threads) if _device(probe) == "cpu" else ON_DEVICE


def _probes(model: ModelPlan) -> tuple[ModelPlan, ...]:
    """The plans of the calibration, of which the first that runs counts: the model's own backend, or its stand-ins."""
    backend = get_backend(model.backend)
    device = _device(model)
    if device.partition(":")[0] == "cpu":
        return (_probe(model, "onnxruntime", model.device),)
    if backend.takes("ceilings.onnx"):
        return (_probe(model, model.backend, model.device),)
    return tuple(_probe(model, name, device) for name in _STAND_INS)


def _probe(model: ModelPlan, backend: str, device: str | None) -> ModelPlan:
    """The plan of the calibration: device and settings of `model`, and nothing that belongs to its file."""
    options: dict[str, Any] = {}
    if backend == model.backend:
        options = _without_network(model)
    return ModelPlan(
        name="ceilings",
        model="",
        backend=backend,
        device=device,
        threads=model.threads,
        slots=1,
        transfer=model.transfer,
        graph=model.graph,
        sms=model.sms,
        prepare=Prepare(),
        options=options,
    )


def _without_network(model: ModelPlan) -> dict[str, Any]:
    """The options of the backend, without those that describe a simulated network."""
    if not get_backend(model.backend).simulated:
        return dict(model.options)
    of_network = {field.name for field in fields(NetworkModel)} - set(_OF_ANY_NETWORK)
    return {key: value for key, value in model.options.items() if key not in of_network}


def _cache_name(probe: ModelPlan, precisions: Iterable[str], machine: Machine) -> str:
    versions = sorted(get_backend(probe.backend).versions().items())
    parts = (_VERSION, machine.fingerprint, versions, sorted(set(precisions)), msgspec.json.encode(probe))
    return f"ceilings/{cache.key(*parts)}.json"


@dataclass(frozen=True)
class _Rig:
    """A backend with the plan of the calibration; `clock` times the runs where it has no device clock."""

    backend: Backend
    plan: ModelPlan
    clock: Clock
    seconds: float

    def peak(self, sizes: Sizes, precision: str) -> float:
        """Operations per second of large matrix products."""
        # ONNX Runtime computes in the precision that the file is in, the others take it from the plan as well.
        asked = "fp32" if self.plan.backend == "onnxruntime" else precision
        with self._worker(products(sizes, precision), transfer="device", precision=asked) as worker:
            return _per_second(sizes.flops, self._best(worker).compute)

    def copies(self, sizes: Sizes) -> tuple[tuple[tuple[int, float], ...], dict[str, float]]:
        """Bytes per second that a kernel moves, by how many it moves; and those of copies to and from the device."""
        with self._worker(copy(sizes), batch=Batching(max=sizes.items)) as worker:
            times = {sizes.item_bytes * count: self._best(worker, count) for count in _doubling(sizes.items)}
        # A kernel reads and writes; a copy to or from the device moves the tensor once.
        bandwidth = tuple((2 * size, _per_second(2 * size, t.compute)) for size, t in times.items())
        size, largest = max(times.items())
        return bandwidth, _copy_speeds(size, largest)

    def launch(self) -> float:
        """The least time of a kernel among others, ns."""
        with self._worker(products(CHAIN, "fp32"), transfer="device") as worker:
            return self._best(worker).compute / CHAIN.products

    @contextmanager
    def _worker(self, model: Any, **changes: Any) -> Iterator[Worker]:
        with tempfile.TemporaryDirectory(prefix="framepace-") as folder:
            path = Path(folder) / "ceilings.onnx"
            path.write_bytes(model.SerializeToString())
            plan = replace(self.plan, model=str(path), **changes)
            with closing(self.backend.load(plan, self.clock)) as session, closing(session.worker()) as worker:
                worker.prime()
                yield worker

    def _best(self, worker: Worker, count: int = 1) -> DeviceTimes:
        """The shortest of each part over several runs."""
        runs: list[DeviceTimes] = []
        end = self.clock.now() + round(self.seconds * NS_PER_S)
        while len(runs) < _FEWEST_RUNS or (len(runs) < _MOST_RUNS and self.clock.now() < end):
            runs.append(self._times(worker, count))
        return DeviceTimes(
            h2d=max(0, min(run.h2d for run in runs)),
            compute=max(0, min(run.compute for run in runs)),
            d2h=max(0, min(run.d2h for run in runs)),
        )

    def _times(self, worker: Worker, count: int) -> DeviceTimes:
        """One run: the device's own times, or the whole call."""
        began = self.clock.now()
        worker.enqueue(0, count)
        worker.wait(0)
        took = self.clock.now() - began
        return worker.times(0) or DeviceTimes(h2d=0, compute=took, d2h=0)


def _copy_speeds(size: int, times: DeviceTimes) -> dict[str, float]:
    """Bytes per second to and from the device; nothing where nothing is copied."""
    copied = {"h2d_bytes_s": times.h2d, "d2h_bytes_s": times.d2h}
    return {name: _per_second(size, ns) for name, ns in copied.items() if ns > 0}


def _per_second(amount: float, ns: float) -> float:
    return amount / ns * NS_PER_S


def _doubling(largest: int) -> Iterator[int]:
    """1, 2, 4, ... up to `largest`."""
    count = 1
    while count <= largest:
        yield count
        count *= 2
