"""The nodes of a network by what they cost in a precision, as one page."""

from __future__ import annotations

from framepace.facts.mending import Block, Ranking
from framepace.reporting.page.document import Document
from framepace.reporting.page.markup import chip, grid, tag
from framepace.reporting.page.plot import Figure, category_axis, label, labelled_bars
from framepace.reporting.views.layers import middle_cut
from framepace.reporting.views.mending import MendingView, ranking_view

_DRAWN = 40  # nodes
_NOT_FINITE = "not finite"
_NAME = 60  # letters of a name beside its bar
_VERDICT = {True: ("good", "the gate holds"), False: ("bad", "the gate does not hold")}
_ROOM_FOR_TEXT = 1.45  # of a full bar, for "not finite" on a telephone
_BARS = "The error of the outputs with one node alone in the precision, the worst first; a full bar is not finite."
_STEPS = "The error with all nodes up to each block in the precision, in the order of the graph; gaps are not finite."
_NO_STEPS = "No output is finite with the first block in the precision, nor with any more: there is no error to draw."
_FOOTER = """<footer><p>An error is |candidate - reference| / |reference| of the output that suffers most, over the
frames; the precision is emulated node by node. Made by framepace.</p></footer>"""


def render_ranking(ranking: Ranking) -> str:
    """The whole page as text: names from outside are escaped."""
    view = ranking_view(ranking, count=None)
    document = Document(footer=_FOOTER)
    brand = f'<p class="brand">framepace accuracy{chip(*_VERDICT[view.passed])}</p>'
    document.add(f'<header class="top">{brand}{tag("h1", view.sentence)}{_texts(view)}</header>')
    bars = document.figure(_bars(view), "the error of each node", _BARS)
    steps = document.figure(_steps(ranking), "the error up to each block of nodes", _STEPS) or tag("p", _NO_STEPS)
    document.add(f'<section id="nodes"><h2>Nodes</h2>{bars}</section>')
    if ranking.blocks:
        document.add(f'<section id="blocks"><h2>In the order of the graph</h2>{steps}</section>')
    document.add(f'<section id="all"><h2>All that were tried</h2>{grid(view.columns, view.rows)}</section>')
    return document.text("framepace accuracy: ranking")


def _texts(view: MendingView) -> str:
    """What was found, the command that goes on from there, and what to mind."""
    lines = "".join(tag("p", line) for line in view.lines)
    command = tag("p", "What has to stay in FP32:" * bool(view.todo)) + tag("pre", view.todo)
    return lines + command + "".join(tag("p", note, "note") for note in view.notes)


def _bars(view: MendingView) -> Figure | None:
    if not view.rows:
        return None
    rows = view.rows[:_DRAWN]
    names = [f"{middle_cut(row[0], _NAME)} ({row[1]})" for row in rows]
    inks = ["--bad" if row[2] == _NOT_FINITE else "--s1" for row in rows]
    data = labelled_bars(names, view.lengths[:_DRAWN], [row[2] for row in rows], inks)
    layout = {
        "height": 90 + 22 * len(rows),
        "xaxis": {"visible": False, "range": [0, _ROOM_FOR_TEXT]},
        "yaxis": category_axis(),
    }
    return {"data": [data], "layout": layout}


def _steps(ranking: Ranking) -> Figure | None:
    if all(block.cumulative is None for block in ranking.blocks):
        return None
    line = {
        "type": "scatter",
        "mode": "lines+markers",
        "name": "up to here",
        "x": list(range(1, len(ranking.blocks) + 1)),
        "y": [block.cumulative for block in ranking.blocks],
        "text": [label(_title(block)) for block in ranking.blocks],
        "hovertemplate": "%{text}: %{y:.2g}<extra></extra>",
        "line": {"color": "--s1"},
    }
    blocks = {"title": {"text": "block"}, "range": [0.5, len(ranking.blocks) + 0.5], "tickformat": "d"}
    error = {"title": {"text": "error"}, "rangemode": "tozero"}
    return {"data": [line], "layout": {"height": 300, "xaxis": blocks, "yaxis": error}}


def _title(block: Block) -> str:
    return f"{block.first} to {block.last}"
