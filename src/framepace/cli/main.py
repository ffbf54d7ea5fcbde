"""`framepace`: the commands, and the one place where errors become sentences and exit codes."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from framepace import __version__
from framepace.cli import bench, capacity, compare, doctor, explain, plan, report, settings, sweep, tune
from framepace.errors import FramepaceError

app = typer.Typer(
    name="framepace",
    help="Why a neural network on video misses its frame budget: measured, proven by intervention, fixed.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"framepace {__version__}")
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option(
        "--version", "-V", callback=_print_version, is_eager=True, help="show the version and exit", expose_value=False
    ),
]


@app.callback()
def framepace(version: Version = False) -> None:
    """Why a neural network on video misses its frame budget: measured, proven by intervention, fixed."""


for module in (doctor, bench, explain, sweep, tune, capacity, compare, report, settings):
    app.command(name=module.__name__.rsplit(".", 1)[-1])(module.command)
app.add_typer(plan.app, name="plan")


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 the answer is no, 2 the command was wrong, 130 interrupted."""
    try:
        app()
    except FramepaceError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output went away, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)


if __name__ == "__main__":
    main()
