"""Layers on the terminal and in the page, where names of layers are never more than text."""

from __future__ import annotations

import io
import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framepace.facts.layers import EngineLayer, EngineView, Exploration, LayerMatch
from framepace.reporting.documents import dumps, layers_document
from framepace.reporting.page.graphlayout import places
from framepace.reporting.page.layers import render_layers
from framepace.reporting.terminal.layers import show_exploration
from framepace.reporting.terminal.layout import console
from framepace.reporting.views.layers import layers_view
from tests.doubles.devtools import Page
from tests.reporting.samples import HOSTILE

MS = 1e6


def engine(*layers: EngineLayer, model: str = "m") -> EngineView:
    """An engine whose layers follow each other."""
    return EngineView(
        model=model,
        backend="onnxruntime",
        device="cpu",
        precision="fp32",
        batch=1,
        layers=layers,
        edges=tuple(pairwise(range(len(layers)))),
        path=tuple(range(len(layers))),
        inference=20 * MS,
    )


def layer(name: str, ms: float, share: float = 0.5, kind: str = "Conv", floor: float = 1.0) -> EngineLayer:
    """A layer that takes `ms`."""
    return EngineLayer(
        name=name, kind=kind, precision="fp32", place="cpu", time=ms * MS, share=share, flops=2e9, bytes=5 << 20,
        floor=floor * MS, limit="compute", shape=(1, 8, 4, 4),
    )  # fmt: skip


ONE = Exploration(engines=(engine(layer("small", 2, 0.2), layer(HOSTILE, 8, 0.8, kind="Gemm")),))
TWO = Exploration(
    engines=(ONE.engines[0], engine(layer("small", 1), layer("big", 4), layer("new", 0.5), model=HOSTILE)),
    matches=(
        LayerMatch(a=(0,), b=(0,), by="name"),
        LayerMatch(a=(1,), b=(1,), by="operators"),
        LayerMatch(b=(2,)),
    ),
)


def test_the_sentence_says_how_few_layers_take_half_and_how_far_they_are_from_their_floors() -> None:
    """Two layers of 2 and 8 ms with floors of 1 ms each."""
    view = layers_view(ONE)
    assert view.heading == "2 layers in 10.0 ms; one of them takes 80.0 % of it; 5.00x the sum of their floors"
    assert [row.texts[5] for row in view.rows] == ["8.00 ms", "2.00 ms"]


def test_of_two_engines_the_sentence_says_what_made_the_difference() -> None:
    """B's second layer takes 4 ms less; what only B has stands alone, without a ratio."""
    view = layers_view(TWO)
    expected = f"B takes 0.55x the time of A: 5.50 ms instead of 10.0 ms; most of it in {HOSTILE}: 4.00 ms less"
    assert view.heading == expected
    alone = view.rows[-1]
    assert alone.texts[0] == ""
    assert alone.texts[-1] == "only in one"
    assert alone.keys[7] is None


@pytest.mark.parametrize("exploration", [ONE, TWO], ids=["one", "two"])
def test_80_columns_hold_the_table_and_json_is_strict(exploration: Exploration) -> None:
    """No line is longer, whatever the names; the document has units in its keys."""
    file = io.StringIO()
    out = console(file)
    out.width = 80
    show_exploration(out, exploration)
    table = file.getvalue().splitlines()[3:]
    assert max(len(line.rstrip()) for line in table) <= 80
    document = json.loads(dumps(layers_document(exploration, "page.html")))
    assert document["schema"] == "framepace.layers/1"
    assert document["engines"][0]["time_ns"] == 10 * MS
    assert document["engines"][0]["layers"][0]["floor_ns"] == MS


def test_a_page_holds_no_name_as_html() -> None:
    """Names are JSON data that cannot end its script element, and escaped text in the heading."""
    page = render_layers(TWO)
    assert HOSTILE not in page
    assert "<script>alert" not in page
    assert page.count("</script>") == page.count("<script")


@given(st.integers(1, 12), st.data())
def test_what_is_read_is_drawn_above_what_reads_it_and_no_two_nodes_share_a_place(
    count: int, data: st.DataObject
) -> None:
    """For any graph whose edges go forward."""
    pairs = [(a, b) for b in range(count) for a in range(b)]
    links = data.draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    drawn = places(count, links)
    assert all(drawn[a][1] < drawn[b][1] for a, b in links)
    assert len(set(drawn)) == count


ROWS = (
    "[...document.querySelectorAll('#layers tbody tr')].filter(row => !row.hidden).map(row => row.cells[0].textContent)"
)


@pytest.mark.browser
def test_a_browser_sorts_filters_and_searches_and_fetches_nothing(tab: Page, tmp_path: Path) -> None:
    """Hostile names are shown as they are, in the table and in the graph; a row finds its box."""
    path = tmp_path / "layers.html"
    path.write_text(render_layers(ONE), encoding="utf-8")
    tab.screen(1200, 900)
    tab.open(path)
    assert tab.evaluate(ROWS) == [HOSTILE, "small"]
    tab.evaluate("document.querySelectorAll('#layers th button')[5].click()")
    assert tab.evaluate(ROWS) == ["small", HOSTILE]
    tab.evaluate("search.value = 'GEMM'; search.dispatchEvent(new Event('input'))")
    assert tab.evaluate(ROWS) == [HOSTILE]
    assert tab.evaluate("document.querySelectorAll('svg .box.hidden').length") == 1
    tab.evaluate("document.getElementById('reset').click()")
    tab.evaluate("document.querySelector('#layers tbody tr').click()")
    assert tab.evaluate("document.querySelectorAll('svg .box.chosen').length") == 1
    assert tab.evaluate("document.querySelectorAll('svg path.path').length") == 1
    assert tab.evaluate("document.images.length") == 0
    requested = [event["request"]["url"] for event in tab.named("Network.requestWillBeSent")]
    assert [url for url in requested if not url.startswith("data:")] == [path.as_uri()]
    for complaint in ("Runtime.exceptionThrown", "Log.entryAdded"):
        assert tab.named(complaint) == []
