"""What a place carries: measured once per kind of place, and kept; predicted from that for any number of cameras.

A kind is a device with its share of the host's cores. The models are measured alone, in the process and on
the device where they will run; the engine in virtual time then says how many cameras that carries, and at which age of
their results.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import dataclass

import msgspec
import numpy as np
from msgspec.structs import replace

from framepace import __version__
from framepace.analyze.capacity import capacity_point, next_count
from framepace.errors import StoreError
from framepace.facts.place import Place
from framepace.facts.plan import Plan
from framepace.facts.primitives import Primitives
from framepace.facts.settings import Case
from framepace.facts.workload import Input, Paced, Stop, Warmup, Workload
from framepace.fleet.messages import Engine
from framepace.fleet.placing import Capacity
from framepace.predicting.predict import predict
from framepace.progress import Tell
from framepace.store import cache
from framepace.units import NS_PER_MS, NS_PER_S

_MOST = 1024  # cameras of one engine
_FRAMES = 1000  # of a prediction: enough for a p99
_SHORTEST_S = 1.0
_CORES_USED = 0.8  # of a place's cores may be busy decoding
_TOO_LITTLE = 0.5  # share of one camera that a place is taken to carry which does not carry it


@dataclass(frozen=True)
class Reference:
    """The camera that capacities are counted in: pictures per second, and (height, width)."""

    fps: float
    size: tuple[int, int]

    def workload(self, cameras: int = 1) -> Workload:
        """So many of them."""
        seconds = max(_SHORTEST_S, _FRAMES / (self.fps * cameras))
        return Workload(
            load=Paced(fps=self.fps),
            input=Input(size=self.size, cameras=cameras),
            stop=Stop(seconds=seconds),
            warmup=Warmup(seconds_max=0.1),
        )


class Capacities:
    """Capacities by kind of place. Any thread may ask; one measurement runs per host at a time."""

    def __init__(self, plan: Plan, reference: Reference, tell: Tell) -> None:
        self._plan = plan
        self._reference = reference
        self._tell = tell
        self._lock = threading.Lock()
        self._hosts: dict[str, threading.Lock] = defaultdict(threading.Lock)
        self._by_kind: dict[str, Capacity] = {}

    def of(self, engine: Engine, place: Place) -> Capacity:
        """What a place carries; measured by `engine` where that is not known of its kind. Raises FramepaceError."""
        with self._lock:
            measuring = self._hosts[place.node]
        with measuring:
            if place.kind not in self._by_kind:
                primitives = self._measured(engine, place)
                self._by_kind[place.kind] = capacity(self._plan, primitives, self._reference, place.cores)
            return self._by_kind[place.kind]

    def _measured(self, engine: Engine, place: Place) -> Primitives:
        case = Case(plan=self._plan, workload=self._reference.workload())
        name = f"capacities/{cache.key(__version__, place.kind, msgspec.json.encode(case))}.json"
        kept = _kept(name)
        if kept is None:
            self._tell(f"measuring what {place.hardware} carries", None)
            kept = engine.measure(case)
            _keep(name, kept)
        return kept


def _kept(name: str) -> Primitives | None:
    """Primitives of the cache; None where there are none that can be read."""
    try:
        return msgspec.json.decode((cache.folder() / name).read_bytes(), type=Primitives)
    except (OSError, msgspec.MsgspecError):
        return None


def _keep(name: str, primitives: Primitives) -> None:
    try:
        cache.put(name, msgspec.json.encode(primitives))
    except StoreError:
        return  # it is measured again


def capacity(plan: Plan, primitives: Primitives, reference: Reference, cores: float) -> Capacity:
    """How many inferences per second a plan carries within its budget on `cores` cores, and at which ages."""
    if primitives.cores:
        primitives = replace(primitives, cores=max(1, round(min(primitives.cores, cores))))
    fps = plan.target.fps or reference.fps
    plan = replace(plan, target=replace(plan.target, fps=fps))
    ages: dict[int, float] = {}
    holds: dict[int, bool] = {}
    while (cameras := next_count(holds, _MOST)) is not None:
        trace = predict(plan, reference.workload(cameras), primitives)
        point = capacity_point(trace, cameras, measured=False)
        holds[cameras] = point.holds
        if point.holds and point.p99 is not None:
            ages[cameras] = point.p99.value / NS_PER_MS
    best = max((count for count, held in holds.items() if held), default=_TOO_LITTLE)
    curve = tuple((count / best, ages[count]) for count in sorted(ages) if count <= best)
    return Capacity(best * reference.fps, _pixels(primitives, reference, cores), curve)


def _pixels(primitives: Primitives, reference: Reference, cores: float) -> float:
    """Pixels per second that so many cores decode."""
    times = [ns for point in primitives.costs[0].points for ns in point.samples.get("decode", ())]
    if not times:
        return float("inf")
    height, width = reference.size
    return _CORES_USED * max(cores, 0.1) * height * width * NS_PER_S / max(1.0, float(np.median(times)))
