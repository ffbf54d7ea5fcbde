"""Layers of engines: their work and floors, what passes between them, the longest path, and which of two correspond."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product

from msgspec.structs import replace

from framepace.analyze.bounds import fused, kernel_floor
from framepace.facts.bounds import Ceilings, ModelWork, NodeWork
from framepace.facts.layers import EngineLayer, LayerMatch, Shared, are_whole
from framepace.facts.model import Layer

Edge = tuple[int, int]
# Operations that give the memory of their input another shape: ONNX's names, and PyTorch's in small letters.
_VIEWS = frozenset(
    (
        "Dropout", "Flatten", "Identity", "Reshape", "Shape", "Squeeze", "Unsqueeze", "chunk", "dropout", "expand",
        "flatten", "getitem", "permute", "reshape", "select", "slice", "split", "squeeze", "t", "transpose", "unbind",
        "unflatten", "unsqueeze", "view",
    )
)  # fmt: skip
_FAMILIES = ("conv", "pool", "softmax", "norm", "relu", "resize", "concat")
_PRODUCTS = ("gemm", "matmul", "matrixmultiply", "linear", "addmm")


def engine_layers(
    layers: Sequence[Layer], work: ModelWork | None, ceilings: Ceilings | None
) -> tuple[EngineLayer, ...]:
    """Layers with what the model's file says of their work, and their floors where the ceilings are measured."""
    nodes = layer_work(layers, work)
    described = tuple(_layer(layer, node, ceilings) for layer, node in zip(layers, nodes, strict=True))
    total = sum(layer.time or 0.0 for layer in layers)
    if not total or not are_whole(described):
        return described
    return tuple(_with_share(layer, total) for layer in described)


def _with_share(layer: EngineLayer, total: float) -> EngineLayer:
    if layer.time is None:
        return layer
    return replace(layer, share=layer.time / total)


def layer_work(layers: Sequence[Layer], work: ModelWork | None) -> list[NodeWork | None]:
    """The operators of the file in each layer as one kernel; None where the file does not know them."""
    if work is None:
        return [None] * len(layers)
    by_name = {node.name: node for node in work.nodes}
    return [_fused(layer, work, by_name) for layer in layers]


def _fused(layer: Layer, work: ModelWork, by_name: Mapping[str, NodeWork]) -> NodeWork | None:
    inside = [by_name[name] for name in layer.nodes or (layer.name,) if name in by_name]
    if len(inside) > 1:
        return fused(work, (node.name for node in inside))
    return next(iter(inside), None)


def _layer(layer: Layer, node: NodeWork | None, ceilings: Ceilings | None) -> EngineLayer:
    done = _done(layer, node)
    described = EngineLayer(
        name=layer.name,
        kind=layer.kind,
        precision=done.precision,
        place=layer.place,
        nodes=layer.nodes,
        shape=layer.shape,
        time=layer.time,
        flops=done.flops or None,
        bytes=done.bytes or None,
    )
    if layer.bytes is not None:
        described = replace(described, bytes=layer.bytes)
    return _with_floor(described, done, ceilings)


def _done(layer: Layer, node: NodeWork | None) -> NodeWork:
    """The work of a layer: by the file, in the precision that the library says; else what the library itself says."""
    if node is not None:
        return replace(node, precision=layer.precision or node.precision)
    moved = () if layer.bytes is None else ((layer.name, layer.bytes),)
    return NodeWork(name=layer.name, kind=layer.kind, precision=layer.precision, flops=layer.flops or 0.0, writes=moved)


def _with_floor(layer: EngineLayer, work: NodeWork, ceilings: Ceilings | None) -> EngineLayer:
    """The layer with its floor.

    Without one where there are no ceilings, nothing that it has to do is known, or its work is done sooner than it can
    be launched.
    """
    if ceilings is None or layer.kind in _VIEWS or not (work.flops or work.bytes):
        return layer
    floor, limit = kernel_floor(_least(work, layer.bytes), ceilings)
    if limit == "launches":
        return replace(layer, limit=limit)
    return replace(layer, floor=floor, limit=limit)


def _least(work: NodeWork, moved: int | None) -> NodeWork:
    """The work with the bytes that the library says, `moved`, where those are fewer: it may have folded constants."""
    if moved is None or moved >= work.bytes:
        return work
    return replace(work, reads=(), writes=((work.name, moved),), weights=())


def beaten(layers: Iterable[EngineLayer]) -> list[EngineLayer]:
    """The layers that took less than their floor, which is then none."""
    return [layer for layer in layers if layer.times is not None and layer.times < 1]


def without_beaten(layers: Iterable[EngineLayer]) -> tuple[EngineLayer, ...]:
    """The layers, those that took less than their floor without it."""
    return tuple(_without_beaten(layer) for layer in layers)


def _without_beaten(layer: EngineLayer) -> EngineLayer:
    if beaten([layer]):
        return replace(layer, floor=None, limit=None)
    return layer


