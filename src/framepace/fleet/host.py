"""An engine in its own process: the same run as on one machine, with sources that are added and removed by orders."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from framepace.errors import FramepaceError, one_line
from framepace.facts.plan import Plan
from framepace.facts.primitives import Primitives
from framepace.facts.running import RunStatus, SourceStatus
from framepace.facts.settings import Case
from framepace.fleet.fetching import files_of, read_piece
from framepace.fleet.messages import Add, Answer, Change, Order, Orders, Record, Remove, Reply, Stop
from framepace.fleet.outbox import Outbox
from framepace.predicting.primitives import measure_primitives
from framepace.running.options import Options
from framepace.running.run import Run

_STATUS_S = 0.25  # between two words on how it stands
_MEASURED_S = 0.4  # per situation of a model


class EngineHost:
    """One engine. It is made in its process, and its methods are called from outside, one at a time.

    Args:
        plan: what runs.
        options: how; it stays without sources.
    """

    def __init__(self, plan: Plan, options: Options) -> None:
        self._plan = plan
        self._options = options
        self._outbox = Outbox()
        self._leaving: list[str] = []
        self._said_at = 0.0
        self._run: Run | None = None

    def measure(self, case: Case) -> Primitives:
        """What the models of a case cost here. Raises FramepaceError where they cannot run."""
        sizes = sorted({1, *(model.batch.max for model in case.plan.models)})
        workers = max(2, case.plan.engine.workers)
        return measure_primitives(case, batches=sizes, workers=workers, seconds=_MEASURED_S)

    def load(self) -> None:
        """Load the plan, and begin to run it without sources. Raises FramepaceError."""
        self._run = Run(self._plan, (), [self._outbox], self._options).start()

    def files(self, folder: str) -> dict[str, int]:
        """The files below a folder here, with their sizes (bytes)."""
        return files_of(Path(folder))

    def read(self, path: str, offset: int, size: int) -> bytes:
        """A piece of a file here. Raises StoreError."""
        return read_piece(path, offset, size)

    def exchange(self, orders: Orders) -> Reply:
        """Do what is ordered, and bring results. Raises what ended the run."""
        assert self._run is not None
        answers = tuple(self._answer(self._run, order) for order in orders.todo)
        gone = tuple(self._gone(self._run))  # before the results are taken: theirs are among them
        over = self._run.over
        wait_s = 0.0 if over or gone else orders.wait_s
        first, results = self._outbox.take(orders.acknowledged, wait_s)
        if over and not results:
            self._run.wait()
        return Reply(first, results, answers, self._status(self._run, now=bool(orders.todo) or over), gone, over)

    def _answer(self, run: Run, order: Order) -> Answer:
        try:
            return Answer(text=self._do(run, order))
        except FramepaceError as error:
            return Answer(problem=one_line(error))

    def _do(self, run: Run, order: Order) -> str:
        """Do one thing. Raises FramepaceError where that cannot be."""
        if isinstance(order, Record):
            return str(run.record(order.why).absolute())
        if isinstance(order, Add):
            run.add(order.spec, order.first)
        elif isinstance(order, Change):
            run.change(order.spec)
        elif isinstance(order, Remove):
            run.remove(order.name)
            self._leaving.append(order.name)
        elif isinstance(order, Stop):
            run.stop(order.stopped)
        return ""

    def _gone(self, run: Run) -> Iterator[SourceStatus]:
        """Sources that were removed, and have nothing on its way any more."""
        for name in list(self._leaving):
            last = run.forget(name)
            if last is not None:
                self._leaving.remove(name)
                yield last

    def _status(self, run: Run, *, now: bool) -> RunStatus | None:
        """How it stands, asked for after the results were taken: it counts all of them."""
        if not now and time.monotonic() - self._said_at < _STATUS_S:
            return None
        self._said_at = time.monotonic()
        return run.status()
