"""framepace attach."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from framepace.cli import options as o
from framepace.cli.bench import output_folder, show

_COMMAND = "a Python program as you would start it: python app.py ARGS, python -m module, or a console script"
Command = Annotated[list[str], typer.Argument(metavar="-- COMMAND...", help=_COMMAND, show_default=False)]
_JSON = "at the end print one JSON object on standard output, after what the program printed there"
Json = Annotated[bool, typer.Option("--json", help=_JSON)]


def command(
    program: Command,
    fps: o.Fps = None,
    p99_ms: o.P99 = None,
    out: o.Out = None,
    overwrite: o.Overwrite = False,
    json: Json = False,
) -> None:
    """Run a program of your own unchanged, and show where its frames spend their time. Its exit code is kept."""
    with output_folder(out, "attach") as folder:
        sys.exit(_observed(program, folder, fps, p99_ms, overwrite, json))


def _observed(
    program: list[str], folder: Path, fps: float | None, p99_ms: float | None, overwrite: bool, json: bool
) -> int:
    """Run the program, and show its trace; its exit code."""
    from framepace import api

    seen = api.attach(program, out=folder, fps=fps, p99_ms=p99_ms, overwrite=overwrite)
    show(seen.trace, folder, json)
    return seen.exit_code
