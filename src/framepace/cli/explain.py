"""framepace explain."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from framepace.cli import options as o
from framepace.cli.bench import new_folder
from framepace.cli.show import answer, give
from framepace.facts.finding import Explanation
from framepace.facts.settings import Case

Limit = Annotated[float | None, typer.Option("--time-limit", help="seconds to stay within [60 on a GPU, else 90]")]
Expect = Annotated[
    str | None, typer.Option("--expect", help="another tool's number, e.g. 5.1ms: what it leaves out, and what is real")
]
From = Annotated[
    str | None,
    typer.Option(
        "--from",
        help="the tool that said it: trtexec-10 (and 8.6), trtexec-11, perf_analyzer, benchmark_app, loop; "
        "':N' after it for N requests in flight (benchmark_app: nireq)",
    ),
]


def command(
    models: o.Models,
    video: o.Video = [],
    fps: o.Fps = 30.0,
    load: o.LoadText = None,
    p99_ms: o.P99 = None,
    size: o.Size = None,
    shape: o.Shape = [],
    layout: o.Layout = None,
    set_: o.Settings = [],
    seed: o.Seed = 0,
    backend: o.Backend = None,
    device: o.DeviceName = None,
    expect: Expect = None,
    from_: From = None,
    time_limit: Limit = None,
    out: o.Out = None,
    json: o.Json = False,
) -> None:
    """The causes of latency, each proven by an intervention; the fix and its gain."""
    from framepace import api
    from framepace.reporting import documents
    from framepace.reporting.terminal.explanation import show_explanation
    from framepace.reporting.terminal.progress import Progress
    from framepace.store import load_trace

    case = explained_case(
        models, video=video, fps=fps, p99_ms=p99_ms, size=size, shape=shape, layout=layout, settings=set_, seed=seed,
        backend=backend, device=device,
        load=load,
    )  # fmt: skip
    folder = out or new_folder("explain")
    try:
        with Progress() as progress:
            explanation = api.explain(
                case, out=folder, time_limit=time_limit, tell=progress, expect=expect, expect_from=from_
            )
    except KeyboardInterrupt:
        print(f"interrupted before anything could be explained; what was measured is in {folder}", file=sys.stderr)
        sys.exit(130)
    paths = save(folder, explanation)
    machine = load_trace(folder / "stream").meta.machine
    following = {"on your model": "framepace explain MODEL.onnx --video FILE --fps 30"}
    give(
        json,
        lambda: documents.explain_document(explanation, str(folder / "stream"), **paths),
        lambda console: show_explanation(console, explanation, machine, {**paths, **following}),
    )
    answer(explanation.met is not False)


def explained_case(models: list[str], **options: object) -> Case:
    """The case to explain: built from the options, or that of a trace folder."""
    from framepace.errors import UsageError
    from framepace.store import is_trace, load_trace

    if len(models) == 1 and is_trace(Path(models[0])):
        meta = load_trace(Path(models[0])).meta
        return Case(plan=meta.plan, workload=meta.workload)
    if any(is_trace(Path(m)) for m in models):
        raise UsageError("a trace is explained by itself", got=", ".join(models), fix="name one trace, or only models")
    return o.build_case(models, **options)  # type: ignore[arg-type]


def save(folder: Path, explanation: Explanation) -> dict[str, str]:
    """Write explanation, plan and report into `folder`; their paths by name."""
    from framepace import api
    from framepace.store import save_json, save_plan

    save_json(explanation, folder / "explanation.json")
    save_plan(explanation.plan, folder / "plan.yaml")
    scopes = [folder / name for name in ("stream", "pipeline", "model")]
    html = api.report([s for s in scopes if s.exists()], out=folder / "report.html", explanation=explanation)
    return {"report": str(html), "plan": str(folder / "plan.yaml")}
