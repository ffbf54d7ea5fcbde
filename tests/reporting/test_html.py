"""The HTML file: self-contained, escaped, and drawn by a real browser."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from framepace.facts.plan import Batching, EnginePlan, ModelPlan, Plan, Prepare
from framepace.facts.trace import Trace
from framepace.facts.workload import Input
from framepace.reporting.page.origin import subject_text
from framepace.reporting.page.report import render
from framepace.reporting.page.series import POINTS
from tests.doubles.devtools import Page
from tests.reporting import samples
from tests.reporting.samples import HOSTILE

SOURCES = ("src", "href", "data", "action", "poster", "srcset")


class Tags(HTMLParser):
    """The tags of a page and what they point to."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.links: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the tag and its links."""
        self.names.append(tag)
        self.links += [value or "" for name, value in attrs if name in SOURCES]


def whole_page(name: str = "detector") -> str:
    """A page with every part."""
    traces = [samples.trace(300, (name, "classifier")), samples.trace(300, (name,), seed=1)]
    summaries = [samples.summary((name, "classifier")), samples.summary((name,))]
    return render(traces, summaries, samples.explanation(), samples.comparison(), samples.sweep())


def figures(page: str) -> list[dict[str, Any]]:
    """The figures of a page."""
    text = page.partition('<script type="application/json" id="figures">')[2].partition("</script>")[0]
    found: list[dict[str, Any]] = json.loads(text)
    return found


def test_every_figure_is_one_that_plotly_knows() -> None:
    """Plotly's own schema accepts all traces and layouts, once colour names are colours."""
    from plotly.graph_objects import Figure

    for figure in figures(whole_page()):
        text = json.dumps(figure)
        for token in ("ink", "good", "bad", "muted", "on-series", *(f"s{i}" for i in range(1, 9))):
            text = text.replace(f'"--{token}"', '"#123456"')
        assert len(Figure(json.loads(text)).data) == len(figure["data"]) > 0


def test_every_figure_has_its_place() -> None:
    """There are as many places as figures, each with words for those who cannot see it."""
    page = whole_page()
    assert page.count('class="plot" role="img" aria-label="') == len(figures(page)) == 12


def test_nothing_is_loaded_from_anywhere() -> None:
    """No tag points outside the file, and the policy forbids what a script might try."""
    page = whole_page()
    assert set(Tags(page).links) == {"data:,"}
    assert "default-src 'none'" in page


def test_names_from_outside_stay_text() -> None:
    """A model name full of markup adds no element to the page and ends no script."""
    plain, hostile = Tags(whole_page()), Tags(whole_page(HOSTILE))
    assert hostile.names == plain.names


def test_figures_cannot_end_their_script() -> None:
    """The data of the figures holds no angle bracket, whatever the names are."""
    data = whole_page(HOSTILE).partition('id="figures">')[2].partition("</script>")[0]
    assert len(json.loads(data)) == 12
    assert "<" not in data


def test_size_does_not_grow_with_the_trace() -> None:
    """Forty times the requests add only the points that are drawn."""
    small, large = (len(render([samples.trace(n)], [samples.summary()])) for n in (POINTS + 1, 40 * POINTS))
    assert large - small < 100_000
    assert large < 8_000_000


def test_a_trace_without_answers_still_makes_a_page() -> None:
    """A run whose every request failed has no figure of latency but tells its outcome."""
    trace = samples.trace(20)
    failed = {name: column.copy() for name, column in trace.requests.items()}
    failed["outcome"][:] = 3
    empty = replace(samples.model_summary(), requests=0, percentiles=(), stages=(), tiers=(), outliers=())
    summary = replace(samples.summary(), frames=empty, models=(empty,), throughput=0.0)
    page = render([Trace(trace.meta, failed, trace.telemetry)], [summary])
    assert "no frame was delivered" in page
    assert figures(page) == []


def test_a_page_without_a_cause_says_why() -> None:
    """Tried and no faster, never tried, or nothing to suspect: each has its words, and makes a page."""
    tried = samples.explanation(healthy=True)
    waiting = replace(tried, findings=())
    pages = [render([], [], found) for found in (tried, waiting, replace(waiting, not_tested={}))]
    assert ["no change that was tried" in pages[0], "none could be tried" in pages[1], "points to one" in pages[2]] == [
        True, True, True,
    ]  # fmt: skip


