"""What makes a model itself faster, each tried: size, precision, network, library, asynchronous."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from framepace.backends.base import Backend, backend_names, get_backend
from framepace.errors import FramepaceError
from framepace.explaining.causes.memory_bound import in_fp32
from framepace.explaining.draft import Draft
from framepace.explaining.evidence import Evidence
from framepace.explaining.hypothesis import Probe
from framepace.explaining.metrics import INTERVAL, LATENCY, Metric
from framepace.explaining.pixels import half_the_pixels
from framepace.explaining.refusing import refusal
from framepace.explaining.suspects import trial_of
from framepace.explaining.trial import intervention, judge
from framepace.facts.finding import Finding, Intervention, RemedyKind, TriedRemedy
from framepace.facts.plan import ModelPlan
from framepace.facts.settings import Case, apply
from framepace.facts.settings import text as settings_text
from framepace.facts.strategy import strategy_of
from framepace.lab.lab import Lab

MODEL_BOUND = ("FP007", "FP008")
"""Causes that say that the model itself is what takes the time."""
_CONTRADICTED = (
    "{} is undecided: with {} the model alone takes {:.2f}x the time, the whole stream {:.2f}x; "
    "longer trials would decide (--time-limit)"
)
_BUSY = 0.7  # of the frame period, in inference
_OTHER_NETWORK = "framepace sweep MODEL --vary model=MODEL,SMALLER"
_OTHER_SIZE = "framepace sweep MODEL --vary model=MODEL,MODEL_OF_HALF_THE_SIZE"
_OTHER_VERSION = "framepace bench MODEL --out A, --out B with the other version installed; framepace compare A B"


@dataclass(frozen=True)
class _Way:
    """One remedy: the trial of it, or why there is none; `decide` is the command that decides what was not tried."""

    kind: RemedyKind
    base: Case
    change: dict[str, Any]
    metric: Metric = LATENCY
    untried: str = ""
    decide: str = ""


def try_remedies(lab: Lab, evidence: Evidence, draft: Draft) -> None:
    """Try each remedy of a model that takes the time itself in the whole stream, into `draft.remedies`.

    Where there is no time, the trial of a cause that made the same change to the model alone counts. Raises Interrupted
    after Ctrl-C.
    """
    if not any(finding.code in MODEL_BOUND and finding.verdict == "confirmed" for finding in draft.findings):
        return
    ways = list(_ways(evidence, draft))
    for place, way in enumerate(ways):
        draft.remedies += (_tried(lab, way, len(ways) - place, draft),)
        draft.findings = [held_against(draft.remedies[-1], finding, draft.notes) for finding in draft.findings]


def held_against(remedy: TriedRemedy, finding: Finding, notes: list[str]) -> Finding:
    """The finding; undecided where its change made the model alone faster, and surely not the whole stream.

    `notes` then gets a sentence that says so. A cause whose remedy is in the plan was verified in the stream itself.
    """
    trial, alone = remedy.intervention, finding.intervention
    is_proven = finding.verdict == "confirmed" and not (finding.remedy and finding.remedy.plan)
    if trial is None or alone is None or not is_proven or trial.changed != alone.changed:
        return finding
    if judge(trial.ratio) != "refuted":
        return finding
    notes.append(_CONTRADICTED.format(finding.code, settings_text(trial.changed), alone.ratio.value, trial.ratio.value))
    return replace(finding, verdict="undecided", severity="info", share=None, remedy=None, gain=None)


def _tried(lab: Lab, way: _Way, others: int, draft: Draft) -> TriedRemedy:
    """The remedy after its trial, for which there is a share of the time; `others` are those still to be tried."""
    if not way.change:
        return TriedRemedy(kind=way.kind, untried=way.untried, decide=way.decide)
    why = refusal(lab, way.base, way.change, draft)
    if why:
        return TriedRemedy(kind=way.kind, changed=way.change, untried=why, decide=way.decide)
    record = _trial(lab, way, others, draft)
    if isinstance(record, str):
        return TriedRemedy(kind=way.kind, changed=way.change, untried=record, decide=way.decide)
    return TriedRemedy(kind=way.kind, changed=way.change, intervention=record)


def _trial(lab: Lab, way: _Way, others: int, draft: Draft) -> Intervention | str:
    """The trial of the remedy, else that of a cause with the same change, else why there is neither."""
    text = f"is {settings_text(way.change)} a remedy?"
    blocks = trial_of(lab, Probe(way.base, way.change, way.metric), text, others, draft)
    if isinstance(blocks, str):
        return _of_a_cause(way, draft) or blocks
    return intervention(blocks, way.change, way.metric)


def _of_a_cause(way: _Way, draft: Draft) -> Intervention | None:
    """The trial of a cause that made the same change, which says as much of the model alone."""
    records = (finding.intervention for finding in draft.findings)
    return next((record for record in records if record is not None and record.changed == way.change), None)


def _ways(evidence: Evidence, draft: Draft) -> Iterator[_Way]:
    """All five, in the order of what they change: the model's answers first, then how it is run."""
    base = _stream(evidence)
    yield _size(evidence, base)
    yield _precision(evidence, base)
    yield _Way("network", base, {}, untried="none is named", decide=_OTHER_NETWORK)
    yield _library(evidence, base, draft)
    yield _asynchronous(evidence)


