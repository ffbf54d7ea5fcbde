"""`capacity --fleet`: how many hosts of which kind carry so many cameras, at which p99, at which cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from framepace import values
from framepace.analyze import fleetsize
from framepace.analyze.fleetsize import Counts, Hosts
from framepace.cases import make_case
from framepace.errors import UsageError
from framepace.facts.capacity import Capacity
from framepace.facts.fleetsize import MOST_CAMERAS, Alone, Fleet, FleetSize, HostGroup, HostKind
from framepace.fleet import placing
from framepace.fleet.placing import Load, Predicted
from framepace.progress import Tell, silent, within
from framepace.reporting.views.text import maybe
from framepace.sizing import TIME_LIMIT, find_capacity
from framepace.store.fleets import load_capacity, load_fleet
from framepace.units import NS_PER_MS, format_ms

_BUILT_IN = "builtin:"
_SAME = 0.01  # of a budget: rounding


def fleet_capacity(
    path: str | Path,
    cameras: int,
    *,
    fps: float | None = None,
    p99_ms: float | None = None,
    time_limit: float = TIME_LIMIT,
    tell: Tell | None = None,
) -> FleetSize:
    """The cheapest hosts that carry so many cameras at their target, also when the largest host is lost.

    Cameras are placed on the devices as `framepace run --ray` places them.

    Args:
        path: a fleet (.yaml): the kinds of hosts, their devices and costs, and what a device carries.
        cameras: how many, each at the frame rate of the capacities; at most 100,000.
        fps: frames per second of each camera, for kinds whose plan is measured now; what was measured before has to
            have the same.
        p99_ms: their budget, ms; the frame period by default.
        time_limit: seconds for each kind that is measured or simulated now.
        tell: called with the current step.

    Returns:
        The hosts by kind with the most cameras and the p99 of a device, before and after the loss, the costs, and what
        each kind alone would need.

    Raises:
        UsageError: the fleet is malformed, or its capacities are of different targets.
        StoreError: a file cannot be read. FramepaceError: a plan cannot be measured; see `bench` for its kinds.
    """
    cameras = values.whole_number(cameras, "cameras", least=1, most=MOST_CAMERAS)
    path = values.path(path, "path")
    asked = load_fleet(path)
    tell = tell or silent
    options = {"fps": fps, "p99_ms": p99_ms}
    known = {kind.name: load_capacity(path.parent / kind.capacity) for kind in asked.hosts if kind.capacity is not None}
    for name, capacity in known.items():
        _check_asked(name, capacity, fps, p99_ms)
    capacities = {
        kind.name: known.get(kind.name) or _measured(kind, path.parent, options, time_limit, tell)
        for kind in asked.hosts
    }
    _check_targets(capacities)
    return sized(asked, capacities, cameras)


def _check_asked(name: str, capacity: Capacity, fps: float | None, p99_ms: float | None) -> None:
    """Raise UsageError where a kind was measured for other cameras than are asked for: nothing says what these take."""
    asked = [] if fps is None or fps == capacity.fps else [f"--fps {fps:g}"]
    if p99_ms is not None and abs(p99_ms * NS_PER_MS / capacity.budget - 1) > _SAME:
        asked.append(f"--p99-ms {p99_ms:g}")
    if asked:
        words = " ".join(asked)
        fix = f"measure it so on such a device (framepace capacity PLAN {words} --json), or leave {words} out"
        raise UsageError(
            f"the capacity of {name!r} is that of other cameras", got=words, expected=_target(capacity), fix=fix
        )


def _measured(kind: HostKind, folder: Path, options: Mapping[str, Any], time_limit: float, tell: Tell) -> Capacity:
    """What a device of a kind carries, measured now with its plan."""
    assert kind.plan is not None
    models = kind.plan
    if not models.startswith(_BUILT_IN):
        models = str(folder / models)
    case = make_case(models, settings=kind.settings, **options)
    return find_capacity(case, time_limit=time_limit, tell=within(tell, f"{kind.name}: ", None))


def _check_targets(capacities: Mapping[str, Capacity]) -> None:
    """Raise UsageError where the kinds were measured for different cameras."""
    (name, first), *others = capacities.items()
    for other, capacity in others:
        same_rate = capacity.fps == first.fps
        if not same_rate or abs(capacity.budget / first.budget - 1) > _SAME:
            got = f"{name}: {_target(first)}; {other}: {_target(capacity)}"
            fix = "measure all kinds with the same --fps and --p99-ms"
            raise UsageError("the capacities are of different targets", got=got, fix=fix)


def _target(capacity: Capacity) -> str:
    return f"{capacity.fps:g} fps within {format_ms(capacity.budget)}"


def sized(asked: Fleet, capacities: Mapping[str, Capacity], cameras: int) -> FleetSize:
    """The answer for capacities of one device that are known, by kind."""
    kinds = _kinds(asked, capacities)
    size = _unanswered(asked, capacities, cameras)
    counts = fleetsize.cheapest(kinds, cameras)
    if counts is None:
        return replace(size, carried=fleetsize.carried(kinds, _all(kinds)))
    size = replace(size, lost=fleetsize.largest(kinds, counts), carried=fleetsize.carried(kinds, counts))
    groups = tuple(_groups(size, asked, capacities, counts))
    return replace(size, groups=groups, cost=_cost(asked, counts))


def _unanswered(asked: Fleet, capacities: Mapping[str, Capacity], cameras: int) -> FleetSize:
    """What is asked, what each kind alone would need, and what has to be said of the capacities."""
    target = next(iter(capacities.values()))
    kinds = _kinds(asked, capacities)
    return FleetSize(
        cameras=cameras,
        fps=target.fps,
        budget=target.budget,
        alone=tuple(_alone(name, kind, cameras, asked) for name, kind in kinds.items()),
        simulated=any(capacity.simulated for capacity in capacities.values()),
        notes=tuple(_notes(capacities)),
    )


def _kinds(asked: Fleet, capacities: Mapping[str, Capacity]) -> dict[str, Hosts]:
    """What whole hosts carry and cost, by kind."""
    return {
        host.name: Hosts(host.devices * capacities[host.name].cameras, host.cost or 1.0, host.most)
        for host in asked.hosts
    }


def _all(kinds: Mapping[str, Hosts]) -> Counts:
    return {name: kind.limit or 0 for name, kind in kinds.items()}


def _alone(name: str, kind: Hosts, cameras: int, asked: Fleet) -> Alone:
    """What this kind by itself would need."""
    counts = fleetsize.cheapest({name: kind}, cameras)
    if counts is None:
        return Alone(kind=name, hosts=None)
    return Alone(kind=name, hosts=counts[name], cost=_cost(asked, counts))


def _cost(asked: Fleet, counts: Counts) -> float | None:
    """Of all hosts; None where costs are not known."""
    costs = {host.name: host.cost for host in asked.hosts}
    total = 0.0
    for name, count in counts.items():
        cost = costs[name]
        if cost is None:
            return None
        total += cost * count
    return total


def _notes(capacities: Mapping[str, Capacity]) -> list[str]:
    """What is not known of the capacities."""
    return [
        f"{name}: a device carries {capacity.cameras} cameras or more: {_why(capacity)}"
        for name, capacity in capacities.items()
        if not capacity.exact
    ]


def _why(capacity: Capacity) -> str:
    """Why a capacity is not known exactly."""
    if capacity.stopped:
        longer = "; --time-limit gives it longer" if capacity.stopped == "time limit" else ""
        return f"its search ended early ({capacity.stopped}){longer}"
    if capacity.missed is None:
        return "none that was tried missed"
    return "the next count was not tried"


def _groups(size: FleetSize, asked: Fleet, capacities: Mapping[str, Capacity], counts: Counts) -> Iterator[HostGroup]:
    """The fleet with its cameras placed, before and after its largest host is lost."""
    states = _states(size, dict(_devices(asked, capacities, counts)))
    for host in asked.hosts:
        if host.name in counts:
            fullest = [_fullest(host.name, state) for state in states]
            yield _group(host, capacities[host.name].cameras, counts[host.name], fullest)


def _states(size: FleetSize, devices: Mapping[str, placing.Capacity]) -> tuple[Mapping[str, Predicted], ...]:
    """What the devices are asked for with all hosts, and once the largest is lost."""
    loads = {str(number): Load(size.fps) for number in range(size.cameras)}
    without = {name: device for name, device in devices.items() if not name.startswith(f"{size.lost}/0/")}
    before = placing.place(loads, devices)
    after = placing.place(loads, without, before)
    return placing.predicted(loads, devices, before), placing.predicted(loads, without, after)


def _devices(
    asked: Fleet, capacities: Mapping[str, Capacity], counts: Counts
) -> Iterator[tuple[str, placing.Capacity]]:
    """Every device by its name, KIND/HOST/DEVICE, and what it carries."""
    for kind in asked.hosts:
        capacity = _placed(capacities[kind.name])
        for host in range(counts.get(kind.name, 0)):
            for device in range(kind.devices):
                yield f"{kind.name}/{host}/{device}", capacity


def _placed(capacity: Capacity) -> placing.Capacity:
    """A capacity as cameras are placed by: inferences per second, and the p99 by the share of them."""
    points = {p.cameras: p.p99.value / NS_PER_MS for p in capacity.points if p.holds and p.p99 is not None}
    carries = max(1, capacity.cameras)
    curve = tuple((count / carries, points[count]) for count in sorted(points))
    return placing.Capacity(carries * capacity.fps, curve=curve)


def _group(host: HostKind, carries: int, count: int, fullest: Sequence[Predicted]) -> HostGroup:
    """The hosts of a kind, by the fullest of their devices before and after."""
    before, after = fullest
    return HostGroup(
        kind=host.name,
        hosts=count,
        devices=count * host.devices,
        carries=carries,
        cameras=before.cameras,
        p99=maybe(before.p99_ms, _ns),
        after=after.cameras,
        p99_after=maybe(after.p99_ms, _ns),
        cost=maybe(host.cost, lambda cost: cost * count),
    )


def _fullest(kind: str, state: Mapping[str, Predicted]) -> Predicted:
    """The device of a kind that is used most; nothing where the only host of it is lost."""
    devices = [device for name, device in state.items() if name.rsplit("/", 2)[0] == kind]
    return max(devices, key=lambda device: device.share, default=Predicted(0, 0.0, 0.0, None))


def _ns(ms: float) -> float:
    return ms * NS_PER_MS
