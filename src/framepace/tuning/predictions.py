"""The second phase of a tuning: candidates in virtual time, as far as each may be among the best."""

from __future__ import annotations

from msgspec.structs import replace

from framepace.errors import FramepaceError
from framepace.facts.trace import Trace
from framepace.facts.tuning import Trial
from framepace.facts.workload import Stop, Workload
from framepace.lab.lab import uninterrupted
from framepace.predicting.predict import predict
from framepace.tuning.budget import WARMUP
from framepace.tuning.objective import case_at, figures, met, rate
from framepace.tuning.search import next_prediction, overloaded
from framepace.tuning.state import TuningState
from framepace.tuning.verdict import settings_text


class Predictions:
    """Predicts candidates that have a bound."""

    def __init__(self, state: TuningState) -> None:
        self._state = state

    def run(self) -> None:
        """Predict until all candidates are predicted as far as they matter, or the time for it is over."""
        lab = self._state.lab
        end = lab.spent + self._state.budget.predictions_share * self._state.limit_s
        while lab.left > 0 and (lab.clock.virtual or lab.spent < end):
            step = next_prediction(self._state.goal, self._state.candidates)
            if step is None:
                return
            self._predict(*step)

    def _predict(self, number: int, level: int) -> None:
        self._state.say("predicting", number, level)
        case = case_at(self._state.case_of(number), self._state.goal, level)
        primitives = self._state.journal.primitives
        assert primitives is not None
        try:
            trace = predict(case.plan, self._workload(case.workload, level), primitives)
        except FramepaceError as error:
            self._give_up(number, error)
            return
        self._record(number, level, uninterrupted(trace))

    def _record(self, number: int, level: int, trace: Trace) -> None:
        goal = self._state.goal
        result = figures(trace)
        # Too short for a queue to grow over the budget: an overload shows in the throughput, which is exact here.
        kept = met(goal, result, level) and not overloaded(goal, result, level)
        trials = (*self._state.candidates[number].predicted, Trial(level=level, figures=result, met=kept))
        self._state.journal.change(number, predicted=trials)

    def _workload(self, workload: Workload, level: int) -> Workload:
        budget = self._state.budget
        budgets_s = budget.prediction_budgets * self._state.goal.p99_ms / 1000
        seconds = budget.prediction.seconds(rate(self._state.goal, level), at_least=budgets_s)
        warmup = replace(WARMUP, seconds_max=budget.prediction_warmup_s)
        return replace(workload, stop=Stop(seconds=seconds), warmup=warmup)

    def _give_up(self, number: int, error: FramepaceError) -> None:
        settings = settings_text(self._state.candidates[number].settings)
        self._state.notes.append(f"{settings} was not predicted: {str(error).splitlines()[0]}")
        self._state.journal.change(number, bound=None)
