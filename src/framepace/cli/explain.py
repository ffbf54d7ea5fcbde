"""framepace explain."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from framepace.cli import logs
from framepace.cli import options as o
from framepace.cli.bench import output_folder
from framepace.cli.show import answer, give
from framepace.errors import StoreError
from framepace.facts.address import without_secrets
from framepace.facts.finding import Explanation
from framepace.facts.machine import Machine
from framepace.facts.settings import Case

Limit = Annotated[float | None, o.time_limit_option("time limit in seconds (default: 60 on a GPU, else 90)")]
Expect = Annotated[
    str | None,
    typer.Option(
        "--expect",
        metavar="NUMBER|FILE",
        help="latency or rate that another tool reported, e.g. 5.1ms or 190fps, or the file that perf_analyzer wrote; "
        "explain accounts for the difference",
    ),
]
RaisePriority = Annotated[
    bool,
    typer.Option(
        "--raise-priority", help="allow a trial with nice=-10 against busy neighbours, which run later meanwhile"
    ),
]
WhatIf = Annotated[
    bool,
    typer.Option("--what-if", help="also make each stage slower in turn, to measure what a millisecond in it is worth"),
]
From = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="TOOL",
        help="the tool that reported it: trtexec-10 (and 8.6), trtexec-11, perf_analyzer, benchmark_app, loop; "
        "':N' after it for N requests in flight (benchmark_app: nireq)",
    ),
]


def command(
    context: typer.Context,
    models: o.ModelsOrLog,
    video: o.Video = [],
    fps: o.Fps = 30.0,
    load: o.LoadText = None,
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
    seed: o.Seed = 0,
    backend: o.Backend = None,
    server: o.Server = None,
    device: o.DeviceName = None,
    expect: Expect = None,
    from_: From = None,
    what_if: WhatIf = False,
    raise_priority: RaisePriority = False,
    time_limit: Limit = None,
    out: o.Out = None,
    overwrite: o.Overwrite = False,
    json: o.Json = False,
    column: logs.Column = [],
) -> None:
    """Find the causes of latency, prove each by switching it off, and verify the fix; or say what a log shows."""
    log = logs.log_among(models, column)
    if log is not None:
        logs.explain_log(log, context, columns=column, out=out, overwrite=overwrite, json=json)
        return
    case = explained_case(
        o.at_server(models, server), video=video, fps=fps, p99_ms=p99_ms, size=size, shape=shape, layout=layout,
        settings=set_, seed=seed, named=o.named_inputs(input_, image, previous, state, window),
        backend=backend, device=device,
        load=load,
    )  # fmt: skip
    with output_folder(out, "explain") as folder:
        explanation = explained(
            case, folder, overwrite=overwrite, time_limit=time_limit, expect=expect, expect_from=from_, what_if=what_if,
            raise_priority=raise_priority,
        )  # fmt: skip
    errors: list[StoreError] = []
    show(explanation, folder, save(folder, explanation, errors), json)
    if errors:
        print("".join(f"error: {error}\n" for error in errors), end="", file=sys.stderr)
        sys.exit(2)
    answer(explanation.met is not False)


def explained(case: Case, folder: Path, **options: Any) -> Explanation:
    """The explanation of the case, its traces in `folder`; `options` are those of `framepace.explain`."""
    from framepace import api
    from framepace.reporting.terminal.progress import Progress

    try:
        with Progress() as progress:
            return api.explain(case, out=folder, tell=progress, **options)
    except KeyboardInterrupt:
        print(f"interrupted before anything could be explained; measurements so far: {folder}", file=sys.stderr)
        sys.exit(130)


def show(explanation: Explanation, folder: Path, paths: dict[str, str], json: bool) -> None:
    """Print the explanation and where its files are."""
    from framepace.reporting import documents
    from framepace.reporting.terminal.explanation import show_explanation

    following = {**paths, **next_command(explanation)}
    give(
        json,
        lambda: documents.explain_document(explanation, str(folder / "stream"), **paths),
        lambda console: show_explanation(console, without_secrets(explanation), machine_of(folder), following),
    )


def next_command(explanation: Explanation) -> dict[str, str]:
    """What to run after an example; nothing for who has explained a model of their own."""
    if any(model.model.startswith("builtin:") for model in explanation.plan.models):
        return {"on your model": "framepace explain MODEL.onnx --video FILE --fps 30"}
    return {}


def explained_case(models: list[str], **options: object) -> Case:
    """The case to explain: built from the options, or that of a trace folder."""
    from framepace.errors import UsageError
    from framepace.store import is_trace

    if len(models) == 1 and is_trace(Path(models[0])):
        return _case_of_trace(Path(models[0]))
    if any(is_trace(Path(m)) for m in models):
        raise UsageError(
            "explain takes one trace, or models", got=", ".join(models), fix="name one trace, or only models"
        )
    return o.build_case(models, **options)  # type: ignore[arg-type]


def _case_of_trace(folder: Path) -> Case:
    """The case that a trace was measured with; a recording that was moved replays itself where it is now."""
    from msgspec.structs import replace

    from framepace.facts.workload import Replay
    from framepace.store import is_trace, load_trace

    meta = load_trace(folder).meta
    workload = meta.workload
    if isinstance(workload.load, Replay) and not is_trace(Path(workload.load.trace)):
        workload = replace(workload, load=Replay(trace=str(folder)))
    return Case(plan=meta.plan, workload=workload)


def machine_of(folder: Path) -> Machine:
    """The machine of the traces in `folder`; this one if they could not be written."""
    from framepace import api
    from framepace.store import load_trace

    try:
        return load_trace(folder / "stream").meta.machine
    except StoreError:
        return api.this_machine()


def save(folder: Path, explanation: Explanation, errors: list[StoreError]) -> dict[str, str]:
    """Write explanation, plan and report into `folder`. Returns the paths, by name, of those that were written."""
    paths = {}
    for name, (file, write) in _files(explanation).items():
        try:
            write(folder / file)
            paths[name] = str(folder / file)
        except StoreError as error:
            errors.append(error)
    paths.pop("explanation", None)
    return paths


def _files(explanation: Explanation) -> dict[str, tuple[str, Callable[[Path], None]]]:
    """What is saved: the name of the file, and what writes it to a path."""
    from framepace.reporting.views.remedies import remedy_lines
    from framepace.store import save_json, save_plan

    return {
        "explanation": ("explanation.json", lambda path: save_json(explanation, path)),
        "report": ("report.html", lambda path: _write_report(explanation, path)),
        "plan": ("plan.yaml", lambda path: save_plan(explanation.plan, path, remedy_lines(explanation))),
    }


def _write_report(explanation: Explanation, path: Path) -> None:
    """The report about the traces beside `path`."""
    from framepace import api

    scopes = [path.parent / name for name in ("stream", "pipeline", "model")]
    traces = [scope for scope in scopes if (scope / "meta.json").is_file()]
    api.report(traces, out=path, explanation=explanation)
