"""Suspected causes: which of them are tried, in which order and for how long, and what their trials say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import msgspec
from msgspec.structs import replace

from framepace.errors import FramepaceError
from framepace.explaining.draft import Draft, settings_to_apply
from framepace.explaining.evidence import Evidence
from framepace.explaining.hypothesis import Hypothesis, Probe, Suspicion
from framepace.explaining.metrics import Metric
from framepace.explaining.trial import (
    BLOCK_COST_S,
    FEWEST_PAIRS,
    FRESH_COST_S,
    MATERIAL,
    PAIRS,
    SHORTEST_BLOCK_S,
    Blocks,
    Length,
    intervention,
    judge,
    run_trial,
)
from framepace.explaining.verdict import severity, share_of_budget
from framepace.explaining.verification import shortest_s as verification_s
from framepace.facts.finding import Finding, Gain, Remedy, Verdict
from framepace.facts.settings import text as settings_text
from framepace.facts.workload import load_fps
from framepace.lab.lab import FRESH_PROCESS, HERE, Lab, Where

_SPARE_S = 10.0  # that must be left beside a repeated trial


@dataclass(frozen=True)
class _Suspect:
    """A cause with the reason to suspect it and its trials, the first of which decides whether it is worth one."""

    cause: Hypothesis
    suspicion: Suspicion
    probes: tuple[Probe, ...]

    @property
    def worth_a_trial(self) -> bool:
        return self.suspicion.share >= MATERIAL

    @property
    def keys(self) -> tuple[bytes, ...]:
        return tuple(map(_key, self.probes))


def _key(probe: Probe) -> bytes:
    """Probes with the same key share one trial."""
    return msgspec.json.encode((probe.base, probe.change, probe.is_fresh))


def try_causes(lab: Lab, evidence: Evidence, causes: tuple[Hypothesis, ...], draft: Draft) -> None:
    """Try the suspected causes until nothing above 5 % is left to explain.

    First those whose trial was run for another cause, then those that may be worth the most. Raises Interrupted after
    Ctrl-C.
    """
    suspects = list(_suspects(evidence, causes, draft))
    while suspects:
        suspect = _pop_next(suspects, draft)
        draft.waiting_s = _next_least_s(lab, suspects, draft)
        reason = _not_worth_a_trial(evidence, suspect, draft)
        if reason is None:
            reason = _try_each(lab, evidence, suspect, len(suspects), draft)
        if reason is not None:
            draft.not_tested[suspect.cause.code] = f"{suspect.cause.title}: {reason}"


def _pop_next(suspects: list[_Suspect], draft: Draft) -> _Suspect:
    """Take out one whose trial has been run, otherwise the one that may be worth the most."""
    suspect = max(suspects, key=lambda s: (s.keys[0] in draft.trials, s.suspicion.share))
    suspects.remove(suspect)
    return suspect


def _suspects(evidence: Evidence, causes: tuple[Hypothesis, ...], draft: Draft) -> Iterator[_Suspect]:
    for cause in causes:
        suspicion = cause.suspect(evidence)
        if suspicion is None:
            continue
        probe = cause.probe(evidence)
        if isinstance(probe, str):
            draft.not_tested[cause.code] = f"{cause.title}: {probe}"
        else:
            yield _Suspect(cause, suspicion, (probe,) if isinstance(probe, Probe) else probe)


def _not_worth_a_trial(evidence: Evidence, suspect: _Suspect, draft: Draft) -> str | None:
    """Why a trial could not bring anything, or None."""
    if not suspect.worth_a_trial:
        return f"its effect can hardly reach {MATERIAL:.0%}"
    if _unexplained(evidence, suspect.probes[0].metric, draft) < MATERIAL:
        return f"the confirmed causes explain all but {MATERIAL:.0%}"
    return None


def _unexplained(evidence: Evidence, metric: Metric, draft: Draft) -> float:
    """The share of the mean latency that the confirmed causes do not account for; 1 for a metric of another kind."""
    if metric.kind != "latency":
        return 1.0
    records = [f.intervention for f in draft.findings if f.verdict == "confirmed" and f.intervention is not None]
    worth = sum(r.before.value - r.after.value for r in records if r.kind == "latency")
    return 1 - worth / evidence.latency


def _try_each(lab: Lab, evidence: Evidence, suspect: _Suspect, others: int, draft: Draft) -> str | None:
    """Try the changes of a suspect in turn until one is confirmed, or say why none was tried.

    The finding is that of the change that was confirmed, else of the first that was tried. The time is shared with so
    many `others`.
    """
    reasons = []
    verdicts: list[tuple[Finding, Probe]] = []
    for place, probe in enumerate(suspect.probes):
        if _is_confirmed(verdicts):
            break
        text = f"{suspect.cause.code} {suspect.cause.title}? trying {settings_text(probe.change)}"
        blocks = trial_of(lab, probe, text, others + len(set(suspect.keys[place:])), draft)
        if isinstance(blocks, str):
            reasons.append(blocks)
            continue
        verdicts.append((_finding(evidence, suspect, probe, blocks), probe))
    if not verdicts:
        return reasons[0]
    place = -1 if _is_confirmed(verdicts) else 0
    finding, probe = verdicts[place]
    draft.add(finding, probe.metric)
    return None


def _is_confirmed(verdicts: list[tuple[Finding, Probe]]) -> bool:
    return any(finding.verdict == "confirmed" for finding, _ in verdicts)


def trial_of(lab: Lab, probe: Probe, text: str, suspects: int, draft: Draft) -> Blocks | str:
    """The blocks of a trial, which is run unless it was before, or why it cannot be; so many `suspects` share the time.

    `text` is reported before each block. What is run is kept in `draft.trials`.
    """
    if _key(probe) in draft.trials:
        return draft.trials[_key(probe)]
    kept = verification_s(draft) if settings_to_apply(draft.findings) else 0.0
    length = _affordable(lab, probe, lab.left - kept, suspects, draft)
    if length is None:
        return "no time left (--time-limit)"
    try:
        blocks = _blocks(lab, probe, length, text, draft)
    except FramepaceError as error:
        return str(error).splitlines()[0]
    draft.trials[_key(probe)] = blocks
    draft.least_s = max(draft.least_s, probe.least_s)
    return blocks


def _blocks(lab: Lab, probe: Probe, length: Length, text: str, draft: Draft) -> Blocks:
    """The blocks of a trial; twice as many where they show nothing clear and there is plenty of time."""
    is_clear = partial(Blocks.is_clear, metric=probe.metric)
    blocks = run_trial(lab, probe.base, probe.change, length, text, is_clear)
    if is_clear(blocks) or not lab.fits(_again_s(lab, probe, length, draft)):
        return blocks
    again = Length(length.seconds, PAIRS, length.where)
    extra = run_trial(lab, probe.base, probe.change, again, f"{text}, again")
    return Blocks(blocks.before + extra.before, blocks.after + extra.after, blocks.change)


def _again_s(lab: Lab, probe: Probe, length: Length, draft: Draft) -> float:
    """Seconds that must be left for a trial to be repeated: twice its own, and those of what waits."""
    return 4 * PAIRS * (length.seconds + _cost_s(lab, probe, draft)) + _SPARE_S + draft.waiting_s


def _affordable(lab: Lab, probe: Probe, usable_s: float, suspects: int, draft: Draft) -> Length | None:
    """The length of a trial that fits this suspect's share of `usable_s` seconds; None when the minimum does not fit.

    A block holds enough requests for a median where the time allows. More pairs than the fewest leave time for the
    suspect that is tried next.
    """
    cost_s = _cost_s(lab, probe, draft)
    fair = usable_s / suspects / (2 * PAIRS) - cost_s
    seconds = min(_wanted_s(probe, draft), max(fair, _least_s(probe, draft)))
    pair_s = 2 * (seconds + cost_s)
    if usable_s < FEWEST_PAIRS * pair_s:
        return None
    pairs = max(FEWEST_PAIRS, min(PAIRS, int((usable_s - draft.waiting_s) / pair_s)))
    return Length(seconds, pairs, _where(probe))


def _wanted_s(probe: Probe, draft: Draft) -> float:
    """Seconds of a block that holds as many requests as it should."""
    fps = load_fps(probe.base.workload.load)
    return max(draft.within(probe.fewest / fps if fps else 1.0), probe.least_s)


def _least_s(probe: Probe, draft: Draft) -> float:
    """Seconds of the shortest block."""
    return max(draft.within(SHORTEST_BLOCK_S), _wanted_s(probe, draft) / 3, probe.least_s)


def _next_least_s(lab: Lab, suspects: list[_Suspect], draft: Draft) -> float:
    """Seconds that the shortest trial of the likeliest of these suspects takes, of those that need one of their own."""
    waiting = [suspect for suspect in suspects if suspect.worth_a_trial and suspect.keys[0] not in draft.trials]
    if not waiting:
        return 0.0
    probe = max(waiting, key=lambda suspect: suspect.suspicion.share).probes[0]
    return 2 * FEWEST_PAIRS * (_least_s(probe, draft) + _cost_s(lab, probe, draft))


def _cost_s(lab: Lab, probe: Probe, draft: Draft) -> float:
    """Seconds of a block beside its measurement."""
    if probe.is_fresh and not lab.clock.virtual:
        return FRESH_COST_S
    return draft.within(BLOCK_COST_S)


def _where(probe: Probe) -> Where:
    return FRESH_PROCESS if probe.is_fresh else HERE


def _verdict(blocks: Blocks, probe: Probe) -> Verdict:
    """That of the trial; refuted where what the probe is to keep grew by 5 %."""
    verdict = judge(blocks.ratio(probe.metric))
    if verdict == "confirmed" and probe.keeps is not None and blocks.ratio(probe.keeps).value > 1 + MATERIAL:
        return "refuted"
    return verdict


def _finding(evidence: Evidence, suspect: _Suspect, probe: Probe, blocks: Blocks) -> Finding:
    """The verdict of its trial on a cause."""
    cause = suspect.cause
    finding = Finding(
        code=cause.code,
        title=cause.title,
        bottleneck=cause.bottleneck,
        verdict=_verdict(blocks, probe),
        severity="info",
        summary=suspect.suspicion.sentence,
        evidence={**suspect.suspicion.numbers, **_beside(blocks, probe.also)},
        intervention=intervention(blocks, probe.change, probe.metric),
    )
    if finding.verdict != "confirmed":
        return finding
    return _confirmed(finding, evidence, cause.remedy(evidence, blocks))


def _confirmed(finding: Finding, evidence: Evidence, remedy: Remedy) -> Finding:
    record = finding.intervention
    assert record is not None
    share = share_of_budget(record, evidence.budget, evidence.cores)
    gain = Gain(unit=record.unit, predicted=record.before.value - record.after.value)
    return replace(finding, share=share, severity=severity(share), remedy=remedy, gain=gain)


def _beside(blocks: Blocks, metrics: tuple[Metric, ...]) -> dict[str, float]:
    """Other metrics of both sides of a trial, by a name that ends in their unit."""
    sides = (("before", blocks.before), ("after", blocks.after))
    return {
        f"{metric.name.replace(' ', '_')}_{name}_{metric.unit}": blocks.value(side, metric).value
        for metric in metrics
        for name, side in sides
    }
