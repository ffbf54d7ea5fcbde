"""The backend whose models a server runs: what is measured is the way there, the server and the way back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Annotated, Any

from msgspec import Meta
from msgspec.structs import replace
from numpy.typing import NDArray

from framepace.backends.base import Backend, Session, Tensors, Worker
from framepace.backends.fixedoutputs import fixed_outputs
from framepace.backends.options import checked
from framepace.backends.server.sharedmemory import SharedTensors
from framepace.clock.system import Clock
from framepace.errors import FramepaceError, UsageError
from framepace.facts.base import Fact
from framepace.facts.plan import ModelPlan
from framepace.facts.served import ServerCounts
from framepace.models.inputs import staged
from framepace.models.served import largest_batch
from framepace.models.spec import inspect, resolve
from framepace.openinference.client.address import ServedModel, is_address, served_model
from framepace.openinference.client.model import asked, remote_model
from framepace.openinference.client.remote import RemoteModel
from framepace.patience import patiently
from framepace.progress import Tell

_TIMEOUT_S = 60.0
OPTIONS: Mapping[str, str] = {
    "shared_memory": "true: tensors in shared memory instead of the request; for a server on this machine",
    "timeout_s": "longest wait for an answer",
}


class _Options(Fact, frozen=True, kw_only=True):
    shared_memory: bool = False
    timeout_s: Annotated[float, Meta(gt=0, le=86_400)] = _TIMEOUT_S


class ServerBackend(Backend):
    """Sends each inference to a server by HTTP or gRPC; a worker has one request in flight."""

    name = "server"
    options = OPTIONS
    remote = True

    def takes(self, location: str) -> bool:
        """See Backend: the address of a model."""
        return is_address(location)

    def counts(self, model: ModelPlan) -> ServerCounts | None:
        """See Backend: by the server's statistics."""
        try:
            with asked(served_model(model.model)) as remote:
                return remote.counts()
        except FramepaceError:  # the run itself says what is wrong with the server
            return None

    def _load(self, model: ModelPlan, clock: Clock, tell: Tell) -> Session:
        if not self.takes(model.model):
            fix = "--server http://127.0.0.1:8000 and the name of its model"
            raise UsageError("the backend 'server' runs models of a server only", got=model.model, fix=fix)
        _check_settings(model)
        return _ServerSession(replace(model, options=checked(self.name, _Options, model.options)))


def _check_settings(model: ModelPlan) -> None:
    """Raise UsageError for what only the server can change."""
    settings = {"precision": model.precision != "fp32", "prepare-place": model.prepare.place != "host"}
    settings |= {"shapes": model.graph_shapes != "exported", "threads": model.threads != 0}
    for name, is_set in settings.items():
        if is_set:
            fix = f"leave out {name}, and change it where the server is configured"
            raise UsageError(f"{name} is a setting of who loads the model, here the server", got=model.model, fix=fix)


class _ServerSession(Session):
    def __init__(self, model: ModelPlan) -> None:
        self._plan = model
        spec = inspect(model.model)
        self._served = served_model(model.model)
        self.resolved = resolve(spec, model)
        self._check_batch()
        self.declared_outputs = spec.outputs
        outputs = fixed_outputs(spec.outputs, model.batch.max)
        self.spec = replace(spec, inputs=self.resolved.inputs, outputs=outputs)
        with asked(self._served) as remote:
            server = remote.server()
        self.libraries = {f"server {server.name}".strip(): server.version}

    def output_shapes(self, count: int) -> Mapping[str, Sequence[int]]:
        """See Session."""
        worker = self._worker(0)
        try:
            worker.enqueue(0, count)
            return {name: output.shape for name, output in worker.wait(0).items()}
        finally:
            worker.close()

    def _worker(self, index: int) -> Worker:
        return _ServerWorker(self._plan, self._served, self, index)

    def _check_batch(self) -> None:
        batch = self._plan.batch.max
        if batch == 1:
            return
        largest = largest_batch(self._plan.model)
        if largest is not None and batch > largest:
            fix = f"--set batch={largest}, or a larger max_batch_size there"
            raise UsageError(
                f"the server takes smaller batches of {self._served.name!r}",
                got=batch,
                expected=f"at most {largest}",
                fix=fix,
            )


class _ServerWorker(Worker):
    """One connection, with one request in flight."""

    def __init__(self, model: ModelPlan, served: ServedModel, session: _ServerSession, index: int) -> None:
        self._resolved = session.resolved
        outputs = session.spec.outputs
        self._index = index
        self._names = [tensor.name for tensor in outputs]
        self._remote: RemoteModel = remote_model(served, float(model.options.get("timeout_s", _TIMEOUT_S)))
        self._open = ExitStack()
        self._open.callback(self._remote.close)
        self._shared: SharedTensors | None = None
        if model.options.get("shared_memory"):
            shared = SharedTensors(self._remote, self._resolved, session.declared_outputs, model.batch.max)
            self._shared = self._open.enter_context(shared)
        self._inputs = {tensor.name: self._array(tensor) for tensor in self._resolved.inputs}

    def staging(self, slot: int) -> Tensors:
        return self._inputs

    def enqueue(self, slot: int, count: int) -> None:
        self._remote.send({name: self._resolved.first(name, array, count) for name, array in self._inputs.items()})

    def wait(self, slot: int) -> Tensors:
        shared = {} if self._shared is None else self._shared.outputs
        return self._remote.receive(self._names, shared)

    def prime(self) -> None:
        """See Worker: connect; the first worker sends one request, so that what the server refuses is said at once."""
        self._remote.open()
        if self._index == 0:
            patiently(self._ask)

    def _ask(self) -> Tensors:
        self.enqueue(0, 1)
        return self.wait(0)

    def close(self) -> None:
        self._open.close()

    def _array(self, tensor: Any) -> NDArray[Any]:
        array = staged(self._resolved, tensor)
        if self._shared is None:
            return array
        place = self._shared.inputs[tensor.name]
        place[...] = array
        return place
