"""Where the time of a request went, for whoever sent it."""

from __future__ import annotations

from framepace.serving.request import Ticket
from framepace.serving.statistics import stage_times
from framepace.units import NS_PER_MS

_NAMES = {"queue": "queue", "compute_input": "prepare", "compute_infer": "infer", "compute_output": "finish"}


def timing_text(ticket: Ticket) -> str:
    """The stages in ms and the size of the batch, as the header Server-Timing has them (W3C)."""
    stages = [f"{_NAMES[stage]};dur={ns / NS_PER_MS:.3f}" for stage, ns in stage_times(ticket).items()]
    total = (ticket.answered - ticket.arrived) / NS_PER_MS
    return ", ".join([*stages, f"total;dur={total:.3f}", f"batch;desc={ticket.batch}"])
