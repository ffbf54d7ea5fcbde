"""How many hosts of which kind carry so many cameras: what is asked (`fleet.yaml`), and the answer."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from framepace.facts.base import Fact
from framepace.facts.bounded import Location, Option, Positive, PositiveNumber
from framepace.values import LONGEST_NAME

FLEET_FORMAT = "framepace.fleet/1"
MOST_CAMERAS = 100_000
_MOST_HOSTS = 100_000
_MOST_DEVICES = 64
_Kind = Annotated[str, Meta(min_length=1, max_length=LONGEST_NAME, pattern=r"^[^\x00-\x1f\x7f]+$")]  # in one line
_Count = Annotated[int, Meta(ge=1, le=_MOST_HOSTS)]


class HostKind(Fact, frozen=True, kw_only=True):
    """A kind of host that may be had: so many equal `devices`, at a `cost` per host in any unit, `most` of them.

    What one device carries is in `capacity`, the file that `framepace capacity --json` printed, or is found now, by
    measuring or simulating `plan` with `settings`.
    """

    name: _Kind
    devices: Annotated[int, Meta(ge=1, le=_MOST_DEVICES)] = 1
    cost: PositiveNumber | None = None
    most: _Count | None = None
    capacity: Location | None = None
    plan: Location | None = None
    settings: dict[str, Option] = {}


class Fleet(Fact, frozen=True, kw_only=True):
    """The kinds of hosts that may be had."""

    hosts: Annotated[tuple[HostKind, ...], Meta(min_length=1, max_length=16)]
    format: str = FLEET_FORMAT


class HostGroup(Fact, frozen=True, kw_only=True):
    """All hosts of a kind in a fleet, `devices` in all, each of which carries up to `carries` cameras.

    `cameras` is the most that a device has, and `p99` what that takes (ns; None where it is not known); `after` and
    `p99_after` are the same once the largest host is lost.
    """

    kind: str
    hosts: int
    devices: int
    carries: int
    cameras: int
    p99: float | None = None
    after: int
    p99_after: float | None = None
    cost: float | None = None


class Alone(Fact, frozen=True, kw_only=True):
    """The fleet of one kind alone: `hosts` None where that cannot carry the cameras."""

    kind: str
    hosts: int | None
    cost: float | None = None


class FleetSize(Fact, frozen=True, kw_only=True):
    """The cheapest fleet that carries `cameras` at `fps` within `budget` (ns), also when its largest host is lost.

    `lost` is the kind of that host. Without `groups` no such fleet can be had; `carried` is then what all hosts that
    there are carry without the largest. `alone` is what each kind by itself would need.
    """

    cameras: Positive
    fps: PositiveNumber
    budget: PositiveNumber
    groups: tuple[HostGroup, ...] = ()
    lost: str = ""
    carried: int = 0
    cost: float | None = None
    alone: tuple[Alone, ...] = ()
    simulated: bool = False
    notes: tuple[str, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether there is such a fleet."""
        return bool(self.groups)

    @property
    def cost_per_camera(self) -> float | None:
        """In the unit of the hosts' costs; None where these are not known."""
        if self.cost is None:
            return None
        return self.cost / self.cameras
