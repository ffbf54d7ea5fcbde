"""framepace export."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from framepace import values
from framepace.cli import options as o
from framepace.cli.show import answer, give
from framepace.errors import UsageError
from framepace.facts.verified import ROUNDS, SECONDS

if TYPE_CHECKING:
    from framepace.facts.settings import Case

_PLAN = "a plan (.yaml), or models as `bench` takes them"
Plan = Annotated[str, typer.Argument(metavar="PLAN", help=_PLAN, show_default=False)]
Folder = Annotated[
    Path | None,
    typer.Argument(parser=values.path_option("DIR"), metavar="[DIR]", help="folder to write to", show_default=False),
]
_TO = "triton: a model repository of NVIDIA Triton; onnx: the files as the plan runs them; docker: what builds an image"
To = Annotated[str | None, typer.Option("--to", metavar="KIND", help=f"{_TO} (default: triton)")]
_RUNTIME = "Triton's backend: onnxruntime, tensorrt, pytorch or python (default: by the plan)"
Runtime = Annotated[
    str | None,
    typer.Option("--runtime", metavar="NAME", help=_RUNTIME),
]
_VERIFY = "server that runs the exported plan: hold its answers and its speed against the plan here"
Verify = Annotated[str | None, typer.Option("--verify", metavar="URL", help=_VERIFY)]
_ROUNDS = f"with --verify: rounds of each side (default: {ROUNDS})"
Rounds = Annotated[int | None, o.number_option("--rounds", least=1, most=1000, whole=True, help=_ROUNDS)]
_SECONDS = f"with --verify: length of each round (default: {SECONDS:g})"
Seconds = Annotated[float | None, o.number_option("--seconds", least=0.5, most=values.LONGEST_TIME_S, help=_SECONDS)]
_OVERWRITE = "write over files and models of the same names"
Overwrite = Annotated[bool, typer.Option("--overwrite", help=_OVERWRITE)]


def command(
    plan: Plan,
    folder: Folder = None,
    to: To = None,
    runtime: Runtime = None,
    verify: Verify = None,
    rounds: Rounds = None,
    seconds: Seconds = None,
    video: o.Video = [],
    fps: o.Fps = None,
    p99_ms: o.P99 = None,
    load: o.LoadText = None,
    size: o.Size = None,
    shape: o.Shape = [],
    layout: o.Layout = None,
    image: o.Image = [],
    set_: o.Settings = [],
    seed: o.Seed = 0,
    backend: o.Backend = None,
    device: o.DeviceName = None,
    overwrite: Overwrite = False,
    json: o.Json = False,
) -> None:
    """Write a plan for other servers, and say what becomes there of its settings; or verify it in one that runs.

    With --verify the exit code is 1 if the server's answers are not those of the plan, or no round was measured.
    """
    _check(folder, to, verify)
    if verify is None:
        _check_writes({"--rounds": rounds, "--seconds": seconds})
    else:
        _check_verifies({"--runtime": runtime, "--overwrite": overwrite or None})
    case = o.build_case(
        [plan], video=video, fps=fps, p99_ms=p99_ms, size=size, shape=shape, layout=layout, settings=set_, seed=seed,
        named=o.named_inputs([], image, [], [], None), backend=backend, device=device, load=load,
    )  # fmt: skip
    if folder is not None:
        _export(case, folder, to or "triton", runtime, overwrite, json)
    elif verify is not None:
        _verify(case, verify, rounds or ROUNDS, seconds or SECONDS, json)


def _check_writes(verifying: Mapping[str, object]) -> None:
    """Raise UsageError for options that would mean nothing: no server is asked."""
    given = ", ".join(name for name, value in verifying.items() if value is not None)
    if given:
        fix = "leave them out; or verify once a server runs the folder: without DIR, with --verify URL"
        raise UsageError("rounds are those of --verify, and nothing is verified", got=given, fix=fix)


def _check_verifies(writing: Mapping[str, object]) -> None:
    """Raise UsageError for options that would mean nothing: no file is written."""
    given = ", ".join(name for name, value in writing.items() if value is not None)
    if given:
        fix = "leave them out; they go with a folder to write to"
        raise UsageError("--verify asks a server that runs already, and writes nothing", got=given, fix=fix)


def _check(folder: Path | None, to: str | None, verify: str | None) -> None:
    """Raise UsageError unless it is clear whether to write or to verify."""
    if folder is None and verify is None:
        fix = "name a folder, or a server that runs the plan: --verify http://127.0.0.1:8000"
        raise UsageError("export has nowhere to go", got="neither a folder nor --verify", fix=fix)
    if verify is not None and (folder is not None or to is not None):
        fix = "export first, start the server with that folder, and verify then, with the plan and --verify alone"
        raise UsageError("--verify asks a server that runs already, and writes nothing", got=folder or to, fix=fix)


def _export(case: Case, folder: Path, to: str, runtime: str | None, overwrite: bool, json: bool) -> None:
    from framepace.exchanging import export
    from framepace.reporting.exportdocument import export_document
    from framepace.reporting.terminal.exported import show_export
    from framepace.reporting.terminal.progress import Progress

    with Progress() as progress:
        exported = export(case, folder, to=to, runtime=runtime, overwrite=overwrite, tell=progress)
    give(json, lambda: export_document(exported), lambda out: show_export(out, exported))


def _verify(case: Case, url: str, rounds: int, seconds: float, json: bool) -> None:
    from framepace.exchanging import verify_export
    from framepace.reporting.exportdocument import verification_document
    from framepace.reporting.terminal.progress import Progress
    from framepace.reporting.terminal.verified import show_verification

    with Progress() as progress:
        result = verify_export(case, url, rounds=rounds, seconds=seconds, tell=progress)
    give(json, lambda: verification_document(result), lambda out: show_verification(out, result))
    answer(result.passed and result.here is not None)
