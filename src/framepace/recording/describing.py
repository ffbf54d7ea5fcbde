"""What a trace says about its run from the beginning: the machine, the plan, the models as they were loaded."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Protocol

from msgspec.structs import replace

from framepace.clock.system import Clock
from framepace.facts.address import SECRET_NOT_KEPT, without_secrets
from framepace.facts.model import ModelSpec
from framepace.facts.plan import Plan
from framepace.facts.trace import TraceMeta
from framepace.facts.workload import Workload
from framepace.recording.machine import probe
from framepace.store import trace_id


class Loaded(Protocol):
    """The facts about the models in a trace, whoever loaded them (see engine.engine.Engine)."""

    @property
    def libraries(self) -> dict[str, str]:
        """See Engine."""

    @property
    def simulated(self) -> bool:
        """See Engine."""

    @property
    def specs(self) -> tuple[ModelSpec, ...]:
        """See Engine."""

    @property
    def placement(self) -> Mapping[str, dict[str, int]]:
        """See Engine."""

    @property
    def batch_sizes(self) -> Mapping[str, tuple[int, ...]]:
        """See Engine."""


def describe(plan: Plan, workload: Workload, loaded: Loaded, sources: tuple[str, ...], clock: Clock) -> TraceMeta:
    """The meta of a run that begins, without secrets; a note says so where one was left out."""
    machine = probe()
    meta = TraceMeta(
        id=trace_id(),
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        machine=replace(machine, libraries={**machine.libraries, **loaded.libraries}),
        models=loaded.specs,
        subject_plan=plan,
        workload=workload,
        sources=sources,
        clock="virtual" if clock.virtual else "monotonic",
        simulated=loaded.simulated,
        placement=dict(loaded.placement),
        batch_sizes=dict(loaded.batch_sizes),
        framepace=machine.libraries.get("framepace", ""),
    )
    public = without_secrets(meta)
    if public is meta:
        return meta
    return replace(public, notes=(SECRET_NOT_KEPT,))