def test_a_camera_is_live_and_a_file_has_the_load_of_its_run() -> None:
    """The title of a trace: pictures of a camera come when it sends them, whatever load there is beside."""
    trace = samples.trace(20)
    titles = {"rtsp://camera/1": "stream, live", "file:///v.mp4": "stream, paced 30 fps", "v.mp4": "stream, paced 30"}
    for video, title in titles.items():
        workload = replace(trace.meta.workload, input=Input(videos=(video,)))
        of_video = Trace(replace(trace.meta, workload=workload), trace.requests, trace.telemetry)
        assert f"<h2>{title}" in render([of_video], [samples.summary()])


def test_the_plan_on_the_page_is_the_plan() -> None:
    """The YAML shown leaves out defaults and reads back as the same plan."""
    model = ModelPlan(
        name="n", model="m.onnx", batch=Batching(max=4), prepare=Prepare(mean=(0.5, 0.5, 0.5)), size=(2, 3)
    )
    plan = Plan(models=(model,), engine=EnginePlan(workers=2))
    assert msgspec.yaml.decode(subject_text(plan), type=Plan, strict=False) == plan
    assert "spinning" not in subject_text(plan)


DRAWN = "[...document.querySelectorAll('.plot')].map(p => p.querySelectorAll('.trace, .point, path.js-line').length)"
WIDTH = "document.documentElement.scrollWidth"
LEGEND = "[...document.querySelectorAll('.legendtext')].map(text => text.textContent)"
INK = "getComputedStyle(document.querySelector('.plot .xtick text')).fill"


@pytest.mark.browser
def test_a_browser_draws_it_all(tab: Page, tmp_path: Path) -> None:
    """Every figure has marks, on a wide and a narrow screen; nothing is fetched, nothing is said on the console.

    The figures follow the colour scheme, no text sticks out of a phone's screen, hostile names are shown as they are.
    """
    path = tmp_path / "report.html"
    path.write_text(whole_page(HOSTILE), encoding="utf-8")
    tab.screen(1100, 900)
    tab.open(path)
    light = tab.evaluate(INK)
    assert tab.evaluate("document.documentElement.dataset.drawn") == "12"
    assert all(tab.evaluate(DRAWN))
    tab.screen(390, 800, dark=True)
    tab.wait(f"{INK} !== {json.dumps(light)}")
    assert all(tab.evaluate(DRAWN))
    assert tab.evaluate(WIDTH) == 390
    assert HOSTILE in tab.evaluate(LEGEND)
    assert tab.evaluate("document.images.length") == 0
    requested = [event["request"]["url"] for event in tab.named("Network.requestWillBeSent")]
    assert [url for url in requested if not url.startswith(("data:", "blob:"))] == [path.as_uri()]
    for complaint in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"):
        assert tab.named(complaint) == []


@pytest.mark.browser
def test_paper_is_light(tab: Page, tmp_path: Path) -> None:
    """Printing from a dark screen draws the figures in the ink of the light one, and puts the dark one back."""
    path = tmp_path / "report.html"
    path.write_text(render([samples.trace(100)], [samples.summary()]), encoding="utf-8")
    tab.screen(1100, 900, dark=True)
    tab.open(path)
    dark = tab.evaluate(INK)
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    tab.wait(f"{INK} !== {json.dumps(dark)}")
    tab.evaluate("dispatchEvent(new Event('afterprint'))")
    tab.wait(f"{INK} === {json.dumps(dark)}")
    assert tab.evaluate(INK) == dark


PAINTED = """(() => { const c = document.querySelector('.timeline canvas');
return new Set(c.getContext('2d').getImageData(0, 0, c.width, c.height).data).size })()"""
IN_SIGHT = "document.querySelector('.timeline').shown()"


@pytest.mark.browser
def test_the_time_line_is_painted_and_zooms(tab: Page, tmp_path: Path) -> None:
    """Around the slowest request at first; closer and all by buttons; nothing is said on the console."""
    path = tmp_path / "report.html"
    path.write_text(render([samples.trace(100, (HOSTILE, "b"))], [samples.summary()]), encoding="utf-8")
    tab.screen(1100, 900)
    tab.open(path)
    first = tab.evaluate(IN_SIGHT)
    assert tab.evaluate(PAINTED) > 20
    tab.evaluate("document.querySelector('.timeline [data-zoom=in]').click()")
    closer = tab.evaluate(IN_SIGHT)
    assert closer[1] - closer[0] == pytest.approx((first[1] - first[0]) / 2)
    tab.evaluate("document.querySelector('.timeline [data-zoom=fit]').click()")
    assert tab.evaluate(IN_SIGHT)[1] > 3000
    assert tab.named("Runtime.exceptionThrown") == []
