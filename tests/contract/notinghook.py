"""A finish hook whose process says something of its model after it was loaded: when a worker is made, and in a run.

Importing it changes sessions, in processes of an engine's alone: those of the tests' own stay as they are.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping
from typing import Any

from framepace.backends.base import Session, Worker

SET_UP = "prepared on the host, because a test says so"
IN_RUN = "only the kernels are a CUDA graph, because a test says so"
_made = Session.worker


def ignore(model: str, outputs: Mapping[str, Any], frame: int) -> None:
    """Do nothing."""


def _noting(self: Session, index: int = 0) -> Worker:
    """A worker that notes its making, and its inferences."""
    worker = _made(self, index)
    wait = worker.wait

    def noted(slot: int) -> Any:
        self.note(IN_RUN)
        return wait(slot)

    worker.wait = noted  # type: ignore[method-assign]
    self.note(SET_UP)
    return worker


if multiprocessing.parent_process() is not None:
    Session.worker = _noting  # type: ignore[method-assign]
