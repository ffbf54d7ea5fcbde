"""Engines layer by layer: what each layer does, how long it takes, its floor, and two engines side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from framepace.facts.base import Fact
from framepace.facts.bounds import Resource

Shared = Literal["operators", "name", "outputs", "kind and shape", ""]


class EngineLayer(Fact, frozen=True, kw_only=True):
    """One layer of an engine; times in ns, `share` of the sum of all layers' times, where those are the whole.

    `flops` and `bytes` are what the library says, else what the model's file says of the operators in it. `floor` is
    the least time that the machine's measured ceilings allow for them and `limit` the resource that sets it; with the
    limit 'launches' there is none, as the work is done sooner than it can be launched. None is what nobody says.
    """

    name: str
    kind: str = ""
    precision: str = ""
    place: str = ""
    nodes: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()
    time: float | None = None
    share: float | None = None
    flops: float | None = None
    bytes: int | None = None
    floor: float | None = None
    limit: Resource | None = None

    @property
    def times(self) -> float | None:
        """How many times its floor it takes."""
        if not self.time or not self.floor:
            return None
        return self.time / self.floor


def are_whole(layers: Sequence[EngineLayer]) -> bool:
    """Whether the times of layers add up to the whole: at most half have none, and none of those that compute."""
    untimed = [layer for layer in layers if layer.time is None]
    return 2 * len(untimed) <= len(layers) and not any(layer.flops for layer in untimed)


class EngineView(Fact, frozen=True, kw_only=True):
    """A model as a library runs it: its layers in the order in which they run, and what passes between them.

    `edges` are pairs of indices into `layers`, from the layer that writes a tensor to one that reads it; `path` is the
    chain of layers along them that takes the longest. `inference` is the median time of a whole inference in the run
    that the engine was taken from, ns; `changes` are the settings that made it of the other engine, 'threads=1';
    `notes` say what is missing and why.
    """

    model: str
    backend: str
    device: str
    precision: str
    batch: int
    layers: tuple[EngineLayer, ...]
    edges: tuple[tuple[int, int], ...] = ()
    path: tuple[int, ...] = ()
    inference: float | None = None
    libraries: dict[str, str] = {}
    simulated: bool = False
    notes: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()

    @property
    def timed(self) -> int:
        """How many layers have a time of their own."""
        return sum(layer.time is not None for layer in self.layers)

    @property
    def is_whole(self) -> bool:
        """Whether the times of the layers add up to that of the engine."""
        return are_whole(self.layers)

    @property
    def time(self) -> float | None:
        """Sum of the layers' times, ns; None where the library tells none."""
        times = [layer.time for layer in self.layers if layer.time is not None]
        if not times:
            return None
        return sum(times)

    @property
    def floor(self) -> float | None:
        """Sum of the floors of layers whose time is measured, ns; None where none has one."""
        floors = [layer.floor for layer in self.layers if layer.time and layer.floor]
        if not floors:
            return None
        return sum(floors)


class LayerMatch(Fact, frozen=True, kw_only=True):
    """Layers of two engines that do the same work: indices into each; one side may have none, or several.

    `by` says what they share: operators of the model's file, their name, an output, or operation and shape.
    """

    a: tuple[int, ...] = ()
    b: tuple[int, ...] = ()
    by: Shared = ""


class Exploration(Fact, frozen=True, kw_only=True):
    """One engine, or two with their layers matched."""

    engines: tuple[EngineView, ...]
    matches: tuple[LayerMatch, ...] = ()
