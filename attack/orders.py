"""Sources as people and programs name them: the file that is watched, and orders over the control socket."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attack import mutations
from framepace.facts.running import RunStatus, SourceSpec

SOURCES: Any = {
    "defaults": {"every": 2, "loop": True},
    "sources": [
        "door=rtsp://127.0.0.1:9/1",
        {"name": "a", "address": mutations.ADDRESSES[0], "every": "adaptive", "max_age_ms": 300, "priority": 1},
        {"name": "b", "address": mutations.ADDRESSES[3], "transport": "udp", "pace": "free"},
    ],
}
ORDERS: tuple[Any, ...] = (
    {"do": "add", "source": {"name": "a", "address": mutations.ADDRESSES[1], "every": 3}},
    {"do": "change", "source": {"name": "a", "address": mutations.ADDRESSES[2]}},
    {"do": "remove", "name": "a"},
    {"do": "status"},
)


class Nobody:
    """A run without sources, which takes every order."""

    sources: Sequence[SourceSpec] = ()

    def add(self, spec: SourceSpec) -> None:
        """Nothing."""

    def change(self, spec: SourceSpec) -> None:
        """Nothing."""

    def remove(self, name: str) -> None:
        """Nothing."""

    def status(self) -> RunStatus:
        """Nothing yet."""
        return RunStatus(plan=(), began=0.0, seconds=0.0, target_ms=None, sources=())

    def record(self, why: str) -> Path:
        """Nowhere."""
        return Path()

    def stop(self) -> None:
        """Nothing."""
