"""`explain`: measure the scopes, try the causes worth a trial, apply the remedies and verify them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from framepace.analyze.account import account
from framepace.analyze.summary import summarize
from framepace.errors import FramepaceError
from framepace.exec.clock import Clock
from framepace.exec.keeper import usable_cores
from framepace.explaining.cause import Cause, Probe, Suspicion
from framepace.explaining.causes import CAUSES
from framepace.explaining.lab import Interrupted, Lab, Tell
from framepace.explaining.observed import observed
from framepace.explaining.situation import Situation
from framepace.explaining.trial import CPU, LATENCY, Blocks, Metric, intervention, judge, run_trial
from framepace.explaining.verdict import bottleneck, sentence, severity
from framepace.facts.finding import Account, Explanation, Finding, Gain
from framepace.facts.settings import Case, apply
from framepace.facts.trace import Trace
from framepace.facts.workload import Closed, Warmup, load_fps
from framepace.measure.session import clock_for

_P99_REQUESTS = 600  # p99 wants 528 effective ones
_SCOPE_SHARE = 0.25  # of the time limit for the stream run; the other scopes get a fifth of what it got
_SCOPE_WARMUP = Warmup(seconds_max=1.0)  # the stream run has warmed the models up
_AROUND_S = 4.0  # for loading libraries before, and writing the report after
_PAIRS = 4  # with four pairs the t-interval is 3.2 standard errors; with two it would be 12.7
_BLOCK_MIN_S = 0.7
_BLOCK_COST_S = 0.6  # warm-up and start of a block


@dataclass
class Progressing:
    """What has been found so far; Ctrl-C leaves it as it is."""

    traces: dict[str, Trace] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    not_tested: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    patch: dict[str, Any] = field(default_factory=dict)


def explain(
    case: Case,
    *,
    time_limit: float = 90.0,
    folder: Path | None = None,
    tell: Tell | None = None,
    clock: Clock | None = None,
    causes: tuple[Cause, ...] = CAUSES,
) -> Explanation:
    """Why `case` has the latency it has: the account of its scopes, and the causes that interventions confirmed.

    Args:
        case: plan and workload; the workload's load is kept, its scope and stop rule are set here.
        time_limit: seconds to stay within; causes that find no time are listed as not tested.
        folder: where the traces of the scopes are saved; None keeps none.
        tell: called with what is being tried and the share of the time used.

    Raises:
        FramepaceError: the case cannot be measured at all.
        Interrupted: Ctrl-C before the first trace was complete.
    """
    found = Progressing()
    with Lab(time_limit - _AROUND_S, folder, tell, clock or clock_for(case.plan)) as lab:
        try:
            _measure_scopes(lab, case, found)
            known = _situation(case, found)
            _try_causes(lab, known, causes, found)
            _verify(lab, known, found)
        except Interrupted:
            if not {"stream", "pipeline", "model", "gapless"} <= set(found.traces):
                raise
            found.notes.append("interrupted: what was found until then")
        return _conclude(case, found, lab.spent)


def _measure_scopes(lab: Lab, case: Case, found: Progressing) -> None:
    fps = load_fps(case.workload.load)
    longest = lab.left * _SCOPE_SHARE
    stream = min(longest, _P99_REQUESTS / fps) if fps else min(longest, 5.0)
    short = max(1.2, stream / 5)
    plan = [
        ("stream", {"scope": "stream"}, stream, "everything as in production: decode, prepare, infer, finish"),
        ("pipeline", {"scope": "pipeline"}, short, "the same without decoding"),
        ("model", {"scope": "model"}, short, "the model alone, with the same gaps"),
        ("gapless", {"scope": "model"}, min(2.0, short), "the model alone, back to back"),
    ]
    for name, changes, seconds, why in plan:
        lab.say(f"measuring the scope {name}: {why}")
        scoped = apply(case, changes)
        if name == "gapless":
            workers = case.plan.engine.workers
            scoped = replace(scoped, workload=replace(scoped.workload, load=Closed(concurrency=workers)))
        found.traces[name] = lab.run(scoped, seconds, name=name, warmup=None if name == "stream" else _SCOPE_WARMUP)


def _situation(case: Case, found: Progressing) -> Situation:
    summaries = {name: summarize(trace) for name, trace in found.traces.items()}
    return Situation(case, dict(found.traces), summaries, len(usable_cores()))


def _try_causes(lab: Lab, known: Situation, causes: tuple[Cause, ...], found: Progressing) -> None:
    """Try the suspected causes, those that may be worth most first."""
    suspects = [(s, cause) for cause in causes if (s := cause.suspect(known)) is not None]
    for place, (suspicion, cause) in enumerate(sorted(suspects, key=lambda pair: -pair[0].share)):
        probe = cause.probe(known)
        if isinstance(probe, str):
            found.not_tested[cause.code] = f"{cause.title}: {probe}"
            continue
        seconds = _block_seconds(lab, probe, len(suspects) - place)
        if seconds is None:
            found.not_tested[cause.code] = f"{cause.title}: no time left (--time-limit)"
            continue
        try:
            found.findings.append(_try(lab, known, cause, suspicion, probe, seconds))
        except FramepaceError as error:
            found.not_tested[cause.code] = f"{cause.title}: {str(error).splitlines()[0]}"


def _block_seconds(lab: Lab, probe: Probe, suspects: int) -> float | None:
    """Seconds a block: enough requests for a median, within a fair share of the time left; None if there is none.

    Time for the verification is kept back: a remedy that was not verified is half an answer.
    """
    fps = load_fps(probe.base.workload.load)
    wanted = probe.fewest / fps if fps else 1.0
    shortest = 2 * _PAIRS * (_BLOCK_MIN_S + _BLOCK_COST_S)
    usable = lab.left - shortest
    fair = usable / suspects / (2 * _PAIRS) - _BLOCK_COST_S
    return min(wanted, max(fair, _BLOCK_MIN_S)) if usable >= shortest else None


def _try(lab: Lab, known: Situation, cause: Cause, suspicion: Suspicion, probe: Probe, seconds: float) -> Finding:
    text = f"{cause.code} {cause.title}? trying {_words(probe.change)}"
    blocks = run_trial(lab, probe.base, probe.change, seconds, _PAIRS, text)
    verdict = judge(blocks.ratio(probe.metric))
    if verdict == "undecided" and lab.left > 4 * _PAIRS * (seconds + _BLOCK_COST_S) + 10:
        blocks = _more(lab, probe, seconds, blocks, text)
        verdict = judge(blocks.ratio(probe.metric))
    record = intervention(blocks, probe.change, probe.metric)
    confirmed = verdict == "confirmed"
    evidence = {**suspicion.evidence, **_beside(blocks, probe.also)}
    return Finding(
        code=cause.code,
        title=cause.title,
        verdict=verdict,
        severity=severity(record, known.budget, known.cores) if confirmed else "info",
        summary=suspicion.sentence,
        evidence=evidence,
        intervention=record,
        remedy=cause.remedy(known, blocks) if confirmed else None,
        gain=Gain(unit=record.unit, predicted=record.before.value - record.after.value) if confirmed else None,
    )


def _more(lab: Lab, probe: Probe, seconds: float, blocks: Blocks, text: str) -> Blocks:
    extra = run_trial(lab, probe.base, probe.change, seconds, _PAIRS, f"{text}, once more")
    return Blocks(blocks.before + extra.before, blocks.after + extra.after)


def _beside(blocks: Blocks, metrics: tuple[Metric, ...]) -> dict[str, float]:
    sides = (("before", blocks.before), ("after", blocks.after))
    return {
        f"{metric.name.replace(' ', '_')}_{name}_{metric.unit}": blocks.value(side, metric).value
        for metric in metrics
        for name, side in sides
    }


def _verify(lab: Lab, known: Situation, found: Progressing) -> None:
    """Apply all remedies that are settings, together, and measure the whole stream before and after."""
    while patch := _settings(found.findings):
        seconds = _verify_seconds(lab, known)
        if seconds is None:
            found.notes.append("no time was left to verify the settings together (--time-limit)")
            return
        blocks = run_trial(lab, known.case, patch, seconds, _PAIRS, "verifying the settings together")
        found.findings = [_verified(finding, blocks) for finding in found.findings]
        found.patch = _settings(found.findings)
        if found.patch == patch:
            return


def _settings(findings: list[Finding]) -> dict[str, Any]:
    """The settings of all remedies worth applying that have not been seen to do harm in the whole stream."""
    patch: dict[str, Any] = {}
    for finding in filter(_worth_applying, findings):
        harmful = finding.gain is not None and finding.gain.verified is not None and finding.gain.verified <= 0
        if finding.remedy is not None and not harmful:
            patch |= finding.remedy.plan
    return patch


def _worth_applying(finding: Finding) -> bool:
    """A cause worth under 5 % of the budget is told with its setting; whether to pay its cost is the user's say."""
    return finding.severity in ("high", "medium")


