"""What `--json` prints of a fleet."""

from __future__ import annotations

from framepace.facts.fleetsize import FleetSize, HostGroup
from framepace.reporting.documents import Document, plain

_RENAMED = {"fps": "target_fps", "budget": "budget_ns", "p99": "p99_ns", "p99_after": "p99_after_ns"}


def fleet_document(size: FleetSize) -> Document:
    """framepace.fleet-capacity/1: the hosts by kind, before and after the largest one is lost, and what they cost."""
    return {
        "schema": "framepace.fleet-capacity/1",
        "fits": size.fits,
        "cost_per_camera": size.cost_per_camera,
        **_renamed(size),
        "groups": [_renamed(group) for group in size.groups],
    }


def _renamed(fact: FleetSize | HostGroup) -> Document:
    return {_RENAMED.get(name, name): plain(getattr(fact, name)) for name in fact.__struct_fields__}
