"""Properties of each strategy: where models run, what waits for what. Callers use these, never a strategy's name.

`engine.strategies` has the code of those that run in one process, `engine.modelprocess` and `measure.workerprocesses`
that of the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from framepace.facts.plan import EnginePlan, Strategy

ModelsRun = Literal["in the worker", "on model threads", "in model processes", "in worker processes"]


@dataclass(frozen=True, kw_only=True)
class StrategyKind:
    """How one strategy runs the models of a frame.

    Attributes:
        models_run: in the thread of the worker, on a thread per model, in a process per model, or wherever the worker
            is, when every worker is a process with all models.
        keeps_workers: what a worker sets up may outlast the run, because its thread does.
        needs_own_loop: the worker runs an event loop, which must not be the caller's.
        predictable: the prediction runs plans of this strategy as they are.
        in_processes: the same strategy with a process per worker, where there is one.
    """

    models_run: ModelsRun
    keeps_workers: bool = False
    needs_own_loop: bool = False
    predictable: bool = False
    in_processes: Strategy | None = None

    @property
    def waits_elsewhere(self) -> bool:
        """Whether the worker waits for threads or processes that run its models."""
        return self.models_run in ("on model threads", "in model processes")

    @property
    def shares_interpreter(self) -> bool:
        """Whether the models of one frame contend for one interpreter lock."""
        return self.models_run == "on model threads"

    @property
    def blocks_loop(self) -> bool:
        """Whether inferences block the event loop that is to run them side by side."""
        return self.needs_own_loop and not self.waits_elsewhere

    @property
    def spawns_models(self) -> bool:
        """Whether each model is loaded by its own process."""
        return self.models_run == "in model processes"

    @property
    def spawns_engines(self) -> bool:
        """Whether each worker is a process with an engine of its own; the measuring process then loads no model."""
        return self.models_run == "in worker processes"


STRATEGIES: Mapping[Strategy, StrategyKind] = {
    "workers": StrategyKind(
        models_run="in the worker", keeps_workers=True, predictable=True, in_processes="worker-processes"
    ),
    "serial": StrategyKind(models_run="in the worker"),
    "threads": StrategyKind(models_run="on model threads"),
    "processes": StrategyKind(models_run="in model processes"),
    "asyncio": StrategyKind(models_run="in the worker", needs_own_loop=True),
    "asyncio-threads": StrategyKind(models_run="on model threads", needs_own_loop=True),
    "worker-processes": StrategyKind(models_run="in worker processes"),
}


def strategy_of(engine: EnginePlan) -> StrategyKind:
    """The properties of the strategy of `engine`."""
    return STRATEGIES[engine.strategy]