def _verify_seconds(lab: Lab, known: Situation) -> float | None:
    """Seconds a block of the verification, None when there is no time for it."""
    fps = load_fps(known.case.workload.load)
    fair = lab.left / (2 * _PAIRS) - _BLOCK_COST_S
    if fair < _BLOCK_MIN_S / 2:
        return None
    return min(max(1.2, 36 / fps if fps else 1.2), max(_BLOCK_MIN_S, fair))


def _verified(finding: Finding, blocks: Blocks) -> Finding:
    """The finding with its gain as the whole stream showed it."""
    if finding.gain is None or finding.intervention is None or not (finding.remedy and finding.remedy.plan):
        return finding
    if not _worth_applying(finding):
        return finding
    metric = CPU if finding.intervention.metric == CPU.name else LATENCY
    before, ratio = blocks.value(blocks.before, metric).value, blocks.ratio(metric)
    low = high = None
    if ratio.low is not None and ratio.high is not None:
        low, high = before * (1 - ratio.high), before * (1 - ratio.low)
    interval = None if low is None or high is None else (low, high)
    gain = replace(finding.gain, verified=before * (1 - ratio.value), interval=interval)
    return replace(finding, gain=gain, confidence=0.95)


def _conclude(case: Case, found: Progressing, seconds: float) -> Explanation:
    known = _situation(case, found)
    order = {"confirmed": 0, "undecided": 1, "refuted": 2}
    ranks = {"high": 0, "medium": 1, "low": 2, "info": 3}
    findings = sorted([*observed(known), *found.findings], key=lambda f: (order[f.verdict], ranks[f.severity], f.code))
    accounted: Account = account(found.traces["model"], found.traces["pipeline"], found.traces["stream"])
    met, verdict = sentence(known, accounted)
    patched = apply(case, found.patch).plan
    traces = tuple(trace.meta.id for trace in found.traces.values())
    return Explanation(
        verdict=verdict,
        bottleneck=bottleneck(known, [f for f in findings if f.verdict == "confirmed"]),
        met=met,
        account=accounted,
        findings=tuple(findings),
        summaries=known.summaries,
        plan=replace(patched, machine=known.machine.fingerprint, traces=traces),
        traces=traces,
        seconds=seconds,
        not_tested=found.not_tested,
        notes=(*dict.fromkeys(note for s in known.summaries.values() for note in s.notes), *found.notes),
    )


def _words(change: dict[str, Any]) -> str:
    named = {True: "on", False: "off", None: "none"}
    return ", ".join(f"{k}={named[v] if v is None or isinstance(v, bool) else v}" for k, v in change.items())
