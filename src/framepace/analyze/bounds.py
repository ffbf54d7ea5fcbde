"""How far a network is from the least time that the machine's measured ceilings allow: the roofline model.

Williams, Waterman, Patterson: Roofline, an insightful visual performance model (CACM 52/4, 2009): a kernel takes at
least the time of its operations at the peak, and that of its bytes at the bandwidth. Bytes go at the bandwidth that
was measured at their number, since tensors that fit in a cache come from there (Ilic, Pratas, Sousa: Cache-aware
roofline model, IEEE CAL 13/1, 2014).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar, get_args

import numpy as np
from msgspec.structs import replace

from framepace.analyze.stages import stages
from framepace.facts.bounds import Bound, Ceilings, ModelWork, Moved, NodeBound, NodeWork, Resource
from framepace.facts.model import Layer
from framepace.facts.trace import Trace

HOTTEST = 8
_RESOURCES: tuple[Resource, ...] = get_args(Resource)


def bandwidth(ceilings: Ceilings, moved: float) -> float:
    """Bytes per second of a kernel that moves `moved` bytes: the best at the next smaller measured size or above."""
    start = max((size for size, _ in ceilings.bandwidth if size <= moved), default=0)
    return max(speed for size, speed in ceilings.bandwidth if size >= start)


def highest(a: Ceilings, b: Ceilings) -> Ceilings:
    """The better of two calibrations of one device in everything: whatever else ran there only lowers a ceiling."""
    return replace(
        a,
        peaks=_larger(a.peaks, b.peaks),
        bandwidth=tuple(sorted(_larger(dict(a.bandwidth), dict(b.bandwidth)).items())),
        launch=min(a.launch, b.launch),
        h2d_bytes_s=_larger_number(a.h2d_bytes_s, b.h2d_bytes_s),
        d2h_bytes_s=_larger_number(a.d2h_bytes_s, b.d2h_bytes_s),
    )


Key = TypeVar("Key", str, int)


def _larger(a: Mapping[Key, float], b: Mapping[Key, float]) -> dict[Key, float]:
    return {key: max(a.get(key, 0.0), b.get(key, 0.0)) for key in {**a, **b}}


def _larger_number(a: float | None, b: float | None) -> float | None:
    return max((number for number in (a, b) if number is not None), default=None)


def node_times(node: NodeWork, ceilings: Ceilings) -> dict[Resource, float]:
    """The least time of a node by each resource, ns: operations at the peak, bytes at the bandwidth, one kernel.

    A precision whose peak is not known counts at the highest that is: the floor is then low, never too high.
    """
    peak = ceilings.peaks.get(node.precision) or max(ceilings.peaks.values())
    memory = node.bytes / bandwidth(ceilings, node.bytes)
    return {"compute": node.flops / peak * 1e9, "memory": memory * 1e9, "launches": ceilings.launch}


def kernel_floor(node: NodeWork, ceilings: Ceilings) -> tuple[float, Resource]:
    """The least time of a node's kernel alone, ns, and what bounds it where kernels follow each other.

    While a kernel runs the host launches the next: launches bound how soon kernels follow, not how long one takes.
    """
    times = node_times(node, ceilings)
    limit = max(_RESOURCES, key=lambda resource: times[resource])
    return max(times["compute"], times["memory"]), limit


def model_times(work: ModelWork, ceilings: Ceilings) -> dict[Resource, float]:
    """The least time of an inference by each resource, ns.

    Each convolution or matrix product is its own kernel, whatever is fused into it, so there are at least that
    many launches. Launches, copies and arithmetic of different kernels overlap, so the longest counts, not the sum.
    """
    of_nodes = [node_times(node, ceilings) for node in work.nodes]
    return {
        "compute": sum(times["compute"] for times in of_nodes),
        "memory": sum(times["memory"] for times in of_nodes),
        "launches": max(1, sum(node.flops > 0 for node in work.nodes)) * ceilings.launch,
    }


def bound(work: ModelWork, ceilings: Ceilings, measured: float, layers: Sequence[Layer] = ()) -> Bound:
    """How far an inference of `measured` ns is from its floor; where `layers` have times, which layers are far."""
    times = model_times(work, ceilings)
    limit = max(_RESOURCES, key=lambda name: times[name])
    hottest = _layers(work, ceilings, layers) or _nodes(work, ceilings)
    return Bound(
        model=work.model,
        precision=work.precision,
        batch=work.batch,
        flops=work.flops,
        bytes=work.bytes,
        **times,
        floor=times[limit],
        limit=limit,
        measured=measured,
        ceilings=ceilings,
        hottest=tuple(hottest[:HOTTEST]),
        unknown=work.unknown,
    )


def inference_ns(trace: Trace, model: str) -> float | None:
    """Median time of an inference: of its kernels where it was measured, else of the whole call; None without any."""
    rows = trace.measured(model)
    if not len(rows):
        return None
    compute = rows.requests["compute"]
    kernels = compute[compute >= 0]
    if len(kernels):
        return float(np.median(kernels))
    return float(np.median(stages(rows)["infer"]))


def fused(work: ModelWork, names: Iterable[str]) -> NodeWork | None:
    """The nodes of these names as one kernel; None where no node has one of the names.

    Tensors that only these nodes exchange are not moved.
    """
    chosen = set(names)
    inside = [node for node in work.nodes if node.name in chosen]
    if not inside:
        return None
    read_elsewhere = _names(node.reads for node in work.nodes if node.name not in chosen)
    return _kernel(inside, read_elsewhere)


def _kernel(nodes: Sequence[NodeWork], read_elsewhere: set[str]) -> NodeWork:
    """These nodes as one, named after that with the most operations."""
    read = _names(node.reads for node in nodes)
    written = _names(node.writes for node in nodes)
    return replace(
        max(nodes, key=lambda node: node.flops),
        flops=sum(node.flops for node in nodes),
        reads=_once((node.reads for node in nodes), without=written),
        writes=_once((node.writes for node in nodes), without=read - read_elsewhere),
        weights=_once((node.weights for node in nodes), without=set()),
    )


def _names(moved: Iterable[Moved]) -> set[str]:
    return {name for tensors in moved for name, _ in tensors}


def _once(moved: Iterable[Moved], *, without: set[str]) -> Moved:
    """Each tensor once, but for those `without`."""
    return tuple({name: size for tensors in moved for name, size in tensors if name not in without}.items())


def _layers(work: ModelWork, ceilings: Ceilings, layers: Sequence[Layer]) -> list[NodeBound]:
    """The layers whose nodes are in the file and whose times the library reports, slowest first."""
    timed = [(layer.time, layer, fused(work, layer.nodes)) for layer in layers if layer.time]
    total = sum(time for time, _, _ in timed)
    bounds = [_node(node, ceilings, time / total, layer.name, time) for time, layer, node in timed if node is not None]
    return sorted(bounds, key=lambda node: -(node.measured or 0.0))


def _nodes(work: ModelWork, ceilings: Ceilings) -> list[NodeBound]:
    """The nodes, highest floor first."""
    floors = [max(node_times(node, ceilings).values()) for node in work.nodes]
    bounds = [_node(node, ceilings, floor / sum(floors)) for node, floor in zip(work.nodes, floors, strict=True)]
    return sorted(bounds, key=lambda node: -node.floor)


def _node(
    node: NodeWork, ceilings: Ceilings, share: float, name: str | None = None, measured: float | None = None
) -> NodeBound:
    floor, limit = kernel_floor(node, ceilings)
    if measured is None:
        floor = max(floor, ceilings.launch)
    return NodeBound(
        name=name or node.name,
        kind=node.kind,
        precision=node.precision,
        flops=node.flops,
        bytes=node.bytes,
        floor=floor,
        limit=limit,
        share=share,
        measured=measured,
    )
