"""One self-contained HTML file: findings first, figures that need no network, machine and plan at the end."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import lru_cache
from html import escape
from importlib.resources import files
from typing import Any

import msgspec

from framepace.facts.base import Fact
from framepace.facts.bounds import Bound
from framepace.facts.finding import Explanation
from framepace.facts.machine import Machine
from framepace.facts.model import Layer
from framepace.facts.plan import Plan
from framepace.facts.program import Program
from framepace.facts.summary import Comparison, Summary
from framepace.facts.sweep import Sweep
from framepace.facts.trace import Trace
from framepace.facts.workload import load_fps
from framepace.reporting.documents import plain
from framepace.reporting.page import figures
from framepace.reporting.page.markup import details, grid, monospace, pairs, tag, tiles
from framepace.reporting.views.device import LAYER_COLUMNS, layer_rows
from framepace.reporting.views.expectation import COLUMNS, ExpectationView
from framepace.reporting.views.explanation import ExplanationView, FindingView, explanation_view
from framepace.reporting.views.measurement import ModelView, comparison_view, machine_line, summary_view
from framepace.reporting.views.roofline import ROOFLINE_CAPTION, floor_views, roofline_figure
from framepace.reporting.views.sweep import sweep_view
from framepace.units import format_bytes

_POINTS_IN_ALL = 60_000  # drawn dots of all figures together; a browser stays quick, the file stays small
_MET = {True: ("good", "budget met"), False: ("bad", "budget missed"), None: ("", "")}


def render(
    traces: Sequence[Trace],
    summaries: Sequence[Summary],
    explanation: Explanation | None = None,
    comparison: Comparison | None = None,
    sweep: Sweep | None = None,
) -> str:
    """The whole page as text. `summaries` are those of `traces`, in the same order.

    It embeds plotly.js once (about 4.8 MB) and asks the network for nothing; everything from outside is escaped.
    """
    page = Page()
    page.add(_header(traces, summaries, explanation))
    if explanation is not None:
        page.explain(explanation)
    if comparison is not None:
        page.compare(comparison)
    if sweep is not None:
        page.sweep(sweep)
    page.measurements(traces, summaries)
    page.surroundings(traces, explanation)
    return page.text(_title(traces, explanation))


class Page:
    """The page while it is written: its parts in order, and the figures they hold."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._figures: list[figures.Figure] = []

    def add(self, *parts: str) -> None:
        """Put HTML at the end."""
        self._parts += parts

    def figure(self, figure: figures.Figure | None, says: str, caption: str = "") -> str:
        """A place for a figure; `says` is read out in its stead."""
        if figure is None:
            return ""
        self._figures.append(figure)
        place = f'<div class="plot" role="img" aria-label="{escape(says)}" style="height:{_height(figure)}px"></div>'
        return f"<figure>{place}{tag('figcaption', caption) if caption else ''}</figure>"

    def explain(self, explanation: Explanation) -> None:
        """Findings with before and after, then the account of the scopes."""
        view = explanation_view(explanation)
        count = len(view.causes)
        title = f"{count} proven cause{'s' if count > 1 else ''}" if count else "No cause found"
        self.add(f'<section id="findings"><h2>{title}</h2>')
        if not count:
            self.add(tag("p", "Nothing that was tried made it faster."))
        self.add(*(self._finding(f) for f in view.causes), _rest(view), "</section>")
        says = "; ".join(f"{row.name} {row.text}" for row in view.account)
        caption = f"The same model in three scopes, and what lies between them. {view.unexplained} is unexplained."
        figure = self.figure(figures.account_figure(view.account), says, caption)
        self.add(f'<section id="account"><h2>Where the time goes</h2>{figure}</section>')
        if view.expectation is not None:
            self._expectation(view.expectation)
        if explanation.bounds:
            self._floors(explanation.bounds)

    def _floors(self, bounds: Sequence[Bound]) -> None:
        views = floor_views(bounds)
        says = "; ".join(f"{view.model} {view.text}" for view in views)
        figure = self.figure(roofline_figure(bounds), says, ROOFLINE_CAPTION)
        told = pairs([(view.model, view.text) for view in views])
        tables = (details(f"hottest nodes of {v.model}", grid(v.columns, v.nodes)) for v in views if v.nodes)
        self.add(f'<section id="floors"><h2>How far from the floor</h2>{told}{figure}{"".join(tables)}</section>')

    def _expectation(self, view: ExpectationView) -> None:
        table = f"{tag('p', view.sentence)}{grid(COLUMNS, view.rows)}"
        self.add(f'<section id="expectation"><h2>Another tool\'s number</h2>{table}</section>')

    def _finding(self, f: FindingView) -> str:
        rows = [("tried", f.tested), ("setting", monospace(f.setting)), ("do", f.remedy), ("run", monospace(f.command))]
        rows += [("undo", monospace(f.undo)), ("cost", f.cost), ("gain", f.gain)]
        chip = f'<span class="chip {escape(f.severity)}">{escape(f.severity)}</span>'
        head = f"<header><h3><code>{escape(f.code)}</code> {escape(f.title)}</h3>{chip}</header>"
        proof = f"{f.metric} {f.before} → {f.after}"
        figure = ""
        if f.intervention is not None:
            figure = self.figure(figures.finding_figure(f.intervention), proof)
            proof = f'<div class="proof">{tag("span", proof)} {tag("b", f.moved)}</div>'
        else:
            proof = ""
        evidence = details("evidence", pairs(f.evidence)) if f.evidence else ""
        body = tag("p", f.summary) + proof + figure + pairs(rows) + evidence
        return f'<article class="finding">{head}{body}</article>'

    def compare(self, comparison: Comparison) -> None:
        """Two traces against each other."""
        view = comparison_view(comparison)
        rows = [("A", view.a), ("B", view.b), *(("B/A " + name, text) for name, text in view.ratios)]
        says = "; ".join(f"{row.name} {row.change}" for row in view.stages)
        figure = self.figure(figures.change_figure(view.stages), says)
        head = f"<h2>B against A: {escape(view.verdict)}</h2>{tag('p', view.reason)}"
        self.add(f'<section id="comparison">{head}{pairs(rows)}{figure}</section>')

    def sweep(self, sweep: Sweep) -> None:
        """The cells of a sweep: a figure over its numeric setting, and the table."""
        view = sweep_view(sweep)
        says = f"latency and throughput over {view.names[view.axis]}" if view.axis is not None else ""
        figure = self.figure(figures.sweep_figure(view), says)
        rows = [[*r.settings, *((r.error,) if r.error else r.texts)] for r in view.rows]
        names = [*view.names, *view.numbers]
        note = tag("p", "The sweep was interrupted; these cells are complete.") if view.interrupted else ""
        told = grid(names, rows) + pairs(view.reasons)
        self.add(f'<section id="sweep"><h2>Sweep</h2>{note}{figure}{told}</section>')

    def measurements(self, traces: Sequence[Trace], summaries: Sequence[Summary]) -> None:
        """Each trace with its latency over time, stages and distribution; several also over one another."""
        named = [(_name(t, i, traces), t, s) for i, (t, s) in enumerate(zip(traces, summaries, strict=True))]
        if len(named) > 1:
            figure = self.figure(figures.distribution_figure(named), "latency by percentile of all traces")
            self.add(f'<section id="together"><h2>Latency by percentile, all traces</h2>{figure}</section>')
        points = _POINTS_IN_ALL // max(1, sum(1 + len(t.meta.names) for t in traces))
        for name, trace, summary in named:
            self.add(self._measurement(name, trace, summary, max(200, points)))

    def _measurement(self, name: str, trace: Trace, summary: Summary, points: int) -> str:
        view = summary_view(summary)
        first = view.models[0]
        over_time = self.figure(
            figures.time_figure(trace, summary, points),
            f"latency over time: {first.tiers}",
            _thinned(trace, points),
        )
        models = (summary.frames, *summary.models)[: len(view.models)]
        stages = self.figure(
            figures.stage_figure(models, [m.name for m in view.models]),
            "; ".join(f"{s.name} {s.mean}" for s in first.stages),
        )
        spread = self.figure(
            figures.distribution_figure([(name, trace, summary)]),
            "; ".join(f"{p.label} {p.value}" for p in first.percentiles if p.value),
            "Whiskers are the intervals of the percentiles.",
        )
        return "".join(
            [
                f'<section class="trace"><h2>{escape(name)}</h2>',
                tag("p", view.sentence, "lead"),
                tiles(view.numbers),
                *(tag("p", note, "note") for note in view.notes),
                f"<h3>Latency over time</h3>{over_time}",
                *(_told(m) for m in view.models),
                f"<h3>Stages</h3>{stages}" if stages else "",
                f"<h3>Distribution</h3>{spread}" if spread else "",
                *(_model_tables(m) for m in view.models),
                f"<h3>Device</h3>{pairs(view.devices)}" if view.devices else "",
                *(_layer_table(model, layers) for model, layers in trace.meta.layers.items()),
                "</section>",
            ]
        )

    def surroundings(self, traces: Sequence[Trace], explanation: Explanation | None) -> None:
        """The machine, the models and the plan: what must be known to repeat it."""
        if not traces:
            return
        for machine in {t.meta.machine.fingerprint: t.meta.machine for t in traces}.values():
            self.add(f"<section><h2>Machine</h2>{pairs(_machine_rows(machine))}</section>")
        models = {m.sha256: m for t in traces for m in t.meta.models}
        rows = [
            [m.name, m.location, m.sha256[:12], "; ".join(f"{i.name} {i.dtype} {_shape(i.shape)}" for i in m.inputs)]
            for m in models.values()
        ]
        if rows:
            self.add(f"<section><h2>Models</h2>{grid(['name', 'file', 'sha256', 'inputs'], rows)}</section>")
        title, subject = _subject(traces[0], explanation)
        self.add(f"<section><h2>{title}</h2><pre><code>{escape(plan_text(subject))}</code></pre></section>")

    def text(self, title: str) -> str:
        """The page, with its style, its script, plotly.js and the data of the figures."""
        policy = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
        head = [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">',
            f"<title>{escape(title)}</title><style>{_asset('report.css')}</style></head><body><main>",
        ]
        data = f'<script type="application/json" id="figures">{_in_script(self._figures)}</script>'
        scripts = f"<script>{_plotly()}</script><script>{_asset('report.js')}</script>" if self._figures else ""
        return "".join([*head, *self._parts, _FOOTER, "</main>", data, scripts, "</body></html>\n"])


