"""framepace plan: commands on plan files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from framepace.cli import options as o
from framepace.cli.show import give
from framepace.cli.standardstreams import apart

PlanFile = Annotated[Path, o.path_argument("PLAN", help="a plan (.yaml)")]

app = typer.Typer(help="Show what a plan says, or make one of what NVIDIA Triton runs.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Read a plan."""


@app.command()
@apart
def show(plan: PlanFile, json: o.Json = False) -> None:
    """Show each setting that is not the default, what it does and why one would set it; target, machine and traces."""
    from framepace import api
    from framepace.facts.address import without_secrets
    from framepace.reporting.documents import plan_document
    from framepace.reporting.terminal.plan import show_plan
    from framepace.reporting.views.plan import plan_view
    from framepace.store import load_plan

    loaded = without_secrets(load_plan(plan))
    view = plan_view(loaded, api.this_machine())
    give(json, lambda: plan_document(view, loaded, str(plan)), lambda out: show_plan(out, view))


Repository = Annotated[Path, o.path_argument("DIR", help="a model repository, a model's folder, or a config.pbtxt")]
PlanOut = Annotated[Path, o.path_option("--out", help="the plan to write (default: plan.yaml)")]


@app.command("from-triton")
@apart
def from_triton(
    repository: Repository, out: PlanOut = Path("plan.yaml"), overwrite: o.Overwrite = False, json: o.Json = False
) -> None:
    """Write the plan of what NVIDIA Triton runs, and say what of its configuration a plan cannot."""
    from framepace.exchanging import import_triton
    from framepace.reporting.exportdocument import import_document
    from framepace.reporting.terminal.exported import show_import
    from framepace.store import check_replaceable, save_plan

    imported = import_triton(repository)
    if not overwrite:
        check_replaceable(out, b"framepace plan")
    save_plan(imported.plan, out, comments=imported.notes)
    give(
        json,
        lambda: import_document(imported.plan, imported.notes, str(out)),
        lambda console: show_import(console, imported.plan, imported.notes, str(out)),
    )
