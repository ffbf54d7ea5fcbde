"""The commands of `framepace`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from framepace import __version__
from framepace.cli import (
    accuracy,
    attach,
    bench,
    capacity,
    compare,
    control,
    doctor,
    explain,
    export,
    launch,
    layers,
    plan,
    report,
    run,
    serve,
    settings,
    sweep,
    tune,
)
from framepace.cli.standardstreams import apart
from framepace.redaction import redacted

HELP = "Why a neural network on video misses its frame budget: measured, proven by intervention, fixed."
EXIT_CODES = (
    "Exit codes: 0 done, 1 the answer is no, 2 the command was wrong. The first Ctrl-C keeps what was measured and "
    "ends with 130 (SIGTERM 143, SIGHUP 129); the second ends at once."
)

_UsageError: Any = typer.BadParameter.__bases__[0]  # Typer may have its own copy of Click's


@contextmanager
def _without_secrets() -> Iterator[None]:
    """Errors about the command line repeat what was typed: an address perhaps, with its password."""
    try:
        yield
    except _UsageError as error:
        error.message = redacted(error.message)
        raise


class _Commands(TyperGroup):
    """The commands; errors about their options show no secrets."""

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        """See TyperGroup."""
        with _without_secrets():
            return super().make_context(*arguments, **options)

    def invoke(self, context: Any) -> Any:
        """See TyperGroup."""
        with _without_secrets():
            return super().invoke(context)


app = typer.Typer(
    name="framepace",
    cls=_Commands,
    help=HELP,
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


@app.callback(help=HELP, epilog=EXIT_CODES)
def framepace(version: Version = False) -> None:
    """What comes before a command."""


for module in (
    doctor,
    bench,
    explain,
    sweep,
    tune,
    capacity,
    accuracy,
    compare,
    layers,
    report,
    run,
    serve,
    export,
    settings,
):
    app.command(name=module.__name__.rsplit(".", 1)[-1])(apart(module.command))
# What follows the program's name is its own, also without '--'.
for module in (attach, launch):
    name = module.__name__.rsplit(".", 1)[-1]
    app.command(name=name, context_settings={"allow_interspersed_args": False})(apart(module.command))
app.add_typer(plan.app, name="plan")
app.add_typer(control.app, name="control")
