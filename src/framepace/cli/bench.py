"""framepace bench."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from framepace.cli import options as o
from framepace.cli.show import answer, give
from framepace.facts.failure import refuse_failures

if TYPE_CHECKING:
    from framepace.facts.settings import Case
    from framepace.facts.summary import Summary
    from framepace.facts.trace import Trace


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
    input_: o.Input = [],
    image: o.Image = [],
    previous: o.Previous = [],
    state: o.State = [],
    window: o.Window = None,
    set_: o.Settings = [],
    seconds: o.Seconds = None,
    count: o.Count = None,
    precision: o.Precision = None,
    seed: o.Seed = 0,
    backend: o.Backend = None,
    server: o.Server = None,
    device: o.DeviceName = None,
    layers: o.Layers = False,
    out: o.Out = None,
    overwrite: o.Overwrite = False,
    json: o.Json = False,
) -> None:
    """Measure models under a stated load and write a trace. Without --fps or --load: back to back."""
    case = o.build_case(
        o.at_server(models, server), video=video, fps=fps, p99_ms=p99_ms, size=size, shape=shape, layout=layout,
        settings=set_, seed=seed, named=o.named_inputs(input_, image, previous, state, window),
        backend=backend, device=device, load=load, scope=scope, stop=o.stop_rule(seconds, count, precision),
    )  # fmt: skip
    with output_folder(out, "bench") as folder:
        trace = measured(case, folder, layers, overwrite)
    summary = show(trace, folder, json)
    if not whole(trace, folder):
        sys.exit(2)
    refuse_failures(summary.failed, summary.failure)
    answer(summary.met is not False)


def measured(case: Case, folder: Path, layers: bool, overwrite: bool) -> Trace:
    """The trace of the case, in `folder`, with the progress on the terminal."""
    from framepace import api
    from framepace.reporting.terminal.progress import Progress

    names = ", ".join(model.name for model in case.plan.models)
    title = f"measuring {names} ({case.workload.scope})"
    with Progress() as progress:
        return api.bench(
            case,
            out=folder,
            progress=lambda share: progress(title, share),
            tell=progress,
            layers=layers,
            overwrite=overwrite,
        )


def show(trace: Trace, folder: Path, json: bool) -> Summary:
    """Print what the trace says, and return it."""
    from framepace import api
    from framepace.reporting import documents
    from framepace.reporting.terminal.layout import show_paths
    from framepace.reporting.terminal.measurement import show_layers, show_machine, show_summary
    from framepace.reporting.terminal.parts import show_parts

    summary = api.summary(trace)
    give(
        json,
        lambda: {
            **documents.bench_document(summary, str(folder), trace.meta.layers),
            "answers": documents.plain(trace.meta.answers),
        },
        lambda out: show_machine(out, trace.meta.machine),
        lambda out: show_summary(out, summary),
        lambda out: show_layers(out, trace.meta.layers),
        lambda out: show_parts(out, trace.meta.subject),
        lambda out: show_paths(out, _following(trace, folder)),
    )
    return summary


def _following(trace: Trace, folder: Path) -> dict[str, str]:
    """Where the trace is, and what can be asked of it."""
    following = {"trace": str(folder), "report": f"framepace report {folder}"}
    if trace.meta.layers:
        following["layers"] = f"framepace layers {folder}"
    return following


@contextmanager
def output_folder(out: Path | None, verb: str) -> Iterator[Path]:
    """The --out folder, or a new one named after the time, removed again if nothing was written to it."""
    from framepace.store import new_folder

    if out is not None:
        yield out
        return
    folder = new_folder(o.DEFAULT_OUT, f"{verb}-{datetime.now():%Y%m%d-%H%M%S}")
    try:
        yield folder
    finally:
        with suppress(OSError):
            folder.rmdir()


def whole(trace: Trace, folder: Path) -> bool:
    """Whether the whole trace is in its folder; if not, says so on standard error."""
    from framepace.store import is_trace

    if trace.meta.stopped != "disk full" and is_trace(folder):
        return True
    reasons = "".join(f"\n  {note}" for note in trace.meta.notes)
    print(f"error: only part of the trace could be written to {folder}{reasons}", file=sys.stderr)
    return False
