"""Backend, Session, Worker: the narrow protocol behind which every inference library stands, and the registry.

Life-cycle: `Backend.load` gives a Session (one loaded model); `Session.worker` gives a Worker (own execution context,
own stream, own staging buffers), made and used by one thread only. A Worker has `slots` requests that may be in flight;
for each the caller fills `staging(slot)`, calls `enqueue(slot, count)`, then `wait(slot)`. `Session.preparer` gives the
function that fills the staging from a frame.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import entry_points
from pathlib import PurePath
from typing import Any

from numpy.typing import NDArray

from framepace.backends.outputaxes import output_axes
from framepace.clock.system import Clock
from framepace.errors import BackendError, UsageError, unknown
from framepace.facts.model import Layer, ModelSpec
from framepace.facts.plan import ModelPlan
from framepace.facts.served import ServerCounts
from framepace.models.checked import precision_note
from framepace.models.filling import input_filler
from framepace.models.inputs import made_up_note
from framepace.models.spec import NULL, Resolved, no_network
from framepace.openinference.client.address import is_address
from framepace.progress import Tell, silent
from framepace.video.frame import Frame

Tensors = Mapping[str, NDArray[Any]]
"""Arrays by the name of the model's input or output."""
Prepare = Callable[[Frame, Tensors, int], None]
"""Writes a frame into place `int` of the batch: inputs by name, (batch.max, ...), as `Worker.staging` gives them."""


@dataclass(frozen=True)
class DeviceTimes:
    """Device durations of one inference in ns, from the device's own clock, and when each part began (host clock).

    `paint` is the preparation of its pictures, where the device does it.
    """

    h2d: int
    compute: int
    d2h: int
    h2d_at: int = -1
    compute_at: int = -1
    d2h_at: int = -1
    paint: int = -1
    paint_at: int = -1


class Worker(ABC):
    """One execution context. Not thread-safe: the thread that made it uses it."""

    slots: int = 1

    @abstractmethod
    def staging(self, slot: int) -> Tensors:
        """Host arrays by input name, (batch.max, ...), that the next `enqueue(slot)` reads. Owned by the worker."""

    @abstractmethod
    def enqueue(self, slot: int, count: int) -> None:
        """Start an inference of the first `count` items of `staging(slot)`. A synchronous backend finishes it here.

        Raises BackendError when the library reports a failure; the request is then failed and the slot free.
        """

    @abstractmethod
    def wait(self, slot: int) -> Tensors:
        """Host outputs by name of the inference in `slot`; valid until the slot's next `enqueue`.

        A batched output may have more rows than the inference had items: only the first of them are its answers.
        """

    def preparer(self, model: ModelPlan) -> Prepare | None:
        """What brings frames to the inputs where the worker itself prepares them; None where Session.preparer does.

        Asked for before the first inference: what it brings is not copied from `staging`.
        """
        return None

    def prime(self) -> None:  # noqa: B027 - most workers have nothing to do
        """Do what only the first inference of a slot needs: load kernels, choose algorithms, capture graphs."""

    def times(self, slot: int) -> DeviceTimes | None:
        """Device durations of the inference last waited for in `slot`; None where the backend has no device clock."""
        return None

    def sm_clock(self) -> int:
        """SM clock of the worker's device in MHz, -1 where it has none."""
        return -1

    def select(self, size: tuple[int, int]) -> None:  # noqa: B027 - most workers have one size
        """Make `staging` that of pictures of this (height, width); for sessions that run every picture at its own."""

    def close(self) -> None:  # noqa: B027 - most workers hold nothing
        """Free what the worker holds. Idempotent."""


