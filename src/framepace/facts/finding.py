"""Findings: causes proven by an intervention, and the explanation they add up to."""

from __future__ import annotations

from typing import Any, Literal

from framepace.facts.base import Fact
from framepace.facts.bounds import Bound
from framepace.facts.plan import Plan
from framepace.facts.summary import Estimate, Summary

Verdict = Literal["confirmed", "refuted", "undecided"]
Severity = Literal["high", "medium", "low", "info"]
PartKind = Literal["left out", "load", "real", "unexplained"]


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
    """One hypothesis after its trial. `evidence` holds the numbers that made it worth testing.

    `share` is what the cause takes of the frame budget (of the latency or CPU time itself where there is no budget).
    """

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
    share: float | None = None
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


class ExpectationPart(Fact, frozen=True, kw_only=True):
    """One step between another tool's number and the stream's latency, in ns; `how` says what was measured.

    `kind` is 'left out' (the number does not count it), 'load' (it counts it, under another load), 'real'
    (the tool ran something else) or 'unexplained'.
    """

    name: str
    ns: float
    kind: PartKind
    how: str
    interval: tuple[float, float] | None = None


class Expectation(Fact, frozen=True, kw_only=True):
    """Another tool's number beside what was measured here; `said` and its `parts` add up to `seen`, ns.

    `counts` says what the number is, `reproduced` what the same number is here under the tool's load, `seen` is the
    median latency of the stream.
    """

    tool: str
    counts: str
    said: float
    reproduced: float
    seen: float
    parts: tuple[ExpectationPart, ...]


class Explanation(Fact, frozen=True, kw_only=True):
    """All that `explain` found. `bottleneck` is the class in one word; `verdict` the sentence people read first.

    `shares` is what each class of confirmed causes takes of the frame budget (of the latency where there is none),
    worst first; 'CPU time' takes it of what the cores have in one budget.
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
    shares: dict[str, float] = {}
    expectation: Expectation | None = None
    bounds: tuple[Bound, ...] = ()

    @property
    def confirmed(self) -> tuple[Finding, ...]:
        """The findings that the interventions confirmed, worst first."""
        return tuple(f for f in self.findings if f.verdict == "confirmed")
