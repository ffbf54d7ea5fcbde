"""framepace sweep."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from framepace.cli import options as o
from framepace.cli.bench import output_folder
from framepace.cli.show import give

_VARY = "a setting and its values: batch=1,2,4 or batch=1..8; repeat to measure every combination"
Vary = Annotated[list[str], typer.Option("--vary", metavar="NAME=V1,V2", help=_VARY)]


def command(
    models: o.Models,
    vary: Vary,
    video: o.Video = [],
    fps: o.Fps = None,
    load: o.LoadText = None,
    scope: o.ScopeName = "stream",
    p99_ms: o.P99 = None,
    size: o.Size = None,
    shape: o.Shape = [],
    layout: o.Layout = None,
    input_: o.Input = [],
    image: o.Image = [],
    previous: o.Previous = [],
    state: o.State = [],
    window: o.Window = None,
    set_: o.Settings = [],
    seconds: o.Seconds = 5.0,
    count: o.Count = None,
    precision: o.Precision = None,
    seed: o.Seed = 0,
    backend: o.Backend = None,
    server: o.Server = None,
    device: o.DeviceName = None,
    ray: o.Ray = None,
    out: o.Out = None,
    overwrite: o.Overwrite = False,
    json: o.Json = False,
) -> None:
    """Measure every combination of some settings. With the same --out, only the missing cells are measured."""
    from framepace import api
    from framepace.errors import UsageError
    from framepace.reporting import documents
    from framepace.reporting.terminal.layout import show_paths
    from framepace.reporting.terminal.progress import Progress
    from framepace.reporting.terminal.sweep import show_sweep

    grid = o.parse_vary(vary)
    if not grid:
        raise UsageError("nothing to vary", expected="--vary SETTING=V1,V2,...")
    case = o.build_case(
        o.at_server(models, server), video=video, fps=fps, p99_ms=p99_ms, size=size, shape=shape, layout=layout,
        settings=set_, seed=seed, named=o.named_inputs(input_, image, previous, state, window),
        backend=backend, device=device,
        load=load, scope=scope, stop=o.stop_rule(seconds, count, precision),
    )  # fmt: skip
    with Progress() as progress, output_folder(out, "sweep") as folder:
        result = api.sweep(case, grid, out=folder, overwrite=overwrite, tell=progress, ray=ray)
    give(
        json,
        lambda: documents.sweep_document(result),
        lambda out: show_sweep(out, result),
        lambda out: show_paths(out, {"cells": str(folder)}),
    )
    reasons = [cell.error for cell in result.cells if cell.error is not None]
    if reasons and len(reasons) == len(result.cells):
        reason = " ".join(reasons[0].split())
        print(f"error: every cell failed, the first one because: {reason}", file=sys.stderr)
        sys.exit(1)
