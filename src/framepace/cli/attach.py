"""framepace attach."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from framepace import values
from framepace.cli import options as o
from framepace.cli.bench import output_folder, show
from framepace.cli.show import give
from framepace.errors import UsageError

_COMMAND = "a Python program as you would start it: python app.py ARGS, python -m module, or a console script"
Command = Annotated[list[str], typer.Argument(metavar="-- COMMAND...", help=_COMMAND, show_default=False)]
_EXPLAIN = "run the program again and again, with and without each setting that may help, and say what is proven"
Explain = Annotated[bool, typer.Option("--explain", help=_EXPLAIN)]
_TRY = (
    "NAME=VALUE: compare the program with and without this setting, environment variable of yours (in capitals), "
    "or argument of its own (--imgsz=320); repeat for several"
)
Try = Annotated[list[str], typer.Option("--try", "--ab", metavar="NAME=VALUE", help=_TRY)]
_SET = "NAME=VALUE: run it with this setting (see launch)"
Set = Annotated[list[str], typer.Option("--set", metavar="NAME=VALUE", help=_SET)]
_SECONDS = "end the program, or each run of it, so long after its first inference"
Seconds = Annotated[float | None, o.number_option("--seconds", least=0.1, most=values.LONGEST_TIME_S, help=_SECONDS)]
_LIMIT = "seconds for all runs of --explain and --try; until its first inference the first one is not counted"
Limit = Annotated[float, o.time_limit_option(_LIMIT)]
_START = "seconds that a run may take to its first inference, where it is ended by time"
Start = Annotated[float, o.number_option("--start-limit", least=0.1, most=values.LONGEST_TIME_S, help=_START)]
_JSON = "at the end print one JSON object on standard output, after what the program printed there"
Json = Annotated[bool, typer.Option("--json", help=_JSON)]


def command(
    program: Command,
    fps: o.Fps = None,
    p99_ms: o.P99 = None,
    set_: Set = [],
    seconds: Seconds = None,
    explain: Explain = False,
    try_: Try = [],
    time_limit: Limit = 120.0,
    start_limit: Start = 600.0,
    out: o.Out = None,
    overwrite: o.Overwrite = False,
    json: Json = False,
) -> None:
    """Run a program of your own unchanged, and show where its frames spend their time. Its exit code is kept."""
    if explain or try_:
        if out is not None or set_:
            fix = "leave out --out and --set, or --explain and --try"
            raise UsageError("--explain keeps no trace and tries settings itself", got="--out or --set", fix=fix)
        _explain(program, fps, p99_ms, try_, seconds, time_limit, start_limit, json)
        return
    with output_folder(out, "attach") as folder:
        sys.exit(_observed(program, folder, fps, p99_ms, set_, seconds, start_limit, overwrite, json))


def _observed(
    program: list[str], folder: Path, fps: float | None, p99_ms: float | None, settings: list[str],
    seconds: float | None, start_limit: float, overwrite: bool, json: bool,
) -> int:  # fmt: skip
    """Run the program, and show its trace; its exit code."""
    from framepace import api

    chosen = o.parse_pairs(settings, "--set")
    _say("waiting for the first inference" + (f", {start_limit:g} s at most" if seconds is not None else ""))
    seen = api.attach(
        program, out=folder, fps=fps, p99_ms=p99_ms, settings=chosen, seconds=seconds, start_limit=start_limit,
        overwrite=overwrite, begun=lambda took: _say(f"first inference after {took:.1f} s"),
    )  # fmt: skip
    show(seen.trace, folder, json)
    return seen.exit_code


def _say(text: str) -> None:
    """A line between those of the program, where somebody watches."""
    if sys.stderr.isatty():
        print(f"framepace: {text}", file=sys.stderr)


def _explain(
    program: list[str], fps: float | None, p99_ms: float | None, tries: list[str], seconds: float | None,
    time_limit: float, start_limit: float, json: bool,
) -> None:  # fmt: skip
    from framepace import api
    from framepace.reporting import documents
    from framepace.reporting.terminal.programtrial import show_program
    from framepace.reporting.terminal.progress import Progress

    chosen = [o.parse_pairs([text], "--try") for text in tries] or None
    with Progress() as progress:
        explanation = api.explain_program(
            program, tries=chosen, fps=fps, p99_ms=p99_ms, seconds=seconds, time_limit=time_limit,
            start_limit=start_limit, tell=progress,
        )  # fmt: skip
    give(
        json,
        lambda: documents.attach_document(explanation),
        lambda out: show_program(out, explanation, shlex.join(program)),
    )
