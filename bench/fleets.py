"""Whether fleets hold what `capacity --fleet` says: in simulation to 1,000 devices, and on devices of this machine.

    python bench/fleets.py                      1,000 simulated devices, then one and two shares of this machine's cores
    python bench/fleets.py --devices 100        fewer
    python bench/fleets.py --devices 0          only this machine
    python bench/fleets.py --each               every device by itself, however long that takes

Simulated: devices of a kind that have the same number of cameras are alike but for chance, and none of them knows of
another. So of each kind up to 40 are run, each by itself in virtual time with a seed of its own, with the cameras that
it has once the largest host is lost; they stand for all. What share of the kind is within the budget then has a bound:
where 40 of 40 are, at least 92.8 % of all (Clopper and Pearson 1934, 95 %).

Here: a device is one core, by affinity; the network is one that only sleeps, since others may work on the machine. The
capacity of one is measured, and then one and two run at once, each full.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from common import parser_of, show
from scipy.special import betaincinv

from framepace import api
from framepace.analyze.verified import latency as latency_of
from framepace.facts.capacity import Capacity
from framepace.facts.fleetsize import Fleet, FleetSize, HostKind
from framepace.facts.workload import stop_after
from framepace.fleetsizing import sized

FPS = 30.0
KINDS = {"t4": ("builtin:resnet50", 4, 900.0), "xavier": ("builtin:resnet50", 1, 150.0)}
SHARE = {"t4": 0.8, "xavier": 0.2}  # of the devices
SLEEPING = {"backend": "null", "option.cpu": "sleep", "option.latency_us": 20_000}
FPS_HERE = 10.0
P99_MS_HERE = 300.0  # what others do here takes tens of ms
FRAMES = 700  # of a device: enough for a p99
ALIKE = 40  # devices of a group that are run
SURE = 0.95
PREDICTED = 0.15  # a p99 that is further away was not predicted


@dataclass(frozen=True)
class Device:
    """What one device did: its p99 (ns), and the share of its frames that were late."""

    p99: float
    late: float


def case(model: str, cameras: int, settings: dict[str, Any], seconds: float, seed: int = 0, fps: float = FPS) -> Any:
    """So many cameras on one device."""
    changes = {**settings, "cameras": cameras}
    return api.make_case(model, fps=fps, stop=stop_after(seconds), settings=changes, seed=seed)


def simulated(kind: str) -> dict[str, Any]:
    """The settings of a kind of device."""
    return {"backend": "simulated", "option.device": kind}


def ran(case_of_device: Any, budget: float) -> Device:
    """One device, run."""
    latency = latency_of(api.bench(case_of_device))
    return Device(float(np.quantile(latency, 0.99)), float(np.mean(latency > budget)))


def fleet_of(devices: int) -> tuple[FleetSize, dict[str, Capacity]]:
    """A fleet of about so many devices of both kinds."""
    found = {kind: api.capacity(KINDS[kind][0], fps=FPS, settings=simulated(kind), max_cameras=64) for kind in KINDS}
    most = {kind: max(1, round(SHARE[kind] * devices / KINDS[kind][1])) for kind in KINDS}
    hosts = [
        HostKind(name=kind, devices=KINDS[kind][1], cost=KINDS[kind][2], most=most[kind], capacity="measured")
        for kind in KINDS
    ]
    whole = sum(most[kind] * KINDS[kind][1] * found[kind].cameras for kind in KINDS)
    spare = max(KINDS[kind][1] * found[kind].cameras for kind in KINDS)
    return sized(Fleet(hosts=tuple(hosts)), found, whole - spare), found


def run_simulated(devices: int, alike: int) -> Iterator[dict[str, Any]]:
    """A fleet without its largest host: `alike` devices of each kind, at most, stand for all of it."""
    size, _ = fleet_of(devices)
    for group in size.groups:
        count = group.devices - KINDS[group.kind][1] * (group.kind == size.lost)
        seen = alike_devices(group.kind, group.after, min(count, alike), size.budget)
        what = f"{count} {group.kind}, {group.after} cameras each"
        yield from rows(what, seen, group.p99_after, size.budget, count)


def alike_devices(kind: str, cameras: int, count: int, budget: float) -> list[Device]:
    """So many devices of a kind with so many cameras each, on all cores; the first are the same for any count."""
    with multiprocessing.get_context("spawn").Pool() as pool:
        return pool.starmap(simulated_device, [(kind, cameras, seed, budget) for seed in range(count)], chunksize=1)


def simulated_device(kind: str, cameras: int, seed: int, budget: float) -> Device:
    """One device with so many cameras, in virtual time."""
    seconds = FRAMES / (FPS * cameras)
    return ran(case(KINDS[kind][0], cameras, simulated(kind), seconds, seed), budget)


def rows(what: str, seen: list[Device], predicted: float | None, budget: float, count: int) -> Iterator[dict[str, Any]]:
    """What devices did that stand for `count` of them, beside what was predicted."""
    p99 = np.array([device.p99 for device in seen]) / 1e6
    goal = "" if predicted is None else f"{predicted / 1e6:.2f} ms"
    met = None if predicted is None else bool(abs(np.median(p99) * 1e6 / predicted - 1) <= PREDICTED)
    yield {"what": f"{what}: p99, median", "got": f"{np.median(p99):.2f} ms", "goal": goal, "met": met}
    yield {"what": f"{what}: p99, largest", "got": f"{p99.max():.2f} ms", "goal": f"{budget / 1e6:.1f} ms"}
    within = sum(device.p99 <= budget for device in seen)
    got = within_text(within, len(seen), count)
    yield {"what": f"{what}: within", "got": got, "goal": "all", "met": within == len(seen)}


def within_text(within: int, seen: int, count: int) -> str:
    """How many of those seen are within the budget, and what that says of all `count`."""
    if seen == count:
        return f"{within} of {seen}"
    return f"{within} of {seen}, so of all >= {least_share(within, seen):.1%}"


def least_share(within: int, seen: int) -> float:
    """The share of alike devices that is within, of which so many of those seen were: its lower bound (95 %)."""
    if not within:
        return 0.0
    return float(betaincinv(within, seen - within + 1, 1 - SURE))


def on_core(core: int, cameras: int, budget: float, seconds: float) -> Device:
    """One device of this machine: a core."""
    os.sched_setaffinity(0, {core})
    return ran(case("null", cameras, SLEEPING, seconds, fps=FPS_HERE), budget)


def measured_capacity(core: int) -> Capacity:
    """What one core carries."""
    os.sched_setaffinity(0, {core})
    return api.capacity("null", fps=FPS_HERE, p99_ms=P99_MS_HERE, settings=SLEEPING, time_limit=90.0, max_cameras=16)


def run_here() -> Iterator[dict[str, Any]]:
    """One device, and two at once."""
    context = multiprocessing.get_context("spawn")
    cores = sorted(os.sched_getaffinity(0))[:2]
    with context.Pool(len(cores)) as pool:
        capacity = pool.apply(measured_capacity, (cores[0],))
        if not capacity.cameras:
            yield {"what": "here", "got": "one camera misses: too busy", "met": False}
            return
        asked = Fleet(hosts=(HostKind(name="core", capacity="measured"),))
        size = sized(asked, {"core": capacity}, capacity.cameras)
        for count in range(1, len(cores) + 1):
            jobs = [(core, capacity.cameras, size.budget, 10.0) for core in cores[:count]]
            seen = pool.starmap(on_core, jobs, chunksize=1)
            what = f"{count} here, {capacity.cameras} cameras each"
            yield from rows(what, seen, size.groups[0].p99_after, size.budget, count)


def main() -> None:
    """See the module."""
    parser = parser_of(__doc__ or "", devices=1000)
    parser.add_argument("--each", action="store_true", help="run every device")
    args = parser.parse_args()
    alike = args.devices if args.each else ALIKE
    made: list[dict[str, Any]] = list(run_simulated(args.devices, alike)) if args.devices else []
    show("fleets", args, [*made, *run_here()])


if __name__ == "__main__":
    main()
