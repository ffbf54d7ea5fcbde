"""A request on its way through the engine: what a frame carries in place of a picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any, NamedTuple

import numpy as np
from msgspec import Struct, field
from numpy.typing import NDArray

from framepace.openinference.errors import RequestError
from framepace.openinference.messages import Parameter, Wanted
from framepace.serving.sharedmemory import SharedTensor

HIGHEST_PRIORITY = 1
USUAL_PRIORITY = 5
LOWEST_PRIORITY = 100


class Asking(NamedTuple):
    """What admission knows of a request; `latest` is when it must be answered here (ns), None: at any time."""

    items: int
    client: str
    priority: int
    latest: int | None


class Ticket(Struct, eq=False):
    """A request that was accepted.

    Attributes:
        items: along the batch axis; each is a frame.
        deadline: when it must be answered (ns), None: at any time.
        latest: when it must be answered by the engine, so that its way back is in time (ns); None: at any time.
        arrived, taken, prepared, inferred, answered: times in ns.
        done: called once, from any thread, when it was answered or has failed (see `finish`).
    """

    arrays: dict[str, NDArray[Any] | SharedTensor]
    items: int
    wanted: Sequence[Wanted]
    done: Callable[[Ticket], None]
    client: str = ""
    priority: int = USUAL_PRIORITY
    deadline: int | None = None
    latest: int | None = None
    id: str = ""
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    arrived: int = 0
    taken: int = 0
    prepared: int = 0
    inferred: int = 0
    answered: int = 0
    batch: int = 0
    outputs: dict[str, NDArray[Any]] = field(default_factory=dict)
    error: RequestError | None = None
    pictures: dict[int, Any] = field(default_factory=dict)  # decoded, by the number of the item
    places: list[tuple[int, int]] = field(default_factory=list)  # (deadline, number) of its items where they wait
    finished: count[int] = field(default_factory=count)

    def keep(self, name: str, output: NDArray[Any], index: int, axis: int | None) -> None:
        """Keep an output of item `index`: the array is the library's, and is used again."""
        if axis is None or self.items == 1:
            self.outputs[name] = np.array(output)
            return
        whole = self.outputs.get(name)
        if whole is None:
            shape = list(output.shape)
            shape[axis] = self.items
            whole = self.outputs.setdefault(name, np.empty(shape, output.dtype))
        whole[(*(slice(None),) * axis, slice(index, index + 1))] = output

    def finish(self) -> None:
        """Tell who waits for it, and forget them.

        They know it, too: a cycle would keep its tensors until Python looks for cycles, which it does seldom.
        """
        done = self.done
        self.done = _nobody
        done(self)

    def pop_error(self) -> RequestError:
        """What is wrong with a request that has failed, to be raised: it keeps what led to it then, this ticket too."""
        assert self.error is not None
        error = self.error
        self.error = None
        return error

    def item_done(self) -> bool:
        """Note that an item was delivered; true for the last one. Counting is atomic in CPython."""
        return next(self.finished) == self.items - 1


def _nobody(ticket: Ticket) -> None:
    """Who waits for a request that is done."""


class Item(Struct, frozen=True, eq=False):
    """One item of a request: what a frame carries."""

    ticket: Ticket
    index: int
