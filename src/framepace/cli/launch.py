"""framepace launch."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from framepace.cli import options as o
from framepace.cli.attach import Command

_SET = (
    "spinning=off, threads=N, opencv-threads=N, sleep=spin, awake=on, collections=off, switch-interval=short, "
    "priority=high, heartbeat=on, or a variable in capitals; repeat"
)
Set = Annotated[list[str], typer.Option("--set", metavar="NAME=VALUE", help=_SET)]


def command(program: Command, set_: Set = []) -> None:
    """Run a program of your own with settings that attach --explain has proven. Its exit code is kept."""
    from framepace import api

    sys.exit(api.launch(program, o.parse_pairs(set_, "--set")))
