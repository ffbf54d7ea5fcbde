"""Fleets as YAML files that people write, and capacities as `framepace capacity --json` prints them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec

from framepace.errors import StoreError, UsageError
from framepace.facts.bounded import PositiveNumber
from framepace.facts.capacity import Capacity, CapacityPoint
from framepace.facts.fleetsize import FLEET_FORMAT, MOST_CAMERAS, Fleet
from framepace.facts.summary import Estimate
from framepace.store.files import check_format, decode, named, read
from framepace.store.plans import check_depth
from framepace.values import shown

_LARGEST = 1 << 20  # bytes
_EXPECTED = "hosts: [{name: ..., devices: ..., cost: ..., capacity: FILE.json}]"
_SCHEMA = "framepace.capacity/1"
_PRINTED = "what `framepace capacity PLAN --fps 30 --json` prints"


_Cameras = Annotated[int, msgspec.Meta(ge=1, le=MOST_CAMERAS)]


class _Interval(msgspec.Struct):
    value: PositiveNumber
    low: float | None = None
    high: float | None = None


class _Point(msgspec.Struct):
    cameras: _Cameras
    holds: bool
    measured: bool = True
    p99_ns: _Interval | None = None


class CapacityDocument(msgspec.Struct):
    """The fields of a capacity that a fleet needs."""

    schema: str
    cameras: Annotated[int, msgspec.Meta(ge=0, le=MOST_CAMERAS)]
    target_fps: PositiveNumber
    budget_ns: PositiveNumber
    points: list[_Point] = []
    simulated: bool = False
    missed: _Cameras | None = None
    stopped: str = ""


def load_fleet(path: Path | str) -> Fleet:
    """Read a fleet. Raises UsageError for what is none, StoreError for a file that cannot be read."""
    path = named(path, "fleet")
    raw = _mapping(path)
    check_format(str(raw.get("format", FLEET_FORMAT)), FLEET_FORMAT, path)
    try:
        fleet = msgspec.convert(raw, Fleet)
    except (ValueError, RecursionError, OverflowError) as error:
        fix = "correct it; the guide on fleets has an example"
        raise UsageError(f"the fleet {path} is not valid", got=shown(error), expected=_EXPECTED, fix=fix) from error
    _check(fleet, path)
    return fleet


def _mapping(path: Path) -> dict[str, Any]:
    data = read(path, usual="fleet.yaml")
    fix = "check its indentation; the guide on fleets has an example"
    if len(data) > _LARGEST:
        raise UsageError("the fleet is too large", got=f"{len(data):,} bytes", expected="at most 1 MiB", fix=fix)
    try:
        check_depth(data, path)
        raw = msgspec.yaml.decode(data)
    except Exception as error:  # beside its own errors YAML raises those of int, float, dates and Unicode
        got = f"{path}: {shown(error)}"
        raise UsageError("the fleet is not YAML", got=got, expected=_EXPECTED, fix=fix) from error
    if not isinstance(raw, dict):
        raise UsageError("the fleet is not a mapping", got=path, expected=_EXPECTED, fix=fix)
    return raw


def _check(fleet: Fleet, path: Path) -> None:
    """Raise UsageError for kinds that contradict themselves or each other."""
    names = [host.name for host in fleet.hosts]
    if len({*names}) < len(names):
        got = ", ".join(names)
        raise UsageError(f"two kinds of hosts in {path} have one name", got=got, fix="give each a name of its own")
    for host in fleet.hosts:
        if (host.capacity is None) == (host.plan is None):
            fix = "capacity: FILE (framepace capacity --json), or plan: FILE, which is measured now"
            problem = f"what a device of {host.name!r} carries is open"
            raise UsageError(problem, got=path, expected="one of both", fix=fix)
    _check_costs(fleet)


def _check_costs(fleet: Fleet) -> None:
    """Raise UsageError where some hosts have a cost, and others none."""
    without = [host.name for host in fleet.hosts if host.cost is None]
    if without and len(without) < len(fleet.hosts):
        fix = "give all hosts a cost, in the same unit, or none"
        raise UsageError("some hosts have a cost and others none", got=", ".join(without), fix=fix)


def load_capacity(path: Path | str) -> Capacity:
    """Read what `framepace capacity --json` printed. Raises StoreError."""
    path = named(path, "capacity")
    document = _document(read(path, usual="capacity.json"), path)
    check_format(document.schema, _SCHEMA, path)
    if document.missed is not None and document.missed <= document.cameras:
        got = f"{path}: {document.cameras} cameras are carried, and {document.missed} are not"
        raise StoreError("the file is damaged", got=got, expected=_SCHEMA)
    return Capacity(
        cameras=document.cameras,
        fps=document.target_fps,
        budget=document.budget_ns,
        points=tuple(_point(point) for point in document.points if point.measured),
        missed=document.missed,
        stopped=document.stopped,
        simulated=document.simulated,
    )


def _document(data: bytes, path: Path) -> CapacityDocument:
    try:
        return decode(data, CapacityDocument, path)
    except StoreError as error:
        fix = "measure it on such a device, and keep what --json prints"
        raise StoreError("the file is no capacity, or damaged", got=error.got, expected=_PRINTED, fix=fix) from error


def _point(row: _Point) -> CapacityPoint:
    estimate = None
    if row.p99_ns is not None:
        estimate = Estimate(value=row.p99_ns.value, low=row.p99_ns.low, high=row.p99_ns.high)
    return CapacityPoint(cameras=row.cameras, holds=row.holds, late=0.0, seconds=0.0, p99=estimate)
