"""One lab per place of a cluster, and tasks that are handed to whichever is free."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, cast

from framepace.backends.base import get_backend
from framepace.cluster import Place
from framepace.errors import ClusterError, FramepaceError, PlaceLost, one_line
from framepace.facts.plan import ModelPlan, Plan
from framepace.facts.settings import Case
from framepace.lab.elsewhere import Elsewhere
from framepace.lab.handout import Handout
from framepace.lab.lab import Lab, on_device

_T = TypeVar("_T")
_LOOK_S = 0.2  # after which a wait lets the interpreter answer signals
_CONTINUE = "bring its hosts up again ('ray status'); what was measured is kept where --out was given"


@dataclass(frozen=True)
class Task(Generic[_T]):
    """Something to be measured in one lab: the plan that it runs, and what it does."""

    plan: Plan
    run: Callable[[Lab], _T]


@dataclass(frozen=True)
class Done(Generic[_T]):
    """A task by its number, and its answer; None and why, where it could not be done."""

    number: int
    answer: _T | None
    error: Exception | None = None


@dataclass(eq=False)
class Crew(Generic[_T]):
    """Does tasks on the places of a cluster, one at a time on each. A context manager that ends what is under way.

    All that a task measures is measured on one place. One whose place is lost is done again, elsewhere if that can be,
    a bounded number of times; a place that answers afterwards is used again.

    Args:
        placed: the places.
        labs: one for each of them, in which everything is measured there.
        lost: sentences on places that cannot be used.

    Entering raises ClusterError where no place can be used.
    """

    placed: Sequence[Elsewhere]
    labs: Sequence[Lab]
    lost: list[str] = field(default_factory=list)
    _free: set[int] = field(default_factory=set)
    _handout: Handout = field(default_factory=Handout)
    _tasks: list[Task[_T]] = field(default_factory=list)
    _busy: dict[Future[_T], tuple[int, int]] = field(default_factory=dict)
    _starting: dict[Future[None], int] = field(default_factory=dict)
    _unfit: list[Done[_T]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._pool = ThreadPoolExecutor(len(self.labs), thread_name_prefix="place")

    def __enter__(self) -> Crew[_T]:
        try:
            for place in range(len(self.labs)):
                self._start(place)
            while self._starting:
                self._look()
            if not self._free:
                raise ClusterError("no place of the cluster can be used", got="; ".join(self.lost), fix=_CONTINUE)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for there in self.placed:
            there.end()
        self._pool.shutdown(cancel_futures=True)

    @property
    def places(self) -> list[Place]:
        """All places, by their number."""
        return [there.place for there in self.placed]

    @property
    def unsaved(self) -> str:
        """Why traces are not saved any more; '' while they are."""
        return next((lab.unsaved for lab in self.labs if lab.unsaved), "")

    @property
    def idle(self) -> int:
        """How many more tasks can be done at once."""
        return max(0, len(self._free) - len(self._handout.waiting))

    def add(self, task: Task[_T]) -> int:
        """Begin a task when a place is free; its number."""
        fitting = [number for number, place in enumerate(self.places) if fits(place, task.plan)]
        number = self._handout.add(fitting)
        self._tasks.append(task)
        if fitting:
            self._hand_out()
        else:
            self._unfit.append(Done(number, None, _no_device(task.plan, self.places)))
        return number

    def done(self) -> Iterator[Done[_T]]:
        """Tasks as they are done, until none is left; more may be added meanwhile.

        Raises ClusterError where tasks are left and every place is lost.
        """
        while True:
            while self._unfit:
                yield self._unfit.pop()
            if not self._busy and not (self._starting and self._handout.waiting):
                break
            yield from self._look()
        if self._handout.waiting and not self._free:
            raise ClusterError("every place of the cluster was lost", got="; ".join(self.lost), fix=_CONTINUE)

    def one(self, task: Task[_T]) -> _T:
        """The answer of a task, the only one. Raises what it does, and as `done`."""
        self.add(task)
        (done,) = self.done()
        if done.error is not None:
            raise done.error
        return cast("_T", done.answer)

    def _look(self) -> Iterator[Done[_T]]:
        """Wait a moment, and see to what has ended."""
        under_way: list[Future[Any]] = [*self._busy, *self._starting]
        ended = wait(under_way, _LOOK_S, FIRST_COMPLETED).done
        answered = [done for future in ended if future in self._busy for done in self._ended(future)]
        for future in ended:
            if future in self._starting:
                self._started(future)
        self._hand_out()
        return iter(answered)

    def _start(self, place: int) -> None:
        self._starting[self._pool.submit(self.placed[place].start)] = place

    def _started(self, future: Future[Any]) -> None:
        """A place answers, or is given up."""
        place = self._starting.pop(future)
        error = future.exception()
        if error is None:
            self._free.add(place)
        elif isinstance(error, FramepaceError):
            self.lost.append(f"{self.places[place].name} is not used: {one_line(error)}")
        else:
            raise error

    def _hand_out(self) -> None:
        for place in sorted(self._free):
            alive = self._free | {busy for _, busy in self._busy.values()}
            number = self._handout.take(place, alive)
            if number is not None:
                self._free.remove(place)
                self._busy[self._pool.submit(self._tasks[number].run, self.labs[place])] = (number, place)

    def _ended(self, future: Future[Any]) -> Iterator[Done[_T]]:
        """The answer of a task, if it has one now."""
        number, place = self._busy.pop(future)
        try:
            yield Done(number, future.result())
        except PlaceLost as error:
            self._start(place)
            if not self._handout.lost(number, place):
                yield Done(number, None, error)
        except Exception as error:
            self._free.add(place)
            yield Done(number, None, error)
        else:
            self._free.add(place)


def do(crew: Crew[_T], tasks: Sequence[Task[_T]]) -> Iterator[Done[_T]]:
    """Do tasks; each as it is done. Raises as `Crew.done` does."""
    for task in tasks:
        crew.add(task)
    yield from crew.done()


def fits(place: Place, plan: Plan) -> bool:
    """Whether a place has the device that a plan needs: on a place a GPU is the only one, and so the first."""
    return not any(on_device(model) for model in plan.models) or (
        place.device is not None and not any(map(_is_another, plan.models))
    )


def _is_another(model: ModelPlan) -> bool:
    """Whether a model names a GPU beside the first."""
    device = get_backend(model.backend).device_of(model)
    return on_device(model) and device.partition(":")[2] not in ("", "0")


def _no_device(plan: Plan, places: Sequence[Place]) -> ClusterError:
    devices = sorted({get_backend(model.backend).device_of(model) for model in plan.models if on_device(model)})
    if any(map(_is_another, plan.models)):
        fix = "leave the number out: each place has one GPU, which is cuda:0 there"
        return ClusterError("on a place there is one GPU", got=", ".join(devices), expected="cuda", fix=fix)
    hardware = ", ".join(sorted({place.hardware for place in places}))
    fix = "add a host with a GPU to the cluster, or --device cpu"
    return ClusterError(f"the cluster has no place for {', '.join(devices)}", got=hardware, expected="a GPU", fix=fix)


def sizes(cases: Iterable[Case]) -> dict[str, int]:
    """Files that cases read, with their sizes (bytes)."""
    names: set[str] = set()
    for case in cases:
        names |= {model.model for model in case.plan.models} | set(case.workload.input.videos)
    return {name: os.path.getsize(name) for name in sorted(names) if os.path.isfile(name)}
