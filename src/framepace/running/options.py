"""How a run is run, where its results go, and what can never run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from framepace.errors import UsageError
from framepace.facts.plan import Plan
from framepace.facts.running import Result, SinkStatus, SourceSpec
from framepace.facts.strategy import strategy_of
from framepace.models.spec import pictures_before
from framepace.running.camera import check_address, check_standard_input
from framepace.running.watchdog import PATIENCE_S
from framepace.store import Rotation


class Sink(Protocol):
    """Where results go, behind a bounded queue (see sinks.queued.QueuedSink)."""

    def start(self) -> None:
        """Open it. Raises SinkError where it can never be opened."""

    def put(self, result: Result) -> None:
        """Take a result without waiting, from any thread."""

    def status(self) -> SinkStatus:
        """How it stands now."""

    def close(self) -> SinkStatus:
        """Write what waits, for a while, and close it."""

    @property
    def wants_pictures(self) -> bool:
        """Whether results need their pictures."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a run is run.

    Attributes:
        max_age_ms: a frame that would be older at the sinks is dropped, unless its source says otherwise.
        seconds: after which it ends by itself; None: at the end of all sources.
        sources_file: a YAML file of sources, which is watched: what changes in it changes in the run.
        of_sources: fields of the sources in that file, where it says nothing about them.
        stays: it goes on without sources, since some may be added.
        out: folder of its trace, and of recordings; None: only the last minute is kept, in memory.
        rotation: of that trace.
        share: of the frames that are in that trace, evenly.
        record_misses: recordings are made by themselves when results come late.
        skip: under overload sources are thinned more than they say.
        smaller: a plan that runs under overload instead.
        fewer: under overload sources of the lowest priority are paused.
        canary: a plan that is tried on a share of the frames, and then promoted or rolled back.
        canary_share: of the frames, 0 to 1.
        patience_s: a worker that does not return for longer, and 20 times longer than ever before, is replaced.
    """

    max_age_ms: float | None = None
    seconds: float | None = None
    sources_file: Path | None = None
    of_sources: Mapping[str, Any] = field(default_factory=dict)
    stays: bool = False
    out: Path | None = None
    rotation: Rotation | None = None
    share: float = 1.0
    record_misses: bool = False
    skip: bool = False
    smaller: Plan | None = None
    fewer: bool = False
    canary: Plan | None = None
    canary_share: float = 0.1
    patience_s: float = PATIENCE_S


def check(plan: Plan, sources: Sequence[SourceSpec], others: Sequence[Plan | None] = ()) -> None:
    """Raises UsageError or SourceError for what can never run; `others` run on the pictures that `plan` is given."""
    _check_strategy(plan)
    for other in others:
        if other is not None:
            _check_strategy(other)
            _check_pictures(plan, other)
    names = [spec.name for spec in sources]
    for name in names:
        if names.count(name) > 1:
            raise UsageError("two sources have the same name", got=name, fix="give each its own")
    check_standard_input([spec.address for spec in sources])
    for spec in sources:
        check_address(spec)


def _check_strategy(plan: Plan) -> None:
    if strategy_of(plan.engine).spawns_engines:
        raise UsageError(
            "a run has one engine, in its own process",
            got=f"strategy={plan.engine.strategy} of {plan.names}",
            expected="another strategy",
            fix="--set strategy=workers, or `strategy: workers` in the engine of its plan file",
        )


def _check_pictures(plan: Plan, other: Plan) -> None:
    before = pictures_before(plan)
    if pictures_before(other) > before:
        raise UsageError(
            "the canary or smaller plan looks at more pictures than the plan that runs",
            got=f"{pictures_before(other)} pictures before the newest",
            expected=f"at most {before}",
            fix="name a plan of the same clips",
        )
