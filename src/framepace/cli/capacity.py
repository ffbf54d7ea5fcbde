"""framepace capacity."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from framepace import values
from framepace.cli import options as o
from framepace.cli.bench import output_folder
from framepace.cli.show import answer, give
from framepace.errors import UsageError
from framepace.facts.fleetsize import MOST_CAMERAS as MOST_OF_FLEET
from framepace.facts.workload import MOST_CAMERAS

if TYPE_CHECKING:
    from framepace.facts.settings import Case

PLAN = "a plan (.yaml), or models as `bench` takes them"
Plans = Annotated[list[str], typer.Argument(metavar="PLAN", help=PLAN, show_default=False)]
_FLEET = "kinds of hosts (.yaml): how many of which carry --cameras, also when the largest one is lost"
_OF_FLEETS = frozenset({"models", "fleet", "cameras", "fps", "p99_ms", "time_limit", "json"})
_BESIDE = "--cameras, --fps, --p99-ms, --time-limit or --json"
FleetFile = Annotated[Path | None, o.path_option("--fleet", help=_FLEET)]
Cameras = Annotated[
    int | None,
    o.number_option("--cameras", least=1, most=MOST_OF_FLEET, whole=True, help="with --fleet: how many cameras"),
]
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
    context: typer.Context,
    models: Plans = [],
    fleet: FleetFile = None,
    cameras: Cameras = None,
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
    """Find how many cameras a plan carries at its target, or how many hosts carry so many cameras.

    Exit code 1 if it cannot carry one, or if no such hosts can be had.
    """
    if _is_fleet(models, fleet, cameras):
        _check_options(context)
        _fleet(fleet, cameras, fps, p99_ms, time_limit, json)
        return
    case = o.build_case(
        o.at_server(models, server), video=video, fps=fps, p99_ms=p99_ms, size=size, shape=shape, layout=layout,
        settings=set_, seed=seed, named=o.named_inputs(input_, image, previous, state, window),
        backend=backend, device=device, scope=scope,
    )  # fmt: skip
    search = {"max_cameras": max_cameras, "seconds": seconds, "time_limit": time_limit, "overwrite": overwrite}
    _of_plan(case, out, predict, search, json)


def _of_plan(case: Case, out: Path | None, predict: bool, search: dict[str, Any], json: bool) -> None:
    """How many cameras a plan carries."""
    from framepace import api
    from framepace.reporting import documents
    from framepace.reporting.terminal.capacity import show_capacity
    from framepace.reporting.terminal.layout import show_paths
    from framepace.reporting.terminal.progress import Progress

    with Progress() as progress, output_folder(out, "capacity") as folder:
        predictor = None
        if predict:
            predictor = api.predictor(case, tell=progress)
        result = api.capacity(case, out=folder, tell=progress, predict=predictor, **search)
    give(
        json,
        lambda: documents.capacity_document(result),
        lambda out: show_capacity(out, result),
        lambda out: show_paths(out, {"traces": str(folder)}),
    )
    answer(result.fits is not False)


def _is_fleet(models: list[str], fleet: Path | None, cameras: int | None) -> bool:
    """Whether a fleet is asked for. Raises UsageError for what is neither that nor a plan."""
    fix = "framepace capacity PLAN --fps 30, or framepace capacity --fleet fleet.yaml --cameras 10000"
    if (fleet is None) != (cameras is None):
        raise UsageError("--fleet and --cameras go together", got="one of them", expected="both, or none", fix=fix)
    if (fleet is None) == (not models):
        got = ", ".join([*models, *([] if fleet is None else [str(fleet)])]) or "neither"
        raise UsageError("capacity is that of a plan or of a fleet", got=got, expected="one of both", fix=fix)
    return fleet is not None


def _check_options(context: typer.Context) -> None:
    """Raise UsageError for options of a plan beside --fleet, which would change nothing."""
    typed = [option for name, option in _options(context) if name not in _OF_FLEETS and _is_typed(context, name)]
    if typed:
        options = ", ".join(typed)
        fix = f"leave out {options}; a kind of hosts may have a plan with settings in the fleet"
        raise UsageError("these options do not go with --fleet", got=options, expected=_BESIDE, fix=fix)


def _options(context: typer.Context) -> Iterator[tuple[str, str]]:
    """All parameters by their names, and as people type them."""
    for parameter in context.command.params:
        yield str(parameter.name), parameter.opts[0]


def _is_typed(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _fleet(fleet: Any, cameras: Any, fps: float | None, p99_ms: float | None, time_limit: float, json: bool) -> None:
    from framepace.fleetsizing import fleet_capacity
    from framepace.reporting.fleetdocument import fleet_document
    from framepace.reporting.terminal.fleetsize import show_fleet
    from framepace.reporting.terminal.progress import Progress

    with Progress() as progress:
        size = fleet_capacity(fleet, cameras, fps=fps, p99_ms=p99_ms, time_limit=time_limit, tell=progress)
    give(json, lambda: fleet_document(size), lambda out: show_fleet(out, size))
    answer(size.fits)
