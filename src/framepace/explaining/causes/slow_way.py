"""FP031: tensors take long on their way to a server and back."""

from __future__ import annotations

from typing import Any

from framepace.explaining.evidence import Evidence
from framepace.explaining.hypothesis import Probe, Suspicion
from framepace.explaining.metrics import INFERENCE
from framepace.explaining.trial import Blocks
from framepace.facts.finding import Bottleneck, Remedy
from framepace.facts.settings import apply
from framepace.openinference.client.address import is_address, served_model

_OPTION = "option.shared_memory"
_LEAST = 0.05  # of the latency
_HERE = ("127.0.0.1", "localhost", "::1")


class SlowWay:
    """A request holds its tensors: they are copied into it, through the sockets, and out of it again."""

    code = "FP031"
    title = "tensors take long on their way to the server"
    bottleneck: Bottleneck = "transfer"

    def suspect(self, evidence: Evidence) -> Suspicion | None:
        """What the server does not account for takes a twentieth of the latency or more."""
        rows = evidence.summaries["model"].served
        way = sum(row.parts["network"] for row in rows)
        if way < _LEAST * evidence.latency:
            return None
        numbers: dict[str, Any] = {"network_ns": way, "inference_ns": sum(sum(row.parts.values()) for row in rows)}
        return Suspicion("the way and the protocol are a good part of the latency", numbers, way / evidence.latency)

    def probe(self, evidence: Evidence) -> Probe | str:
        """Tensors in memory that server and client share, one request at a time."""
        served = [model for model in evidence.models if is_address(model.model)]
        if any(model.options.get("shared_memory") for model in served):
            return "tensors lie in shared memory"
        if any(served_model(model.model).server.host not in _HERE for model in served):
            return "the server is on another machine"
        base = apply(evidence.case, {"scope": "model", "concurrency": 1})
        return Probe(base, {_OPTION: True}, INFERENCE)

    def remedy(self, evidence: Evidence, blocks: Blocks) -> Remedy:
        """Keep them there."""
        cost = "client and server need one machine; the server has to allow it"
        return Remedy(text="tensors in system shared memory", plan={_OPTION: True}, cost=cost)
