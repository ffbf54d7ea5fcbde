"""FP023: the host computes shapes between the kernels."""

from __future__ import annotations

from framepace.explaining.causes.cpu_nodes import nodes_on_cpu
from framepace.explaining.evidence import Evidence
from framepace.explaining.hypothesis import Probe, Suspicion
from framepace.explaining.metrics import CPU, INFERENCE
from framepace.explaining.trial import Blocks
from framepace.facts.finding import Bottleneck, Remedy
from framepace.facts.settings import apply

_CHANGE = {"shapes": "fixed"}


class ShapeArithmetic:
    """A model with open sizes carries nodes that compute shapes. They run on the CPU, and the device waits for them."""

    code = "FP023"
    title = "the host computes shapes between kernels"
    bottleneck: Bottleneck = "host"

    def suspect(self, evidence: Evidence) -> Suspicion | None:
        """Nodes run on the CPU beside the device, and the file's shapes are as they were exported."""
        on_cpu, nodes = nodes_on_cpu(evidence)
        if not on_cpu or all(model.graph_shapes == "fixed" for model in evidence.models):
            return None
        idle = evidence.device_idle
        numbers = {"nodes_on_cpu": on_cpu, "nodes": nodes, "device_idle_share": idle}
        return Suspicion(f"{on_cpu:,} of {nodes:,} nodes run on the CPU", numbers, max(0.05, idle))

    def probe(self, evidence: Evidence) -> Probe | str:
        """The plan's sizes put into the file, and what only computes shapes folded away; back to back.

        Nodes that compute something else stay where they are: those are FP016's.
        """
        base = apply(evidence.case, {"scope": "model", "concurrency": 1})
        return Probe(base, _CHANGE, INFERENCE, also=(CPU,))

    def remedy(self, evidence: Evidence, blocks: Blocks) -> Remedy:
        """The same setting."""
        cost = "one size and one batch only: smaller batches are padded"
        return Remedy(text="compute the shapes once, for the plan's sizes", plan=dict(_CHANGE), cost=cost)
