"""The remedies that an explanation names, as comments of the plan that it writes, verified or not."""

from __future__ import annotations

from framepace.facts import settings
from framepace.facts.finding import Explanation, Finding, Remedy
from framepace.reporting.views.finding import finding_view


def remedy_lines(explanation: Explanation) -> tuple[str, ...]:
    """A line for each remedy of a confirmed cause: its settings or advice, whether the plan has it, and its gain."""
    return tuple(
        _line(finding, finding.remedy, explanation) for finding in explanation.confirmed if finding.remedy is not None
    )


def _line(finding: Finding, remedy: Remedy, explanation: Explanation) -> str:
    what = settings.text(remedy.plan) or remedy.command or remedy.text
    return " ".join(f"{finding.code} {what}: {_state(finding, remedy, explanation)}".split())


def _state(finding: Finding, remedy: Remedy, explanation: Explanation) -> str:
    """Whether the plan has the remedy, and what it was measured to bring."""
    gain = finding_view(finding).gain
    if not remedy.plan:
        return "not in this plan, and not verified: it is for a person to decide"
    verified = finding.gain is not None and finding.gain.verified is not None
    if verified and remedy.plan.items() <= explanation.applied.items():
        return f"in this plan; {gain}"
    if remedy.plan.items() <= explanation.applied.items():
        return "in this plan, not verified"
    if verified:
        return f"not in this plan; {gain}"
    return "not in this plan, and not verified: it is worth under 5 % of the budget, or no time was left"
