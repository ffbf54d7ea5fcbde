"""The first phase of a tuning: primitives of each way to run the models, and the bounds that follow from them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import msgspec

from framepace.errors import BatchesFail, FramepaceError, InferencesFailed
from framepace.facts.primitives import Primitives, comparable
from framepace.facts.settings import Case
from framepace.facts.strategy import strategy_of
from framepace.predicting.bound import bound
from framepace.predicting.primitives import measure_primitives
from framepace.tuning.accuracy import Accuracy
from framepace.tuning.budget import between
from framepace.tuning.state import TuningState
from framepace.tuning.verdict import settings_text

_FAILED_WAYS = 3  # after so many failures and no success, no other way is tried
_SAME_PRIMITIVES = ("batch", "batch-policy", "workers")  # settings that leave the primitives of a model as they are


class PrimitivesPhase:
    """Measures primitives, the plan's own way first, and computes the bounds of candidates."""

    def __init__(self, state: TuningState, accuracy: Accuracy) -> None:
        self._state = state
        self._accuracy = accuracy

    def run(self) -> None:
        """Measure the primitives of as many ways as there is time for, and compute all bounds that follow."""
        ways = self._ways()
        seconds = self._run_seconds(len(ways))
        # A way is begun only where there is time for the runs of one like the longest so far; at first, for the
        # shortest there is. Loading does not count: what took minutes to build once is cached afterwards.
        longest = self._state.budget.runs_per_model * self._state.budget.run_factor * seconds * self._kinds()
        for numbers in ways:
            timely = self._has_time(longest)  # before the gate, which loads the models that are measured next
            if self._state.lab.left <= 0 or self.nothing_runs():
                break
            if self._accuracy.admit(numbers[0]) and timely:
                longest = max(longest, self._measure_way(numbers, seconds))
        for number in range(len(self._state.candidates)):
            self.ensure_bound(number)

    def _measure_way(self, numbers: Sequence[int], seconds: float) -> float:
        """Measure the primitives of these candidates where they are not known yet; the seconds that took."""
        first = numbers[0]
        self.ensure_bound(first)
        if self.has_bound(first):
            return 0.0
        return self._measure(first, self._batches(numbers), seconds)

    def has_bound(self, number: int) -> bool:
        """Whether the candidate can be predicted: its bound is known."""
        return self._can_have_bound(number) and self._state.candidates[number].bound is not None

    def ensure_bound(self, number: int) -> None:
        """Compute the bound of a candidate where that is possible and not done yet."""
        primitives = self._state.journal.primitives
        if primitives is None or not self._can_have_bound(number) or self.has_bound(number):
            return
        try:
            self._state.journal.change(number, bound=bound(self._state.case_of(number).plan, primitives))
        except FramepaceError:  # primitives of one of its models are missing
            return

    def _can_have_bound(self, number: int) -> bool:
        if self._state.journal.primitives is None or self._state.candidates[number].error is not None:
            return False
        return strategy_of(self._state.case_of(number).plan.engine).predictable

    def nothing_runs(self) -> bool:
        """Whether the first ways all failed, the original plan's among them: the others would fail alike."""
        candidates = self._state.candidates
        failed = sum(candidate.error is not None for candidate in candidates)
        measured = any(candidate.bound is not None or candidate.measured for candidate in candidates)
        return candidates[0].error is not None and failed >= _FAILED_WAYS and not measured

    def _ways(self) -> list[list[int]]:
        """The candidates by the way in which they run the models, those nearest to the original plan first."""
        ways: dict[bytes, list[int]] = {}
        for number in sorted(range(len(self._state.candidates)), key=self._distance):
            ways.setdefault(self._state.way_of(number), []).append(number)
        return list(ways.values())

    def _distance(self, number: int) -> int:
        return sum(name not in _SAME_PRIMITIVES for name in self._state.candidates[number].settings)

    def _batches(self, numbers: Sequence[int]) -> tuple[int, ...]:
        """The smallest batch of these candidates, and a larger one, for a line through both.

        On a GPU the largest: launches limit small batches there, which say nothing about the arithmetic.
        """
        models = [model for number in numbers for model in self._state.case_of(number).plan.models]
        sizes = {model.batch.max for model in models}
        largest = max(sizes)
        if all((model.device or "cpu") == "cpu" for model in models):
            largest = self._state.budget.batch_spread * min(sizes)
        return min(sizes), max(size for size in sizes if size <= largest)

    def _measure(self, number: int, batches: Sequence[int], seconds: float) -> float:
        """Measure the primitives of a candidate's models; the seconds that took, without loading."""
        lab = self._state.lab
        began = lab.spent
        loading = 0.0
        case = self._state.case_of(number)
        lab.say(f"measuring the parts of a frame: {settings_text(self._state.candidates[number].settings)}")
        try:
            primitives = self._primitives(case, batches, seconds)
            self._state.journal.add_primitives(primitives)
            loading = primitives.loading
        except FramepaceError as error:
            self._state.journal.fail(number, error)
        return lab.spent - began - loading

    def _primitives(self, case: Case, batches: Sequence[int], seconds: float) -> Primitives:
        """The primitives at these batch sizes; at the smallest alone where the model fails at a larger one."""
        lab = self._state.lab
        measured = partial(measure_primitives, case, seconds=seconds, clock=lab.clock_there)
        try:
            return lab.there(case.plan, partial(measured, batches=batches))
        except (InferencesFailed, BatchesFail) as error:
            smallest = min(batches)
            if smallest == max(batches):
                raise
            primitives = lab.there(case.plan, partial(measured, batches=(smallest,)))
            self._state.refuse_batches(smallest, error)
            return primitives

    def _kinds(self) -> int:
        """How many models of the plan differ in what they take."""
        return len({msgspec.json.encode(comparable(model)) for model in self._state.case.plan.models})

    def _run_seconds(self, ways: int) -> float:
        """The length of a run, so that there is time for the primitives of every way."""
        budget = self._state.budget
        if self._state.lab.clock.virtual:
            return budget.point_virtual_s
        per_run = budget.primitives_share * self._state.limit_s / (ways * budget.runs_per_model * self._kinds())
        return between(per_run / budget.run_factor, *budget.point_s)

    def _has_time(self, needed: float) -> bool:
        return self._state.lab.spent + needed < self._state.budget.primitives_share_max * self._state.limit_s
