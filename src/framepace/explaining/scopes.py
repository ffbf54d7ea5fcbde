"""The measurements before any trial: the case in three scopes under its load, and the model back to back."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec.structs import replace

from framepace.analyze.summary import summarize
from framepace.engine.corekeeper import usable_cores
from framepace.errors import SourceError
from framepace.explaining.draft import Draft
from framepace.explaining.evidence import Evidence
from framepace.explaining.served import is_remote
from framepace.facts.settings import Case, apply
from framepace.facts.workload import Closed, Warmup, load_fps
from framepace.lab.lab import Lab

SCOPES = frozenset(("stream", "pipeline", "model", "gapless"))
_P99_REQUESTS = 600  # p99 needs 528 effective ones
_STREAM_SHARE = 0.25  # of the time limit, at most, for the stream; the other scopes get a fifth of its time
_CLOSED_STREAM_S = 5.0
_SHORTEST_S = 1.2
_SIMULATED_FRAMES = 6_000  # back to back, of a scope: a fast device makes thousands per second, decoded one by one
_OVERTIME_S = 5.0  # for scopes that begin after their time: a source may take that long to open
_GAPLESS_S = 4.0  # a clock that follows the load takes seconds to come up again
_WARMUP = Warmup(seconds_max=1.0)  # after the stream, which has warmed the models up


@dataclass(frozen=True)
class _Run:
    """One of the measurements: its name, the case, its length and what it shows."""

    name: str
    case: Case
    seconds: float
    text: str


def measure_scopes(lab: Lab, case: Case, draft: Draft, kept: float = 0.0) -> None:
    """Measure `case` in every scope, into `draft.traces`; they leave a share `kept` of the time to what follows.

    Raises Interrupted after Ctrl-C, and SourceError where live sources are so slow that the time is long over.
    """
    live = any("://" in source for source in case.workload.input.sources)
    latest_s = lab.spent + lab.left + _OVERTIME_S
    most_frames = _SIMULATED_FRAMES if lab.clock.virtual else None
    for run in _runs(case, lab.left * (1 - kept)):
        if live and lab.spent - lab.loading > latest_s:  # building an engine may take minutes, once
            raise _out_of_time(lab, draft)
        lab.say(f"measuring the scope {run.name}: {run.text}")
        warmup = None if run.name == "stream" else _WARMUP
        draft.traces[run.name] = lab.run(run.case, run.seconds, name=run.name, warmup=warmup, most_frames=most_frames)


def _out_of_time(lab: Lab, draft: Draft) -> SourceError:
    got = f"{lab.spent:.0f} s for the scopes measured so far: {', '.join(draft.traces)}"
    fix = "allow more time (--time-limit), or measure the source alone (framepace bench); the traces are in the folder"
    return SourceError("the time was over before every scope was measured", got=got, fix=fix)


def gather_evidence(case: Case, draft: Draft) -> Evidence:
    """The case with the traces of the draft and their summaries."""
    summaries = {name: summarize(trace) for name, trace in draft.traces.items()}
    return Evidence(case, dict(draft.traces), summaries, len(usable_cores()), draft.may_raise_priority)


def _wanted_s(case: Case) -> float:
    """Seconds of the stream until its p99 can be estimated."""
    fps = load_fps(case.workload.load)
    if not fps:
        return _CLOSED_STREAM_S
    return _P99_REQUESTS / fps


def _without_gaps(case: Case) -> Case:
    """`case` with a closed load that keeps each of its workers busy; those of a server would wait in its queue."""
    back_to_back = Closed(concurrency=1 if is_remote(case.plan) else case.plan.engine.workers)
    return replace(case, workload=replace(case.workload, load=back_to_back))


def _runs(case: Case, time_s: float) -> tuple[_Run, ...]:
    """The measurements that fit into an explanation of `time_s` seconds."""
    stream_s = min(time_s * _STREAM_SHARE, _wanted_s(case))
    short_s = max(_SHORTEST_S, stream_s / 5)
    stream, pipeline, model = (apply(case, {"scope": scope}) for scope in ("stream", "pipeline", "model"))
    gapless = _without_gaps(model)
    return (
        _Run("stream", stream, stream_s, "everything as in production: decode, prepare, infer, finish"),
        _Run("pipeline", pipeline, short_s, "the same without decoding"),
        _Run("model", model, short_s, "the model alone, with the same gaps"),
        _Run("gapless", gapless, min(_GAPLESS_S, time_s / 15), "the model alone, back to back"),
    )
