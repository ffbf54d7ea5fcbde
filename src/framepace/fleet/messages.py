"""What travels between a run and its engines: orders there; results, how it stands, and answers back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from framepace.facts.primitives import Primitives
from framepace.facts.running import Result, RunStatus, SourceSpec, SourceStatus
from framepace.facts.settings import Case
from framepace.facts.trace import Stopped
from framepace.fleet.fetching import Files


@dataclass(frozen=True)
class Add:
    """Read a source from picture number `first` on."""

    spec: SourceSpec
    first: int


@dataclass(frozen=True)
class Change:
    """Change a source."""

    spec: SourceSpec


@dataclass(frozen=True)
class Remove:
    """Read a source no more."""

    name: str


@dataclass(frozen=True)
class Record:
    """Write the last minute as a trace; the answer is its folder."""

    why: str


@dataclass(frozen=True)
class Stop:
    """Read nothing more, and end after what was taken."""

    stopped: Stopped


Order = Add | Change | Remove | Record | Stop


@dataclass(frozen=True)
class Orders:
    """One message to an engine.

    Attributes:
        acknowledged: results with smaller numbers have arrived, and need not be kept.
        wait_s: for results, where there are none.
    """

    acknowledged: int
    todo: tuple[Order, ...] = ()
    wait_s: float = 0.0


@dataclass(frozen=True)
class Answer:
    """What became of one order: a text, or why it was refused."""

    text: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Reply:
    """One message from an engine.

    Attributes:
        first: the number of the first of `results` among all of the engine.
        answers: to the orders, in their order.
        status: how it stands; None where it was said lately.
        gone: sources that were removed and have no frames on their way any more, as they stood at last; their results
            are in this message, or came before.
        over: nothing will come any more.
    """

    first: int
    results: tuple[Result, ...] = ()
    answers: tuple[Answer, ...] = ()
    status: RunStatus | None = None
    gone: tuple[SourceStatus, ...] = ()
    over: bool = False


class Engine(Files, Protocol):
    """An engine in another process. Every method raises PlaceLost when that has died."""

    def ready(self) -> None:
        """Wait until its process answers. Raises HostLost where there will be none, ClusterError for no answer."""

    def measure(self, case: Case) -> Primitives:
        """What its models cost there. Raises FramepaceError where they cannot run there."""

    def load(self) -> None:
        """Load the plan. Raises FramepaceError where it cannot be loaded there."""

    def exchange(self, orders: Orders) -> Reply:
        """Do what is ordered, and bring what there is."""

    def kill(self) -> None:
        """End its process at once; it never raises."""
