"""Engines in this process that can be killed, and places for them."""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

from framepace.errors import BackendError, FramepaceError
from framepace.facts.place import Place
from framepace.facts.plan import ModelPlan, Plan, Target
from framepace.facts.primitives import ModelCost, Point, Primitives, comparable
from framepace.facts.running import Result
from framepace.facts.settings import Case
from framepace.fleet.host import EngineHost
from framepace.fleet.messages import Orders, Reply
from framepace.recording.machine import probe
from framepace.running.options import Options

MS = 1_000_000


def plan(**fields: Any) -> Plan:
    """A classifier that computes nothing."""
    model = ModelPlan(name="m", model="builtin:classifier", backend="null")
    return Plan(models=(model,), target=Target(fps=30, p99_ms=100.0), **fields)


def places(count: int) -> list[Place]:
    """So many shares of this host's cores."""
    machine = probe()
    return [
        Place(
            number=number, host="here", node="node", share=number, device=None, device_name=None, memory_bytes=1 << 30,
            cores=1.0, machine=machine,
        )
        for number in range(count)
    ]  # fmt: skip


class Collected:
    """A sink that keeps all results, by source."""

    wants_pictures = False

    def __init__(self) -> None:
        self.numbers: dict[str, list[int]] = defaultdict(list)
        self.arrived = threading.Condition()

    def __call__(self, result: Result) -> None:
        """Keep one."""
        with self.arrived:
            self.numbers[result.source].append(result.number)
            self.arrived.notify_all()

    def wait_for(self, count: int, *sources: str) -> None:
        """Until so many more results of each source came."""
        before = {source: len(self.numbers[source]) for source in sources}
        with self.arrived:
            assert self.arrived.wait_for(
                lambda: all(len(self.numbers[source]) >= before[source] + count for source in sources), 30
            ), (before, dict(self.numbers))


class FarEngine:
    """An engine whose host has another file system: what it is told to write to lies below `root`."""

    def __init__(self, place: Place, plan: Plan, options: Options, root: Path) -> None:
        assert options.out is not None
        self.place = place
        self._root = root / place.name
        self._engine = LocalEngine(place, plan, replace(options, out=self._at(options.out)))
        self.measure = self._engine.measure

    def ready(self) -> None:
        """See Engine."""

    def load(self) -> None:
        """See Engine."""
        self._engine.load()

    def kill(self) -> None:
        """See Engine; its files stay as they are from then on."""
        self._engine.kill()
        if self._engine._host._run is not None:
            self._engine._host._run.wait(30)

    def exchange(self, orders: Orders) -> Reply:
        """See Engine; paths are those of its host."""
        reply = self._engine.exchange(orders)
        answers = tuple(replace(answer, text=answer.text.removeprefix(str(self._root))) for answer in reply.answers)
        return replace(reply, answers=answers)

    def files(self, folder: str) -> dict[str, int]:
        """See Files."""
        return self._engine.files(str(self._at(Path(folder))))

    def read(self, path: str, offset: int, size: int) -> bytes:
        """See Files."""
        return self._engine.read(str(self._at(Path(path))), offset, size)

    def _at(self, path: Path) -> Path:
        return self._root / path.relative_to("/")


class LocalEngine:
    """An engine on threads of this process; `kill` makes it answer no more, whatever it is doing."""

    def __init__(self, place: Place, plan: Plan, options: Options, error: FramepaceError | None = None) -> None:
        self.place = place
        self._host = EngineHost(plan, options)
        self._error = error
        self._is_dead = False

    def ready(self) -> None:
        """See Engine."""

    def files(self, folder: str) -> dict[str, int]:
        """See Files."""
        return self._host.files(folder)

    def read(self, path: str, offset: int, size: int) -> bytes:
        """See Files."""
        return self._host.read(path, offset, size)

    def measure(self, case: Case) -> Primitives:
        """A frame takes 3 ms."""
        stages: dict[str, tuple[int, ...]] = {"decode": (MS // 10,) * 20, "infer": (3 * MS,) * 20}
        costs = [
            ModelCost(model=comparable(m), points=(Point(batch=1, rate=320.0, samples=stages),))
            for m in case.plan.models
        ]
        return Primitives(cores=1, scope="stream", costs=tuple(costs))

    def load(self) -> None:
        """See Engine."""
        if self._error is not None:
            raise self._error
        self._host.load()

    def exchange(self, orders: Orders) -> Reply:
        """See Engine."""
        self._check()
        reply = self._host.exchange(orders)
        self._check()
        return reply

    def kill(self) -> None:
        """See Engine."""
        self._is_dead = True
        if self._host._run is not None:
            self._host._run.stop("killed")

    def _check(self) -> None:
        if self._is_dead:
            raise BackendError("the engine died", got=self.place.name, fix="look at its log")
