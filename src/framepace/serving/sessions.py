"""Loaded models whose inputs are filled from requests: tensors by name, in place of a picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.backends.base import Prepare, Session, Tensors, Worker
from framepace.facts.model import Layer
from framepace.facts.plan import ModelPlan
from framepace.models.resolved import Resolved
from framepace.openinference.errors import RequestError
from framepace.serving.request import Item, Ticket
from framepace.serving.sharedmemory import SharedTensor
from framepace.video.frame import Frame


class TensorSession(Session):
    """The same loaded model for frames that carry requests (`request.Item`). Its states are ordinary inputs."""

    def __init__(self, session: Session, now: Callable[[], int]) -> None:
        self._session = session
        self._now = now
        self.spec = session.spec
        self.resolved = dataclasses.replace(session.resolved, states={})
        self.notes = session.notes
        self.gpu = session.gpu
        self.placement = session.placement
        self.batch_sizes = session.batch_sizes
        self.libraries = session.libraries
        self.simulated = session.simulated
        self.output_axes = session.output_axes
        self.slowest = session.slowest

    def preparer(self, model: ModelPlan, index: int = 0) -> Prepare:
        """See Session: the tensors of a request go where their names say."""
        return tensor_writer(self.resolved, self._now)

    def output_shapes(self, count: int) -> Mapping[str, Sequence[int]] | None:
        """See Session."""
        return self._session.output_shapes(count)

    def layers(self) -> tuple[Layer, ...]:
        """See Session."""
        return self._session.layers()

    def telemetry(self) -> bytes:
        """See Session."""
        return self._session.telemetry()

    def _worker(self, index: int) -> Worker:
        return self._session.worker(index)

    def _close(self) -> None:
        self._session.close()


def tensor_writer(resolved: Resolved, now: Callable[[], int]) -> Prepare:
    """The function that writes an item of a request into its place of the batch; notes when it has (`now`, ns)."""
    defaults = {name: value.frames[0] for name, value in resolved.values.items()}

    def write(frame: Frame, inputs: Tensors, place: int) -> None:
        item: Item = frame.picture
        for name, staged in inputs.items():
            into = resolved.item(name, staged, place)
            sent = item.ticket.arrays.get(name)
            if sent is None:
                into[...] = defaults[name]
            else:
                _write(resolved, name, sent, item, into)
        item.ticket.prepared = now()

    return write


def unfit_texts(ticket: Ticket) -> RequestError | None:
    """Make the texts of a request what libraries take, str; what is wrong with one that is no UTF-8."""
    for name, sent in ticket.arrays.items():
        if isinstance(sent, SharedTensor) or sent.dtype.kind != "O":
            continue
        try:
            ticket.arrays[name] = _texts(sent)
        except UnicodeDecodeError as error:
            return RequestError(f"a text of input '{name}' is not UTF-8: {error}")
    return None


def _texts(sent: NDArray[Any]) -> NDArray[Any]:
    """Bytes as str; what another worker made str before stays as it is."""
    texts = np.empty(sent.size, object)
    texts[:] = [value.decode() if isinstance(value, bytes) else value for value in sent.ravel()]
    return texts.reshape(sent.shape)


def _write(resolved: Resolved, name: str, sent: NDArray[Any] | SharedTensor, item: Item, into: NDArray[Any]) -> None:
    if isinstance(sent, SharedTensor):
        _read(sent, resolved.axis(name), item, into)
    else:
        into[...] = resolved.item(name, sent, item.index)


def _read(sent: SharedTensor, axis: int | None, item: Item, into: NDArray[Any]) -> None:
    """Read one item; what cannot be read fails its own request, and not those that share its batch."""
    try:
        sent.read(axis, item.index, into)
    except (RequestError, OSError) as error:
        into.fill(0)
        item.ticket.error = error if isinstance(error, RequestError) else RequestError(str(error))
