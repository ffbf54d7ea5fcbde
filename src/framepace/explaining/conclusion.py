"""The conclusion: the draft of an explanation, ranked and put into words."""

from __future__ import annotations

from msgspec.structs import replace

from framepace.analyze.account import account
from framepace.analyze.late import receipts
from framepace.explaining.draft import Draft
from framepace.explaining.evidence import Evidence
from framepace.explaining.observed import model_exceeds, observed
from framepace.explaining.scopes import gather_evidence
from framepace.explaining.served import held_back
from framepace.explaining.verdict import ordered, sentence, shares, worst
from framepace.facts.finding import Explanation
from framepace.facts.late import Receipt
from framepace.facts.settings import Case, apply


def conclude(case: Case, draft: Draft, seconds: float) -> Explanation:
    """The explanation made from the draft; `seconds` is the time it took."""
    evidence = gather_evidence(case, draft)
    findings = ordered(
        [
            *observed(evidence, draft.findings),
            *held_back(evidence),
            *model_exceeds(evidence, draft.findings, draft.bounds),
            *draft.findings,
        ]
    )
    confirmed = [finding for finding in findings if finding.verdict == "confirmed"]
    traces = evidence.traces
    accounted = account(traces["model"], traces["pipeline"], traces["stream"])
    met, verdict = sentence(evidence, accounted)
    ids = tuple(trace.meta.id for trace in traces.values())
    plan = apply(case, draft.patch).plan
    return Explanation(
        verdict=verdict,
        bottleneck=worst(confirmed, met),
        shares=shares(confirmed),
        met=met,
        account=accounted,
        findings=tuple(findings),
        summaries=evidence.summaries,
        plan=replace(plan, machine=evidence.machine.fingerprint, traces=ids),
        traces=ids,
        seconds=seconds,
        not_tested=draft.not_tested,
        notes=_notes(evidence, draft),
        expectation=draft.expectation,
        bounds=draft.bounds,
        late=evidence.late,
        receipts=_receipts(evidence),
        what_if=draft.what_if,
        applied=draft.patch,
        remedies=draft.remedies,
        answers=(*draft.answers, *draft.remedied_answers),
    )


def _receipts(evidence: Evidence) -> tuple[Receipt, ...]:
    """What the late and lost frames of the stream were late for; none without a budget."""
    budget = evidence.summaries["stream"].budget
    if budget is None:
        return ()
    return receipts(evidence.traces["stream"], budget)


def _notes(evidence: Evidence, draft: Draft) -> tuple[str, ...]:
    """The notes of the stream; those of other scopes alone, with the scope; then those of the explanation."""
    words = {note: note for note in evidence.summaries["stream"].notes}
    for scope, summary in evidence.summaries.items():
        words |= {note: f"{scope}: {note}" for note in summary.notes if note not in words}
    held_answers = (*draft.answers, *draft.remedied_answers)
    return (*words.values(), *draft.notes, *(held.text for held in held_answers))
