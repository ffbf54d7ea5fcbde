"""A tuning under way: what its phases share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from framepace.facts.primitives import comparable
from framepace.facts.settings import Case, apply
from framepace.facts.tuning import Candidate, Goal, carried
from framepace.lab.lab import Lab
from framepace.tuning.budget import BUDGET, Budget
from framepace.tuning.journal import TuningJournal
from framepace.tuning.objective import best_of, scales
from framepace.tuning.verdict import level_text, settings_text


@dataclass(kw_only=True)
class TuningState:
    """The case, the goal, the time, and the candidates so far.

    `limit_s` is the time limit of the whole tuning; `notes` are sentences for the result.
    """

    lab: Lab
    case: Case
    goal: Goal
    journal: TuningJournal
    limit_s: float
    budget: Budget = BUDGET
    notes: list[str] = field(default_factory=list)
    largest_batch: int | None = None
    """The largest batch that the models run; None while nothing is known to fail."""

    @property
    def candidates(self) -> list[Candidate]:
        """All candidates; the first is the original plan."""
        return self.journal.candidates

    def case_of(self, number: int) -> Case:
        """The case with the settings of a candidate."""
        return apply(self.case, self.candidates[number].settings)

    def way_of(self, number: int) -> bytes:
        """The way in which a candidate runs its models: candidates of one way have the same primitives and outputs."""
        return msgspec.json.encode([comparable(model) for model in self.case_of(number).plan.models])

    def refuse_batches(self, largest: int, error: Exception) -> None:
        """Note that batches above `largest` fail, and why: no candidate with one is predicted or measured."""
        self.largest_batch = largest
        self.notes.append(f"batches above {largest} are left out: {str(error).splitlines()[0]}")
        for number, candidate in enumerate(self.candidates):
            if candidate.error is None and not self.runs(candidate.settings):
                self.journal.fail(number, error)

    def runs(self, settings: Mapping[str, Any]) -> bool:
        """Whether the models run the batches that a candidate with these settings makes."""
        if self.largest_batch is None:
            return True
        return all(model.batch.max <= self.largest_batch for model in apply(self.case, settings).plan.models)

    def best(self) -> int | None:
        """The number of the best candidate so far."""
        return best_of(self.goal, self.candidates)

    def say(self, activity: str, number: int, level: int) -> None:
        """Report the current step, its candidate and level, and the best so far."""
        text = f"{activity} {settings_text(self.candidates[number].settings)} at {level_text(self.goal, level)}"
        self.lab.say(text + self._best_text())

    def _best_text(self) -> str:
        if not scales(self.goal):
            return ""
        best = self.best()
        if best is not None:
            return f"; best so far {level_text(self.goal, carried(self.candidates[best].measured))}"
        predicted = best_of(self.goal, self.candidates, measured=False)
        if predicted is not None:
            return f"; best predicted {level_text(self.goal, carried(self.candidates[predicted].predicted))}"
        return ""
