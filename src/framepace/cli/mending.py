"""framepace accuracy --hunt, --rank and --mend."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from framepace.cli.show import answer, give

if TYPE_CHECKING:
    from framepace.facts.settings import Case


def check_one(hunt: bool, rank: bool, mend: Path | None, has_other: bool, time_limit: float | None) -> bool:
    """Whether one of the three is asked for. Raises UsageError for two of them, or for one beside what it ignores."""
    from framepace.errors import UsageError

    asked = {"--hunt": hunt, "--rank": rank, "--mend": mend is not None}
    names = [name for name, is_asked in asked.items() if is_asked]
    if len(names) > 1:
        raise UsageError("one question at a time", got=" and ".join(names), expected="one of them")
    if names and has_other:
        problem = f"{names[0]} holds a model against itself in FP32"
        fix = "leave out OTHER, --versus, --worst, --out and, but for --mend, --metric"
        raise UsageError(problem, got="an option of a comparison", fix=fix)
    if time_limit is not None and mend is None:
        raise UsageError("--time-limit is for the search of --mend", got="no --mend", fix="leave --time-limit out")
    return bool(names)


def command(
    case: Case,
    precision: str | None,
    asked: Mapping[str, Any],
    out: Path | None,
    *,
    hunt: bool,
    mend: Path | None,
    time_limit: float | None,
    json: bool,
) -> None:
    """Answer what is asked for; exit code 1 where an output is NaN or infinite, or the gate cannot be held.

    `asked` has the frames, and the metric of a mending; `out` is the folder of a ranking's page.
    """
    if hunt:
        _hunt(case, precision or "fp16", asked["frames"], json)
    elif mend is not None:
        limit = {} if time_limit is None else {"time_limit": time_limit}
        _mend(case, precision or "fp16", mend, json, {**asked, **limit})
    else:
        _rank(case, precision or "fp16", asked["frames"], out, json)


def _hunt(case: Case, precision: str, frames: int, json: bool) -> None:
    from framepace import api
    from framepace.reporting.mendingdocuments import hunt_document
    from framepace.reporting.terminal.mending import show_hunt
    from framepace.reporting.terminal.progress import Progress

    with Progress() as progress:
        result = api.hunt(case, precision, frames=frames, tell=progress)
    give(json, lambda: hunt_document(result), lambda out: show_hunt(out, result))
    answer(not any(fault.at_output for fault in result.faults))


def _rank(case: Case, precision: str, frames: int, out: Path | None, json: bool) -> None:
    from framepace import api
    from framepace.reporting.mendingdocuments import rank_document
    from framepace.reporting.terminal.layout import show_paths
    from framepace.reporting.terminal.mending import show_ranking
    from framepace.reporting.terminal.progress import Progress

    with Progress() as progress:
        result = api.rank(case, precision, frames=frames, out=out, tell=progress)
    paths = {} if result.page is None else {"ranking": result.page}
    give(
        json,
        lambda: rank_document(result),
        lambda console: show_ranking(console, result),
        lambda console: show_paths(console, paths),
    )


def _mend(case: Case, precision: str, target: Path, json: bool, asked: Mapping[str, Any]) -> None:
    from framepace import api
    from framepace.reporting.mendingdocuments import mend_document
    from framepace.reporting.terminal.layout import show_paths
    from framepace.reporting.terminal.mending import show_mended
    from framepace.reporting.terminal.progress import Progress

    with Progress() as progress:
        result = api.mend(case, target, precision, tell=progress, **asked)
    paths = {} if result.path is None else {"mixed model": result.path}
    give(json, lambda: mend_document(result), lambda out: show_mended(out, result), lambda out: show_paths(out, paths))
    answer(result.holds and not result.found_nothing)
