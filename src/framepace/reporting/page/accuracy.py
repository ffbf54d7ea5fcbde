"""The frames on which two ways to run a model agree least, as one page."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from html import escape

from framepace.facts.accuracy import AccuracyCheck
from framepace.reporting.page.document import Document
from framepace.reporting.page.markup import chip, grid, tag
from framepace.reporting.views.accuracy import COLUMNS, accuracy_view, worst_text

_VERDICT = {True: ("good", "the same answers"), False: ("bad", "other answers")}
_FOOTER = """<footer><p>An error is |candidate - reference| / |reference| over a frame's output; the score of a metric
is 1 where both are equal. Made by framepace.</p></footer>"""


def render_accuracy(check: AccuracyCheck, pictures: Mapping[int, bytes]) -> str:
    """The whole page as text; `pictures` are PNG files by the number of their frame."""
    view = accuracy_view(check)
    document = Document(footer=_FOOTER)
    brand = f'<p class="brand">framepace accuracy{chip(*_VERDICT[view.passed])}</p>'
    reasons = "".join((*(tag("p", reason) for reason in view.why), *(tag("p", note, "note") for note in view.notes)))
    if view.todo:
        reasons += tag("p", "Which nodes break it:") + tag("pre", view.todo)
    document.add(f'<header class="top">{brand}{tag("h1", view.sentence)}{reasons}</header>')
    document.add(f'<section id="outputs"><h2>Outputs</h2>{grid(COLUMNS, view.rows)}</section>')
    figures = "".join(_figure(worst_text(frame), pictures.get(frame.frame)) for frame in check.worst)
    document.add(f'<section id="worst"><h2>The frames that agree least</h2>{figures}</section>')
    return document.text("framepace accuracy")


def _figure(text: str, picture: bytes | None) -> str:
    if picture is None:
        return tag("p", text)
    source = f"data:image/png;base64,{b64encode(picture).decode()}"
    image = f'<img src="{source}" alt="{escape(text)}" style="max-width:100%">'
    return f"<figure>{image}{tag('figcaption', text)}</figure>"
