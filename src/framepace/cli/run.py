"""framepace run."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from framepace import values
from framepace.cli import options as o
from framepace.cli import watch
from framepace.cli.show import give
from framepace.cli.standardstreams import results_descriptor
from framepace.errors import FramepaceError, UsageError

if TYPE_CHECKING:
    from framepace.facts.running import RunStatus
    from framepace.fleet.run import FleetRun
    from framepace.running.run import Run

_SOURCE = (
    "NAME=ADDRESS or ADDRESS: rtsp, rtmp, http(s) (HLS, MPEG-TS), udp, /dev/videoN, a video file, a folder of "
    "pictures, '-' for standard input, or 'synthetic'; repeat for several"
)
Source = Annotated[list[str], typer.Option("--source", "-s", metavar="SOURCE", help=_SOURCE)]
Sources = Annotated[
    Path | None,
    o.path_option(
        "--sources",
        help="YAML file of sources (a list of NAME=ADDRESS under `sources:`), whose changes are followed while it runs",
    ),
]
_SINK = "where results go, e.g. jsonl:out.jsonl, stdout, http://host/path, mqtt://host/topic; repeat for several"
Sink = Annotated[list[str], typer.Option("--sink", metavar="SINK", help=_SINK)]
Control = Annotated[
    Path | None,
    o.path_option(
        "--control", help="path of a socket to be made, for `framepace control`: add, remove, change, status"
    ),
]
_EVERY = "infer one of so many pictures of each source; adaptive: as many as the budget allows"
Every = Annotated[str, typer.Option("--every", metavar="N|adaptive", help=_EVERY)]
MaxAge = Annotated[
    float | None,
    o.number_option(
        "--max-age-ms", least=0.1, help="drop frames that would be older than this at the sinks, ms (default: none)"
    ),
]
Loop = Annotated[bool, typer.Option("--loop", help="files begin again at their end")]
Free = Annotated[bool, typer.Option("--as-fast-as-possible", help="files are read as fast as they are inferred")]
Udp = Annotated[bool, typer.Option("--udp", help="RTSP over UDP instead of TCP")]
_SECONDS = "end after so many seconds (default: when all sources have ended)"
Seconds = Annotated[float | None, o.number_option("--seconds", least=o.SHORTEST_S, help=_SECONDS)]
_OUT = "folder for a trace of the run, of which the last ten segments are kept, and for recordings (default: no trace)"
Out = Annotated[Path | None, o.path_option("--out", help=_OUT)]
Share = Annotated[
    float,
    o.number_option(
        "--trace-share", least=1e-6, most=1.0, help="share of the frames in that trace: 0.01 is every hundredth"
    ),
]
_GRACE_ON_RAY_S = 100.0  # after SIGTERM, for engines to end and their traces to be brought
_RECORD = "write the last minute to the --out folder when results come later than the target"
_OVERLOAD = (
    "what may be done under overload: skip (thin all sources), smaller=PLAN (run that plan instead), fewer (pause "
    "sources of the lowest priority); repeat for several"
)
Overload = Annotated[list[str], typer.Option("--overload", metavar="MEASURE", help=_OVERLOAD)]
_CANARY = "a plan that is tried on a share of the frames beside the plan, and then promoted or rolled back"
Canary = Annotated[str | None, typer.Option("--canary", metavar="PLAN", help=_CANARY)]
CanaryShare = Annotated[
    float, o.number_option("--canary-share", least=0.001, most=0.9, help="share of the frames that the canary gets")
]
Record = Annotated[bool, typer.Option("--record-misses", help=_RECORD)]


def command(
    models: o.Models,
    source: Source = [],
    sources: Sources = None,
    sink: Sink = [],
    control: Control = None,
    fps: o.Fps = None,
    p99_ms: o.P99 = None,
    every: Every = "1",
    max_age_ms: MaxAge = None,
    overload: Overload = [],
    canary: Canary = None,
    canary_share: CanaryShare = 0.1,
    loop: Loop = False,
    free: Free = False,
    udp: Udp = False,
    size: o.Size = None,
    set_: o.Settings = [],
    backend: o.Backend = None,
    device: o.DeviceName = None,
    seconds: Seconds = None,
    out: Out = None,
    trace_share: Share = 1.0,
    record_misses: Record = False,
    ray: o.Ray = None,
    dashboard: watch.Dashboard = None,
    log: watch.Log = watch.LogFormat.auto,
    spans: watch.Spans = None,
    json: o.Json = False,
) -> None:
    """Run a plan on live sources: results to sinks, every picture accounted for. SIGTERM ends it in order."""
    if not source and sources is None and control is None:
        raise UsageError("there is no source", got="no --source", expected="one or more", fix="--source NAME=ADDRESS")
    from framepace import deploying
    from framepace.reporting.terminal.progress import Progress
    from framepace.sinks.files import StandardOutput

    StandardOutput.standard_output = results_descriptor()
    of_sources: dict[str, Any] = {"every": _every(every), "loop": loop, "pace": "free" if free else "own"}
    of_sources["transport"] = "udp" if udp else "tcp"
    running: list[Run | FleetRun] = []
    with _recording_on_signal(running), watch.prepared(dashboard, log, spans, sink) as shown:
        with Progress() as progress:
            run = deploying.start(
                models, source, sources_file=sources, sinks=sink, settings_of_sources=of_sources, seconds=seconds,
                max_age_ms=max_age_ms, stays=control is not None, out=out, trace_share=trace_share,
                record_misses=record_misses, overload=overload, tell=progress, ray=ray,
                canary=canary, canary_share=canary_share, fps=fps, p99_ms=p99_ms,
                settings=o.changes(set_, size=size, layout=None, backend=backend, device=device),
            )  # fmt: skip
        running.append(run)
        status = _watched(run, control, shown, _GRACE_ON_RAY_S if ray else None)
    _show(status, json)
    if run.hanging:  # their threads never end, and would keep the process
        sys.stdout.flush()
        import os

        os._exit(0)


def _every(text: str) -> int | str:
    if text == "adaptive":
        return text
    return values.whole_number(text, "--every", least=1, most=10_000)


def _watched(run: Run | FleetRun, control: Path | None, shown: watch.Watch, grace_s: float | None) -> RunStatus:
    """The run to its end, while it is shown; how everything stood then."""
    from framepace import interrupts

    grace_s = grace_s or interrupts.GRACE_S

    def stop() -> None:
        is_ctrl_c = interrupts.signum() == signal.SIGINT
        run.stop("interrupted" if is_ctrl_c else "finished")

    with ExitStack() as stack:
        stack.callback(run.stop)
        if control is not None:
            from framepace.running.control import ControlSocket

            stack.enter_context(ControlSocket(control, run))
        stack.enter_context(interrupts.stopped_by(stop, "delivering what was taken", grace_s))
        stack.enter_context(shown.of(run))
        status = run.wait()
    if interrupts.signum() == signal.SIGTERM:
        interrupts.answered()  # the way in which a service is ended
    return status


@contextmanager
def _recording_on_signal(running: Sequence[Run | FleetRun]) -> Iterator[None]:
    """Inside, SIGUSR1 writes the last minute as a trace; in the main thread, which alone gets signals.

    It does not end the program either while there is no run yet: loading may take minutes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def record() -> None:
        if not running:
            print("nothing was recorded: the run has not begun", file=sys.stderr)
            return
        try:
            path = running[0].record("of SIGUSR1")
        except FramepaceError as error:
            print(f"error: {error}", file=sys.stderr)
        else:
            print(f"recorded: {path}", file=sys.stderr)

    def begin(number: int, frame: object) -> None:
        threading.Thread(target=record, name="recording", daemon=True).start()

    before = signal.signal(signal.SIGUSR1, begin)
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)


def _show(status: RunStatus, json: bool) -> None:
    from framepace.reporting.rundocument import run_document
    from framepace.reporting.terminal.running import drawn_run

    give(json, lambda: run_document(status), lambda out: out.print(drawn_run(status, out.width, 1000)))
