"""A connection to a cluster: its places, each reserved for this program while it lasts, and actors on them."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar, cast

from msgspec.structs import replace

from framepace.cluster.remote import Pending, Remote
from framepace.cluster.reserving import Reserved, reserve
from framepace.cluster.starting import check_address, join, ray_module, start
from framepace.cluster.survey import Survey, Surveyor, distinct, place_of
from framepace.engine.corekeeper import usable_cores
from framepace.errors import ClusterError, HostLost, PlaceLost, UsageError
from framepace.facts.place import Place

_T = TypeVar("_T")
_SURVEY_S = 300.0  # for a worker to start on a busy host
_LOOK_S = 1.0  # between two looks at whether a host is still there
_COME_BACK = "bring it up again ('ray start --address=...'), and give the command again to use it"
_LOCAL = "local"
_HOLDERS = "'ray status' shows who holds what; end that, or use --ray local"


def connect(address: str, *, places: int | None = None, logical_gpus: int | None = None) -> Cluster:
    """The places of a cluster, which no other program of the cluster gets until it is closed.

    Where this process is connected already, 'local' and 'auto' use that connection, and leave it open.

    Args:
        address: 'local' starts Ray on this machine, for this process alone; 'local:N' with N places. 'auto' is the
            cluster that this machine is a node of, else 'HOST:PORT' or 'ray://HOST:PORT'.
        places: shares that a host without GPU is divided into; 1 by default: what is measured has it alone.
        logical_gpus: GPUs that 'local' counts, which need not exist.

    Raises UsageError for a malformed address, and ClusterError when Ray is not installed, no cluster answers, it has
    other versions or no place is free.
    """
    address, places = _divided(address, places)
    check_address(address)
    ray = ray_module()
    end: Callable[[], None] = lambda: None  # noqa: E731
    if not ray.is_initialized():
        end = _begin(address, places, logical_gpus)
    elif address not in (_LOCAL, "auto"):
        raise UsageError("this process is connected to a cluster", got=address, fix="disconnect, or name that: auto")
    try:
        return Cluster(address, places or 1, end)
    except BaseException:
        end()
        raise


def joined(address: str | None) -> AbstractContextManager[Cluster | None]:
    """`connect`, or no cluster where none is asked for."""
    if address is None:
        return nullcontext()
    return connect(address)


def _divided(address: str, places: int | None) -> tuple[str, int | None]:
    """The address and the number of places that it may say."""
    name, _, number = address.partition(":")
    if name != _LOCAL or not number:
        return address, places
    if not number.isdigit() or not 0 < int(number) <= 1024:
        raise UsageError("this is no number of places", got=address, expected="local:N, N from 1 to 1024")
    return name, int(number)


def _begin(address: str, places: int | None, logical_gpus: int | None) -> Callable[[], None]:
    if address != _LOCAL:
        return join(address)
    cpus = max(len(usable_cores()), places or 1, logical_gpus or 1)
    return start(cpus, logical_gpus)


class Cluster:
    """Places of a cluster. A context manager; closing ends all actors and gives the places back.

    Args:
        shares: places per host without GPU.
        disconnect: called at the end.
    """

    places: tuple[Place, ...]

    def __init__(self, address: str, shares: int, disconnect: Callable[[], None]) -> None:
        self.address = address
        self._disconnect = disconnect
        self._actors: list[Remote[Any]] = []
        self._reserved: list[Reserved] = []
        self._idle: dict[int, Remote[Any]] = {}  # by the number of their place
        try:
            self._find_places(shares)
        except BaseException:
            self._give_back()
            raise

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def actor(self, place: Place, factory: Callable[..., _T], *arguments: Any, threads: int = 1) -> Remote[_T]:
        """An object that `factory` makes on a place, with its GPU alone visible; a place holds one at a time.

        Args:
            factory, arguments: see `Remote`.
            threads: how many of its methods may run at once; with one, they run on the main thread of its process.
        """
        idle = self._idle.pop(place.number, None)
        if idle is not None and threads == 1:
            return idle.become(place, factory, arguments)
        if idle is not None:
            idle.end()
        actor = Remote(place, factory, arguments, self._reserved[place.number].options(threads))
        self._actors.append(actor)
        return actor

    def wait_for(self, actor: Remote[Any], timeout_s: float) -> None:
        """Wait until an actor answers, for so long at most.

        Raises what its factory did, HostLost where its place is none any more, ClusterError for no answer in time.
        """
        first = actor.answer()
        until = time.monotonic() + timeout_s
        while not first.ready(_LOOK_S) and time.monotonic() < until:
            self._check_host(actor.place)
        try:
            first.result(0.0)
        except PlaceLost:
            self._check_host(actor.place)
            raise

    def _check_host(self, place: Place | None) -> None:
        """Raise HostLost where the host of a place has left the cluster: one that comes back is another node."""
        import ray

        if place is None or any(node["NodeID"] == place.node and node["Alive"] for node in ray.nodes()):
            return
        raise HostLost(f"{place.host} has left the cluster", got=f"node {place.node[:12]}", fix=_COME_BACK)

    def close(self) -> None:
        """End all actors, give the places back, and disconnect where this made the connection. Idempotent."""
        self._give_back()
        disconnect, self._disconnect = self._disconnect, lambda: None
        disconnect()

    def _give_back(self) -> None:
        while self._actors:
            self._actors.pop().end()
        while self._reserved:
            self._reserved.pop().give_back()

    def _find_places(self, shares: int) -> None:
        """Reserve what is free, and ask there what it is."""
        import ray

        self._reserved += reserve(ray.nodes(), shares)
        if not self._reserved:
            raise ClusterError("the cluster has no free place", got=self.address, expected="a free GPU", fix=_HOLDERS)
        places = distinct(self._surveyed())
        self.places = tuple(replace(place, number=number) for number, place in enumerate(places))

    def _surveyed(self) -> list[Place]:
        """Ask all places what they are; who was asked is kept, for the first actor there."""
        surveyors = [Remote(None, Surveyor, (), reserved.options(1)) for reserved in self._reserved]
        self._actors += surveyors
        pending = [surveyor.begin("survey") for surveyor in surveyors]
        surveyed = [self._place(number, _answer(call)) for number, call in enumerate(pending)]
        surveyed.sort(key=_order)
        self._reserved = [self._reserved[place.number] for place in surveyed]
        self._idle = {number: surveyors[place.number] for number, place in enumerate(surveyed)}
        return surveyed

    def _place(self, number: int, survey: Survey) -> Place:
        """The record of the place that is reserved under a number."""
        reserved = self._reserved[number]
        shares = sum(other.node == reserved.node for other in self._reserved)
        return replace(place_of(survey, reserved.node, reserved.share, shares), number=number)


def _order(place: Place) -> tuple[bool, str, str, int]:
    """This machine first."""
    return not place.here, place.host, place.node, place.share


def _answer(call: Pending) -> Survey:
    """The answer of a surveyor. Raises ClusterError for a host that cannot run framepace."""
    try:
        return cast("Survey", call.result(_SURVEY_S))
    except ClusterError as error:
        if "No module named" in str(error.got):
            fix = "install the same framepace for the Python that Ray runs on every host"
            raise ClusterError("a host of the cluster cannot run framepace", got=error.got, fix=fix) from error
        raise
