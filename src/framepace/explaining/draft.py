"""The explanation under way: what has been measured and tried so far, and what is left to try."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from framepace.explaining.metrics import Metric
from framepace.explaining.trial import Blocks
from framepace.facts.bounds import Bound
from framepace.facts.finding import Expectation, Finding, TriedRemedy
from framepace.facts.heldanswers import HeldAnswers
from framepace.facts.sensitivity import Sensitivity
from framepace.facts.trace import Trace


@dataclass
class Draft:
    """An explanation under way; Ctrl-C leaves it as it is.

    Attributes:
        traces: by scope.
        not_tested: code of a cause -> why it was not tried.
        patch: the settings that were verified together.
        trials: the blocks of trials that were run, by what was tried.
        metrics: code of a cause -> what its trial was judged on.
        least_s: seconds per block that the slowest effect needed.
        waiting_s: seconds that the cause which is tried next needs at least.
        longest_s: seconds in which a block holds all the frames that are worth waiting for.
        remedies: those of a model that takes the time itself, tried.
        answers: of the plan as it was given, held against the plain way.
        remedied_answers: the same of remedies that may change them.
        may_raise_priority: whether a trial may take time from other processes.
    """

    traces: dict[str, Trace] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    not_tested: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    patch: dict[str, Any] = field(default_factory=dict)
    trials: dict[bytes, Blocks] = field(default_factory=dict)
    metrics: dict[str, Metric] = field(default_factory=dict)
    least_s: float = 0.0
    waiting_s: float = 0.0
    longest_s: float = math.inf
    expectation: Expectation | None = None
    bounds: tuple[Bound, ...] = ()
    what_if: tuple[Sensitivity, ...] = ()
    may_raise_priority: bool = False
    remedies: tuple[TriedRemedy, ...] = ()
    answers: tuple[HeldAnswers, ...] = ()
    remedied_answers: tuple[HeldAnswers, ...] = ()

    def within(self, seconds: float) -> float:
        """So many seconds, or those of the longest block."""
        return min(seconds, self.longest_s)

    def add(self, finding: Finding, metric: Metric) -> None:
        """Add the finding of a trial that was judged on `metric`."""
        self.findings.append(finding)
        self.metrics[finding.code] = metric


def worth_applying(finding: Finding) -> bool:
    """Whether the cause is worth 5 % of the budget; below that the user decides whether to pay the remedy's cost."""
    return finding.severity in ("high", "medium")


def settings_to_apply(findings: Iterable[Finding]) -> dict[str, Any]:
    """The settings of all remedies worth applying, but those that did harm in the whole stream."""
    patch: dict[str, Any] = {}
    for finding in filter(worth_applying, findings):
        harmful = finding.gain is not None and finding.gain.verified is not None and finding.gain.verified <= 0
        if finding.remedy is not None and not harmful:
            patch |= finding.remedy.plan
    return patch
