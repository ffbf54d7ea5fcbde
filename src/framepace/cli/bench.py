"""framepace bench."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from framepace.cli import options as o
from framepace.cli.show import answer, give


def command(
    models: o.Models,
    video: o.Video = [],
    fps: o.Fps = None,
    load: o.LoadText = None,
    scope: o.ScopeName = "stream",
    p99_ms: o.P99 = None,
    size: o.Size = None,
    shape: o.Shape = [],
    layout: o.Layout = None,
    set_: o.Settings = [],
    seconds: o.Seconds = None,
    count: o.Count = None,
    precision: o.Precision = None,
    seed: o.Seed = 0,
    backend: o.Backend = None,
    device: o.DeviceName = None,
    layers: o.Layers = False,
    out: o.Out = None,
    json: o.Json = False,
) -> None:
    """Measure models under a stated load; writes a trace. Without --fps or --load: back to back."""
    from framepace import api
    from framepace.reporting import documents
    from framepace.reporting.terminal.layout import show_paths
    from framepace.reporting.terminal.measurement import show_layers, show_machine, show_summary
    from framepace.reporting.terminal.progress import Progress

    case = o.build_case(
        models, video=video, fps=fps, p99_ms=p99_ms, size=size, shape=shape, layout=layout, settings=set_, seed=seed,
        backend=backend, device=device, load=load, scope=scope, stop=o.stop_rule(seconds, count, precision),
    )  # fmt: skip
    folder = out or new_folder("bench")
    with Progress() as progress:
        names = ", ".join(m.name for m in case.plan.models)
        trace = api.bench(
            case,
            out=folder,
            progress=lambda share: progress(f"measuring {names} ({scope})", share),
            tell=progress,
            layers=layers,
        )
    summary = api.summary(trace)
    give(
        json,
        lambda: documents.bench_document(summary, str(folder), trace.meta.layers),
        lambda out: show_machine(out, trace.meta.machine),
        lambda out: show_summary(out, summary),
        lambda out: show_layers(out, trace.meta.layers),
        lambda out: show_paths(out, {"trace": str(folder), "report": f"framepace report {folder}"}),
    )
    answer(summary.met is not False)


def new_folder(verb: str) -> Path:
    """A folder for this run that sorts by time."""
    return o.DEFAULT_OUT / f"{verb}-{datetime.now():%Y%m%d-%H%M%S}"
