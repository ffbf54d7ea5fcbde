"""NVTX ranges around the stages of each inference, so that NVIDIA's profilers show framepace's names beside kernels.

Workers without `nvtx=on` are not touched: nothing is added to their requests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from framepace.backends.base import Prepare, Tensors, Worker
from framepace.engine.wrapping import WrappedWorker
from framepace.errors import UsageError
from framepace.video.frame import Frame

_DOMAIN = "framepace"
Range = Callable[[], Any]
"""Makes the context manager of one range."""


def in_ranges(name: str, worker: Worker, prepare: Prepare | None) -> tuple[Worker, Prepare | None]:
    """The worker and the preparation of model `name`, with a range around each stage.

    Raises UsageError where the package nvtx is not installed.
    """
    stage = _ranges()
    ranged = RangedWorker(worker, stage(f"infer: launch {name}"), stage(f"infer: wait {name}"))
    if prepare is None:
        return ranged, None
    return ranged, _ranged(prepare, stage(f"prepare {name}"))


def _ranges() -> Callable[[str], Range]:
    """Makes the ranges of one name."""
    try:
        import nvtx
    except ImportError as error:
        fix = "install it: pip install 'framepace[nvtx]', or set nvtx=off"
        raise UsageError("nvtx=on needs the package nvtx, which is not installed", got=error, fix=fix) from error
    domain = nvtx.get_domain(_DOMAIN)

    def named(message: str) -> Range:
        attributes = domain.get_event_attributes(message=message)

        @contextmanager
        def around() -> Iterator[None]:
            domain.push_range(attributes)
            try:
                yield
            finally:
                domain.pop_range()

        return around

    return named


def _ranged(prepare: Prepare, around: Range) -> Prepare:
    def write(frame: Frame, inputs: Tensors, place: int) -> None:
        with around():
            prepare(frame, inputs, place)

    return write


class RangedWorker(WrappedWorker):
    """A worker whose calls are ranges."""

    def __init__(self, worker: Worker, launch: Range, wait: Range) -> None:
        super().__init__(worker)
        self._launch = launch
        self._wait = wait

    def enqueue(self, slot: int, count: int) -> None:
        """See Worker: the range ends when the call returns."""
        with self._launch():
            self.worker.enqueue(slot, count)

    def wait(self, slot: int) -> Tensors:
        """See Worker."""
        with self._wait():
            return self.worker.wait(slot)
