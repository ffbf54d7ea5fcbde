"""framepace accuracy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from framepace.cli import calibrating, mending
from framepace.cli import options as o
from framepace.cli.show import answer, give
from framepace.errors import UsageError

if TYPE_CHECKING:
    from framepace.facts.settings import Case

_HERE = "run it on the host of the GPU, without --ray"
_SUBJECT = "an ONNX file, 'builtin:NAME', or a plan (.yaml) of one model"
Subject = Annotated[str, typer.Argument(metavar="MODEL", help=_SUBJECT, show_default=False)]
_OTHER = "a second file, held against the first"
Other = Annotated[str | None, typer.Argument(metavar="OTHER", help=_OTHER, show_default=False)]
_PRECISION = "compare FP32 with this: fp16, bf16 or int8"
Precision = Annotated[str | None, typer.Option("--precision", metavar="NAME", help=_PRECISION)]
_VERSUS = "compare the model as it is with the model with this setting; repeat for several"
Versus = Annotated[list[str], typer.Option("--versus", metavar="NAME=VALUE", help=_VERSUS)]
_FRAMES = o.number_option("--frames", least=1, most=100_000, whole=True, help="frames to compare")
Frames = Annotated[int, _FRAMES]
_WITH_OUT = 4  # frames that go to --out where --worst says none
_METRIC = "what decides: top5, cosine, detections, text, or module:function (default: cosine, error and the best class)"
Metric = Annotated[str | None, typer.Option("--metric", metavar="NAME", help=_METRIC)]
_LEAST = "least that --metric must reach on average over the frames; 1 is equal"
Least = Annotated[float, o.number_option("--least", least=0.0, most=1e9, help=_LEAST)]
_WORST = o.number_option("--worst", least=0, most=64, whole=True, help="show so many of the frames that agree least")
Worst = Annotated[int, _WORST]
Out = Annotated[
    Path | None, o.path_option("--out", help="folder for a page with the pictures of --worst, or the figures of --rank")
]

_HUNT = "find the first node that makes a NaN or infinity in --precision, and why"
Hunt = Annotated[bool, typer.Option("--hunt", help=_HUNT)]
_RANK = "list the nodes by the error that each alone makes in --precision"
Rank = Annotated[bool, typer.Option("--rank", help=_RANK)]
_MEND = "write a model in --precision that keeps the fewest nodes in FP32 with which the answers are the same"
Mend = Annotated[Path | None, typer.Option("--mend", metavar="OUT.onnx", help=_MEND)]
_LIMIT = "seconds for the search of --mend (default: 600); the smallest set by then is kept"
Limit = Annotated[float | None, o.time_limit_option(_LIMIT)]
_FIRST = "where the outputs differ, look for the first node that does"
First = Annotated[bool, typer.Option("--first", help=_FIRST)]
_CALIBRATION = "video or folder of pictures that INT8 is calibrated on (as --set calibration=...)"
Calibration = Annotated[str | None, typer.Option("--calibration", metavar="VIDEO|FOLDER", help=_CALIBRATION)]
_METHODS = "compare calibrations of INT8, and how many frames they need: percentile,minmax,entropy"
Methods = Annotated[str | None, typer.Option("--methods", metavar="LIST", help=_METHODS)]


def command(
    model: Subject,
    other: Other = None,
    precision: Precision = None,
    versus: Versus = [],
    video: o.Video = [],
    frames: Frames = 32,
    metric: Metric = None,
    least: Least = 0.99,
    worst: Worst = 0,
    out: Out = None,
    first: First = False,
    calibration: Calibration = None,
    methods: Methods = None,
    hunt: Hunt = False,
    rank: Rank = False,
    mend: Mend = None,
    time_limit: Limit = None,
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
    json: o.Json = False,
) -> None:
    """Check whether a model gives the same answers in another precision, file or library. Exit code 1 if not."""
    changes = o.parse_pairs(versus, "--versus")
    if ray is not None and (hunt or rank or mend or methods):
        raise UsageError("--ray is for two ways to run a model", got="--hunt, --rank, --mend or --methods", fix=_HERE)
    calibrating.check(methods, precision, bool(other or changes or worst or out))
    if calibration is not None and methods is None:
        set_ = [*set_, f"calibration={calibration}"]
    if precision is not None and (changes or other is not None):
        changes["precision"] = precision
    elif precision is not None:  # held against FP32, whatever a plan says
        set_ = [*set_, f"precision={precision}"]
    case = o.build_case(
        [model], video=video, fps=None, p99_ms=None, size=size, shape=shape, layout=layout, settings=set_, seed=seed,
        named=o.named_inputs(input_, image, previous, state, window), backend=backend, device=device, scope="model",
    )  # fmt: skip
    asked: dict[str, Any] = {"frames": frames, "metric": metric, "least": least}
    second = bool(other or versus or (metric and mend is None) or worst or (out and not rank))
    if mending.check_one(hunt, rank, mend, second, time_limit):
        mending.command(case, precision, asked, out, hunt=hunt, mend=mend, time_limit=time_limit, json=json)
        return
    if methods is not None:
        calibrating.command(case, methods, calibration, json, **asked)
        return
    worst = worst or (_WITH_OUT if out else 0)
    _compare(case, other, json, versus=changes, worst=worst, out=out, first=first, ray=ray, **asked)


def _compare(case: Case, other: str | None, json: bool, **asked: Any) -> None:
    from framepace import api
    from framepace.reporting import documents
    from framepace.reporting.terminal.accuracy import show_accuracy
    from framepace.reporting.terminal.layout import show_paths
    from framepace.reporting.terminal.progress import Progress

    with Progress() as progress:
        check = api.accuracy(case, other, tell=progress, **asked)
    paths = {} if check.page is None else {"worst frames": check.page}
    give(
        json,
        lambda: documents.accuracy_document(check),
        lambda console: show_accuracy(console, check),
        lambda console: show_paths(console, paths),
    )
    answer(check.agreement.passed)
