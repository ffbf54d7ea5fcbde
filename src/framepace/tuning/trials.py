"""The third phase of a tuning: runs that decide."""

from __future__ import annotations

from framepace.analyze.summary import summarize
from framepace.errors import BackendError, DeviceLost, DeviceMemoryError, InferencesFailed
from framepace.facts.trace import Trace
from framepace.facts.tuning import Figures, Trial, carried, decisive
from framepace.lab.lab import Interrupted
from framepace.tuning.budget import WARMUP, RunLength
from framepace.tuning.objective import case_at, figures, met, rate
from framepace.tuning.state import TuningState
from framepace.tuning.verdict import level_text, settings_text


class Trials:
    """Measures candidates. Runs in virtual time are the same when repeated, so nothing is confirmed there."""

    def __init__(self, state: TuningState) -> None:
        self._state = state
        self.repeats = not state.lab.clock.virtual

    def measure(self, number: int, level: int) -> None:
        """Measure a candidate at a level."""
        self._measure(number, level, self._state.budget.trial)

    def reserved(self) -> float:
        """Seconds to keep for confirming the best."""
        trial = self._best_trial()
        if trial is None:
            return 0.0
        needed = self._state.budget.confirming.seconds(rate(self._state.goal, trial[1].level)) + 2
        return min(needed, self._state.budget.confirming_share_max * self._state.limit_s)

    def confirm(self) -> bool:
        """Measure the best for longer at the level it carries; False where that was done, or nothing is carried."""
        best = self._best_trial()
        if best is None or not self.repeats:
            return False
        number, trial = best
        if not trial.met or trial.figures.frames >= self._state.budget.confirming.frames / 2:
            return False
        self._measure(number, trial.level, self._state.budget.confirming)
        return True

    def _best_trial(self) -> tuple[int, Trial] | None:
        """The best candidate and the trial that it is reported by."""
        best = self._state.best()
        if best is None:
            return None
        trial = decisive(self._state.candidates[best].measured)
        if trial is None:
            return None
        return best, trial

    def _measure(self, number: int, level: int, length: RunLength) -> None:
        """Run a candidate. It fails alone, whatever its library raises."""
        seconds = length.seconds(rate(self._state.goal, level))
        seconds = min(seconds, max(length.shortest_s, self._state.lab.left))
        self._state.say("measuring", number, level)
        try:
            trial = self._trial_or_again(number, level, seconds)
        except (Interrupted, DeviceLost):
            raise
        except Exception as error:
            self._failed(number, level, error)
            return
        self._add(number, trial)

    def _add(self, number: int, trial: Trial) -> None:
        self._state.journal.change(number, measured=(*self._state.candidates[number].measured, trial))

    def _trial_or_again(self, number: int, level: int, seconds: float) -> Trial:
        """A run that its library failed is tried again, in a fresh process: what ran before may have been to blame."""
        try:
            return self._trial(number, level, seconds)
        except (DeviceLost, DeviceMemoryError):
            raise
        except (BackendError, InferencesFailed) as error:
            if not self.repeats or self._state.lab.left <= seconds:
                raise
            self._note(number, level, f"failed and was tried again: {first_line(error)}")
            return self._trial(number, level, seconds)

    def _failed(self, number: int, level: int, error: Exception) -> None:
        """A candidate that carried a load keeps it, and misses this one; any other cannot be run."""
        candidate = self._state.candidates[number]
        others = tuple(trial for trial in candidate.measured if trial.level != level)
        if not carried(others):
            self._state.journal.fail(number, error)
            return
        self._note(number, level, f"failed, so that it counts as missed: {first_line(error)}")
        self._state.journal.change(number, measured=others)
        self._add(number, Trial(level=level, figures=Figures(frames=0, missed=1.0), met=False))

    def _note(self, number: int, level: int, text: str) -> None:
        settings = settings_text(self._state.candidates[number].settings)
        self._state.notes.append(f"{settings} at {level_text(self._state.goal, level)} {text}")

    def _trial(self, number: int, level: int, seconds: float) -> Trial:
        """One run; a miss while neighbours took CPU time is measured again, and the better run counts."""
        trial = self._run(number, level, seconds)
        disturbed = (trial.figures.neighbours or 0.0) > self._state.budget.disturbed_share
        if trial.met or not disturbed or self._state.lab.left <= seconds:
            return trial
        again = self._run(number, level, seconds)
        return min(trial, again, key=lambda trial: (not trial.met, trial.figures.missed))

    def _run(self, number: int, level: int, seconds: float) -> Trial:
        case = case_at(self._state.case_of(number), self._state.goal, level)
        count = len(self._state.candidates[number].measured)
        trace = self._state.lab.run(case, seconds, name=f"runs/{number}-at-{level}-{count}", warmup=WARMUP)
        result = _checked(trace)
        kept = met(self._state.goal, result, level)
        return Trial(level=level, figures=result, met=kept, trace=trace.meta.id)


def _checked(trace: Trace) -> Figures:
    """The figures of a run. Raises BackendError where most of its frames failed."""
    summary = summarize(trace)
    if summary.frames.outcomes.get("failed", 0) * 2 > sum(summary.frames.outcomes.values()):
        raise BackendError("most frames failed", got=next(iter(trace.meta.notes[-1:]), None))
    return figures(trace, summary)


def first_line(error: Exception) -> str:
    """What an error says first."""
    return next(iter(str(error).splitlines()), type(error).__name__)
