"""The frame of a page: one self-contained HTML file whose figures need no network."""

from __future__ import annotations

import json
from functools import lru_cache
from html import escape
from importlib.resources import files
from typing import Any

from framepace.reporting.documents import plain
from framepace.reporting.page.markup import tag
from framepace.reporting.page.plot import Figure

_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
REPORT_MARK = _POLICY.encode()  # by which a file is recognised as a page of ours
_FOOTER = """<footer><p>Latency counts from when a frame was due, never from when a late loop got round to it.
Percentiles carry order-statistic intervals and are left out where samples are too few. A cause is named only when
switching it off, in interleaved pairs of runs, moved the number. Made by framepace.</p></footer>"""


class Document:
    """A page while it is written: its parts in order, and the figures they hold.

    It embeds plotly.js once (about 4.8 MB) where it has figures, and asks the network for nothing. One that is `wide`
    takes the whole width of the window; `footer` is HTML.
    """

    def __init__(self, wide: bool = False, footer: str = _FOOTER) -> None:
        self._parts: list[str] = []
        self._figures: list[Figure] = []
        self._programs: dict[str, list[Any]] = {}
        self._footer = footer
        self._main = '<main class="wide">' if wide else "<main>"

    def add(self, *parts: str) -> None:
        """Put HTML at the end."""
        self._parts += parts

    def figure(self, figure: Figure | None, description: str, caption: str = "") -> str:
        """A place for a figure; `description` is read out in its stead."""
        if figure is None:
            return ""
        self._figures.append(figure)
        height = int(figure["layout"]["height"])
        place = f'<div class="plot" role="img" aria-label="{escape(description)}" style="height:{height}px"></div>'
        return f"<figure>{place}{tag('figcaption', caption)}</figure>"

    def program(self, name: str, data: Any) -> int:
        """A script with its style sheet (assets/NAME.js and .css), which finds a list of all `data` in '#NAME-data'.

        Returns the index of `data`, which may hold anything from outside: as JSON it cannot end its element.
        """
        every = self._programs.setdefault(name, [])
        every.append(data)
        return len(every) - 1

    def text(self, title: str) -> str:
        """The page, with its style, its script, plotly.js and the data of the figures."""
        head = [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">',
            f"<title>{escape(title)}</title><style>{self._styles()}</style></head><body>{self._main}",
        ]
        data = f'<script type="application/json" id="figures">{_in_script(self._figures)}</script>'
        programs = "".join(_program(name, data) for name, data in self._programs.items())
        return "".join(
            [*head, *self._parts, self._footer, "</main>", data, self._scripts(), programs, "</body></html>\n"]
        )

    def _styles(self) -> str:
        return "".join(asset(name) for name in ("report.css", *(f"{name}.css" for name in self._programs)))

    def _scripts(self) -> str:
        if not self._figures:
            return ""
        return f"<script>{_plotly()}</script><script>{asset('report.js')}</script>"


def _program(name: str, data: Any) -> str:
    element = f'<script type="application/json" id="{name}-data">{_in_script(data)}</script>'
    return f"{element}<script>{asset(f'{name}.js')}</script>"


def _in_script(value: Any) -> str:
    """Strict JSON that cannot end the script element it stands in."""
    text = json.dumps(plain(value), allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def asset(name: str) -> str:
    """A script or style sheet of the pages."""
    return (files("framepace.reporting.page") / "assets" / name).read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs()).replace("</script", "<\\/script")
