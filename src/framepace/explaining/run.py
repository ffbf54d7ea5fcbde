"""`explain`: measure the scopes, try the causes worth a trial, apply the remedies and verify them."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from framepace.backends.base import get_backend
from framepace.clock.system import Clock
from framepace.explaining.causes import CAUSES
from framepace.explaining.conclusion import conclude
from framepace.explaining.draft import Draft
from framepace.explaining.evidence import Evidence
from framepace.explaining.expect import ToolNumber, check_model, compare
from framepace.explaining.floors import bounds
from framepace.explaining.hypothesis import Hypothesis
from framepace.explaining.refusing import hold_given
from framepace.explaining.remedies import try_remedies
from framepace.explaining.scopes import SCOPES, gather_evidence, measure_scopes
from framepace.explaining.served import causes_for, server_notes
from framepace.explaining.suspects import try_causes
from framepace.explaining.trial import longest_block_s
from framepace.explaining.verification import verify
from framepace.explaining.whatif import SHARE, profile
from framepace.facts.finding import Explanation
from framepace.facts.plan import Plan
from framepace.facts.settings import Case
from framepace.lab.lab import Lab, wall_limit
from framepace.measure.session import clock_for
from framepace.progress import Tell
from framepace.store import OutputFolder

_AROUND_S = 4.0  # for loading libraries before, and writing the report after
_PROFILED = 1.5
_USUAL_LIMIT_S = 90.0
_USUAL_LIMIT_GPU_S = 60.0  # inferences are short there


def explain(
    case: Case,
    *,
    time_limit: float = _USUAL_LIMIT_S,
    folder: Path | None = None,
    overwrite: bool = False,
    tell: Tell | None = None,
    clock: Clock | None = None,
    causes: tuple[Hypothesis, ...] = CAUSES,
    tool_number: ToolNumber | None = None,
    what_if: bool = False,
    raise_priority: bool = False,
) -> Explanation:
    """Why `case` has the latency it has: the account of its scopes, and the causes that interventions confirmed.

    Args:
        case: plan and workload; the workload's load is kept, its scope and stop rule are set here.
        time_limit: seconds; causes for which no time is left are listed as not tested.
        folder: where the traces of the scopes are saved, replacing those of an earlier explanation of the same case;
            None keeps none.
        overwrite: first remove the results of a different case from `folder`.
        tell: called with the current step and the share of the time used.
        tool_number: another tool's number, to account for as well.
        raise_priority: a trial may raise this process's priority, at the expense of others on the machine.
        what_if: measure what a millisecond in each stage is worth, for two fifths of the time after the scopes.

    Raises:
        FramepaceError: the case cannot be measured at all.
        StoreError: `folder` is another run's, cannot be written or holds another case.
        KeyboardInterrupt: Ctrl-C before all scopes were measured; later it gives the explanation so far.
    """
    if tool_number is not None:
        check_model(case)
    draft = Draft(may_raise_priority=raise_priority)
    with ExitStack() as stack:
        if folder is not None:
            stack.enter_context(OutputFolder(folder, "explanation", overwrite, case))
        limit_s = time_limit - _AROUND_S
        lab_clock = clock or clock_for(case.plan)
        lab = stack.enter_context(Lab(limit_s, folder, tell, lab_clock, wall_limit_s=wall_limit(limit_s, clock)))
        try:
            _fill(draft, lab, case, causes_for(case.plan, causes, draft), tool_number, what_if)
        except KeyboardInterrupt:
            if SCOPES - draft.traces.keys():
                raise
            draft.notes.append("interrupted: these are the results so far")
        if lab.unsaved:
            draft.notes.append(lab.unsaved)
        return conclude(case, draft, lab.spent)


def _fill(
    draft: Draft,
    lab: Lab,
    case: Case,
    causes: tuple[Hypothesis, ...],
    tool_number: ToolNumber | None,
    what_if: bool,
) -> None:
    """Measure and try everything, into `draft`."""
    measure_scopes(lab, case, draft, SHARE if what_if else 0.0)
    evidence = _gathered(lab, case, draft)
    if what_if:
        profile(lab, evidence, draft)
    draft.bounds = bounds(lab, draft.traces["gapless"], draft.notes)
    if tool_number is not None:
        draft.expectation = compare(lab, evidence, tool_number)
    hold_given(lab, case, draft)
    try_causes(lab, evidence, causes, draft)
    verify(lab, evidence, draft)
    try_remedies(lab, evidence, draft)


def _gathered(lab: Lab, case: Case, draft: Draft) -> Evidence:
    """The evidence of the scopes, and how long blocks are at the rate that they showed, into `draft`."""
    evidence = gather_evidence(case, draft)
    draft.notes.extend(server_notes(evidence.summaries["stream"]))
    draft.longest_s = longest_block_s(lab.clock.virtual, evidence.summaries["stream"].throughput)
    return evidence


def usual_limit(plan: Plan, what_if: bool = False) -> float:
    """Default time limit of an explanation, seconds; longer by half with a profile of what a millisecond is worth."""
    if what_if:
        return _PROFILED * usual_limit(plan)
    devices = (get_backend(model.backend).device_of(model) for model in plan.models)
    if any(device.startswith("cuda") for device in devices):
        return _USUAL_LIMIT_GPU_S
    return _USUAL_LIMIT_S
