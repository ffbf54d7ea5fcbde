"""Remedies whose settings answer otherwise than the plain way are none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from framepace.errors import FramepaceError
from framepace.explaining.draft import Draft, worth_applying
from framepace.facts.finding import Finding
from framepace.facts.settings import Case, apply
from framepace.facts.settings import text as settings_text
from framepace.lab.answers import held_change, held_in
from framepace.lab.lab import Lab

_HOLDING_S = 5.0  # that must be left: models are loaded, and run on some frames


def hold_given(lab: Lab, case: Case, draft: Draft) -> None:
    """Hold the plan as it was given against the plain way, where there is time."""
    if lab.fits(_HOLDING_S):
        draft.answers = held_in(lab, case)


def refusal(lab: Lab, case: Case, change: Mapping[str, Any], draft: Draft) -> str:
    """Why a change of settings is no remedy, with output, frame and error; '' where its answers are right.

    What was found is added to the draft. Where no time is left, nothing could be compared, or the plan as it was given
    answers otherwise already, nothing is refused.
    """
    if not lab.fits(_HOLDING_S):
        return ""
    try:
        found = held_change(lab, case, apply(case, dict(change)))
    except FramepaceError:  # its trial says what cannot be run
        return ""
    draft.remedied_answers += tuple(held for held in found if held not in draft.remedied_answers)
    wrong_before = {held.model for held in draft.answers if held.differ}
    return "; ".join(held.verdict for held in found if held.differ and held.model not in wrong_before)


def without_refused(lab: Lab, case: Case, findings: list[Finding], draft: Draft) -> list[Finding]:
    """The findings; remedies that would be applied, but whose answers differ, as advice against them."""
    return [_checked(lab, case, finding, draft) for finding in findings]


def _checked(lab: Lab, case: Case, finding: Finding, draft: Draft) -> Finding:
    remedy = finding.remedy
    if remedy is None or not remedy.plan or not worth_applying(finding):
        return finding
    why = refusal(lab, case, remedy.plan, draft)
    if not why:
        return finding
    text = f"{settings_text(remedy.plan)} would help, but {why}"
    return replace(finding, remedy=replace(remedy, text=text, plan={}), gain=None)
