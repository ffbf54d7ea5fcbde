"""framepace tune."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from framepace.cli import options as o
from framepace.cli.bench import output_folder
from framepace.cli.show import answer, give
from framepace.facts.address import without_secrets
from framepace.facts.tuning import Objective
from framepace.facts.workload import MOST_CAMERAS

Cameras = Annotated[
    int | None,
    o.number_option(
        "--cameras",
        least=1,
        most=MOST_CAMERAS,
        whole=True,
        help="number of cameras to carry (default: as many as possible)",
    ),
]
Aim = Annotated[
    Objective | None,
    typer.Option(
        "--objective",
        help="what is best: most cameras (default), highest fps, lowest p99 (default with --cameras), cpu or energy",
    ),
]
Limit = Annotated[float, o.time_limit_option("time limit in seconds")]
Allow = Annotated[
    str | None,
    typer.Option(
        "--allow-precision",
        metavar="LIST",
        help="also try these, if the answers stay the same: fp16,bf16,int8 (default: none)",
    ),
]
Vary = Annotated[
    list[str],
    typer.Option("--vary", metavar="NAME=V1,V2", help="try only these values of a setting; repeat for more settings"),
]
Memory = Annotated[
    float | None,
    o.number_option(
        "--memory-mb", least=1.0, most=1e9, help="most memory of the device in use, MiB (default: no limit)"
    ),
]


def command(
    models: o.Models,
    fps: o.Fps = 30.0,
    p99_ms: o.P99 = None,
    cameras: Cameras = None,
    objective: Aim = None,
    time_limit: Limit = 180.0,
    video: o.Video = [],
    allow_precision: Allow = None,
    memory_mb: Memory = None,
    vary: Vary = [],
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
    device: o.DeviceName = None,
    ray: o.Ray = None,
    out: o.Out = None,
    overwrite: o.Overwrite = False,
    json: o.Json = False,
) -> None:
    """Search for the best plan that meets the target. With the same --out, it continues where it stopped."""
    from framepace import api
    from framepace.reporting.documents import tune_document
    from framepace.reporting.terminal.progress import Progress
    from framepace.reporting.terminal.tuning import show_tuning

    case = o.build_case(
        models, video=video, fps=fps, p99_ms=p99_ms, size=size, shape=shape, layout=layout, settings=set_, seed=seed,
        named=o.named_inputs(input_, image, previous, state, window),
        backend=backend, device=device, scope=scope,
    )  # fmt: skip
    with Progress() as progress, output_folder(out, "tune") as folder:
        result = api.tune(
            case, cameras=cameras, objective=objective, time_limit=time_limit, memory_mb=memory_mb,
            precisions=[p for p in (allow_precision or "").split(",") if p],
            vary=o.parse_vary(vary) or None, fixed=sorted(o.parse_pairs(set_, "--set")), out=folder, tell=progress,
            overwrite=overwrite, ray=ray,
        )  # fmt: skip
    if result.plan is None:
        print(f"interrupted before a plan was measured; the results so far are in {folder}", file=sys.stderr)
        sys.exit(130)
    paths = {name: str(path) for name in ("report.html", "plan.yaml") if (path := Path(folder / name)).exists()}
    give(
        json,
        lambda: tune_document(result, **{Path(name).stem: path for name, path in paths.items()}),
        lambda console: show_tuning(console, without_secrets(result)),
        lambda console: console.print("\n".join(paths.values())),
    )
    answer(result.met is not False)
