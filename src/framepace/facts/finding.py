"""Findings: causes proven by an intervention, and the explanation they add up to."""

from __future__ import annotations

from typing import Any, Literal

from framepace.facts.base import Fact
from framepace.facts.plan import Plan
from framepace.facts.summary import Estimate, Summary

Verdict = Literal["confirmed", "refuted", "undecided"]
Severity = Literal["high", "medium", "low", "info"]


class Intervention(Fact, frozen=True, kw_only=True):
    """What was switched off and what came back: `before` and `after` in `unit`, `ratio` after/before.

    `changed` holds the settings that were changed; `rounds` the number of interleaved pairs.
    """

    changed: dict[str, Any]
    metric: str
    unit: str
    before: Estimate
    after: Estimate
    ratio: Estimate
    rounds: int


class Remedy(Fact, frozen=True, kw_only=True):
    """What to do: settings (`plan`) that framepace applied itself, or a `command` for a person, with its `undo`."""

    text: str
    plan: dict[str, Any] = {}
    command: str | None = None
    undo: str | None = None
    cost: str | None = None


class Gain(Fact, frozen=True, kw_only=True):
    """What the remedy is worth, predicted and then verified with the patched plan; in `unit`."""

    unit: str
    predicted: float
    verified: float | None = None
    interval: tuple[float, float] | None = None


class Finding(Fact, frozen=True, kw_only=True):
    """One hypothesis after its trial. `evidence` holds the numbers that made it worth testing."""

    code: str
    title: str
    verdict: Verdict
    severity: Severity
    summary: str
    evidence: dict[str, Any] = {}
    intervention: Intervention | None = None
    remedy: Remedy | None = None
    gain: Gain | None = None
    confidence: float | None = None
    untested: str | None = None


class AccountLine(Fact, frozen=True, kw_only=True):
    """One line of the account of the scopes: a part of the stream's latency in ns."""

    name: str
    ns: float
    interval: tuple[float, float] | None = None


class Account(Fact, frozen=True, kw_only=True):
    """The same model in three scopes: medians in ns and where the difference goes, stage by stage."""

    model: float
    pipeline: float
    stream: float
    lines: tuple[AccountLine, ...]
    unexplained: float


class Explanation(Fact, frozen=True, kw_only=True):
    """All that `explain` found. `bottleneck` is the class in one word; `verdict` the sentence people read first.

    `findings` holds the confirmed, worst first, then the undecided, then the refuted ones.
    """

    verdict: str
    bottleneck: str
    met: bool | None
    account: Account
    findings: tuple[Finding, ...]
    summaries: dict[str, Summary]
    plan: Plan
    traces: tuple[str, ...]
    seconds: float
    not_tested: dict[str, str] = {}
    notes: tuple[str, ...] = ()

    @property
    def confirmed(self) -> tuple[Finding, ...]:
        """The findings that the interventions confirmed, worst first."""
        return tuple(f for f in self.findings if f.verdict == "confirmed")
