"""The view-model of tunings: the best candidates, measured and predicted beside each other, and the `--json` object."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from framepace.facts.tuning import Candidate, Figures, Goal, Trial, Tuning, decisive
from framepace.reporting.documents import plain
from framepace.units import NS_PER_MS

COLUMNS = ("settings", "measured", "predicted", "p99", "cost a frame")
_UNIT = {"p99": "ns", "cpu": "ns", "energy": "j", "power": "w", "device_memory": "bytes"}


@dataclass(frozen=True)
class TunedRow:
    """A candidate: texts for people, numbers for the figure.

    `p99_ms`; `load` in the unit of TuningView.load; `cost` in ms of CPU time or mJ a frame; `power_w` in W, None where
    it was not measured, as of all predictions.
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
        p99 = "" if self.p99_ms is None else f"{self.p99_ms:.1f} ms"
        return (self.settings, self.reached, self.foretold, p99, self.cost_text)


@dataclass(frozen=True)
class TuningView:
    """A tuning in words: the verdict, and its candidates, the best first; `failed` are settings and errors.

    `load` names what candidates differ by in the figure, `cost` what a frame of them takes.
    """

    sentence: str
    met: bool | None
    told: tuple[tuple[str, str], ...]
    rows: tuple[TunedRow, ...]
    failed: tuple[tuple[str, str], ...]
    load: str
    cost: str
    budget_ms: float
    interrupted: bool


def tuning_view(tuning: Tuning) -> TuningView:
    """A tuning as people read it."""
    known = [(n, c) for n, c in enumerate(tuning.candidates) if c.measured or c.predicted]
    order = sorted((n for n, c in known if c.error is None), key=lambda n: _order(tuning, n))
    rows = [_row(tuning, n, tuning.candidates[n]) for n in order]
    spent = ", ".join(f"{name} {s:.0f} s" for name, s in tuning.seconds.items() if s >= 0.5)
    measured, predicted = sum(bool(c.measured) for _, c in known), sum(bool(c.predicted) for _, c in known)
    counts = f"{measured} measured, {predicted} predicted"
    told = [("why", tuning.why), ("missing", "; ".join(tuning.shortfalls)), ("limited by", tuning.limit)]
    told += [("candidates", counts), ("time", spent), *(("note", note) for note in tuning.notes)]
    return TuningView(
        sentence=_sentence(tuning, next((r for r in rows if r.best), None)),
        met=tuning.met,
        told=tuple((name, text) for name, text in told if text),
        rows=tuple(rows),
        failed=tuple((settings_words(c.settings), c.error) for c in tuning.candidates if c.error is not None),
        load="cameras" if tuning.goal.objective == "cameras" else "frames/s of all cameras",
        cost="energy" if tuning.goal.objective == "energy" else "CPU time",
        budget_ms=tuning.goal.p99_ms,
        interrupted=tuning.interrupted,
    )


def _sentence(tuning: Tuning, best: TunedRow | None) -> str:
    goal = tuning.goal
    if best is None:
        return "nothing was measured"
    asked = f"p99 within {goal.p99_ms:.1f} ms"
    each = f" at {goal.fps:g} frames/s each"
    fixed = f" a frame with {goal.cameras or 1} camera{'s' if (goal.cameras or 1) > 1 else ''}{each}"
    several = f" of each of {goal.cameras} cameras" if (goal.cameras or 1) > 1 else ""
    load = {"cameras": each, "fps": several}.get(goal.objective, fixed)
    if tuning.met is False:
        return f"the goal is not reached ({asked}); the closest plan: {best.settings}"
    return f"{best.reached.lstrip('≥')}{load}, {asked}: {best.settings}"


def _order(tuning: Tuning, number: int) -> tuple[Any, ...]:
    """The best first; what was measured before what was not, what kept the budget before what did not."""
    c, goal = tuning.candidates[number], tuning.goal
    at = decisive(c.measured) or decisive(c.predicted)
    assert at is not None
    p99 = math.inf if at.figures.p99 is None else at.figures.p99
    cost = {"cpu": at.figures.cpu, "energy": at.figures.energy}.get(goal.objective)
    made_small = p99 if cost is None else cost
    return (number != tuning.best, not c.measured, not at.met, -at.level if at.met else 0, made_small)