def edges(layers: Sequence[Layer], work: ModelWork | None) -> tuple[Edge, ...]:
    """What passes between layers: (writer, reader) of every tensor, by the library's names or else by the file's.

    Layers run in order, so a reader comes after its writer.
    """
    writers: dict[str, int] = {}
    made: dict[Edge, None] = {}
    unnamed = [layer for layer in layers if not (layer.inputs or layer.outputs)]
    of_file = iter(layer_work(unnamed, work))
    for index, layer in enumerate(layers):
        named = layer.inputs or layer.outputs
        reads, writes = (layer.inputs, layer.outputs) if named else _tensors(next(of_file))
        made |= {(writers[name], index): None for name in reads if name in writers}
        writers |= dict.fromkeys(writes, index)
    return tuple(made)


def _tensors(node: NodeWork | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the tensors that the operators of the file read and write."""
    if node is None:
        return (), ()
    return tuple(name for name, _ in node.reads), tuple(name for name, _ in node.writes)


def longest_path(times: Sequence[float], edges: Iterable[Edge]) -> tuple[int, ...]:
    """The chain of layers along `edges` whose times add up to the most; () without edges."""
    before = _writers(edges)
    if not before:
        return ()
    sums: list[float] = []
    came_from: list[int | None] = []
    for index, time in enumerate(times):
        best = max(before.get(index, ()), key=sums.__getitem__, default=None)
        came_from.append(best)
        sums.append(time + _sum_at(sums, best))
    return _back(came_from, sums.index(max(sums)))


def _writers(edges: Iterable[Edge]) -> dict[int, list[int]]:
    """The layers that each reader reads from."""
    before: dict[int, list[int]] = {}
    for writer, reader in edges:
        before.setdefault(reader, []).append(writer)
    return before


def _sum_at(sums: Sequence[float], index: int | None) -> float:
    if index is None:
        return 0.0
    return sums[index]


def _back(came_from: Sequence[int | None], end: int) -> tuple[int, ...]:
    path = [end]
    while (before := came_from[path[-1]]) is not None:
        path.append(before)
    return tuple(reversed(path))


def matches(a: Sequence[Layer], b: Sequence[Layer]) -> tuple[LayerMatch, ...]:
    """Which layers of two engines do the same work, in the order of `a` and then of what only `b` has.

    Layers that hold the same operator of the model's file belong together, however each library fused them; then
    layers of one name, of one output, and at last of one kind of operation and shape, in their order.
    """
    groups = _Groups(a, b)
    groups.join("operators", lambda layer: layer.nodes)
    groups.join("name", lambda layer: (layer.name,))
    groups.join("outputs", lambda layer: layer.outputs)
    groups.pair(_family)
    return groups.matches()


def _family(layer: Layer) -> tuple[str, tuple[int, ...]]:
    """The kind of operation, whatever a library calls it, and the shape."""
    kind = layer.kind.lower()
    if any(word in kind for word in _PRODUCTS):
        return "product", layer.shape
    return next((word for word in _FAMILIES if word in kind), kind), layer.shape


class _Groups:
    """Layers of two engines that belong together; those of `b` are numbered after those of `a`."""

    def __init__(self, a: Sequence[Layer], b: Sequence[Layer]) -> None:
        self._first_of_b = len(a)
        self._layers = (*a, *b)
        self._parents = list(range(len(self._layers)))
        self._by: dict[int, Shared] = {}

    def join(self, by: Shared, keys: Callable[[Layer], Sequence[str]]) -> None:
        """Bring together layers that share a key and are not matched yet."""
        unmatched = self._unmatched()
        holders: dict[str, list[int]] = {}
        for index in unmatched:
            for key in keys(self._layers[index]):
                holders.setdefault(key, []).append(index)
        for members in holders.values():
            of_a = [index for index in members if index < self._first_of_b]
            of_b = [index for index in members if index >= self._first_of_b]
            for one, other in product(of_a, of_b):
                self._unite(one, other, by)

    def pair(self, key: Callable[[Layer], object]) -> None:
        """Pair what is left by equal keys, each with the next one that is free."""
        waiting: dict[object, list[int]] = {}
        for index in self._unmatched():
            same = waiting.setdefault(key(self._layers[index]), [])
            if index >= self._first_of_b and same and same[0] < self._first_of_b:
                self._unite(same.pop(0), index, "kind and shape")
            else:
                same.append(index)

    def _unmatched(self) -> list[int]:
        return [index for index in range(len(self._layers)) if index not in self._by]

    def matches(self) -> tuple[LayerMatch, ...]:
        members: dict[int, list[int]] = {}
        for index in range(len(self._parents)):
            members.setdefault(self._root(index), []).append(index)
        return tuple(self._match(indices) for indices in members.values())

    def _match(self, indices: Sequence[int]) -> LayerMatch:
        return LayerMatch(
            a=tuple(index for index in indices if index < self._first_of_b),
            b=tuple(index - self._first_of_b for index in indices if index >= self._first_of_b),
            by=self._by.get(indices[0], ""),
        )

    def _unite(self, one: int, other: int, by: Shared) -> None:
        self._by.setdefault(one, by)
        self._by.setdefault(other, by)
        roots = sorted((self._root(one), self._root(other)))
        self._parents[roots[1]] = roots[0]

    def _root(self, index: int) -> int:
        while self._parents[index] != index:
            index = self._parents[index]
        return index
