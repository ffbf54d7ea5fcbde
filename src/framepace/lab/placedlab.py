"""A lab for one run after the other, each on whichever like place of a cluster is free."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar, cast

from msgspec.structs import replace

from framepace.clock.system import Clock, SystemClock
from framepace.cluster import Cluster, Place
from framepace.facts.plan import ModelPlan, Plan
from framepace.facts.settings import Case
from framepace.facts.trace import Trace
from framepace.interrupts import listening
from framepace.lab.crew import Crew, Task, fits, sizes
from framepace.lab.elsewhere import Elsewhere
from framepace.lab.lab import Lab, Where
from framepace.lab.station import Kept
from framepace.progress import Tell
from framepace.store import save_trace

_Answer = TypeVar("_Answer")


class PlacedLab(Lab):
    """Runs cases on the places of a cluster that are of one kind, and so may be compared; counts the time here.

    A run whose place is lost is made again on another. Nothing is measured on this machine.

    Args:
        crew: on like places.
        options: see Lab.
    """

    def __init__(self, crew: Crew[Any], places: Sequence[Place], *options: Any, **more: Any) -> None:
        super().__init__(*options, **more)
        self._crew = crew
        self._places = places

    @property
    def machine(self) -> str:
        """The fingerprint of the first place's machine."""
        return self._places[0].machine.fingerprint

    @property
    def kind(self) -> str:
        """The kind of the places."""
        return self._places[0].kind

    @property
    def clock_there(self) -> Clock | None:
        """None: each place has its own."""
        return None

    def call(self, models: Sequence[ModelPlan], function: Callable[..., _Answer], *arguments: Any) -> _Answer:
        """The answer of a function that is called on a place; all of it must survive pickling."""
        return self.there(Plan(models=tuple(models)), function, *arguments)

    def there(self, plan: Plan, function: Callable[..., _Answer], *arguments: Any) -> _Answer:
        """The same, on a place for a plan."""
        return cast("_Answer", self._crew.one(Task(plan, lambda lab: lab.call(plan.models, function, *arguments))))

    def clear(self) -> None:
        """Nothing is kept here; a place ends the process that failed by itself."""

    def _run(self, case: Case, where: Where, folder: Path | None, tell: Tell) -> Trace:
        trace: Trace = self._crew.one(Task(case.plan, lambda lab: lab.run(case, where=where)))
        if self.clock.virtual:  # which passed there
            self.clock.sleep_until(self.clock.now() + _lasted(trace))
        return trace if folder is None else save_trace(trace, folder)


def _lasted(trace: Trace) -> int:
    """How long a run took, ns."""
    if not len(trace):
        return 0
    return int(trace.requests["delivered"].max() - trace.requests["due"].min())


def like_places(cluster: Cluster, plan: Plan) -> list[Place]:
    """The places of the kind that has most of them, among those with the device that a plan needs."""
    kinds: dict[str, list[Place]] = {}
    for place in cluster.places:
        if fits(place, plan):
            kinds.setdefault(place.kind, []).append(place)
    return max(kinds.values(), key=len, default=list(cluster.places))


def on_place(
    cluster: Cluster | None, case: Case, models: Sequence[ModelPlan], function: Callable[..., _Answer], *arguments: Any
) -> _Answer:
    """The answer of a function that runs `models` on frames of a case, called on a place that has their device.

    Without a cluster it is called here. Where the place is lost, it is called on another. Raises what it does, and
    ClusterError where no place can be used.
    """
    if cluster is None:
        return function(*arguments)
    plan = Plan(models=tuple(models))
    with listening(), _crew(cluster, replace(case, plan=plan), SystemClock()) as crew:
        return cast("_Answer", crew.one(Task(plan, lambda lab: lab.call(models, function, *arguments))))


def lab_on(
    cluster: Cluster | None, stack: ExitStack, case: Case, clock: Clock, *options: Any, **more: Any
) -> tuple[Lab, list[str]]:
    """A lab that keeps its workers, entered on `stack`: on this machine without a cluster. And what there is to say.

    Args:
        options, more: see Lab.

    Raises ClusterError where no place can be used.
    """
    more = {**more, "clock": clock, "keep_workers": True}
    if cluster is None:
        return stack.enter_context(Lab(*options, **more)), []
    crew = stack.enter_context(_crew(cluster, case, clock))
    lab = stack.enter_context(PlacedLab(crew, crew.places, *options, **more))
    return lab, [*_unused(cluster, crew.places), *crew.lost]


def _crew(cluster: Cluster, case: Case, clock: Clock) -> Crew[Any]:
    """A crew on like places, with as much kept between runs as a lab keeps here."""
    kept = Kept(engines=6, workers=True, videos=True, virtual=clock.virtual)
    files = sizes([case])
    placed = [Elsewhere(cluster, place, kept, files) for place in like_places(cluster, case.plan)]
    return Crew(placed, [Lab(clock=clock).at(there) for there in placed])


def _unused(cluster: Cluster, places: Sequence[Place]) -> list[str]:
    others = [place for place in cluster.places if place not in places]
    if not others:
        return []
    hardware = ", ".join(sorted({place.hardware for place in others}))
    return [f"{len(others)} places of other machines were not used, as runs on them cannot be compared: {hardware}"]
