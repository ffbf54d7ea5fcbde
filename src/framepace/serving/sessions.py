"""Loaded models whose inputs are filled from requests: tensors by name, in place of a picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from framepace.backends.base import Prepare, Session, Tensors, Worker
from framepace.facts.model import Layer
from framepace.facts.plan import ModelPlan
from framepace.models.resolved import Resolved
from framepace.serving.request import Item
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
    item_of = resolved.item

    def write(frame: Frame, inputs: Tensors, place: int) -> None:
        item: Item = frame.picture
        sent = item.ticket.arrays
        for name, staged in inputs.items():
            value = item_of(name, sent[name], item.index) if name in sent else defaults[name]
            item_of(name, staged, place)[...] = value
        item.ticket.prepared = now()

    return write
