"""When a run begins: not before its workers are set up."""

from __future__ import annotations

from framepace.backends.base import Worker
from framepace.clock.system import SystemClock
from framepace.engine.engine import Engine
from framepace.facts.plan import EnginePlan, ModelPlan, Plan
from framepace.feeds.feed import Feed
from framepace.feeds.pacer import Idle
from framepace.video.frame import Frame
from tests.doubles.engine import Rows, run_state, watched


class Ended(Feed):
    """A feed that is over."""

    closed = 0

    def take(self, idle: Idle | None, wait: bool = True) -> list[Frame] | None:
        """Nothing."""
        return None

    def __exit__(self, *_: object) -> None:
        """Count."""
        self.closed += 1


def _primed(worker: Worker, events: list[str]) -> None:
    worker.prime = lambda: events.append("primed")  # type: ignore[method-assign]


def test_the_load_begins_once_when_all_workers_are_set_up() -> None:
    """Three workers are primed before the feed is made, which is made once and closed once."""
    plan = Plan(models=(ModelPlan(name="null", model="null", backend="null"),), engine=EnginePlan(workers=3))
    events: list[str] = []
    feed = Ended()
    engine = Engine(plan, SystemClock(), load=watched(lambda worker: _primed(worker, events)))

    def begin() -> Feed:
        events.append("begun")
        return feed

    engine.run("model", begin, run_state(1), Rows())
    assert events == ["primed"] * 3 + ["begun"]
    assert feed.closed == 1
