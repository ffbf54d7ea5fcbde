"""Bounds: the work of a network, the ceilings of the machine, and how far a measurement is from the least time."""

from __future__ import annotations

from typing import Literal

from framepace.facts.base import Fact

Resource = Literal["compute", "memory", "launches"]
Moved = tuple[tuple[str, int], ...]  # tensors that a node moves: name of the memory, and bytes


class NodeWork(Fact, frozen=True, kw_only=True):
    """One node that needs a kernel of its own: operations of its convolution or matrix product, and the bytes it moves.

    A multiplication and an addition count as two operations. `precision` is the one it computes in.
    """

    name: str
    kind: str
    precision: str
    flops: float = 0.0
    reads: Moved = ()
    writes: Moved = ()
    weights: Moved = ()

    @property
    def bytes(self) -> int:
        """Bytes it reads and writes, weights too."""
        return sum(size for _, size in (*self.reads, *self.writes, *self.weights))


class ModelWork(Fact, frozen=True, kw_only=True):
    """The work of one inference of a batch; `unknown` counts the nodes whose shapes are not in the file."""

    model: str
    precision: str
    batch: int
    nodes: tuple[NodeWork, ...]
    unknown: int = 0

    @property
    def flops(self) -> float:
        """Operations of all convolutions and matrix products."""
        return sum(node.flops for node in self.nodes)

    @property
    def bytes(self) -> int:
        """Bytes that all nodes move."""
        return sum(node.bytes for node in self.nodes)

    @property
    def weights(self) -> int:
        """Bytes of the weights, shared ones once."""
        return sum(dict(pair for node in self.nodes for pair in node.weights).values())


class Ceilings(Fact, frozen=True, kw_only=True):
    """The best that a device reached through one backend.

    `peaks` are operations per second by precision, of matrix products; `bandwidth` pairs of the bytes that one kernel
    moved and of bytes per second at that size, smallest first (small ones stay in caches); `launch` is the least time
    of a kernel among others, ns; `h2d_bytes_s` and `d2h_bytes_s` the bandwidths of copies, None without a device.
    """

    backend: str
    device: str
    peaks: dict[str, float]
    bandwidth: tuple[tuple[int, float], ...]
    launch: float
    h2d_bytes_s: float | None = None
    d2h_bytes_s: float | None = None


class NodeBound(Fact, frozen=True, kw_only=True):
    """One node, or a layer that several were fused into: its floor and its time alone where it is known, ns.

    Beside a time of its own the floor is of operations and bytes, also where launches limit the network.

    `share` is its part of the sum of such times, of floors where no times are known.
    """

    name: str
    kind: str
    precision: str
    flops: float
    bytes: int
    floor: float
    limit: Resource
    share: float
    measured: float | None = None


class Bound(Fact, frozen=True, kw_only=True):
    """How far a model is from its floor: the least time that the measured ceilings allow for its work; times in ns.

    `floor` is the longest of `compute`, `memory` and `launches`, `limit` names it; `measured` is the median of an
    inference back to back: of its kernels on a device, of the whole call on a CPU. `hottest` are the nodes that take
    the most time, those with the highest floors where no times are known.
    """

    model: str
    precision: str
    batch: int
    flops: float
    bytes: int
    compute: float
    memory: float
    launches: float
    floor: float
    limit: Resource
    measured: float
    ceilings: Ceilings
    hottest: tuple[NodeBound, ...] = ()
    unknown: int = 0

    @property
    def times(self) -> float:
        """How many times the floor it takes."""
        if not self.floor:
            return 0.0
        return self.measured / self.floor

    @property
    def peak_share(self) -> float:
        """Share of the measured peak arithmetic that it reaches."""
        if not self.measured:
            return 0.0
        return self.compute / self.measured

    @property
    def bandwidth_share(self) -> float:
        """Share of the measured bandwidth that it would need if every tensor were moved."""
        if not self.measured:
            return 0.0
        return self.memory / self.measured