_FOOTER = """<footer><p>Latency counts from when a frame was due, never from when a late loop got round to it.
Percentiles carry order-statistic intervals and are left out where samples are too few. A cause is named only when
switching it off, in interleaved pairs of runs, moved the number. Made by framepace.</p></footer>"""


def _subject(trace: Trace, explanation: Explanation | None) -> tuple[str, Plan | Program]:
    """What ran, or the plan that an explanation proposes, with its title."""
    if explanation is not None:
        return "Plan with the verified settings", explanation.plan
    title = "Plan" if trace.meta.is_plan else "Program"
    return title, trace.meta.subject


def plan_text(subject: Plan | Program) -> str:
    """The plan or program as YAML, with only what differs from the defaults."""
    return msgspec.yaml.encode(_set_fields(subject)).decode()


def _set_fields(value: Any) -> Any:
    if isinstance(value, Fact):
        known = ((f, getattr(value, f.name)) for f in msgspec.structs.fields(value))
        return {f.name: _set_fields(v) for f, v in known if f.required or v != _default(f)}
    if isinstance(value, tuple):
        return [_set_fields(v) for v in value]
    return value


def _default(field: msgspec.structs.FieldInfo) -> Any:
    return field.default_factory() if field.default is msgspec.NODEFAULT else field.default