def _size(evidence: Evidence, base: Case) -> _Way:
    """Half as many pixels."""
    change = half_the_pixels(evidence)
    if not change:
        return _Way("size", base, {}, untried="the file takes one size", decide=_OTHER_SIZE)
    return _Way("size", base, dict(change))


def _stream(evidence: Evidence) -> Case:
    """The case as a stream; back to back where frames come so fast that a slow start leaves a queue for seconds."""
    period = evidence.period
    if period is None or evidence.infer("gapless") < _BUSY * period:
        return evidence.kept_up("stream")
    return apply(evidence.case, {"scope": "stream", "concurrency": evidence.case.plan.engine.workers})


def _precision(evidence: Evidence, base: Case) -> _Way:
    """The next lower precision than the one in force."""
    if any(_backend(model).is_built(model.model) for model in evidence.models):
        return _Way("precision", base, {}, untried="the engine was built in one", decide="build it from its ONNX file")
    if all(model.precision == "int8" for model in evidence.models):
        return _Way("precision", base, {}, untried="int8 is in force")
    change: dict[str, Any] = {"precision": "int8", "calibration": "synthetic"}
    if evidence.on_gpu and in_fp32(evidence):
        change = {"precision": "fp16"}
    return _Way("precision", base, change)


def _library(evidence: Evidence, base: Case, draft: Draft) -> _Way:
    """Another library that is installed here and runs the same file on the same device."""
    room = _left_to_the_floor(draft)
    for name in backend_names():
        if all(_can_run(name, model) for model in evidence.models):
            device = _backend(evidence.models[0]).device_of(evidence.models[0])
            return _Way("library", base, {"backend": name, "device": device}, decide=_OTHER_VERSION)
    return _Way("library", base, {}, untried=f"no other one here runs the file{room}", decide=_OTHER_VERSION)


def _left_to_the_floor(draft: Draft) -> str:
    """'; at most 1.19x is left to the floor': the most that any library can bring; '' where it is not known."""
    floor = sum(bound.floor for bound in draft.bounds)
    if not floor:
        return ""
    return f"; at most {sum(bound.measured for bound in draft.bounds) / floor:.2f}x is left to the floor"


def _can_run(name: str, model: ModelPlan) -> bool:
    """Whether another library computes the model's file on its device, as far as names tell."""
    if name == model.backend or not _backend(model).computes or model.options:
        return False
    try:
        other = get_backend(name)
        other.versions()
    except (FramepaceError, ImportError):
        return False
    kind = _backend(model).device_of(model).partition(":")[0]
    return other.computes and other.takes(model.model) and kind in other.devices


def _backend(model: ModelPlan) -> Backend:
    return get_backend(model.backend)


def _asynchronous(evidence: Evidence) -> _Way:
    """A second worker, with as many requests at once on both sides, by the time between frames."""
    engine = evidence.case.plan.engine
    base = apply(evidence.case, {"scope": "pipeline", "concurrency": 2 * engine.workers})
    if engine.workers > 1:
        return _Way("asynchronous", base, {}, untried=f"in force: workers={engine.workers}")
    if strategy_of(engine).models_run != "in the worker":
        return _Way("asynchronous", base, {}, untried=f"in force: strategy={engine.strategy}")
    return _Way("asynchronous", base, {"workers": 2}, INTERVAL)
