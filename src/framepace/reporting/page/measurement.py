"""Each trace with its latency over time, stages and distribution."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from framepace.facts.model import Layer
from framepace.facts.summary import Summary
from framepace.facts.trace import Trace
from framepace.facts.workload import Workload, load_fps
from framepace.reporting.page.bars import stage_figure
from framepace.reporting.page.distribution import distribution_figure
from framepace.reporting.page.document import Document
from framepace.reporting.page.latency import time_figure
from framepace.reporting.page.markup import details, grid, pairs, tag, tiles
from framepace.reporting.page.timeline import timeline_figure
from framepace.reporting.views.device import LAYER_COLUMNS, layer_rows
from framepace.reporting.views.measurement import ModelView, SummaryView, summary_view

_POINTS_IN_ALL = 60_000  # drawn dots of all figures together; a browser stays quick, the file stays small
_FEWEST_POINTS = 200  # of one trace


def add_measurements(document: Document, traces: Sequence[Trace], summaries: Sequence[Summary]) -> None:
    """A section per trace, after a figure of all of them where there are several."""
    named = [(_name(trace, traces), trace, summary) for trace, summary in zip(traces, summaries, strict=True)]
    if len(named) > 1:
        figure = document.figure(distribution_figure(named), "latency by percentile of all traces")
        document.add(f'<section id="together"><h2>Latency by percentile, all traces</h2>{figure}</section>')
    points = _POINTS_IN_ALL // max(1, sum(1 + len(trace.meta.names) for trace in traces))
    for name, trace, summary in named:
        parts = "".join(_parts(document, name, trace, summary, max(_FEWEST_POINTS, points)))
        document.add(f'<section class="trace"><h2>{escape(name)}</h2>{parts}</section>')


def _name(trace: Trace, traces: Sequence[Trace]) -> str:
    """The name of a trace: scope and load, with its id when another trace has the same ones."""
    workload = trace.meta.workload
    if trace.meta.is_log:
        return trace.meta.id
    name = f"{workload.scope}, {_load(workload)}"
    alike = [other for other in traces if _run_as(other) == _run_as(trace)]
    return f"{name}, trace {trace.meta.id}" if len(alike) > 1 else name


def _load(workload: Workload) -> str:
    """'paced 30 fps'; 'live' where pictures come when a camera sends them."""
    if workload.scope == "stream" and any(map(_is_live, workload.input.sources)):
        return "live"
    name = type(workload.load).__name__.lower()
    fps = load_fps(workload.load)
    return f"{name} {fps:g} fps" if fps else name


def _is_live(source: str) -> bool:
    return "://" in source and not source.startswith("file://")


def _run_as(trace: Trace) -> tuple[object, object]:
    workload = trace.meta.workload
    return workload.scope, workload.load


def _headline(view: SummaryView) -> Iterator[str]:
    """The sentence, the numbers and the notes."""
    if view.failure:
        yield tag("p", view.failure, "lead bad")
        yield tag("p", view.advice, "note")
    yield tag("p", view.sentence, "lead")
    yield tiles(view.numbers)
    yield from (tag("p", note, "note") for note in view.notes)


def _parts(document: Document, name: str, trace: Trace, summary: Summary, points: int) -> Iterator[str]:
    view = summary_view(summary)
    yield from _headline(view)
    yield f"<h3>Latency over time</h3>{_over_time(document, trace, summary, view, points)}"
    yield from (_remarks(model) for model in view.models)
    yield _titled("Time line", timeline_figure(document, trace, points))
    yield _titled("Stages", _stages(document, summary, view))
    yield _titled("Distribution", _distribution(document, (name, trace, summary), view))
    yield from (_model_tables(model) for model in view.models)
    yield _titled("Device", pairs(view.devices))
    yield from (_layer_table(model, layers) for model, layers in trace.meta.layers.items())


def _titled(title: str, body: str) -> str:
    return f"<h3>{title}</h3>{body}" if body else ""


def _over_time(document: Document, trace: Trace, summary: Summary, view: SummaryView, points: int) -> str:
    caption = "Each dot is a request."
    if len(trace) > points:
        stretch = 2 * len(trace) // points
        caption = f"Each dot is the fastest or the slowest of about {stretch:,} consecutive requests."
    description = f"latency over time: {view.models[0].tiers}"
    return document.figure(time_figure(trace, summary, points), description, caption)


def _stages(document: Document, summary: Summary, view: SummaryView) -> str:
    models = (summary.frames, *summary.models)[: len(view.models)]
    names = [model.name for model in view.models]
    description = "; ".join(f"{stage.name} {stage.mean}" for stage in view.models[0].stages)
    return document.figure(stage_figure(models, names), description)


def _distribution(document: Document, named: tuple[str, Trace, Summary], view: SummaryView) -> str:
    description = "; ".join(f"{row.label} {row.value}" for row in view.models[0].percentiles if row.value)
    return document.figure(distribution_figure([named]), description, "Whiskers are the intervals of the percentiles.")


def _remarks(model: ModelView) -> str:
    beside = (("meanwhile", text) for text in model.beside)
    rows = pairs([("tiers", model.tiers), *beside, ("outliers", model.outliers), ("doubtful", model.doubts)])
    return f'<p class="model"><b>{escape(model.name)}</b> {escape(model.counts)}</p>{rows}'


def _model_tables(model: ModelView) -> str:
    percentiles = [(row.label, row.value, row.interval or row.refused) for row in model.percentiles]
    stages = [(stage.name, stage.mean, stage.median, stage.p99, f"{stage.share:.0%}") for stage in model.stages]
    tables = grid(("percentile", "latency", "interval"), percentiles)
    tables += grid(("stage", "mean", "p50", "p99", "share"), stages)
    return details(f"numbers: {model.name}", f'<div class="pair">{tables}</div>')


def _layer_table(model: str, layers: Sequence[Layer]) -> str:
    """All layers of a model, slowest first, folded away."""
    rows = grid(LAYER_COLUMNS, layer_rows(layers, len(layers)))
    return details(f"{len(layers)} layers of {model}, as its library runs them", rows)
