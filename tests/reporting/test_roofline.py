"""How far from the floor: the sentence, the table, the figure, and where they are shown."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from rich.console import Console

from framepace.facts.bounds import Bound, Ceilings, NodeBound
from framepace.reporting.documents import dumps, explain_document
from framepace.reporting.page.report import render
from framepace.reporting.page.roofline import roofline_figure
from framepace.reporting.terminal.explanation import show_explanation
from framepace.reporting.views.roofline import floor_text, floor_views
from tests.doubles.devtools import Page
from tests.reporting import samples
from tests.reporting.samples import HOSTILE, MS
from tests.reporting.test_html import Tags, figures

CEILINGS = Ceilings(
    backend="onnxruntime", device="cpu", peaks={"fp32": 441e9}, launch=700.0,
    bandwidth=((1 << 20, 80e9), (1 << 27, 33e9)),
)  # fmt: skip


def node(name: str, flops: float = 4e8, **fields: Any) -> NodeBound:
    """A convolution that takes up to its floor of 1 ms."""
    known: dict[str, Any] = {"kind": "Conv", "precision": "fp32", "bytes": 10_000_000, "floor": 1.0 * MS}
    return NodeBound(**known | {"limit": "compute", "share": 0.5} | fields, name=name, flops=flops)


def bound(**fields: Any) -> Bound:
    """A detector that takes 6.08 ms of a floor of 1.9 ms, with two convolutions and a copy."""
    known: dict[str, Any] = {
        "model": "detector", "precision": "fp32", "batch": 1, "flops": 8.379e8, "bytes": 30_000_000,
        "compute": 1.9 * MS, "memory": 0.4 * MS, "launches": 0.02 * MS, "floor": 1.9 * MS, "limit": "compute",
        "measured": 6.08 * MS, "ceilings": CEILINGS, "hottest": (node("a"), node("b"), node("pad", 0.0, kind="Pad")),
    }  # fmt: skip
    return Bound(**known | fields)


def test_the_sentence_says_how_many_times_the_floor_and_of_what() -> None:
    """One line per model: distance, floor, limit, and how much of the measured ceiling is reached."""
    told = "3.20x its floor of 1.90 ms (compute; 31.2 % of the measured peak of 441 GFLOP/s in fp32)"
    assert floor_text(bound()) == told
    memory = bound(
        compute=0.1 * MS, memory=2.0 * MS, floor=2.0 * MS, limit="memory", bytes=160_000_000, measured=4.0 * MS
    )
    assert floor_text(memory) == "2.00x its floor of 2.00 ms (memory; 50.0 % of the measured bandwidth of 80 GB/s)"
    assert "floor of 1.90 ms for a batch of 8 (" in floor_text(bound(batch=8))
    assert "the work of 3 nodes is unknown" in floor_text(bound(unknown=3))


def test_a_file_in_another_precision_than_the_plan_s_is_told_at_its_own_peak() -> None:
    """The plan says fp32, the file is in float16: the peak that was measured is named."""
    half = replace(CEILINGS, peaks={"fp16": 9e11})
    assert "peak of 900 GFLOP/s in fp16" in floor_text(bound(ceilings=half))
    assert roofline_figure([bound(ceilings=half)]) is not None


def test_columns_of_times_are_there_where_times_are() -> None:
    """Without times of layers: floors alone."""
    plain, timed = floor_views([bound(), bound(hottest=(node("a", measured=2.0 * MS),))])
    assert plain.columns == ("node", "kind", "limit", "floor", "share of floors")
    assert plain.nodes[0] == ("a", "Conv fp32", "compute", "1.00 ms", "50.0 %")
    assert timed.nodes[0] == ("a", "Conv fp32", "compute", "1.00 ms", "2.00 ms", "2.00x", "50.0 %")
    assert all(len(row) == len(view.columns) for view in (plain, timed) for row in view.nodes)


def test_every_point_lies_under_the_roof_it_is_drawn_with() -> None:
    """Models at what they reached, nodes without times on their roof; what computes nothing has no place there."""
    figure = roofline_figure([bound()])
    assert figure is not None
    marks = {t["name"]: t for t in figure["data"] if t["mode"] == "markers"}
    assert marks["detector"]["y"] == [pytest.approx(8.379e8 / 6.08e-3)]
    assert marks["detector"]["x"] == [pytest.approx(8.379e8 / 3e7)]
    nodes = marks["hottest nodes of detector at their floors"]
    assert (len(nodes["x"]), nodes["marker"]["symbol"]) == (2, "circle-open")
    roof = max(y for t in figure["data"] if t["mode"] == "lines" and "FLOP/s" in t.get("name", "") for y in t["y"])
    assert max(*marks["detector"]["y"], *nodes["y"]) <= roof == 441e9


def test_the_axes_hold_every_point() -> None:
    """The span is of whole decades around all points and the ridge."""
    figure = roofline_figure([bound(bytes=800_000_000), bound(model="dense", bytes=300_000)])
    assert figure is not None
    low, high = (10**end for end in figure["layout"]["xaxis"]["range"])
    assert all(low <= x <= high for t in figure["data"] for x in t["x"])


def test_nothing_is_drawn_of_a_model_without_arithmetic() -> None:
    """It is told in words alone."""
    still = bound(flops=0.0, compute=0.0, memory=1.0 * MS, floor=1.0 * MS, limit="memory")
    assert roofline_figure([still]) is None
    assert "6.08x its floor" in floor_text(still)
    assert roofline_figure([]) is None


def page(*bounds: Bound) -> str:
    """A page with an explanation that has these bounds."""
    return render([samples.trace(200)], [samples.summary()], replace(samples.explanation(), bounds=bounds))


def test_the_report_has_the_figure_and_plotly_knows_it() -> None:
    """One figure more than without, with the sentence for those who cannot see it."""
    from plotly.graph_objects import Figure

    found = page(bound())
    assert len(figures(found)) == len(figures(page())) + 1
    assert "How far from the floor" in found
    assert "How far from the floor" not in page()
    assert 'aria-label="detector 3.20x its floor' in found
    text = json.dumps(roofline_figure([bound()]))
    for token in ("muted", *(f"s{i}" for i in range(1, 9))):
        text = text.replace(f'"--{token}"', '"#123456"')
    Figure(json.loads(text))


def test_names_from_outside_stay_text() -> None:
    """Markup in the names of models and nodes adds no element."""
    hostile = bound(model=HOSTILE, hottest=(node(HOSTILE), node("b"), node("c")))
    assert Tags(page(hostile)).names == Tags(page(bound())).names


def test_the_terminal_says_it_in_a_line_a_model() -> None:
    """Under the account; nothing where nothing is known."""

    def shown(*bounds: Bound) -> str:
        out = io.StringIO()
        show_explanation(Console(file=out, width=120), replace(samples.explanation(), bounds=bounds))
        return out.getvalue()

    assert "how far from the floor\n  detector  3.20x its floor of 1.90 ms (compute; 31.2 %" in shown(bound())
    assert "floor" not in shown()


def test_json_has_units_in_its_keys_and_the_shares() -> None:
    """Times in ns, ceilings in operations and bytes a second; strict JSON."""
    document = explain_document(replace(samples.explanation(), bounds=(bound(),)))
    (told,) = json.loads(dumps(document))["bounds"]
    assert (told["floor_ns"], told["measured_ns"], told["limit"]) == (1.9 * MS, 6.08 * MS, "compute")
    assert (told["times"], told["peak_share"]) == (pytest.approx(3.2), pytest.approx(0.3125))
    assert told["ceilings"]["peaks_flops_s"] == {"fp32": 441e9}
    assert told["ceilings"]["bandwidth_bytes_s"][0] == [1 << 20, 80e9]
    assert told["hottest"][0]["floor_ns"] == 1.0 * MS


@pytest.mark.browser
def test_a_browser_draws_it(tab: Page, tmp_path: Path) -> None:
    """Roofs, nodes and the model are drawn, and nothing is reported as wrong."""
    path = tmp_path / "report.html"
    path.write_text(page(bound()), encoding="utf-8")
    tab.screen(1100, 900)
    tab.open(path)
    marks = ", ".join(f"#floors .cartesianlayer {mark}" for mark in (".point", "path.js-line"))
    drawn = f"document.querySelectorAll('{marks}').length"
    assert tab.evaluate(drawn) == 2 + 2 + 1 + 1
    assert tab.named("Runtime.exceptionThrown") == []
