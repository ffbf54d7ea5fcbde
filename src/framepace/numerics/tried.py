"""What was tried, in numbers: per set of nodes that were low, and frame. In the cache, so that a search goes on."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import msgspec

from framepace.analyze.agreement import FrameNumbers
from framepace.errors import StoreError
from framepace.models.convert.int8ranges import inputs_key
from framepace.numerics.inputs import Inputs
from framepace.numerics.switched import Network
from framepace.store import cache

_VERSION = 1  # part of the name in the cache: raise it when the same trial would give other numbers
_RUNS_BETWEEN = 100  # a process that is killed loses so many


class OnFrame(msgspec.Struct, frozen=True, array_like=True):
    """How far one frame's outputs are off, by name, and the score of a metric."""

    outputs: dict[str, FrameNumbers]
    score: float | None = None


@dataclass
class Tried:
    """All trials of a network on some frames; `name` is that of the file in the cache ('': in memory alone)."""

    name: str = ""
    _numbers: dict[str, OnFrame] = field(default_factory=dict)
    _kept: int = 0

    def __post_init__(self) -> None:
        if self.name:
            self._numbers.update(_cached(self.name))
            self._kept = len(self._numbers)

    def get(self, trial: str) -> OnFrame | None:
        """The numbers of a trial; None where it was not made."""
        return self._numbers.get(trial)

    def add(self, trial: str, numbers: OnFrame) -> None:
        """Note a trial."""
        self._numbers[trial] = numbers
        if len(self._numbers) >= self._kept + _RUNS_BETWEEN:
            self.keep()

    def keep(self) -> None:
        """Write what is new into the cache; where that cannot be written, a search is as good, but not kept."""
        if self.name and len(self._numbers) > self._kept:
            with suppress(StoreError):
                cache.put(self.name, msgspec.json.encode(self._numbers))
        self._kept = len(self._numbers)


def trial_name(low: Collection[str], frame: int, *way: object) -> str:
    """The name of a trial: which nodes are low, on which frame, and what else decides its numbers."""
    return cache.key(frame, *way, *sorted(low))


def tried_before(network: Network, inputs: Sequence[Inputs]) -> Tried:
    """What was tried of a network in this precision on the same frames, by the same library."""
    key = cache.key(_VERSION, network.rounding, inputs_key(network.proto, inputs))
    return Tried(f"trials/{key}.json")


def _cached(name: str) -> dict[str, OnFrame]:
    path = cache.folder() / name
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, OnFrame])
    except (OSError, msgspec.DecodeError):  # none, or damaged: it is made again
        return {}
