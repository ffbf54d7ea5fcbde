"""framepace layers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from framepace.cli import options as o
from framepace.cli.show import give
from framepace.errors import UsageError

if TYPE_CHECKING:
    from framepace.facts.layers import Exploration

_SUBJECT = "an ONNX file, 'builtin:NAME', a plan (.yaml), or the folder of a trace that was measured with --layers"
Subject = Annotated[str, typer.Argument(metavar="MODEL|TRACE", help=_SUBJECT, show_default=False)]
Other = Annotated[str | None, typer.Argument(metavar="OTHER", help="a second one, side by side", show_default=False)]
_VERSUS = "hold the model against itself with this setting; repeat for several"
Versus = Annotated[list[str], typer.Option("--versus", metavar="NAME=VALUE", help=_VERSUS)]
_FLOORS = "measure once how fast this machine can be (some seconds), to tell how fast each layer could be"
Floors = Annotated[bool, typer.Option("--floors/--no-floors", help=_FLOORS)]
_ROWS = o.number_option("--rows", least=1, most=100_000, whole=True, help="how many layers the terminal shows")
Rows = Annotated[int, _ROWS]
Page = Annotated[
    Path | None, o.path_option("--out", help="write an HTML page to sort, filter and search, with the graph")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="replace --out even if it is not a framepace report")]


def command(
    subject: Subject,
    other: Other = None,
    size: o.Size = None,
    shape: o.Shape = [],
    layout: o.Layout = None,
    input_: o.Input = [],
    image: o.Image = [],
    previous: o.Previous = [],
    state: o.State = [],
    window: o.Window = None,
    set_: o.Settings = [],
    versus: Versus = [],
    backend: o.Backend = None,
    device: o.DeviceName = None,
    floors: Floors = True,
    rows: Rows = 20,
    out: Page = None,
    overwrite: Overwrite = False,
    json: o.Json = False,
) -> None:
    """Show an engine layer by layer, or two side by side: time, bytes, operations, precision, floor, graph."""
    settings = o.changes(set_, size=size, layout=layout, backend=backend, device=device)
    exploration = _explored(
        subject, other, out=out, overwrite=overwrite, floors=floors, settings=settings,
        versus=o.parse_pairs(versus, "--versus"), shapes=o.parse_shapes(shape),
        **o.named_inputs(input_, image, previous, state, window),
    )  # fmt: skip
    _show(exploration, out, rows, json)


def _explored(subject: str, other: str | None, **options: Any) -> Exploration:
    from framepace import api
    from framepace.reporting.terminal.progress import Progress

    if other is not None and options["versus"]:
        raise UsageError("--versus makes the second engine", got=f"OTHER {other}", fix="leave one of them out")
    with Progress() as progress:
        return api.layers(subject, other, tell=progress, **options)


def _show(exploration: Exploration, page: Path | None, rows: int, json: bool) -> None:
    from framepace.reporting import documents
    from framepace.reporting.terminal.layers import show_exploration
    from framepace.reporting.terminal.layout import show_paths

    paths = {} if page is None else {"page": str(page)}
    give(
        json,
        lambda: documents.layers_document(exploration, paths.get("page")),
        lambda console: show_exploration(console, exploration, rows),
        lambda console: show_paths(console, paths),
    )
