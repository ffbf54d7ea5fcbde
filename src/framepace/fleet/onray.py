"""Engines on the places of a cluster."""

from __future__ import annotations

from collections.abc import Sequence

from framepace.cluster import Cluster, Remote
from framepace.facts.place import Place
from framepace.facts.plan import Plan
from framepace.facts.primitives import Primitives
from framepace.facts.running import SourceSpec
from framepace.facts.settings import Case
from framepace.fleet.host import EngineHost
from framepace.fleet.messages import Orders, Reply
from framepace.fleet.run import FleetRun
from framepace.progress import Tell
from framepace.running.options import Options, Sink

_PATIENCE_S = 10.0  # for an engine at work to answer, which takes a fraction of a second
_START_S = 300.0  # for a process to start on a busy host; one that has left is not waited for
_FILE_S = 60.0  # for a piece of a file to be read and to travel


class PlacedEngine:
    """An engine on a place; see messages.Engine."""

    def __init__(self, actor: Remote[EngineHost], cluster: Cluster) -> None:
        self._actor = actor
        self._cluster = cluster

    def ready(self) -> None:
        """See Engine."""
        self._cluster.wait_for(self._actor, _START_S)

    def measure(self, case: Case) -> Primitives:
        """See Engine."""
        primitives: Primitives = self._actor.call("measure", case)
        return primitives

    def load(self) -> None:
        """See Engine."""
        self._actor.call("load")

    def exchange(self, orders: Orders) -> Reply:
        """See Engine. Raises ClusterError for one that hangs, which is lost then."""
        reply: Reply = self._actor.call("exchange", orders, timeout_s=_PATIENCE_S)
        return reply

    def files(self, folder: str) -> dict[str, int]:
        """See Files."""
        files: dict[str, int] = self._actor.call("files", folder, timeout_s=_FILE_S)
        return files

    def read(self, path: str, offset: int, size: int) -> bytes:
        """See Files."""
        piece: bytes = self._actor.call("read", path, offset, size, timeout_s=_FILE_S)
        return piece

    def kill(self) -> None:
        """See Engine."""
        self._actor.end()


def fleet_run(
    plan: Plan, sources: Sequence[SourceSpec], sinks: Sequence[Sink], options: Options, cluster: Cluster, tell: Tell
) -> FleetRun:
    """A run with an engine on each place of a cluster, which is closed at its end."""

    def make(place: Place, plan: Plan, options: Options) -> PlacedEngine:
        return PlacedEngine(cluster.actor(place, EngineHost, plan, options), cluster)

    return FleetRun(plan, sources, sinks, options, places=cluster.places, make=make, tell=tell, at_end=cluster.close)
