"""Findings: causes proven by an intervention, and the explanation they add up to."""

from __future__ import annotations

from typing import Any, Literal

from framepace.facts.base import Fact
from framepace.facts.bounds import Bound
from framepace.facts.heldanswers import HeldAnswers
from framepace.facts.late import LateFrames, Receipt
from framepace.facts.plan import Plan
from framepace.facts.sensitivity import Sensitivity
from framepace.facts.summary import Estimate, Summary

Verdict = Literal["confirmed", "refuted", "undecided"]
Severity = Literal["high", "medium", "low", "info"]
PartKind = Literal["left out", "load", "real", "unexplained"]
MetricKind = Literal["latency", "tail", "cpu", "throughput", "power"]
"""What a metric measures: typical latency or a part of it, the latency of the slowest frames, CPU time per frame, time
between frames (the inverse of throughput), or power."""
Bottleneck = Literal[
    "clocks",
    "host",
    "power",
    "launch",
    "transfer",
    "memory bandwidth",
    "compute",
    "under-filled",
    "serialised",
    "decode/prepare",
    "wrong output",
    "failing",
    "queue",
    "batching",
    "model",
]
"""What kind of thing a cause is; several causes may share one."""

RemedyKind = Literal["size", "precision", "network", "library", "asynchronous"]
"""What a model that takes the time itself can be given: fewer pixels, fewer bits, other operators, other kernels, and
company while it waits."""


class Intervention(Fact, frozen=True, kw_only=True):
    """What was switched off and what came back: `before` and `after` in `unit`, `ratio` after/before.

    `changed` holds the settings that were changed, `metric` the printed name of what was compared and `kind` what it
    measures, `rounds` the number of interleaved pairs.
    """

    changed: dict[str, Any]
    metric: str
    kind: MetricKind = "latency"
    unit: str
    before: Estimate
    after: Estimate
    ratio: Estimate
    rounds: int


class Remedy(Fact, frozen=True, kw_only=True):
    """What to do: settings (`plan`) that framepace can apply, or a `command` for a person, with its `undo`."""

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

    `bottleneck` is the class of the cause; None in files of versions that did not store it. `share` is what the cause
    takes of the frame budget (of the latency or CPU time itself where there is no budget).
    """

    code: str
    title: str
    bottleneck: Bottleneck | None = None
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


class TriedRemedy(Fact, frozen=True, kw_only=True):
    """A remedy of a model that takes the time itself, tried in the whole stream, or where there was no time the trial
    of a cause with the same change: the `intervention`. Without one `untried` says why, and `decide` which experiment
    would decide.
    """

    kind: RemedyKind
    changed: dict[str, Any] = {}
    intervention: Intervention | None = None
    untried: str = ""
    decide: str = ""


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
    """Another tool's number beside what was measured here, ns: `said` and the `parts` add up to `seen`.

    `said` is the tool's number, `counts` what that tool counts, `reproduced` the same quantity measured here under the
    tool's load, and `seen` the median latency of the stream.
    """

    tool: str
    counts: str
    said: float
    reproduced: float
    seen: float
    parts: tuple[ExpectationPart, ...]


class Explanation(Fact, frozen=True, kw_only=True):
    """The answer of `explain`. `bottleneck` is the class of the worst cause; `verdict` the sentence people read first.

    Without a cause `bottleneck` is 'healthy', and 'unexplained' where the budget is missed. `late` is the account of
    the late frames of the stream, `receipts` what each of them was late for. `what_if` says what a millisecond in each
    stage is worth, where that was asked for. `applied` are the settings of remedies that `plan` has. `remedies` are
    those of a model that takes the time itself; none where something else does. `answers` are those of settings that
    may change them, of the plan as it was given and of remedies, held against the plain way.

    `shares` is what each class of confirmed causes takes of the frame budget (of the latency where there is none),
    worst first; the share of 'CPU time' is that of what all cores offer in one budget. Causes of the slowest frames and
    of a low throughput have none.
    `findings` holds the confirmed causes, worst first, then the undecided, then the refuted ones.
    """

    verdict: str
    bottleneck: Bottleneck | Literal["healthy", "unexplained"]
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
    late: LateFrames | None = None
    receipts: tuple[Receipt, ...] = ()
    what_if: tuple[Sensitivity, ...] = ()
    applied: dict[str, Any] = {}
    remedies: tuple[TriedRemedy, ...] = ()
    answers: tuple[HeldAnswers, ...] = ()

    @property
    def confirmed(self) -> tuple[Finding, ...]:
        """The findings that the interventions confirmed, worst first."""
        return tuple(f for f in self.findings if f.verdict == "confirmed")
