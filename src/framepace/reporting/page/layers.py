"""The page of layers: a table to sort, filter and search, and the graph of each engine with its longest path."""

from __future__ import annotations

from html import escape
from typing import Any

from framepace.facts.layers import EngineView, Exploration
from framepace.facts.machine import Machine
from framepace.reporting.page.document import Document
from framepace.reporting.page.graphlayout import places
from framepace.reporting.page.markup import chip, tag, tiles
from framepace.reporting.views.layers import LayerRow, LayersView, layers_view, middle_cut, plain_name
from framepace.reporting.views.machine import machine_line
from framepace.units import format_ms

_LABEL = 23  # characters that a box of the graph has room for
_COUNTED = '<p class="meta" id="counted" role="status"></p>'
_FOOTER = """<footer><p>Times are the library's own profiler's, of each layer alone: they do not overlap, and a
profiled run is slower than others. A floor is the least time that the measured peaks of this machine allow for a
layer's operations and bytes. Made by framepace.</p></footer>"""
_HINT = "Click a row or a box to find it in the other place. In the graph: drag to move, Ctrl and the wheel to zoom."


def render_layers(exploration: Exploration, machine: Machine | None = None) -> str:
    """The whole page as text: names from outside are data, and are never read as HTML."""
    view = layers_view(exploration)
    document = Document(wide=True, footer=_FOOTER)
    document.add(_header(view, exploration, machine))
    document.add(f'<section id="layers"><h2>Layers</h2>{_controls(view)}{_COUNTED}<div class="table"></div></section>')
    graphs = [engine for engine in exploration.engines if engine.edges]
    if graphs:
        panes = "".join(_pane(exploration, side) for side in range(len(exploration.engines)))
        hint = tag("p", _HINT, "meta")
        document.add(f'<section id="graph"><h2>Graph</h2>{hint}<div class="panes">{panes}</div></section>')
    document.program("layers", _data(view, exploration))
    return document.text(f"framepace layers: {', '.join(engine.model for engine in exploration.engines)}")


def _header(view: LayersView, exploration: Exploration, machine: Machine | None) -> str:
    simulated = any(engine.simulated for engine in exploration.engines)
    brand = f'<p class="brand">framepace layers{chip("info", "simulated" if simulated else "")}</p>'
    engines = "".join(
        tag("p", title, "lead") + tiles(numbers) for title, numbers in zip(view.titles, view.numbers, strict=True)
    )
    notes = "".join(tag("p", note, "note") for note in view.notes)
    origin = ""
    if machine is not None:
        origin = tag("p", machine_line(machine), "meta")
    return f'<header class="top">{brand}{tag("h1", view.heading)}{engines}{notes}{origin}</header>'


def _controls(view: LayersView) -> str:
    """The search, and a choice per facet; their options come with the data."""
    search = '<input type="search" id="search" placeholder="search" aria-label="search layers">'
    facets = "".join(
        f'<label>{escape(facet)} <select data-facet="{view.columns.index(facet)}"></select></label>'
        for facet in view.facets
    )
    return f'<div class="controls">{search}{facets}<button type="button" id="reset">show all</button></div>'


def _pane(exploration: Exploration, side: int) -> str:
    buttons = "".join(
        f'<button type="button" data-zoom="{name}" aria-label="{label}">{sign}</button>'
        for name, label, sign in (("in", "zoom in", "+"), ("out", "zoom out", "−"), ("fit", "whole graph", "fit"))
    )
    title = layers_view(exploration).titles[side]
    return f'<div class="pane" data-side="{side}"><p>{escape(title)} {buttons}</p><svg></svg></div>'


def _data(view: LayersView, exploration: Exploration) -> dict[str, Any]:
    return {
        "columns": view.columns,
        "rows": [_row(row) for row in view.rows],
        "share": view.columns.index("share") if "share" in view.columns else None,
        "graphs": [_graph(engine) for engine in exploration.engines],
    }


def _row(row: LayerRow) -> dict[str, Any]:
    names = tuple(plain_name(text) for text in row.texts[:2])
    return {"texts": row.texts, "names": names, "keys": row.keys, "layers": (row.a, row.b), "more": row.more}


def _graph(engine: EngineView) -> dict[str, Any]:
    """Boxes with their places, and lines between them; `path` is drawn bold."""
    positions = places(len(engine.layers), engine.edges)
    boxes = [
        {
            "name": layer.name,
            "label": middle_cut(plain_name(layer.name), _LABEL),
            "kind": layer.kind,
            "time": _time(layer.time),
            "share": layer.share or 0.0,
            "more": " ".join(layer.nodes),
            "at": at,
        }
        for layer, at in zip(engine.layers, positions, strict=True)
    ]
    return {"boxes": boxes, "lines": engine.edges, "path": engine.path}


def _time(ns: float | None) -> str:
    if ns is None:
        return ""
    return format_ms(ns)
