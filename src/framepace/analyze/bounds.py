"""How far a network is from the least time that the machine's measured ceilings allow: the roofline model.

Williams, Waterman, Patterson: Roofline, an insightful visual performance model (CACM 52/4, 2009): a kernel takes at
least the time of its operations at the peak, and that of its bytes at the bandwidth. Bytes go at the bandwidth that
was measured at their number, since tensors that fit in a cache come from there (Ilic, Pratas, Sousa: Cache-aware
roofline model, IEEE CAL 13/1, 2014).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import get_args

import numpy as np
from msgspec.structs import replace

from framepace.analyze.stages import stages
from framepace.facts.bounds import Bound, Ceilings, ModelWork, Moved, NodeBound, NodeWork, Resource
from framepace.facts.model import Layer
from framepace.facts.trace import Trace

HOTTEST = 8


def bandwidth(ceilings: Ceilings, moved: float) -> float:
    """Bytes a second of a kernel that moves so many: the best seen at the next smaller measured size or any above."""
    start = max((size for size, _ in ceilings.bandwidth if size <= moved), default=0)
    return max(speed for size, speed in ceilings.bandwidth if size >= start)


def highest(a: Ceilings, b: Ceilings) -> Ceilings:
    """The better of two calibrations of one device in everything: what else ran there only ever lowers a ceiling."""
    peaks = {name: max(c.peaks.get(name, 0.0) for c in (a, b)) for name in {**a.peaks, **b.peaks}}
    speeds = [dict(c.bandwidth) for c in (a, b)]
    sizes = sorted({size for known in speeds for size in known})
    copies = {
        way: max((speed for c in (a, b) if (speed := getattr(c, way)) is not None), default=None)
        for way in ("h2d_bytes_s", "d2h_bytes_s")
    }
    bandwidth = tuple((size, max(known.get(size, 0.0) for known in speeds)) for size in sizes)
    return replace(a, peaks=peaks, bandwidth=bandwidth, launch=min(a.launch, b.launch), **copies)


def node_times(node: NodeWork, ceilings: Ceilings) -> dict[Resource, float]:
    """The least time of a node by each resource, ns: operations at the peak, bytes at the bandwidth, one kernel.

    A precision whose peak is not known counts at the highest that is: the floor is then low, never too high.
    """
    peak = ceilings.peaks.get(node.precision) or max(ceilings.peaks.values())
    memory = node.bytes / bandwidth(ceilings, node.bytes)
    return {"compute": node.flops / peak * 1e9, "memory": memory * 1e9, "launches": ceilings.launch}


def model_times(work: ModelWork, ceilings: Ceilings) -> dict[Resource, float]:
    """The least time of an inference by each resource, ns.

    Products are kernels of their own, whatever is fused into them: so many launches there are at least. Launches,
    copies and arithmetic of different kernels overlap, so the longest counts, not the sum.
    """
    found = [node_times(node, ceilings) for node in work.nodes]
    return {
        "compute": sum(times["compute"] for times in found),
        "memory": sum(times["memory"] for times in found),
        "launches": max(1, sum(node.flops > 0 for node in work.nodes)) * ceilings.launch,
    }


def bound(work: ModelWork, ceilings: Ceilings, measured: float, layers: Sequence[Layer] = ()) -> Bound:
    """How far an inference of `measured` ns is from its floor; `layers` with times tell which of them are far."""
    times = model_times(work, ceilings)
    limit = max(_resources(), key=lambda name: times[name])
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
    """Median time of an inference: of its kernels where the device told it, else of the whole call; None without."""
    rows = trace.measured(model)
    compute = rows.requests["compute"]
    known = compute[compute >= 0] if len(rows) else compute
    if len(known):
        return float(np.median(known))
    return float(np.median(stages(rows)["infer"])) if len(rows) else None


def fused(work: ModelWork, names: Iterable[str]) -> NodeWork | None:
    """The nodes of these names as one kernel: what they hand to each other alone is not moved; None of no node."""
    chosen = set(names)
    inside = [node for node in work.nodes if node.name in chosen]
    if not inside:
        return None
    made = {name for node in inside for name, _ in node.writes}
    outside = {name for node in work.nodes if node.name not in chosen for name, _ in node.reads}
    within = {name for node in inside for name, _ in node.reads}
    largest = max(inside, key=lambda node: node.flops)
    return NodeWork(
        name=largest.name,
        kind=largest.kind,
        precision=largest.precision,
        flops=sum(node.flops for node in inside),
        reads=_once((p for node in inside for p in node.reads), made),
        writes=_once((p for node in inside for p in node.writes), within - outside),
        weights=_once((p for node in inside for p in node.weights), set()),
    )


def _once(moved: Iterable[tuple[str, int]], without: set[str]) -> Moved:
    return tuple({name: size for name, size in moved if name not in without}.items())


def _layers(work: ModelWork, ceilings: Ceilings, layers: Sequence[Layer]) -> list[NodeBound]:
    """The layers whose nodes the file knows and whose times the library told, slowest first."""
    timed = [(layer.time, layer, fused(work, layer.nodes)) for layer in layers if layer.time]
    total = sum(time for time, _, _ in timed)
    found = [_node(node, ceilings, time / total, layer.name, time) for time, layer, node in timed if node is not None]
    return sorted(found, key=lambda node: -(node.measured or 0.0))


def _nodes(work: ModelWork, ceilings: Ceilings) -> list[NodeBound]:
    """The nodes, highest floor first."""
    floors = [max(node_times(node, ceilings).values()) for node in work.nodes]
    found = [_node(node, ceilings, floor / sum(floors)) for node, floor in zip(work.nodes, floors, strict=True)]
    return sorted(found, key=lambda node: -node.floor)


def _node(
    node: NodeWork, ceilings: Ceilings, share: float, name: str | None = None, measured: float | None = None
) -> NodeBound:
    times: Mapping[Resource, float] = node_times(node, ceilings)
    limit = max(_resources(), key=lambda resource: times[resource])
    return NodeBound(
        name=name or node.name,
        kind=node.kind,
        precision=node.precision,
        flops=node.flops,
        bytes=node.bytes,
        floor=times[limit],
        limit=limit,
        share=share,
        measured=measured,
    )


def _resources() -> tuple[Resource, ...]:
    found: tuple[Resource, ...] = get_args(Resource)
    return found
