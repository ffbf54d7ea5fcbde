"""What a place carries: measured once per kind of place, and kept; predicted from that for any number of cameras.

A kind is a device with its share of the host's cores. The models are measured alone, on the device where they will run;
the engine in virtual time then says how many cameras that carries, and at which age of their results.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import dataclass
from itertools import accumulate

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
from framepace.fleet.rareevents import without_rare_events
from framepace.predicting.bound import bound
from framepace.predicting.predict import predict
from framepace.progress import Tell
from framepace.store import cache
from framepace.units import NS_PER_MS, NS_PER_S

_FRAMES = 1000  # of a prediction: enough for a p99
_SHORTEST_S = 0.5
_SOURCES = 16  # of a prediction, at most
_EXACT = 0.05  # share of a number of cameras up to which it is looked for
_LEAST = 0.1  # of one camera: what is late then is late with any number
_FIRST = 0.8  # of what a place can run at most: where most plans are full
_KEEPS_UP = 0.8  # of the same, which is taken to be carried where results are late with any number
_METHOD = 2  # of finding capacities: what another one found and kept is not used
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
        name = f"capacities/{cache.key(_METHOD, place.kind, place.machine.libraries, msgspec.json.encode(case))}"
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
        self.note = _doubt(made, self._plan, place, _neighbours(primitives))
        if not self.note:
            _keep(name, made)
        return made


def _doubt(made: Capacity, plan: Plan, place: Place, neighbours: float) -> str:
    """Why a capacity shall not be believed another time, in words; '' for one that may be."""
    budget = plan.target.budget_ms
    if neighbours > _QUIET:
        return f"other programs took {neighbours:.0%} of {place.host} while it was measured what it carries"
    if budget is None or not made.curve or made.curve[0][1] <= budget:
        return ""
    return (
        f"results of one source alone are predicted to be {made.curve[0][1]:.0f} ms old on {place.host} (p99), above "
        f"the target of {budget:g} ms; sources are spread by how many {place.hardware} keeps up with"
    )


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

    Where even a single camera's results are too late: as many as the place keeps up with, and their age.

    Raises UsageError for a plan that cannot be predicted.
    """
    if primitives.cores:
        primitives = replace(primitives, cores=max(1, round(min(primitives.cores, cores))))
    plan = replace(plan, target=replace(plan.target, fps=plan.target.fps or reference.fps))
    if plan.target.budget_ms is not None:
        primitives = without_rare_events(primitives, plan.target.budget_ms)
    search = _Search(plan, primitives, reference)
    best = search.largest(bound(plan, primitives) / reference.fps)
    return Capacity(best * reference.fps, _pixels(primitives, reference, cores), search.curve(best))


class _Search:
    """Predictions of one plan for numbers of cameras, which need not be whole. `ages` (p99, ms) are those by number."""

    def __init__(self, plan: Plan, primitives: Primitives, reference: Reference) -> None:
        self._plan = plan
        self._primitives = primitives
        self._reference = reference
        self._ages: dict[float, float] = {}

    def largest(self, highest: float) -> float:
        """The largest number that holds, within a few per cent, by halving; `highest` holds in no case.

        Where not even a small part of one camera does, what a place keeps up with.
        """
        missed = highest
        for held in (1.0, _LEAST):
            if held < missed:
                if self._holds(held):
                    break
                missed = held
        else:
            return _KEEPS_UP * highest
        cameras = _FIRST * missed
        while missed - held > _EXACT * missed:
            if self._holds(cameras):
                held = cameras
            else:
                missed = cameras
            cameras = (held + missed) / 2
        return held

    def curve(self, best: float) -> tuple[tuple[float, float], ...]:
        """Ages by share of `best`, of the numbers that were predicted; a fuller place is not taken to be faster."""
        known = sorted((cameras / best, age) for cameras, age in self._ages.items() if cameras <= best)
        highest = accumulate((age for _, age in known), max)
        return tuple((share, age) for (share, _), age in zip(known, highest, strict=True))

    def _holds(self, cameras: float) -> bool:
        trace = predict(self._plan, self._reference.workload(cameras), self._primitives)
        self._ages[cameras] = _p99_ms(trace)
        return capacity_point(trace, max(1, int(cameras)), measured=False).holds


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