def _header(traces: Sequence[Trace], summaries: Sequence[Summary], explanation: Explanation | None) -> str:
    main = explanation.summaries.get("stream") if explanation is not None else None
    view = summary_view(main or summaries[0]) if main or summaries else None
    verdict = explanation.verdict if explanation is not None else view.sentence if view else "nothing was measured"
    style, word = _MET[explanation.met if explanation is not None else view.met if view else None]
    chip = f'<span class="chip {style}">{word}</span>' if word else ""
    where = machine_line(traces[0].meta.machine) if traces else ""
    when = f"{traces[0].meta.created} · framepace {traces[0].meta.framepace}" if traces else ""
    brand = f'<p class="brand">framepace report{chip}</p>'
    lines = tag("p", where, "meta") + tag("p", when, "meta")
    numbers = tiles(view.numbers) if view else ""
    return f'<header class="top">{brand}{tag("h1", verdict)}{_limit(explanation)}{numbers}{lines}</header>'


def _limit(explanation: Explanation | None) -> str:
    return tag("p", explanation_view(explanation).limit, "limit") if explanation is not None else ""


def _title(traces: Sequence[Trace], explanation: Explanation | None) -> str:
    names = ", ".join(traces[0].meta.names) if traces else ""
    return f"framepace: {names or 'report'}" + (f" ({explanation.bottleneck})" if explanation else "")


