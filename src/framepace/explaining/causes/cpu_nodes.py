"""FP016: part of the model runs on the CPU."""

from __future__ import annotations

from framepace.backends.base import get_backend
from framepace.explaining.evidence import Evidence
from framepace.explaining.hypothesis import Probe, Suspicion
from framepace.explaining.metrics import INFERENCE
from framepace.explaining.trial import Blocks
from framepace.facts.finding import Bottleneck, Remedy
from framepace.facts.settings import apply

DEVICE_WAITS = 0.2  # of an inference
_ON_DEVICE = {"option.fallback_share": 0}
ADVICE = "export with another opset, replace these operators, or use another backend; option.cpu_nodes=forbid refuses"


class CpuNodes:
    """The library has no kernels for some nodes on the device: it runs them on the CPU, and copies there and back.

    Where nothing can be switched off it stays an observation: no setting moves such nodes.
    """

    code = "FP016"
    title = "part of the model runs on the CPU"
    bottleneck: Bottleneck = "host"

    def suspect(self, evidence: Evidence) -> Suspicion | None:
        """The library placed nodes there, and the device is idle for a fifth of an inference or more."""
        on_cpu, nodes = nodes_on_cpu(evidence)
        idle = evidence.device_idle
        if not on_cpu or idle < DEVICE_WAITS:
            return None
        numbers = {"nodes_on_cpu": on_cpu, "nodes": nodes, "device_idle_share": idle}
        return Suspicion(f"{on_cpu:,} of {nodes:,} nodes run on the CPU; the device waits {idle:.0%}", numbers, idle)

    def probe(self, evidence: Evidence) -> Probe | str:
        """All nodes on the device, where that is simulated; nodes that only compute shapes are FP023's."""
        if any(not get_backend(model.backend).simulated for model in evidence.models):
            return "no setting moves these nodes to the device"
        base = apply(evidence.case, {"scope": "model", "concurrency": 1})
        return Probe(base, dict(_ON_DEVICE), INFERENCE)

    def remedy(self, evidence: Evidence, blocks: Blocks) -> Remedy:
        """Advice: what to change is the file or the library."""
        return Remedy(text=ADVICE)


def nodes_on_cpu(evidence: Evidence) -> tuple[int, int]:
    """Nodes that the library placed on the CPU beside a device, and all nodes; 0 and 0 where none are."""
    places = [places for places in evidence.traces["stream"].meta.placement.values() if places.get("cpu")]
    return sum(place["cpu"] for place in places), sum(sum(place.values()) for place in places)
