"""framepace export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from framepace.cli import options as o
from framepace.cli.show import give
from framepace.errors import unknown

_SERVERS = ("triton",)
_PLAN = "a plan (.yaml), or models as `bench` takes them"
Plan = Annotated[str, typer.Argument(metavar="PLAN", help=_PLAN, show_default=False)]
Folder = Annotated[Path, o.path_argument("DIR", help="folder of the repository")]
To = Annotated[str, typer.Option("--to", help="triton: a model repository of NVIDIA Triton")]
Runtime = Annotated[
    str | None,
    typer.Option("--runtime", help="Triton's backend: onnxruntime, tensorrt, pytorch or python [by the plan]"),
]
_OVERWRITE = "write over models of the same names"
Overwrite = Annotated[bool, typer.Option("--overwrite", help=_OVERWRITE)]


def command(
    plan: Plan,
    folder: Folder,
    to: To = "triton",
    runtime: Runtime = None,
    fps: o.Fps = None,
    p99_ms: o.P99 = None,
    size: o.Size = None,
    shape: o.Shape = [],
    layout: o.Layout = None,
    image: o.Image = [],
    set_: o.Settings = [],
    backend: o.Backend = None,
    device: o.DeviceName = None,
    overwrite: Overwrite = False,
    json: o.Json = False,
) -> None:
    """Write a plan for another server, and say what becomes there of each of its settings."""
    from framepace.exporting.repository import export
    from framepace.reporting.exportdocument import export_document
    from framepace.reporting.terminal.exported import show_export
    from framepace.reporting.terminal.progress import Progress

    if to not in _SERVERS:
        raise unknown("server", to, _SERVERS)
    case = o.build_case(
        [plan], video=[], fps=fps, p99_ms=p99_ms, size=size, shape=shape, layout=layout, settings=set_, seed=0,
        named=o.named_inputs([], image, [], [], None), backend=backend, device=device,
    )  # fmt: skip
    with Progress() as progress:
        exported = export(case.plan, folder, runtime=runtime, overwrite=overwrite, tell=progress)
    give(json, lambda: export_document(exported), lambda out: show_export(out, exported))
