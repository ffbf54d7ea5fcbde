"""Verification: all remedies that are settings, applied together and measured in the whole stream."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from framepace.explaining.draft import Draft, settings_to_apply, worth_applying
from framepace.explaining.evidence import Evidence
from framepace.explaining.metrics import Metric
from framepace.explaining.refusing import without_refused
from framepace.explaining.trial import BLOCK_COST_S, FEWEST_PAIRS, PAIRS, SHORTEST_BLOCK_S, Blocks, Length, run_trial
from framepace.facts.finding import Finding, Gain
from framepace.facts.workload import load_fps
from framepace.lab.lab import Lab

_BLOCK_S = 1.2
_BLOCK_REQUESTS = 36
_CONFIDENCE = 0.95


def shortest_s(draft: Draft) -> float:
    """Seconds that a verification takes at least.

    They are kept while trials run: a remedy not verified is half an answer.
    """
    return 2 * FEWEST_PAIRS * (draft.within(SHORTEST_BLOCK_S) + draft.within(BLOCK_COST_S))


def verify(lab: Lab, evidence: Evidence, draft: Draft) -> None:
    """Apply all remedies that are settings, together, and measure the whole stream before and after.

    Settings that did harm are left out, and the rest is verified again; those that answer otherwise are no remedies.
    Raises Interrupted after Ctrl-C.
    """
    draft.findings = without_refused(lab, evidence.case, draft.findings, draft)
    while patch := settings_to_apply(draft.findings):
        if not lab.fits(shortest_s(draft)):
            draft.notes.append("no time was left to verify the settings together (--time-limit)")
            return
        blocks = _try_patch(lab, evidence, patch, _block_s(lab, evidence, draft), draft)
        draft.findings = [_verified(finding, draft.metrics[finding.code], blocks) for finding in draft.findings]
        draft.patch = settings_to_apply(draft.findings)
        if draft.patch == patch:
            return


def _try_patch(lab: Lab, evidence: Evidence, patch: dict[str, Any], seconds: float, draft: Draft) -> Blocks:
    """Blocks of the whole stream without and with `patch`, as many pairs as the time allows."""
    pair_s = 2 * (seconds + draft.within(BLOCK_COST_S))
    text = "verifying the settings together"
    return run_trial(lab, evidence.case, patch, Length(seconds, PAIRS), text, lambda _: not lab.fits(pair_s))


def _block_s(lab: Lab, evidence: Evidence, draft: Draft) -> float:
    """Seconds per block, as long as the slowest effect needed where the time allows."""
    fps = load_fps(evidence.case.workload.load)
    wanted = max(draft.within(max(_BLOCK_S, _BLOCK_REQUESTS / fps if fps else 0.0)), draft.least_s)
    cost_s = draft.within(BLOCK_COST_S)
    fair = lab.left / (2 * PAIRS) - cost_s
    longest = lab.left / (2 * FEWEST_PAIRS) - cost_s
    return min(wanted, max(draft.within(SHORTEST_BLOCK_S), fair, min(draft.least_s, longest)))


def _verified(finding: Finding, metric: Metric, blocks: Blocks) -> Finding:
    """The finding with its gain as the whole stream showed it."""
    if finding.gain is None or finding.remedy is None or not finding.remedy.plan or not worth_applying(finding):
        return finding
    gain = _verified_gain(finding.gain, blocks, metric.verified_by or metric)
    return replace(finding, gain=gain, confidence=_CONFIDENCE)


def _verified_gain(gain: Gain, blocks: Blocks, metric: Metric) -> Gain:
    before = blocks.value(blocks.before, metric).value
    ratio = blocks.ratio(metric)
    interval = None
    if ratio.low is not None and ratio.high is not None:
        interval = (before * (1 - ratio.high), before * (1 - ratio.low))
    return replace(gain, verified=before * (1 - ratio.value), interval=interval)
