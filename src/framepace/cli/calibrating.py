"""What `framepace accuracy --methods` does: INT8 by several calibrations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from framepace.cli.show import answer, give
from framepace.errors import UsageError

if TYPE_CHECKING:
    from framepace.facts.settings import Case


def check(methods: str | None, precision: str | None, other: bool) -> None:
    """Raise UsageError for options that do not belong to a study of calibrations."""
    if methods is None:
        return
    if precision != "int8":
        got = precision or "no --precision"
        raise UsageError("--methods compares calibrations of INT8", got=got, fix="add --precision int8")
    if other:
        fix = "leave OTHER, --versus, --worst and --out out"
        raise UsageError("--methods compares INT8 with FP32 alone", got="a second way", fix=fix)


def command(case: Case, methods: str, calibration: str | None, json: bool, **asked: Any) -> None:
    """Try the methods, show them, and end with exit code 1 where none will do."""
    from framepace import api
    from framepace.reporting import documents
    from framepace.reporting.terminal.calibrating import show_calibrations
    from framepace.reporting.terminal.progress import Progress

    names = [name.strip() for name in methods.split(",") if name.strip()]
    with Progress() as progress:
        study = api.calibrate(case, calibration, methods=names, tell=progress, **asked)  # type: ignore[arg-type]
    give(json, lambda: documents.calibration_document(study), lambda out: show_calibrations(out, study))
    answer(study.passed)
