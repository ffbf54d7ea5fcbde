"""The lab's measuring process on a place of a cluster: the same calls, and the traces come back."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace as with_fields
from pathlib import Path
from typing import Any, TypeVar, cast

from msgspec.structs import replace

from framepace.cluster import Cluster, Place, Remote
from framepace.errors import ClusterError
from framepace.facts.plan import Plan
from framepace.facts.trace import Trace
from framepace.facts.workload import Workload
from framepace.lab.station import Kept, Station
from framepace.progress import Tell, silent
from framepace.store import save_trace

_Answer = TypeVar("_Answer")
_START_S = 300.0  # for an actor to start on a busy host; one that has left is not waited for


def elsewhere(cluster: Cluster, kept: Kept, files: dict[str, int]) -> list[Elsewhere]:
    """One for each place of a cluster."""
    return [Elsewhere(cluster, place, kept, files) for place in cluster.places]


class Elsewhere:
    """Measures as `MeasuringProcess` does, on a place of a cluster. Any thread may use it, one at a time.

    A place that is lost raises PlaceLost, for good unless it is started again.

    Args:
        kept: what the process there keeps.
        files: that the host must have, with their sizes (bytes).
    """

    loading = 0.0
    """Seconds spent on loading engines."""

    def __init__(self, cluster: Cluster, place: Place, kept: Kept, files: dict[str, int]) -> None:
        self.place = place
        self._cluster = cluster
        self._kept = kept
        self._files = files
        self._station: Remote[Station] | None = None
        self._ended = False

    def measure(self, plan: Plan, workload: Workload, folder: Path | None = None, tell: Tell = silent) -> Trace:
        """`measure` of a session there; the trace is written to `folder` here. Raises what that does, and PlaceLost."""
        return self._measured(plan, workload, folder, fresh=False)

    def measure_apart(self, plan: Plan, workload: Workload, folder: Path | None = None) -> Trace:
        """The same in a fresh process there."""
        return self._measured(plan, workload, folder, fresh=True)

    def call(self, function: Callable[..., _Answer], *arguments: Any) -> _Answer:
        """The answer of a function that is called there; all of it must survive pickling. Raises what it raises."""
        return cast("_Answer", pickle.loads(self._there().call("call", function, arguments)))

    def clear(self) -> None:
        """End the process there, and with it all that it keeps."""
        if self._station is not None:
            self._station.call("clear")

    def close(self) -> None:
        """End the actor, also in the middle of a run, which then raises PlaceLost."""
        if self._station is not None:
            self._station.end()

    def end(self) -> None:
        """End the actor for good: it is not started again, also where another thread is about to."""
        self._ended = True
        self.close()

    def start(self) -> None:
        """Begin, or begin anew after a loss: a process can die where its host lives on.

        Raises HostLost where the host has left the cluster, ClusterError where the place does not answer in time, or
        its host does not have the same files.
        """
        self.close()
        station = self._cluster.actor(self.place, Station, self.place, self._kept, str(Path.cwd()))
        self._station = station
        if self._ended:
            self.close()
        self._cluster.wait_for(station, _START_S)
        differing = [] if self.place.here else station.call("differing", self._files)
        if differing:
            fix = "put the same files at the same paths on every host, for instance on a shared file system"
            raise ClusterError(f"{self.place.host} does not have the same files", got=", ".join(differing), fix=fix)

    def _measured(self, plan: Plan, workload: Workload, folder: Path | None, fresh: bool) -> Trace:
        packed, loading = self._there().call("measure", plan, workload, fresh)
        self.loading += loading
        trace: Trace = pickle.loads(packed)
        trace = with_fields(trace, meta=replace(trace.meta, site=self.place.site))
        return trace if folder is None else save_trace(trace, folder)

    def _there(self) -> Remote[Station]:
        if self._station is None:
            self.start()
        assert self._station is not None
        return self._station
