"""How long each node takes, from ONNX Runtime's profiler."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from framepace.facts.model import Layer
from framepace.units import NS_PER_US

INFERENCES = 10
_WARM = 2
_KERNEL = "_kernel_time"
_PLACES = {"CPUExecutionProvider": "cpu", "CUDAExecutionProvider": "cuda"}


def profile(session: Any, run: Callable[[], object]) -> tuple[Layer, ...]:
    """The layers of a session that was made with profiling, over a few inferences; the file of the profile goes."""
    for _ in range(_WARM + INFERENCES):
        run()
    file = Path(session.end_profiling())
    events = json.loads(file.read_bytes())
    file.unlink(missing_ok=True)
    return layers(events)


def layers(events: Iterable[Mapping[str, Any]]) -> tuple[Layer, ...]:
    """Layers in the order in which they run, with the median of their times; the first inferences do not count.

    `events` are those of the profile: a node's are of the category 'Node', in us, named 'NODE_kernel_time'.
    """
    times: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_KERNEL):
            described = event["args"]
            key = (event["name"].removesuffix(_KERNEL), described["op_name"], described["provider"])
            times[key].append(event["dur"] * NS_PER_US)
    return tuple(
        Layer(name=name, kind=kind, place=_PLACES.get(provider, provider), time=median(spent[_WARM:] or spent))
        for (name, kind, provider), spent in times.items()
    )
