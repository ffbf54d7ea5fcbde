"""The view-model of trials in a user's own program: settings, verdicts and what they bring, in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from framepace.facts.finding import Intervention
from framepace.facts.log import Suspected
from framepace.facts.programtrial import ProgramExplanation, ProgramTrial
from framepace.reporting.views.log import suspected_name
from framepace.reporting.views.text import plural
from framepace.units import format_ms

_TENTH, _TENFOLD = 0.1, 10
COLUMNS = ("setting", "verdict", "pairs", "latency", "CPU time per frame")
_CHANGED = "other answers"
_WORDS = {"confirmed": "proven", "refuted": "no help", "undecided": "undecided"}


@dataclass(frozen=True)
class RemedyView:
    """What to write into the program, and the setting with which `launch` does the same ('' for none)."""

    text: str
    setting: str


@dataclass(frozen=True)
class ProgramView:
    """The headline; a row per setting in the order of COLUMNS; what to do about each that helps; suspicions; notes."""

    headline: str
    rows: tuple[tuple[str, ...], ...]
    remedies: tuple[RemedyView, ...]
    suspected: tuple[Suspected, ...]
    errors: tuple[str, ...]
    notes: tuple[str, ...]


def program_view(explanation: ProgramExplanation) -> ProgramView:
    """What was tried in a program, as rows and sentences."""
    return ProgramView(
        headline=_headline(explanation),
        rows=tuple(trial_row(trial) for trial in explanation.trials),
        remedies=tuple(_remedy(trial) for trial in explanation.trials if trial.verdict == "confirmed"),
        suspected=explanation.suspected,
        errors=tuple(f"{_name(trial)}: {trial.error}" for trial in explanation.trials if trial.error),
        notes=(*_interrupted(explanation), *explanation.notes),
    )


def _headline(explanation: ProgramExplanation) -> str:
    runs = f"{plural(explanation.runs, 'run')} in {explanation.seconds:.0f} s"
    best = next((trial for trial in explanation.trials if trial.verdict == "confirmed"), None)
    if best is None:
        return f"no setting is proven to help ({runs}){_first_suspected(explanation)}"
    one = next(one for one in best.interventions if one.metric == best.decisive)
    gain = f"{one.metric} {format_ms(one.before.value)} -> {format_ms(one.after.value)}"
    return f"{_name(best)}: {gain}; {best.code} {best.text}".rstrip("; ") + f" ({runs})"


def _first_suspected(explanation: ProgramExplanation) -> str:
    if not explanation.suspected:
        return ""
    return f"; suspected: {suspected_name(explanation.suspected[0])}"


def _name(trial: ProgramTrial) -> str:
    return " ".join(f"{name}={value}" for name, value in trial.settings.items())


def trial_row(trial: ProgramTrial) -> tuple[str, ...]:
    """The setting, the verdict, what it rests on, and the ratios of latency and CPU time with their intervals."""
    ratios = {one.kind: _ratio(one) for one in trial.interventions}
    verdict = _CHANGED if trial.answers == "changed" else _WORDS[trial.verdict]
    return _name(trial), verdict, _pairs(trial), ratios.get("latency", ""), ratios.get("cpu", "")


def _pairs(trial: ProgramTrial) -> str:
    """'12 blocks', '5 runs'."""
    count = max((one.rounds for one in trial.interventions), default=0)
    return plural(count, "block" if trial.within_runs else "run")


def _ratio(one: Intervention) -> str:
    """'0.62x [0.55, 0.70]'."""
    ratio = one.ratio
    if ratio.low is None or ratio.high is None:
        return f"{ratio.value:.2f}x"
    return f"{ratio.value:.2f}x [{_bound(ratio.low)}, {_bound(ratio.high)}]"


def _bound(ratio: float) -> str:
    """The end of an interval; of two or three runs it may be anywhere."""
    if ratio < _TENTH:
        return f"<{_TENTH}"
    if ratio > _TENFOLD:
        return f">{_TENFOLD}"
    return f"{ratio:.2f}"


def _remedy(trial: ProgramTrial) -> RemedyView:
    if trial.only_tried:
        return RemedyView(f"{_name(trial)} shows what it costs: {trial.instead}", "")
    return RemedyView(f"{_name(trial)}: write {trial.instead}", _name(trial))


def _interrupted(explanation: ProgramExplanation) -> Iterator[str]:
    if explanation.interrupted:
        yield "interrupted: verdicts are those of the runs until then"