class Session(ABC):
    """One loaded model.

    Attributes:
        spec: the identity of the model's file, with the shapes as loaded.
        resolved: the inputs as the staging of its workers has them (uint8 where preparation is folded in).
        notes: sentences that a reader of the trace must see.
        gpu: PCI bus id of the device it runs on; None on a CPU.
        placement: number of nodes by where they run ('cuda', 'cpu').
        batch_sizes: the sizes that its workers run (see Backend.batch_sizes); empty: any.
        libraries: versions of the libraries that run it, by name.
        simulated: no model is computed, only time passes.
        output_axes: the batch axis of each output that has one, where a batch has several items. Only along it is an
            output divided among its frames.
        is_native: every picture is run at its own size: `Worker.select` comes before the staging is filled.
        slowest: what its longest inference took while it was loaded, in ns; 0 where none ran.
    """

    spec: ModelSpec
    resolved: Resolved
    notes: tuple[str, ...] = ()
    gpu: str | None = None
    placement: Mapping[str, int] = {}
    batch_sizes: tuple[int, ...] = ()
    libraries: Mapping[str, str] = {}
    simulated: bool = False
    output_axes: Mapping[str, int] = {}
    is_native: bool = False
    slowest: int = 0
    closed: bool = False

    def worker(self, index: int = 0) -> Worker:
        """A new worker for the calling thread; `index` numbers the workers of a run and chooses its share of the SMs.

        Its first inference of each batch size belongs to its set-up: it may capture a graph, and until then no other
        worker of the process may run.

        Raises BackendError when the session is closed.
        """
        if self.closed:
            raise BackendError(f"model {self.spec.name!r} is closed", fix="load it again")
        return self._worker(index)

    def note(self, text: str) -> None:
        """Add a sentence about the model to `notes`, once."""
        noted = f"{self.spec.name}: {text}"
        if noted not in self.notes:
            self.notes = (*self.notes, noted)

    def preparer(self, model: ModelPlan, index: int = 0) -> Prepare:
        """The function that writes frames into the inputs of worker `index`; used by the worker's thread only.

        By default the picture of a frame goes where `model.inputs` and the shapes of the inputs say, as `model.prepare`
        says, and values that change from frame to frame beside it. Raises ModelError for a model that frames bring
        nothing, or inputs that preparation cannot make.
        """
        return input_filler(model, self.resolved)

    def output_shapes(self, count: int) -> Mapping[str, Sequence[int]] | None:
        """The shapes of the outputs for `count` items, by running them; None where that takes too much.

        Raises BackendError when the library fails.
        """
        return None

    def resized(self, model: ModelPlan) -> Session:
        """The same loaded model for pictures of another size, that of `model`; to close it frees nothing.

        Raises UsageError where the library loads a model for one size.
        """
        fix = "--size WIDTHxHEIGHT, such as --size 640x480, or ONNX Runtime on the CPU"
        raise UsageError("this backend runs all pictures at one size", got="size=native", fix=fix)

    def layers(self) -> tuple[Layer, ...]:
        """Durations of each layer alone, from the library's own profiler; empty where it has none. Runs inferences."""
        return ()

    def telemetry(self) -> bytes:
        """New packed rows (facts.trace.TELEMETRY_COLUMNS) of a device that only the backend can see."""
        return b""

    def close(self) -> None:
        """Free the model. Idempotent."""
        if not self.closed:
            self.closed = True
            self._close()

    @abstractmethod
    def _worker(self, index: int) -> Worker:
        """The steps of `worker`."""

    def _close(self) -> None:  # noqa: B027 - most sessions hold nothing
        """The steps of `close`."""


class Backend(ABC):
    """A library that runs models.

    Attributes:
        options: keys that it takes in ModelPlan.options, each with a sentence.
        open_options: how keys begin that are handed to the library as they are, whatever follows.
        simulated: it computes nothing, and runs in virtual time.
        computes: its outputs are those of the model.
        devices: kinds of device that it can run on, its default first.
        remote: somebody else loads and runs the model, on a machine of their own.
        side_by_side: on a GPU the requests of a worker can run at once (`stream` 'slot').
    """

    name: str
    options: Mapping[str, str] = {}
    open_options: tuple[str, ...] = ()
    side_by_side: bool = False
    simulated: bool = False
    devices: tuple[str, ...] = ("cpu",)
    remote: bool = False

    @property
    def computes(self) -> bool:
        """Whether it computes outputs; one that only takes time is never offered instead of one that does."""
        return not self.simulated

    def device_of(self, model: ModelPlan) -> str:
        """The device that a plan asks for, else the backend's default: 'cpu', 'cuda' or 'cuda:N'."""
        return model.device or self.devices[0]

    def is_open(self, key: str) -> bool:
        """Whether an option is handed to the library as it is."""
        return key.startswith(self.open_options)

    def batch_sizes(self, model: ModelPlan) -> tuple[int, ...]:
        """The batch sizes that are set up before the load begins; a batch between two is padded to the larger one.

        Empty where any size runs at once. Elsewhere the first batch of a new size would stall while its graph is
        captured or its algorithms are searched.
        """
        return ()

    def takes(self, location: str) -> bool:
        """Whether it can run this kind of file, judged by the name only."""
        return True

    def is_built(self, location: str) -> bool:
        """Whether this file was built by the library in one precision, so that it holds no FP32 original."""
        return False

    def device_setting(self, device: str) -> str:
        """The setting that the option `--device` stands for: 'device', or an option of the backend."""
        return "device"

    def load(self, model: ModelPlan, clock: Clock, tell: Tell = silent) -> Session:
        """Load `model` as its plan says; `tell` receives the progress of what takes long.

        Raises BackendError, ModelError or UsageError.
        """
        self._check(model)
        session = self._load(model, clock, tell)
        if self.computes:
            said = filter(None, (made_up_note(session.resolved), self._precision_note(model)))
            session.notes = (*session.notes, *(f"{model.name}: {note}" for note in said))
        if model.is_native:
            session = _of_own_sizes(session, model)
        session.libraries = {**session.libraries, **self.versions()}
        session.simulated = self.simulated
        try:
            session.output_axes = output_axes(model, session)
            session.batch_sizes = run_sizes(self, model, session.resolved, session.output_axes)
        except BaseException:
            session.close()
            raise
        return session

    def _precision_note(self, model: ModelPlan) -> str:
        """That a low precision was not checked on frames; of a built engine nobody knows what it was built from."""
        return "" if self.is_built(model.model) else precision_note(model)

    def _check(self, model: ModelPlan) -> None:
        """Raise UsageError for options and devices that the backend does not have."""
        if model.model == NULL and self.computes and not self.remote:
            raise no_network(model)
        for key in model.options:
            if key not in self.options and not self.is_open(key):
                raise unknown(f"option of backend {self.name}", key, self.options or {"(it has none)"})
        kind = self.device_of(model).partition(":")[0]
        if kind not in self.devices:
            raise UsageError(f"backend {self.name} cannot run on {kind}", expected=" or ".join(self.devices))
        if kind == "cpu" and (model.graph or model.sms is not None):
            raise UsageError("graph and sms are settings of a GPU", got=f"{self.name} on the CPU")
        if model.prepare.place == "device" and (kind == "cpu" or self.simulated or self.remote):
            got = f"{self.name} on the CPU" if kind == "cpu" else f"backend {self.name}"
            fix = "--set prepare-place=host, or a GPU: --set device=cuda"
            raise UsageError("prepare-place=device is a setting of a GPU", got=got, fix=fix)

    @abstractmethod
    def _load(self, model: ModelPlan, clock: Clock, tell: Tell) -> Session:
        """The steps of `load`."""

    def counts(self, model: ModelPlan) -> ServerCounts | None:
        """What a server says of the requests of a model so far; None where no server runs it, or it does not say."""
        return None

    def versions(self) -> dict[str, str]:
        """Versions of the libraries behind it, by name."""
        return {}