def _name(trace: Trace, i: int, traces: Sequence[Trace]) -> str:
    """What a trace is called: scope and load, and its number when another trace has the same ones."""
    w = trace.meta.workload
    fps = load_fps(w.load)
    name = f"{w.scope}, {type(w.load).__name__.lower()}{f' {fps:g} fps' if fps else ''}"
    same = [t for t in traces if (t.meta.workload.scope, t.meta.workload.load) == (w.scope, w.load)]
    return f"{name}, trace {trace.meta.id}" if len(same) > 1 else name


def _thinned(trace: Trace, points: int) -> str:
    if len(trace) <= points:
        return "Each dot is a request."
    return f"Each dot is the fastest or the slowest of about {2 * len(trace) // points:,} requests in a row."


def _told(m: ModelView) -> str:
    rows = [("tiers", m.tiers), *(("beside", b) for b in m.beside), ("outliers", m.outliers), ("doubtful", m.doubts)]
    return f'<p class="model"><b>{escape(m.name)}</b> {escape(m.counts)}</p>{pairs(rows)}'


def _layer_table(model: str, layers: Sequence[Layer]) -> str:
    """All layers of a model, slowest first, folded away."""
    table = grid(LAYER_COLUMNS, layer_rows(layers, len(layers)))
    return details(f"{len(layers)} layers of {model}, as its library runs them", table)


def _model_tables(m: ModelView) -> str:
    percentiles = [[p.label, p.value, p.interval or p.refused] for p in m.percentiles]
    stages = [[s.name, s.mean, s.median, s.p99, f"{s.share:.0%}"] for s in m.stages]
    both = grid(["percentile", "latency", "interval"], percentiles)
    both += grid(["stage", "mean", "p50", "p99", "share"], stages)
    return details(f"numbers: {m.name}", f'<div class="pair">{both}</div>')


def _rest(view: ExplanationView) -> str:
    """Undecided, ruled out and not tested: small print, but never left out."""
    rows = [("undecided", _listed(view.undecided)), ("ruled out", _listed(view.refuted))]
    rows += [("not tested", f"{code} {why}") for code, why in view.not_tested]
    return f'<div class="rest">{pairs(rows)}{"".join(tag("p", note, "note") for note in view.notes)}</div>'


def _listed(found: Iterable[FindingView]) -> str:
    return "; ".join(f"{f.code} {f.title}{f' ({f.moved})' if f.moved else ''}" for f in found)


def _machine_rows(m: Machine) -> list[tuple[str, str]]:
    limit = "" if m.cpu_limit is None else f", limited to {m.cpu_limit:g}"
    rows = [("processor", m.cpu), ("cores", f"{m.cores_physical} physical, {m.cores_logical} logical{limit}")]
    rows += [("memory", format_bytes(m.memory_bytes)), ("system", f"{m.system}, kernel {m.kernel}")]
    rows += [("governor", m.governor or "not visible"), ("idle driver", m.idle_driver or "not visible")]
    rows += [("virtual", m.virtual or "no"), ("container", "yes" if m.container else "no")]
    rows += [("GPU", f"{g.name}, {format_bytes(g.memory_bytes)}, driver {g.driver}") for g in m.gpus]
    libraries = ", ".join(f"{name} {version}" for name, version in m.libraries.items())
    return [*rows, ("Python", m.python), ("libraries", libraries), ("fingerprint", m.fingerprint)]


def _shape(shape: Sequence[int | str]) -> str:
    return "x".join(map(str, shape))


def _height(figure: figures.Figure) -> int:
    return int(figure["layout"]["height"])


def _in_script(value: Any) -> str:
    """Strict JSON that cannot end the script element it stands in."""
    text = json.dumps(plain(value), allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _asset(name: str) -> str:
    return (files("framepace.reporting.page") / "assets" / name).read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs()).replace("</script", "<\\/script")
