"""What was tried in a user's own program, and what came of it."""

from __future__ import annotations

from typing import Literal

from framepace.facts.base import Fact
from framepace.facts.finding import Intervention, Verdict
from framepace.facts.log import Suspected
from framepace.facts.summary import Summary

Answers = Literal["same", "changed", "not compared"]


class ProgramTrial(Fact, frozen=True, kw_only=True):
    """A setting that was tried in a program against the program as it is: in interleaved whole runs of it, or in
    blocks of one run (`within_runs`).

    `interventions` hold latency, CPU time per frame and the slowest frames, `decisive` which of them the verdict is by
    (None: none was clear). `code` is the cause that the setting switches off ('' for one of the user's own), `text` is
    what it does, `instead` what to write into the program. `answers` says whether the models answered the same to the
    same inputs with it; where they did not, it is no remedy, and refuted. `only_tried`: the program does something else
    with it (cached decoding), so that it tells what the time goes into, and is nothing to run with. `error` says why it
    could not be tried.
    """

    settings: dict[str, str]
    verdict: Verdict
    code: str = ""
    text: str = ""
    instead: str = ""
    interventions: tuple[Intervention, ...] = ()
    decisive: str | None = None
    answers: Answers = "not compared"
    error: str | None = None
    within_runs: bool = False
    only_tried: bool = False


class ProgramExplanation(Fact, frozen=True, kw_only=True):
    """A program's numbers as it is, and what was tried in it: the confirmed first, by what they bring.

    `suspected` is what its frames consist of and no setting switches off, the largest first: not proven.
    `runs` counts runs of the program, `seconds` all of them together.
    """

    summary: Summary
    trials: tuple[ProgramTrial, ...]
    runs: int
    seconds: float
    suspected: tuple[Suspected, ...] = ()
    interrupted: bool = False
    notes: tuple[str, ...] = ()
