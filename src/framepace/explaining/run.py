"""`explain`: measure the scopes, try the causes worth a trial, apply the remedies and verify them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from framepace.analyze.account import account
from framepace.analyze.summary import summarize
from framepace.backends.base import get_backend
from framepace.clock.system import Clock
from framepace.engine.corekeeper import usable_cores
from framepace.errors import FramepaceError
from framepace.explaining.cause import Cause, Probe, Suspicion
from framepace.explaining.causes import CAUSES
from framepace.explaining.evidence import Situation
from framepace.explaining.expect import Said, check_model, compare
from framepace.explaining.floors import bounds
from framepace.explaining.observed import observed
from framepace.explaining.trial import (
    CPU,
    FEWEST_PAIRS,
    INTERVAL,
    LATENCY,
    MATERIAL,
    MEAN_INFERENCE,
    MEAN_LATENCY,
    TAIL,
    Blocks,
    Metric,
    intervention,
    judge,
    run_trial,
)
from framepace.explaining.verdict import bottleneck, rank, sentence, severity, share_of_budget, shares
from framepace.facts.bounds import Bound
from framepace.facts.finding import Account, Expectation, Explanation, Finding, Gain
from framepace.facts.plan import Plan
from framepace.facts.settings import Case, apply
from framepace.facts.trace import Trace
from framepace.facts.workload import Closed, Warmup, load_fps
from framepace.lab.lab import Interrupted, Lab
from framepace.measure.session import clock_for
from framepace.progress import Tell

_P99_REQUESTS = 600  # p99 wants 528 effective ones
_SCOPE_SHARE = 0.25  # of the time limit for the stream run; the other scopes get a fifth of what it got
_GAPLESS_S = 4.0  # a clock that follows the load takes seconds to come up again
_SCOPE_WARMUP = Warmup(seconds_max=1.0)  # the stream run has warmed the models up
_AROUND_S = 4.0  # for loading libraries before, and writing the report after
_PAIRS = 4  # with four pairs the t-interval is 3.2 standard errors; with two 12.7, enough for what is plain
_BLOCK_MIN_S = 0.6
_BLOCK_COST_S = 0.5  # warm-up and start of a block
_KEPT_S = 2 * FEWEST_PAIRS * (_BLOCK_MIN_S + _BLOCK_COST_S)  # for the verification
_VERIFIED_BY = {**{m.name: m for m in (CPU, INTERVAL, TAIL)}, MEAN_INFERENCE.name: MEAN_LATENCY}  # else the median
_NOT_LATENCY = (CPU.name, INTERVAL.name, TAIL.name)


@dataclass
class Progressing:
    """What has been found so far; Ctrl-C leaves it as it is."""

    traces: dict[str, Trace] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    not_tested: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    patch: dict[str, Any] = field(default_factory=dict)
    trials: dict[bytes, Blocks] = field(default_factory=dict)
    least_s: float = 0.0
    expectation: Expectation | None = None
    bounds: tuple[Bound, ...] = ()


def explain(
    case: Case,
    *,
    time_limit: float = 90.0,
    folder: Path | None = None,
    tell: Tell | None = None,
    clock: Clock | None = None,
    causes: tuple[Cause, ...] = CAUSES,
    said: Said | None = None,
) -> Explanation:
    """Why `case` has the latency it has: the account of its scopes, and the causes that interventions confirmed.

    Args:
        case: plan and workload; the workload's load is kept, its scope and stop rule are set here.
        time_limit: seconds to stay within; causes that find no time are listed as not tested.
        folder: where the traces of the scopes are saved; None keeps none.
        tell: called with what is being tried and the share of the time used.
        said: another tool's number, which is then accounted for as well.

    Raises:
        FramepaceError: the case cannot be measured at all.
        Interrupted: Ctrl-C before the first trace was complete.
    """
    found = Progressing()
    if said is not None:
        check_model(case)
    with Lab(time_limit - _AROUND_S, folder, tell, clock or clock_for(case.plan)) as lab:
        try:
            _measure_scopes(lab, case, found)
            found.bounds = bounds(lab, found.traces["gapless"], found.notes)
            known = _situation(case, found)
            found.expectation = compare(lab, known, said) if said is not None else None
            _try_causes(lab, known, causes, found)
            _verify(lab, known, found)
        except Interrupted:
            if not {"stream", "pipeline", "model", "gapless"} <= set(found.traces):
                raise
            found.notes.append("interrupted: what was found until then")
        return _conclude(case, found, lab.spent)


def usual_limit(plan: Plan) -> float:
    """Seconds that an explanation stays within where nobody says: less on a GPU, where inferences are short."""
    kinds = (model.device or get_backend(model.backend).devices[0] for model in plan.models)
    return 60.0 if any(kind.startswith("cuda") for kind in kinds) else 90.0


def _measure_scopes(lab: Lab, case: Case, found: Progressing) -> None:
    fps = load_fps(case.workload.load)
    longest = lab.left * _SCOPE_SHARE
    stream = min(longest, _P99_REQUESTS / fps) if fps else min(longest, 5.0)
    short = max(1.2, stream / 5)
    plan = [
        ("stream", {"scope": "stream"}, stream, "everything as in production: decode, prepare, infer, finish"),
        ("pipeline", {"scope": "pipeline"}, short, "the same without decoding"),
        ("model", {"scope": "model"}, short, "the model alone, with the same gaps"),
        ("gapless", {"scope": "model"}, min(_GAPLESS_S, lab.left / 15), "the model alone, back to back"),
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


@dataclass(frozen=True)
class _Suspect:
    """A cause with its evidence and its trial; `key` tells equal trials of two causes, which are run once."""

    cause: Cause
    suspicion: Suspicion
    probe: Probe

    @property
    def key(self) -> bytes:
        return msgspec.json.encode((self.probe.base, self.probe.change))


def _try_causes(lab: Lab, known: Situation, causes: tuple[Cause, ...], found: Progressing) -> None:
    """Try the suspected causes until nothing above 5 % is left to explain.

    First those whose trial was run for another cause, then those that may be worth most.
    """
    suspects = list(_suspects(known, causes, found))
    while suspects:
        suspect = max(suspects, key=lambda s: (s.key in found.trials, s.suspicion.share))
        suspects.remove(suspect)
        cause, probe = suspect.cause, suspect.probe
        if suspect.suspicion.share < MATERIAL:
            found.not_tested[cause.code] = f"{cause.title}: it can hardly be worth {MATERIAL:.0%}"
        elif _unexplained(known, probe.metric, found) < MATERIAL:
            found.not_tested[cause.code] = f"{cause.title}: what was confirmed explains all but {MATERIAL:.0%}"
        elif suspect.key in found.trials:
            found.findings.append(_finding(known, suspect, found.trials[suspect.key]))
        elif (size := _affordable(lab, probe, len(suspects) + 1, found)) is None:
            found.not_tested[cause.code] = f"{cause.title}: no time left (--time-limit)"
        else:
            _try(lab, known, suspect, size, found)


def _suspects(known: Situation, causes: tuple[Cause, ...], found: Progressing) -> Iterator[_Suspect]:
    for cause in causes:
        suspicion = cause.suspect(known)
        if suspicion is None:
            continue
        probe = cause.probe(known)
        if isinstance(probe, str):
            found.not_tested[cause.code] = f"{cause.title}: {probe}"
        else:
            yield _Suspect(cause, suspicion, probe)


def _unexplained(known: Situation, metric: Metric, found: Progressing) -> float:
    """The share of the mean latency that the confirmed causes have not brought back; 1 for what is no latency."""
    if metric.name in _NOT_LATENCY:
        return 1.0
    records = [f.intervention for f in found.findings if f.verdict == "confirmed" and f.intervention is not None]
    worth = sum(r.before.value - r.after.value for r in records if r.metric not in _NOT_LATENCY)
    return 1 - worth / known.latency


def _affordable(lab: Lab, probe: Probe, suspects: int, found: Progressing) -> tuple[float, int] | None:
    """Seconds a block, with enough requests for a median, and pairs, within a fair share of the time left; or None.

    Where a remedy waits to be verified, time for that is kept back: a remedy that was not is half an answer.
    """
    fps = load_fps(probe.base.workload.load)
    wanted = max(probe.fewest / fps if fps else 1.0, probe.least_s)
    least = max(_BLOCK_MIN_S, wanted / 3, probe.least_s)
    usable = lab.left - (_KEPT_S if _settings(found.findings) else 0.0)
    fair = usable / suspects / (2 * _PAIRS) - _BLOCK_COST_S
    seconds = min(wanted, max(fair, least))
    pairs = min(_PAIRS, int(usable / 2 / (seconds + _BLOCK_COST_S)))
    return (seconds, pairs) if pairs >= FEWEST_PAIRS else None


def _try(lab: Lab, known: Situation, suspect: _Suspect, size: tuple[float, int], found: Progressing) -> None:
    """Run the trial of a cause; what cannot be run is told."""
    cause, probe, (seconds, pairs) = suspect.cause, suspect.probe, size
    text = f"{cause.code} {cause.title}? trying {_words(probe.change)}"
    try:
        blocks = run_trial(lab, probe.base, probe.change, seconds, pairs, text, lambda b: _is_clear(b, probe.metric))
        if not _is_clear(blocks, probe.metric) and lab.left > 4 * _PAIRS * (seconds + _BLOCK_COST_S) + 10:
            blocks = _more(lab, probe, seconds, blocks, text)
    except FramepaceError as error:
        found.not_tested[cause.code] = f"{cause.title}: {str(error).splitlines()[0]}"
        return
    found.trials[suspect.key] = blocks
    found.least_s = max(found.least_s, probe.least_s)
    found.findings.append(_finding(known, suspect, blocks))


def _finding(known: Situation, suspect: _Suspect, blocks: Blocks) -> Finding:
    """What the blocks of its trial say of a cause."""
    cause, probe = suspect.cause, suspect.probe
    verdict = judge(blocks.ratio(probe.metric))
    record = intervention(blocks, probe.change, probe.metric)
    confirmed = verdict == "confirmed"
    share = share_of_budget(record, known.budget, known.cores) if confirmed else None
    return Finding(
        code=cause.code,
        title=cause.title,
        verdict=verdict,
        severity="info" if share is None else severity(share),
        share=share,
        summary=suspect.suspicion.sentence,
        evidence={**suspect.suspicion.evidence, **_beside(blocks, probe.also)},
        intervention=record,
        remedy=cause.remedy(known, blocks) if confirmed else None,
        gain=Gain(unit=record.unit, predicted=record.before.value - record.after.value) if confirmed else None,
    )


def _is_clear(blocks: Blocks, metric: Metric) -> bool:
    return judge(blocks.ratio(metric)) != "undecided"


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
        seconds = _verify_seconds(lab, known, found.least_s)
        if seconds is None:
            found.notes.append("no time was left to verify the settings together (--time-limit)")
            return
        blocks = _verifying(lab, known, patch, seconds)
        found.findings = [_verified(finding, blocks) for finding in found.findings]
        found.patch = _settings(found.findings)
        if found.patch == patch:
            return


def _verifying(lab: Lab, known: Situation, patch: dict[str, Any], seconds: float) -> Blocks:
    """Blocks of the whole stream without and with `patch`, as many pairs as the time allows."""
    text, pair = "verifying the settings together", 2 * (seconds + _BLOCK_COST_S)
    return run_trial(lab, known.case, patch, seconds, _PAIRS, text, lambda _: lab.left < pair)


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


def _verify_seconds(lab: Lab, known: Situation, least: float) -> float | None:
    """Seconds a block of the verification, `least` where the time allows; None when there is no time for it."""
    fps = load_fps(known.case.workload.load)
    fair = lab.left / (2 * _PAIRS) - _BLOCK_COST_S
    if lab.left < _KEPT_S:
        return None
    longest = lab.left / (2 * FEWEST_PAIRS) - _BLOCK_COST_S
    return min(max(1.2, 36 / fps if fps else 1.2, least), max(_BLOCK_MIN_S, fair, min(least, longest)))


def _verified(finding: Finding, blocks: Blocks) -> Finding:
    """The finding with its gain as the whole stream showed it."""
    if finding.gain is None or finding.intervention is None or not (finding.remedy and finding.remedy.plan):
        return finding
    if not _worth_applying(finding):
        return finding
    metric = _VERIFIED_BY.get(finding.intervention.metric, LATENCY)
    before, ratio = blocks.value(blocks.before, metric).value, blocks.ratio(metric)
    low = high = None
    if ratio.low is not None and ratio.high is not None:
        low, high = before * (1 - ratio.high), before * (1 - ratio.low)
    interval = None if low is None or high is None else (low, high)
    gain = replace(finding.gain, verified=before * (1 - ratio.value), interval=interval)
    return replace(finding, gain=gain, confidence=0.95)


def _conclude(case: Case, found: Progressing, seconds: float) -> Explanation:
    known = _situation(case, found)
    findings = sorted([*observed(known), *found.findings], key=rank)
    confirmed = [f for f in findings if f.verdict == "confirmed"]
    accounted: Account = account(found.traces["model"], found.traces["pipeline"], found.traces["stream"])
    met, verdict = sentence(known, accounted)
    patched = apply(case, found.patch).plan
    traces = tuple(trace.meta.id for trace in found.traces.values())
    return Explanation(
        verdict=verdict,
        bottleneck=bottleneck(confirmed),
        shares=shares(confirmed),
        met=met,
        account=accounted,
        findings=tuple(findings),
        summaries=known.summaries,
        plan=replace(patched, machine=known.machine.fingerprint, traces=traces),
        traces=traces,
        seconds=seconds,
        not_tested=found.not_tested,
        notes=(*dict.fromkeys(note for s in known.summaries.values() for note in s.notes), *found.notes),
        expectation=found.expectation,
        bounds=found.bounds,
    )


def _words(change: dict[str, Any]) -> str:
    named = {True: "on", False: "off", None: "none"}
    return ", ".join(f"{k}={named[v] if v is None or isinstance(v, bool) else v}" for k, v in change.items())
