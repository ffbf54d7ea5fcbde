"""The view-model of tunings: the best candidates, measured and predicted beside each other."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from framepace.facts import settings
from framepace.facts.tuning import Candidate, Figures, Goal, Trial, Tuning, decisive
from framepace.reporting.views.text import maybe, optional, plural
from framepace.units import NS_PER_MS

COLUMNS = ("settings", "measured", "predicted", "p99", "cost per frame")
_MJ_PER_J = 1000
_NOT_KNOWN = "not known"


@dataclass(frozen=True)
class TunedRow:
    """A candidate: texts for people, numbers for the figure.

    `p99_ms`; `load` in the unit of TuningView.load; `cost` in ms of CPU time or mJ per frame; `power_w` in W, None
    where it was not measured, as of all predictions.
    """

    settings: str
    reached: str
    foretold: str
    p99_ms: float | None
    load: float
    cost: float | None
    power_w: float | None
    cost_text: str
    measured: bool
    best: bool
    error: str

    @property
    def texts(self) -> tuple[str, ...]:
        """The cells, in the order of COLUMNS."""
        p99 = optional(self.p99_ms, "{:.1f} ms".format)
        return (self.settings, self.reached, self.foretold, p99, self.cost_text)


@dataclass(frozen=True)
class TuningView:
    """A tuning in words: the verdict, and its candidates, the best first; `failed` are settings and errors.

    `facts` are pairs of name and text; `load` names the figure's measure of load, `cost` that of the cost per frame.
    """

    sentence: str
    met: bool | None
    facts: tuple[tuple[str, str], ...]
    rows: tuple[TunedRow, ...]
    failed: tuple[tuple[str, str], ...]
    load: str
    cost: str
    budget_ms: float
    interrupted: bool


def tuning_view(tuning: Tuning) -> TuningView:
    """A tuning as people read it."""
    rows = tuple(_row(tuning, number) for number in _ranked(tuning))
    best = next((row for row in rows if row.best), None)
    return TuningView(
        sentence=_sentence(tuning, best),
        met=tuning.met,
        facts=tuple((name, text) for name, text in _facts(tuning) if text),
        rows=rows,
        failed=tuple(_failures(tuning.candidates)),
        load="cameras" if tuning.goal.objective == "cameras" else "frames/s of all cameras",
        cost="energy" if tuning.goal.objective == "energy" else "CPU time",
        budget_ms=tuning.goal.p99_ms,
        interrupted=tuning.interrupted,
    )


def _ranked(tuning: Tuning) -> list[int]:
    """Numbers of the candidates that have a trial and no error, the best first."""
    numbers = [n for n, c in enumerate(tuning.candidates) if c.error is None and (c.measured or c.predicted)]
    return sorted(numbers, key=lambda number: _order(tuning, number))


def _order(tuning: Tuning, number: int) -> tuple[Any, ...]:
    """Sort key: the best first, then measured before predicted, then met before missed."""
    candidate = tuning.candidates[number]
    trial = _decisive_trial(candidate)
    level = trial.level if trial.met else 0
    return (number != tuning.best, not candidate.measured, not trial.met, -level, _minimised(tuning.goal, trial))


def _minimised(goal: Goal, trial: Trial) -> float:
    """The number that decides between candidates at the same level: the goal's cost, or p99."""
    costs = {"cpu": trial.figures.cpu, "energy": trial.figures.energy}
    cost = costs.get(goal.objective)
    if cost is not None:
        return cost
    return math.inf if trial.figures.p99 is None else trial.figures.p99


def _decisive_trial(candidate: Candidate) -> Trial:
    trial = decisive(candidate.measured) or decisive(candidate.predicted)
    assert trial is not None
    return trial


def _facts(tuning: Tuning) -> Iterator[tuple[str, str]]:
    measured = sum(bool(candidate.measured) for candidate in tuning.candidates)
    predicted = sum(bool(candidate.predicted) for candidate in tuning.candidates)
    yield "why", tuning.why
    yield "missing", "; ".join(tuning.shortfalls)
    yield "limited by", tuning.limit
    yield "candidates", f"{measured} measured, {predicted} predicted"
    yield "time", ", ".join(f"{name} {seconds:.0f} s" for name, seconds in tuning.seconds.items() if seconds >= 0.5)
    yield from (("note", note) for note in tuning.notes)