def _of_own_sizes(session: Session, model: ModelPlan) -> Session:
    """The session for pictures of any size."""
    from framepace.backends.ownsizes import OwnSizes  # which is a Session

    try:
        return OwnSizes(session, model)
    except BaseException:
        session.close()
        raise


def run_sizes(
    backend: Backend, model: ModelPlan, resolved: Resolved, axes: Mapping[str, int] | None = None
) -> tuple[int, ...]:
    """The batch sizes that a model runs; empty: any up to the largest. One without a batch dimension runs whole.

    So does one on a GPU whose batch is not the first axis everywhere: a part of it is not one piece of memory.

    Args:
        axes: the batch axes of the outputs.
    """
    if model.batch.max == 1:
        return ()
    if not resolved.batched:
        return (model.batch.max,)
    on_host = backend.device_of(model) == "cpu"
    if not on_host and not (resolved.in_one_piece and not any((axes or {}).values())):
        return (model.batch.max,)
    return backend.batch_sizes(model)


def padded(count: int, sizes: Sequence[int]) -> int:
    """The size at which `count` frames are run: the smallest of `sizes` (ascending) that holds them."""
    return next((size for size in sizes if size >= count), count)


_BY_SUFFIX = {
    **dict.fromkeys((".pt2", ".pt", ".pth", ".ts", ".torchscript"), "torch"),
    **dict.fromkeys((".engine", ".plan", ".trt"), "tensorrt"),
}


def backend_for(location: str) -> str:
    """The name of the backend that runs a file of this kind, judged by its name."""
    if is_address(location):
        return "server"
    return _BY_SUFFIX.get(PurePath(location).suffix, "onnxruntime")


GROUP = "framepace.backends"
_registered: dict[str, type[Backend]] = {}


def register(backend: type[Backend]) -> type[Backend]:
    """Make a backend available by its name in this process (tests, plug-ins without an entry point)."""
    _registered[backend.name] = backend
    return backend


@lru_cache
def _entry_points() -> dict[str, Any]:
    return {point.name: point for point in entry_points(group=GROUP)}


def backend_names() -> list[str]:
    """Names of backends: installed entry points of the group 'framepace.backends', and registered ones."""
    return sorted({*_entry_points(), *_registered})


def _package(point: Any) -> str:
    """What brings the library of a backend: an extra of framepace, or the plug-in's own distribution."""
    owner = "framepace" if point.dist is None else point.dist.name
    return f"'framepace[{point.name}]'" if owner == "framepace" else f"what {owner} needs"


def get_backend(name: str) -> Backend:
    """The backend of that name. Raises UsageError that lists the names, or says which extra is missing."""
    if name in _registered:
        return _registered[name]()
    points = _entry_points()
    if name not in points:
        raise unknown("backend", name, backend_names())
    try:
        backend: Backend = points[name].load()()
    except ImportError as error:
        fix = f"install it: pip install {_package(points[name])}"
        raise UsageError(f"backend {name!r} needs a library that is not installed", got=error, fix=fix) from error
    return backend
