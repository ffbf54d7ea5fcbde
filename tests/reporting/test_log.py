"""A log of another program in the terminal, the page and as JSON."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from framepace.facts.log import LogExplanation
from framepace.reading import explained_log, read_log, report_log
from framepace.reporting.documents import dumps, explain_log_document
from framepace.reporting.terminal.log import show_log
from tests.logs.samples import plain_csv, with_device


def explained(folder: Path, text: str) -> LogExplanation:
    """What is said of a log with this text."""
    (folder / "log.csv").write_text(text)
    return explained_log(read_log(folder / "log.csv", p99_ms=18))


def shown(explanation: LogExplanation) -> list[str]:
    """The lines of a terminal of 80 columns without colours."""
    file = io.StringIO()
    show_log(Console(file=file, width=80, markup=False, emoji=False, highlight=False), explanation)
    return file.getvalue().splitlines()


def test_the_first_lines_name_what_to_try(tmp_path: Path) -> None:
    """How it was read, the first suspicion and the verdict stand in the first ten lines; no line is over 80 columns."""
    lines = shown(explained(tmp_path, plain_csv()))
    assert max(map(len, lines)) <= 80
    head = " ".join(lines[:10])
    assert "400 rows" in head
    assert "first to try: FP017 what follows the model takes far longer in some frames" in head
    assert "budget 18.0 ms" in head


def test_nothing_is_called_proven(tmp_path: Path) -> None:
    """Causes are suspected, and each has the command that would decide."""
    explanation = explained(tmp_path, plain_csv())
    text = "\n".join(shown(explanation))
    assert "suspected, not proven" in text
    assert all(one.command.startswith("framepace ") for one in explanation.suspected)


def test_the_report_has_the_figure_and_no_machine(tmp_path: Path) -> None:
    """Latency over time with clocks under it, what was suspected, and nothing on a machine that nobody knows."""
    (tmp_path / "log.csv").write_text(with_device())
    log = read_log(tmp_path / "log.csv")
    page = report_log(log, explained_log(log), tmp_path / "report.html").read_text()
    assert '<section id="log">' in page
    assert "latency over time" in page
    assert "GPU 0 SM" in page
    assert "<h2>Machine</h2>" not in page
    assert "<h2>Program</h2>" in page


def test_what_comes_from_a_log_is_escaped(tmp_path: Path) -> None:
    """Names of columns, cameras and models are text."""
    evil = "<script>alert(1)</script>"
    rows = "\n".join(f"{n / 30:.3f},{9 + n % 5},{evil},{n % 7}" for n in range(60))
    (tmp_path / "log.csv").write_text(f"time_s,latency_ms,camera,{evil}\n{rows}")
    log = read_log(tmp_path / "log.csv")
    page = report_log(log, explained_log(log), tmp_path / "report.html").read_text()
    assert evil not in page


def test_json_names_units_and_says_what_is_only_suspected(tmp_path: Path) -> None:
    """One strict object with the reading, the summary and the suspicions."""
    document = explain_log_document(explained(tmp_path, plain_csv()), report="report.html")
    assert document["schema"] == "framepace.explain-log/1"
    assert {"reading", "summary", "late", "receipts", "beside", "suspected", "paths"} <= document.keys()
    assert document["summary"]["budget_ns"] == pytest.approx(18e6)
    assert dumps(document)
