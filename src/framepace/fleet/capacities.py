"""What a place carries: measured once per kind of place, and kept; predicted from that for any number of cameras.

A kind is a device with its share of the host's cores. The models are measured alone, on the device where they will run;
the engine in virtual time then says how many cameras that carries, and at which age of their results.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import dataclass

import msgspec
import numpy as np
from msgspec.structs import replace

from framepace.analyze.capacity import capacity_point
from framepace.errors import StoreError, UsageError, one_line
from framepace.facts.place import Place
from framepace.facts.plan import Plan
from framepace.facts.primitives import Primitives
from framepace.facts.settings import Case
from framepace.facts.trace import Trace
from framepace.facts.workload import Input, Paced, Stop, Warmup, Workload
from framepace.fleet.messages import Engine
from framepace.fleet.placing import Capacity
from framepace.predicting.bound import bound
from framepace.predicting.predict import predict
from framepace.progress import Tell
from framepace.store import cache
from framepace.units import NS_PER_MS, NS_PER_S

_FRAMES = 1000  # of a prediction: enough for a p99
_SHORTEST_S = 0.5
_SOURCES = 16  # of a prediction, at most
_EXACT = 0.05  # share of a number of cameras up to which it is looked for
_LEAST = 0.1  # of one camera
_SHARES = (0.1, 0.5, 0.8, 1.0)  # of a capacity, at which ages are predicted
_CORES_USED = 0.8  # of a place's cores may be busy decoding
_QUIET = 0.1  # share of a host that others may take while it is measured, if that shall be believed another time
_UNKNOWN = 1e6  # inferences per second: no place is ever too full


@dataclass(frozen=True)
class Reference:
    """The camera that capacities are counted in: pictures per second, and (height, width)."""

    fps: float
    size: tuple[int, int]

    def workload(self, cameras: float = 1.0) -> Workload:
        """As many frames as so many of them bring, from a few that are faster: an engine sees frames, not cameras."""
        sources = max(1, min(_SOURCES, int(cameras)))
        fps = self.fps * cameras / sources
        return Workload(
            load=Paced(fps=fps),
            input=Input(size=self.size, cameras=sources),
            stop=Stop(seconds=max(_SHORTEST_S, _FRAMES / (fps * sources))),
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
        self.note = ""
        self._by_kind: dict[str, Capacity] = {}

    def of(self, engine: Engine, place: Place) -> Capacity:
        """What a place carries; measured by `engine` where that is not known of its kind. Raises FramepaceError."""
        with self._lock:
            measuring = self._hosts[place.node]
        with measuring:
            if place.kind not in self._by_kind:
                self._by_kind[place.kind] = self._found(engine, place)
            return self._by_kind[place.kind]

    def _found(self, engine: Engine, place: Place) -> Capacity:
        """What a place carries; the same for all places where the plan cannot be predicted."""
        case = Case(plan=self._plan, workload=self._reference.workload())
        name = f"capacities/{cache.key(place.kind, place.machine.libraries, msgspec.json.encode(case))}"
        kept = _kept(name)
        if kept is not None:
            return kept
        self._tell(f"measuring what {place.hardware} carries", None)
        try:
            primitives = engine.measure(case)
            made = capacity(self._plan, primitives, self._reference, place.cores)
        except UsageError as error:
            self.note = f"what places carry is not known, so sources are spread evenly: {one_line(error)}"
            return Capacity(_UNKNOWN)
        neighbours = _neighbours(primitives)
        if neighbours <= _QUIET:
            _keep(name, made)
        else:
            self.note = f"other programs took {neighbours:.0%} of {place.host} while it was measured what it carries"
        return made


def _neighbours(primitives: Primitives) -> float:
    """The share of the machine that others took while it was measured: the median over the situations."""
    return float(np.median([point.neighbours or 0.0 for cost in primitives.costs for point in cost.points]))


def _kept(name: str) -> Capacity | None:
    """A capacity of the cache; None where there is none that can be read."""
    try:
        return msgspec.msgpack.decode((cache.folder() / name).read_bytes(), type=Capacity)
    except (OSError, msgspec.MsgspecError):
        return None


def _keep(name: str, made: Capacity) -> None:
    try:
        cache.put(name, msgspec.msgpack.encode(made))
    except StoreError:
        return  # it is measured again


def capacity(plan: Plan, primitives: Primitives, reference: Reference, cores: float) -> Capacity:
    """How many inferences per second a plan carries within its budget on `cores` cores, and at which ages.

    Raises UsageError for a plan that cannot be predicted.
    """
    if primitives.cores:
        primitives = replace(primitives, cores=max(1, round(min(primitives.cores, cores))))
    plan = replace(plan, target=replace(plan.target, fps=plan.target.fps or reference.fps))
    highest = bound(plan, primitives) / reference.fps
    search = _Search(plan, primitives, reference)
    best = search.largest(highest)
    curve = tuple((share, search.p99_ms(share * best)) for share in _SHARES)
    return Capacity(best * reference.fps, _pixels(primitives, reference, cores), curve)


class _Search:
    """Predictions of one plan for numbers of cameras, which need not be whole."""

    def __init__(self, plan: Plan, primitives: Primitives, reference: Reference) -> None:
        self._plan = plan
        self._primitives = primitives
        self._reference = reference

    def largest(self, highest: float) -> float:
        """The largest number that holds, within a few per cent, by halving; `highest` holds in no case.

        Where not even a small part of one camera does, that part.
        """
        held = 0.0
        missed = max(highest, _LEAST)
        while missed - held > _EXACT * missed and missed > _LEAST:
            cameras = (held + missed) / 2
            if capacity_point(self._predicted(cameras), max(1, int(cameras)), measured=False).holds:
                held = cameras
            else:
                missed = cameras
        return held or missed

    def p99_ms(self, cameras: float) -> float:
        """How old results are."""
        return _p99_ms(self._predicted(cameras))

    def _predicted(self, cameras: float) -> Trace:
        return predict(self._plan, self._reference.workload(cameras), self._primitives)


def _p99_ms(trace: Trace) -> float:
    """The age that 99 % of the results keep: a point, since what is predicted can be repeated as often as wanted."""
    ages = trace.latency[trace.counted]
    return float(np.quantile(ages, 0.99)) / NS_PER_MS if len(ages) else float("inf")


def _pixels(primitives: Primitives, reference: Reference, cores: float) -> float:
    """Pixels per second that so many cores decode."""
    times = [ns for point in primitives.costs[0].points for ns in point.samples.get("decode", ())]
    if not times:
        return float("inf")
    height, width = reference.size
    return _CORES_USED * max(cores, 0.1) * height * width * NS_PER_S / max(1.0, float(np.median(times)))
