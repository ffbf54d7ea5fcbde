"""Running a plan on live sources for good."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from framepace import values
from framepace.cases import CaseOptions, Models, RunOptions, case_of
from framepace.clock.system import SystemClock
from framepace.errors import UsageError, unknown
from framepace.facts.plan import Plan
from framepace.facts.running import Result, RunStatus, SourceSpec
from framepace.facts.settings import Case
from framepace.progress import Tell, silent
from framepace.running.options import Options
from framepace.running.run import Run
from framepace.running.specs import specs_of
from framepace.sinks.base import ResultSink
from framepace.sinks.callback import Function
from framepace.sinks.named import queued_sink
from framepace.sinks.queued import QueuedSink
from framepace.store import Rotation

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from framepace.fleet.run import FleetRun

AnySink = str | ResultSink | Callable[[Result], Any]
"""A sink by its text ('jsonl:out.jsonl'), an object, or a function that is called with each result."""


class LiveOptions(RunOptions, total=False):
    """How a plan is run on live sources, beside the options of any run.

    Attributes:
        fps: how fast each source is, where the plan has no target.
        p99_ms: how old results may be, where the plan has no target; the frame period by default.
        sources_file: a YAML file of more sources, which is watched: what changes in it changes in the run.
        settings_of_sources: fields of the sources that are named by their addresses (`every`, `loop`, `pace`, ...), and
            of those in the file where it says nothing about them.
        max_age_ms: a frame that would be older at the sinks is dropped.
        overload: what may be done when there is more than can be inferred: 'skip' thins all sources, 'smaller=PLAN'
            runs that plan instead, 'fewer' pauses sources of the lowest priority; in this order.
        canary: another plan, which is tried on a share of the frames, and then promoted or rolled back.
        canary_share: of the frames; 0.1 by default.
        stays: the run goes on when no source is left, since others may be added.
        out: folder of the trace, in segments of which the last ones are kept, and of recordings.
        rotation: when a segment is full, and how many are kept.
        trace_share: of the frames that are in that trace, 0 to 1.
        record_misses: the last minute is recorded by itself when results come later than the target.
        ray: address of a Ray cluster ('local' starts one here) on whose GPUs and hosts the sources are placed; each is
            decoded where it is inferred, so results come without pictures.
        tell: called with slow steps while the models are loaded.
    """

    fps: float | None
    p99_ms: float | None
    sources_file: str | Path | None
    settings_of_sources: Mapping[str, Any] | None
    max_age_ms: float | None
    overload: Sequence[str]
    canary: Models | None
    canary_share: float
    stays: bool
    out: str | Path | None
    rotation: Rotation | None
    trace_share: float
    record_misses: bool
    ray: str | None
    tell: Tell | None


_OF_CASE = frozenset(CaseOptions.__optional_keys__)
_OF_RUN = frozenset(LiveOptions.__optional_keys__) - _OF_CASE


def run(
    models: Models,
    sources: str | Sequence[str | SourceSpec] = (),
    *,
    sinks: Sequence[AnySink] = (),
    seconds: float | None = None,
    **options: Unpack[LiveOptions],
) -> RunStatus:
    """Run a plan on live sources until they have ended, or for some seconds.

    Args:
        models: paths or 'builtin:NAME', one plan file (.yaml), a plan or a case.
        sources: addresses, 'NAME=ADDRESS', or whole sources.
        sinks: receive the results; each source's come in its order. A sink that is slow, full or failing loses results,
            which are counted, and never holds up a source.
        seconds: after which the run ends.
        options: see `LiveOptions`.

    Returns:
        How everything stood at the end: every picture that was taken, by what became of it.

    Raises:
        FramepaceError: as `start`; or the plan failed while it ran, and could not be started again.
    """
    return start(models, sources, sinks=sinks, seconds=seconds, **options).wait()


def start(
    models: Models,
    sources: str | Sequence[str | SourceSpec] = (),
    *,
    sinks: Sequence[AnySink] = (),
    seconds: float | None = None,
    **options: Unpack[LiveOptions],
) -> Run | FleetRun:
    """Begin to run a plan on live sources.

    Args:
        models: paths or 'builtin:NAME', one plan file (.yaml), a plan or a case.
        sources: addresses, 'NAME=ADDRESS', or whole sources.
        sinks: receive the results (see `run`).
        seconds: after which the run ends.
        options: see `LiveOptions`.

    Returns:
        The run: `status()`, `add`, `remove` and `change` sources, `record` its last minute, `stop()` and `wait()`.

    Raises:
        UsageError: an option is invalid, or two sources have one name.
        SourceError: a file is not there; a camera that does not answer is no error, but tried again.
        SinkError: a sink can never be opened.
        ModelError, BackendError: the plan cannot be loaded.
        StoreError: `out` cannot be written.
        ClusterError: with `ray`, no cluster answers, or it has no free place.
    """
    of_run: dict[str, Any] = {name: value for name, value in options.items() if name in _OF_RUN}
    of_case: Any = {name: value for name, value in options.items() if name not in _OF_RUN}
    specs = specs_of(values.several(sources, "sources"), of_run.get("settings_of_sources"))
    chosen = _options(seconds, of_run)
    queued = [_queued(sink) for sink in sinks]
    plan = _plan(models, of_case)
    tell = of_run.get("tell") or silent
    address = of_run.get("ray")
    if address is None:
        return Run(plan, specs, queued, chosen, tell=tell).start()
    _check_sinks(sinks, queued)
    return _on_cluster(str(address), plan, specs, queued, chosen, tell)


def _on_cluster(
    address: str,
    plan: Plan,
    sources: Sequence[SourceSpec],
    sinks: Sequence[QueuedSink],
    options: Options,
    tell: Tell,
) -> FleetRun:
    """Begin a run on all places of a cluster, which is left when it ends."""
    from framepace.cluster import connect
    from framepace.fleet.onray import fleet_run

    cluster = connect(address)
    try:
        fleet = fleet_run(plan, sources, sinks, options, cluster, tell)
    except BaseException:
        cluster.close()
        raise
    return fleet.start()


def _check_sinks(sinks: Sequence[AnySink], queued: Sequence[QueuedSink]) -> None:
    """Raise UsageError for sinks that can do nothing without pictures; functions do with results what they like."""
    for sink, made in zip(sinks, queued, strict=True):
        if isinstance(sink, str | ResultSink) and made.wants_pictures:
            raise UsageError(
                "a sink needs pictures, which stay on the hosts that decode them",
                got=made.name,
                expected="sinks of results: jsonl, parquet, http, mqtt, stdout, ...",
                fix="leave it out, or run without --ray",
            )


def _plan(models: Models, of_case: Any) -> Plan:
    if not isinstance(models, Case):
        of_case.setdefault("fps", None)
    return case_of("start", models, **of_case).plan


def _options(seconds: float | None, of_run: Mapping[str, Any]) -> Options:
    if seconds is not None:
        seconds = values.duration_s(seconds, "seconds", least=0.001)
    skip, smaller, fewer = _measures(values.several(of_run.get("overload") or (), "overload"))
    canary = of_run.get("canary")
    return Options(
        canary=None if canary is None else _plan(canary, {}),
        canary_share=values.number(of_run.get("canary_share", 0.1), "canary_share", least=0.001, most=0.9),
        skip=skip,
        smaller=smaller,
        fewer=fewer,
        max_age_ms=_positive(of_run, "max_age_ms"),
        seconds=seconds,
        sources_file=_path(of_run, "sources_file"),
        of_sources=of_run.get("settings_of_sources") or {},
        stays=bool(of_run.get("stays")),
        out=_path(of_run, "out"),
        rotation=of_run.get("rotation"),
        share=values.number(of_run.get("trace_share", 1.0), "trace_share", least=1e-6, most=1.0),
        record_misses=bool(of_run.get("record_misses")),
    )


def _measures(texts: Sequence[str]) -> tuple[bool, Plan | None, bool]:
    """What may be done under overload: thin all, run this plan, pause some. Raises UsageError for anything else."""
    smaller = None
    for text in texts:
        kind, _, plan = text.partition("=")
        if kind == "smaller" and plan:
            smaller = case_of("start", plan, fps=None).plan
        elif text not in ("skip", "fewer"):
            raise unknown("measure", text, ("skip", "smaller=PLAN", "fewer"))
    return "skip" in texts, smaller, "fewer" in texts


def _positive(of_run: Mapping[str, Any], name: str) -> float | None:
    if of_run.get(name) is None:
        return None
    return values.number(of_run[name], name, least=0.1)


def _path(of_run: Mapping[str, Any], name: str) -> Path | None:
    if of_run.get(name) is None:
        return None
    return values.path(of_run[name], name)


def _queued(sink: AnySink) -> QueuedSink:
    """A sink behind its queue."""
    clock = SystemClock()
    if isinstance(sink, str):
        return queued_sink(sink, clock)
    if isinstance(sink, ResultSink):
        return QueuedSink(sink, clock)
    return QueuedSink(Function(sink), clock)
