"""framepace capacity."""

from __future__ import annotations

from typing import Annotated

import typer

from framepace import values
from framepace.cli import options as o
from framepace.cli.bench import output_folder
from framepace.cli.show import answer, give
from framepace.facts.workload import MOST_CAMERAS

PLAN = "a plan (.yaml), or models as `bench` takes them"
Plans = Annotated[list[str], typer.Argument(metavar="PLAN", help=PLAN, show_default=False)]
MaxCameras = Annotated[
    int, o.number_option("--max", least=1, most=MOST_CAMERAS, whole=True, help="largest number of cameras to try")
]
Limit = Annotated[float, o.time_limit_option("time limit for all runs together, in seconds")]
Each = Annotated[
    float | None,
    o.number_option(
        "--seconds",
        least=o.SHORTEST_S,
        most=values.LONGEST_TIME_S,
        help="seconds per camera count (default: enough for a p99)",
    ),
]
Predicted = Annotated[bool, typer.Option("--predict", help="also predict the answer from each model measured alone")]


def command(
    models: Plans,
    video: o.Video = [],
    fps: o.Fps = None,
    p99_ms: o.P99 = None,
    max_cameras: MaxCameras = 256,
    time_limit: Limit = 120.0,
    seconds: Each = None,
    predict: Predicted = False,
    scope: o.ScopeName = "stream",
    size: o.Size = None,
    shape: o.Shape = [],
    layout: o.Layout = None,
    input_: o.Input = [],
    image: o.Image = [],
    previous: o.Previous = [],
    state: o.State = [],
    window: o.Window = None,
    set_: o.Settings = [],
    seed: o.Seed = 0,
    backend: o.Backend = None,
    server: o.Server = None,
    device: o.DeviceName = None,
    out: o.Out = None,
    overwrite: o.Overwrite = False,
    json: o.Json = False,
) -> None:
    """Find how many cameras a plan carries at its target. Exit code 1 if it cannot carry one."""
    from framepace import api
    from framepace.reporting import documents
    from framepace.reporting.terminal.capacity import show_capacity
    from framepace.reporting.terminal.layout import show_paths
    from framepace.reporting.terminal.progress import Progress

    case = o.build_case(
        o.at_server(models, server), video=video, fps=fps, p99_ms=p99_ms, size=size, shape=shape, layout=layout,
        settings=set_, seed=seed, named=o.named_inputs(input_, image, previous, state, window),
        backend=backend, device=device, scope=scope,
    )  # fmt: skip
    with Progress() as progress, output_folder(out, "capacity") as folder:
        predictor = None
        if predict:
            predictor = api.predictor(case, tell=progress)
        result = api.capacity(
            case,
            max_cameras=max_cameras,
            seconds=seconds,
            time_limit=time_limit,
            out=folder,
            overwrite=overwrite,
            tell=progress,
            predict=predictor,
        )
    give(
        json,
        lambda: documents.capacity_document(result),
        lambda out: show_capacity(out, result),
        lambda out: show_paths(out, {"traces": str(folder)}),
    )
    answer(result.fits is not False)
