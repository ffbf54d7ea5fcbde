"""A program: a run or a sweep on two nodes of Ray on this machine, one of which is lost with all that it runs.

    python -m tests.fleet.lostnode run|sweep FOLDER     prints what became of it, as JSON

In a process of its own, since a process is connected to one cluster at most.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import psutil
from msgspec.structs import replace
from ray.cluster_utils import Cluster as Nodes

from framepace import deploying
from framepace.cluster import connect
from framepace.facts.plan import EnginePlan, ModelPlan, Plan
from framepace.facts.running import SourceSpec
from framepace.facts.settings import Case
from framepace.facts.workload import Closed, Stop, Warmup, Workload
from framepace.sweeping import sweep
from tests.fleet.engines import Collected, plan
from tests.running.videos import video

_LOST = "FRAMEPACE_TEST_LOST"  # in the environment of the node that is to be lost
_CAMERAS = 4
_ATTEMPTS = 3
_NULL = ModelPlan(name="a", model="null", backend="null", options={"latency_us": 300})


def lose_node(*_: Any) -> None:
    """A finish hook that ends its node, where that is the one to be lost."""
    if os.environ.get(_LOST):
        parents = psutil.Process().parents()
        kill(next(parent for parent in parents if parent.name() == "raylet"))


def kill(raylet: psutil.Process) -> None:
    """End a node of Ray and everything that it started, as a host without power does."""
    this = os.getpid()
    processes = [raylet, *raylet.children(recursive=True)]
    for process in sorted(processes, key=lambda process: process.pid == this):
        process.kill()


def run(address: str, lost: Any, folder: Path) -> dict[str, Any]:
    """Cameras on both nodes; what each counted, and what was said, once one node is gone."""
    kept = Collected()
    path = video(folder / "v.mp4")
    sources = [SourceSpec(name=f"camera-{number}", address=path, loop=True) for number in range(_CAMERAS)]
    names = [source.name for source in sources]
    running = deploying.start(plan(), sources, sinks=[kept], ray=address, stays=True)
    kept.wait_for(3, *names)
    victim = next(engine.name for engine in running.status().engines if lost.node_id[:6] in engine.name)
    undisturbed = [source.name for source in running.status().sources if source.engine != victim]
    kill(psutil.Process(lost.all_processes["raylet"][0].process.pid))
    while not any("has left the cluster" in note for note in running.status().notes):
        kept.wait_for(1, *undisturbed)
    kept.wait_for(3, *names)
    running.stop()
    status = running.wait(60)
    return {
        "states": sorted(engine.state for engine in status.engines),
        "notes": status.notes,
        "undisturbed": undisturbed,
        "numbers": kept.numbers,
        "sources": [
            {
                "name": source.name,
                "delivered": source.delivered,
                "taken": source.taken,
                "counted": source.delivered + source.skipped + source.failed + sum(source.dropped.values()),
                "lost": source.dropped.get("engine lost", 0),
            }
            for source in status.sources
        ],
    }


def swept(address: str) -> dict[str, Any]:
    """Cells on both nodes; one ends in the middle of its first."""
    stop = Stop(seconds=4.0)  # longer than it takes to notice that the node is gone
    workload = Workload(load=Closed(), scope="pipeline", stop=stop, warmup=Warmup(seconds_max=0.05))
    engine = EnginePlan(finish="tests.fleet.lostnode:lose_node")
    case = Case(plan=replace(Plan(models=(_NULL,)), engine=engine), workload=workload)
    with connect(address) as cluster:
        done = sweep(case, {"option.latency_us": [100, 200, 300, 400]}, cluster=cluster)
    return {
        "measured": [cell.summary is not None for cell in done.cells],
        "places": len({cell.site.name for cell in done.cells if cell.site}),
        "notes": done.notes,
    }


def started() -> tuple[Nodes, Any]:
    """Two nodes, and the one to be lost; a busy machine may need several attempts, since Ray gives a node 30 s."""
    for _ in range(_ATTEMPTS - 1):
        nodes = Nodes()
        try:
            return _started(nodes)
        except Exception:
            nodes.shutdown()
    return _started(Nodes())


def _started(nodes: Nodes) -> tuple[Nodes, Any]:
    nodes.add_node(num_cpus=2)
    lost = nodes.add_node(num_cpus=2, env_vars={_LOST: "1"})
    nodes.wait_for_nodes()
    return nodes, lost


def main(what: str, folder: Path) -> None:
    """Start the nodes, and print what became of it."""
    nodes, lost = started()
    try:
        document = swept(nodes.address) if what == "sweep" else run(nodes.address, lost, folder)
        print(json.dumps(document))
    finally:
        nodes.shutdown()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
