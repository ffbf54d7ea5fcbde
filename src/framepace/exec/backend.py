"""Backend, Session, Worker: the narrow protocol behind which every inference library stands, and the registry.

Life-cycle: `Backend.load` gives a Session (one loaded model); `Session.worker` gives a Worker (own execution context,
own staging buffers), used by one thread only. A Worker has `slots` requests that may be in flight; for each the caller
fills `staging(slot)`, calls `enqueue(slot, count)`, then `wait(slot)`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import entry_points
from typing import Any

from numpy.typing import NDArray

from framepace.errors import BackendError, UsageError, unknown
from framepace.exec.clock import Clock
from framepace.facts.model import ModelSpec
from framepace.facts.plan import ModelPlan

Tensors = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class DeviceTimes:
    """Device durations of one inference in ns, from the device's own clock."""

    h2d: int
    compute: int
    d2h: int


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
        """Host outputs by name of the inference in `slot`; valid until the slot's next `enqueue`."""

    def times(self, slot: int) -> DeviceTimes | None:
        """Device durations of the inference last waited for in `slot`; None where the backend has no device clock."""
        return None

    def close(self) -> None:  # noqa: B027 - most workers hold nothing
        """Free what the worker holds. Idempotent."""


class Session(ABC):
    """One loaded model. `spec` has the shapes as loaded, every dimension an int."""

    spec: ModelSpec
    closed = False

    def worker(self) -> Worker:
        """A new worker; raises BackendError when the session is closed."""
        if self.closed:
            raise BackendError(f"model {self.spec.name!r} is closed", fix="load it again")
        return self._worker()

    def close(self) -> None:
        """Free the model. Idempotent."""
        if not self.closed:
            self.closed = True
            self._close()

    @abstractmethod
    def _worker(self) -> Worker:
        """The steps of `worker`."""

    def _close(self) -> None:  # noqa: B027 - most sessions hold nothing
        """The steps of `close`."""


class Backend(ABC):
    """A library that runs models. `options` names the keys it takes in ModelPlan.options, each with a sentence."""

    name: str
    options: Mapping[str, str] = {}
    simulated: bool = False
    gpu: bool = False

    def load(self, model: ModelPlan, clock: Clock) -> Session:
        """Load `model` as its plan says. Raises BackendError, ModelError or UsageError."""
        for key in model.options:
            if key not in self.options:
                raise unknown(f"option of backend {self.name}", key, self.options or {"(it has none)"})
        return self._load(model, clock)

    @abstractmethod
    def _load(self, model: ModelPlan, clock: Clock) -> Session:
        """The steps of `load`."""

    def versions(self) -> dict[str, str]:
        """Versions of the libraries behind it, by name."""
        return {}


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
