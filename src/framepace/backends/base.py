"""Backend, Session, Worker: the narrow protocol behind which every inference library stands, and the registry.

Life-cycle: `Backend.load` gives a Session (one loaded model); `Session.worker` gives a Worker (own execution context,
own stream, own staging buffers), made and used by one thread only. A Worker has `slots` requests that may be in flight;
for each the caller fills `staging(slot)`, calls `enqueue(slot, count)`, then `wait(slot)`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import entry_points
from typing import Any

from numpy.typing import NDArray

from framepace.clock.system import Clock
from framepace.errors import BackendError, UsageError, unknown
from framepace.facts.model import Layer, ModelSpec
from framepace.facts.plan import ModelPlan
from framepace.models.spec import Resolved
from framepace.progress import Tell, silent

Tensors = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class DeviceTimes:
    """Device durations of one inference in ns, from the device's own clock, and when each part began (host clock)."""

    h2d: int
    compute: int
    d2h: int
    h2d_at: int = -1
    compute_at: int = -1
    d2h_at: int = -1


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

    def prime(self) -> None:  # noqa: B027 - most workers have nothing to do
        """Do what only the first inference of a slot needs: load kernels, choose algorithms, capture graphs."""

    def times(self, slot: int) -> DeviceTimes | None:
        """Device durations of the inference last waited for in `slot`; None where the backend has no device clock."""
        return None

    def sm_clock(self) -> int:
        """SM clock of the worker's device in MHz, -1 where it has none."""
        return -1

    def close(self) -> None:  # noqa: B027 - most workers hold nothing
        """Free what the worker holds. Idempotent."""


class Session(ABC):
    """One loaded model.

    `spec` is the identity of the model's file with the shapes as loaded; `resolved` the inputs as the worker's staging
    has them (uint8 where preparation is folded in). `notes` are sentences a reader of the trace must see; `gpu` is the
    PCI bus id of the device it runs on, None on a CPU; `placement` counts nodes by where they run ('cuda', 'cpu').
    `batch_sizes` are those that its workers run (see Backend.batch_sizes); empty: any.
    """

    spec: ModelSpec
    resolved: Resolved
    notes: tuple[str, ...] = ()
    gpu: str | None = None
    placement: Mapping[str, int] = {}
    batch_sizes: tuple[int, ...] = ()
    closed = False

    def worker(self, index: int = 0) -> Worker:
        """A new worker for the calling thread; `index` numbers the workers of a run (which share of the SMs it gets).

        Raises BackendError when the session is closed.
        """
        if self.closed:
            raise BackendError(f"model {self.spec.name!r} is closed", fix="load it again")
        return self._worker(index)

    def layers(self) -> tuple[Layer, ...]:
        """What each layer takes alone, from the library's own profiler; none where it has none. Runs inferences."""
        return ()

    def telemetry(self) -> bytes:
        """Packed rows (facts.trace.TELEMETRY_COLUMNS) of a device that only the backend can see, since last asked."""
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
    """A library that runs models. `options` names the keys it takes in ModelPlan.options, each with a sentence.

    `devices` are the kinds of device it can run on, the one it takes by itself first.
    """

    name: str
    options: Mapping[str, str] = {}
    simulated: bool = False
    devices: tuple[str, ...] = ("cpu",)

    def batch_sizes(self, model: ModelPlan) -> tuple[int, ...]:
        """The batch sizes that are set up before the load begins; a batch between two is padded to the larger one.

        Empty where any size runs at once: what a new size takes (capturing a graph, searching for algorithms) would
        otherwise be a stall of its first frame.
        """
        return ()

    def takes(self, location: str) -> bool:
        """Whether it can run this kind of file, by its name alone."""
        return True

    def load(self, model: ModelPlan, clock: Clock, tell: Tell = silent) -> Session:
        """Load `model` as its plan says, telling `tell` what takes long.

        Raises BackendError, ModelError or UsageError.
        """
        for key in model.options:
            if key not in self.options:
                raise unknown(f"option of backend {self.name}", key, self.options or {"(it has none)"})
        kind = (model.device or self.devices[0]).partition(":")[0]
        if kind not in self.devices:
            raise UsageError(f"backend {self.name} cannot run on {kind}", expected=" or ".join(self.devices))
        if kind == "cpu" and (model.graph or model.sms is not None):
            raise UsageError("graph and sms are settings of a GPU", got=f"{self.name} on the CPU")
        session = self._load(model, clock, tell)
        session.batch_sizes = run_sizes(self, model, session.resolved)
        return session

    @abstractmethod
    def _load(self, model: ModelPlan, clock: Clock, tell: Tell) -> Session:
        """The steps of `load`."""

    def versions(self) -> dict[str, str]:
        """Versions of the libraries behind it, by name."""
        return {}


def run_sizes(backend: Backend, model: ModelPlan, resolved: Resolved) -> tuple[int, ...]:
    """The batch sizes that a model is run at; empty: any up to the largest. One without a batch runs whole."""
    if model.batch.max == 1:
        return ()
    return backend.batch_sizes(model) if resolved.batched else (model.batch.max,)


def padded(count: int, sizes: Sequence[int]) -> int:
    """The size at which `count` frames are run: the smallest of `sizes` (ascending) that holds them."""
    return next((size for size in sizes if size >= count), count)


GROUP = "framepace.backends"
_registered: dict[str, type[Backend]] = {}


def register(backend: type[Backend]) -> type[Backend]:
    """Make a backend known by its name in this process (tests, plug-ins without an entry point)."""
    _registered[backend.name] = backend
    return backend


@lru_cache
def _entry_points() -> dict[str, Any]:
    return {point.name: point for point in entry_points(group=GROUP)}


def backend_names() -> list[str]:
    """Known backends: installed entry points of the group 'framepace.backends', and registered ones."""
    return sorted({*_entry_points(), *_registered})


def get_backend(name: str) -> Backend:
    """The backend of that name. Raises UsageError listing the known ones, or saying which extra is missing."""
    if name in _registered:
        return _registered[name]()
    points = _entry_points()
    if name not in points:
        raise unknown("backend", name, backend_names())
    try:
        backend: Backend = points[name].load()()
    except ImportError as error:
        fix = f"install it: pip install 'framepace[{name}]'"
        raise UsageError(f"backend {name!r} needs a library that is not installed", got=error, fix=fix) from error
    return backend