def settings_words(settings: Any) -> str:
    """'workers=2 batch=4'."""
    words = {True: "on", False: "off"}
    told = (f"{n}={words[v] if isinstance(v, bool) else v}" for n, v in settings.items())
    return " ".join(told) or "the plan as given"


def _row(tuning: Tuning, number: int, c: Candidate) -> TunedRow:
    goal = tuning.goal
    measured, predicted = decisive(c.measured), decisive(c.predicted)
    at = measured or predicted
    assert at is not None
    cost = _cost(goal, at.figures)
    unit = "mJ" if goal.objective == "energy" else "ms CPU"
    return TunedRow(
        settings=settings_words(c.settings),
        reached=_reached(goal, measured, c.measured),
        foretold=_reached(goal, predicted, c.predicted),
        p99_ms=None if at.figures.p99 is None else at.figures.p99 / NS_PER_MS,
        load=at.figures.throughput / (goal.fps if goal.objective == "cameras" else 1),
        cost=cost,
        power_w=at.figures.power,
        cost_text="" if cost is None else f"{cost:.2f} {unit}",
        measured=measured is not None,
        best=number == tuning.best,
        error=c.error or "",
    )


def _cost(goal: Goal, f: Figures) -> float | None:
    if goal.objective == "energy":
        return None if f.energy is None else f.energy * 1000
    return None if f.cpu is None else f.cpu / NS_PER_MS


def _reached(goal: Goal, at: Trial | None, trials: Sequence[Trial]) -> str:
    if at is None:
        return ""
    if goal.objective in ("p99", "cpu", "energy"):
        late = "" if at.met else f", {at.figures.missed:.0%} late"
        return f"{_small(goal, at.figures)}{late}"
    beyond = [t.level for t in trials if not t.met]
    under = "<" if not at.met else "≥" if not any(level > at.level for level in beyond) else ""
    if goal.objective == "fps":
        return f"{under}{at.figures.throughput / (goal.cameras or 1):.1f} frames/s"
    return f"{under}{at.level} camera{'' if at.level == 1 else 's'}"


def _small(goal: Goal, f: Figures) -> str:
    if goal.objective == "energy":
        return "not known" if f.energy is None else f"{f.energy * 1000:.1f} mJ"
    found = f.p99 if goal.objective == "p99" else f.cpu
    return "not known" if found is None else f"{found / NS_PER_MS:.2f} ms"


def tune_document(tuning: Tuning, **paths: str) -> dict[str, Any]:
    """framepace.tune/1: the goal, whether it is met, the best plan, and one row a candidate."""
    rows = [
        {
            "settings": plain(c.settings),
            "state": c.state,
            "best": n == tuning.best,
            "bound_fps": plain(c.bound),
            "measured": [_trial(t) for t in c.measured],
            "predicted": [_trial(t) for t in c.predicted],
            "error": c.error,
        }
        for n, c in enumerate(tuning.candidates)
    ]
    told = {"why": tuning.why, "shortfalls": list(tuning.shortfalls), "limit": tuning.limit}
    return {
        "schema": "framepace.tune/1",
        "goal": plain(tuning.goal),
        "met": tuning.met,
        **told,
        "plan": plain(tuning.plan),
        "rows": rows,
        "notes": list(tuning.notes),
        "seconds": plain(tuning.seconds),
        "interrupted": tuning.interrupted,
        "paths": paths,
    }


def _trial(t: Trial) -> dict[str, Any]:
    numbers: dict[str, Any] = {name: plain(getattr(t.figures, name)) for name in t.figures.__struct_fields__}
    numbers["missed_share"], numbers["throughput_fps"] = numbers.pop("missed"), numbers.pop("throughput")
    numbers["neighbours_cpu_share"], numbers["stages_ns"] = numbers.pop("neighbours"), numbers.pop("stages")
    named = {f"{name}_{_UNIT[name]}" if name in _UNIT else name: value for name, value in numbers.items()}
    return {"level": t.level, "met": t.met, "trace": t.trace, **named}