def _failures(candidates: Iterable[Candidate]) -> Iterator[tuple[str, str]]:
    for candidate in candidates:
        if candidate.error is not None:
            yield candidate_settings(candidate.settings), candidate.error


def _sentence(tuning: Tuning, best: TunedRow | None) -> str:
    if best is None:
        return "nothing was measured"
    budget = f"p99 within {tuning.goal.p99_ms:.1f} ms"
    if tuning.met is False:
        return f"the goal was not reached ({budget}); closest plan: {best.settings}"
    return f"{best.reached.lstrip('≥')}{_load_words(tuning.goal)}, {budget}: {best.settings}"


def _load_words(goal: Goal) -> str:
    """The load at which the best plan reached its number; follows that number."""
    cameras = goal.cameras or 1
    rate = f" at {goal.fps:g} frames/s each"
    if goal.objective == "cameras":
        return rate
    if goal.objective == "fps":
        return f" from each of {cameras} cameras" if cameras > 1 else ""
    return f" per frame with {plural(cameras, 'camera')}{rate}"


def candidate_settings(changes: Mapping[str, Any]) -> str:
    """'workers=2 batch=4', or 'the original plan' if nothing was changed."""
    return settings.text(changes) or "the original plan"


def _row(tuning: Tuning, number: int) -> TunedRow:
    goal = tuning.goal
    candidate = tuning.candidates[number]
    figures = _decisive_trial(candidate).figures
    cost = _cost(goal, figures)
    return TunedRow(
        settings=candidate_settings(candidate.settings),
        reached=_reached(goal, candidate.measured),
        foretold=_reached(goal, candidate.predicted),
        p99_ms=_in_ms(figures.p99),
        load=_load(goal, figures),
        cost=cost,
        power_w=figures.power,
        cost_text=_cost_text(goal, cost),
        measured=decisive(candidate.measured) is not None,
        best=number == tuning.best,
        error=candidate.error or "",
    )


def _load(goal: Goal, figures: Figures) -> float:
    """Cameras where those are the goal, otherwise frames per second."""
    if goal.objective == "cameras":
        return figures.throughput / goal.fps
    return figures.throughput


def _in_ms(ns: float | None) -> float | None:
    return maybe(ns, lambda ns: ns / NS_PER_MS)


def _in_mj(joules: float | None) -> float | None:
    return maybe(joules, lambda joules: joules * _MJ_PER_J)


def _cost(goal: Goal, figures: Figures) -> float | None:
    """Energy in mJ or CPU time in ms, per frame."""
    if goal.objective == "energy":
        return _in_mj(figures.energy)
    return _in_ms(figures.cpu)


def _cost_text(goal: Goal, cost: float | None) -> str:
    if cost is None:
        return ""
    unit = "mJ" if goal.objective == "energy" else "ms CPU"
    return f"{cost:.2f} {unit}"


def _reached(goal: Goal, trials: Sequence[Trial]) -> str:
    trial = decisive(trials)
    if trial is None:
        return ""
    if goal.objective == "cameras":
        return f"{_relation(trial, trials)}{plural(trial.level, 'camera')}"
    if goal.objective == "fps":
        return f"{_relation(trial, trials)}{trial.figures.throughput / (goal.cameras or 1):.1f} frames/s"
    small = _small(goal, trial.figures)
    return small if trial.met else f"{small}, {trial.figures.missed:.0%} late"


def _relation(trial: Trial, trials: Sequence[Trial]) -> str:
    """'<' before a level that was missed, '≥' before one that held if no higher level was missed."""
    if not trial.met:
        return "<"
    missed_above = any(not other.met and other.level > trial.level for other in trials)
    return "" if missed_above else "≥"


def _small(goal: Goal, figures: Figures) -> str:
    """The number that the goal minimises, as text."""
    if goal.objective == "energy":
        value = _in_mj(figures.energy)
        return optional(value, "{:.1f} mJ".format) or _NOT_KNOWN
    value = _in_ms(figures.p99 if goal.objective == "p99" else figures.cpu)
    return optional(value, "{:.2f} ms".format) or _NOT_KNOWN
