"""Another tool's number in the terminal, in HTML and in JSON."""

from __future__ import annotations

import io

from msgspec.structs import replace
from rich.console import Console

from framepace.facts.finding import Expectation, ExpectationPart, Explanation
from framepace.reporting.documents import explain_document
from framepace.reporting.page.report import render
from framepace.reporting.terminal.explanation import show_explanation
from framepace.reporting.views.expectation import expectation_view
from tests.reporting.samples import MS, explanation, summary, trace

PARTS = (
    ExpectationPart(
        name="another set-up", ns=0.3 * MS, kind="real", how="its number is 5.40 ms here", interval=(0, MS)
    ),
    ExpectationPart(name="gaps between frames", ns=2.6 * MS, kind="load", how="SM clock 1,590 to 585 MHz"),
    ExpectationPart(name="transfers", ns=1.2 * MS, kind="left out", how="<b>copies</b>"),
    ExpectationPart(name="decode", ns=0.9 * MS, kind="left out", how="decoding"),
    ExpectationPart(name="unexplained", ns=-0.1 * MS, kind="unexplained", how="the rest"),
)


def told() -> Explanation:
    """The sample with 5.10 ms from trtexec-10 against 10.0 ms."""
    found = Expectation(
        tool="trtexec-10", counts="copies and kernels", said=5.1 * MS, reproduced=5.4 * MS, seen=10.0 * MS, parts=PARTS
    )
    return replace(explanation(), expectation=found)


def test_the_sentence_adds_up_each_kind() -> None:
    """What was left out is one sum of two steps; no kind without a step is named."""
    expectation = told().expectation
    assert expectation is not None
    assert expectation_view(expectation).sentence == (
        "trtexec-10 reported 5.10 ms, the stream takes 10.0 ms: +2.10 ms not in its number, "
        "+2.60 ms from another load, +0.30 ms real, -0.10 ms unexplained"
    )
    alone = replace(expectation, parts=PARTS[1:2])
    assert expectation_view(alone).sentence.endswith(": +2.60 ms from another load")


def test_the_terminal_has_a_row_per_step_between_both_numbers() -> None:
    """At 80 columns nothing is cut: the tool's number first, the stream's last, each step with its kind and time."""
    out = io.StringIO()
    show_explanation(Console(file=out, width=80, markup=False, emoji=False, highlight=False), told())
    text = out.getvalue()
    places = [
        text.index(words) for words in ("trtexec-10 reported  ", "another set-up", "transfers", "in the stream      ")
    ]
    assert places == sorted(places)
    assert max(map(len, text.splitlines())) <= 80
    for part in PARTS:
        assert f"{part.ns / MS:+.2f} ms" in text
    assert "another set-up" not in terminal_text(explanation())


def terminal_text(subject: Explanation) -> str:
    """What the terminal shows."""
    out = io.StringIO()
    show_explanation(Console(file=out, width=80), subject)
    return out.getvalue()


def test_html_has_the_table_and_escapes_it() -> None:
    """A section of its own, and none without an expectation."""
    page = render([trace()], [summary()], told())
    assert 'id="expectation"' in page
    assert "&lt;b&gt;copies" in page
    assert 'id="expectation"' not in render([trace()], [summary()], explanation())


def test_json_has_units_in_its_keys() -> None:
    """said_ns and its parts add up to seen_ns; without an expectation the key is null."""
    found = explain_document(told())["expectation"]
    assert found["said_ns"] + sum(part["ns"] for part in found["parts"]) == found["seen_ns"]
    assert found["parts"][0]["kind"] == "real"
    assert found["parts"][0]["interval_ns"] == [0, MS]
    assert explain_document(explanation())["expectation"] is None
