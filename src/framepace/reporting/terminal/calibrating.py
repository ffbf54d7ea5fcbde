"""INT8 by several calibrations."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from framepace.facts.calibrating import CalibrationStudy
from framepace.reporting.terminal.layout import MET_STYLES, show_command, show_notes
from framepace.reporting.views.calibrating import COLUMNS, calibration_view


def show_calibrations(out: Console, study: CalibrationStudy) -> None:
    """The sentence, a row per calibration, and notes."""
    view = calibration_view(study)
    out.print(Text(view.sentence, style=MET_STYLES[view.passed]))
    out.print()
    rows = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for number, name in enumerate(COLUMNS):
        rows.add_column(name, justify="right" if number else "left", no_wrap=True)
    for row in view.rows:
        rows.add_row(*map(Text, row))
    out.print(rows)
    show_notes(out, view.notes)
    if view.todo:
        out.print(Text("which nodes to keep in FP32:"))
        show_command(out, view.todo)
