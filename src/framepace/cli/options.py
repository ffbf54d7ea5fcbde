"""Options that several commands share, and how they become a case."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from framepace.errors import UsageError
from framepace.facts.settings import Case, parse_size
from framepace.facts.workload import Burst, Closed, Delay, Load, Paced, Poisson, Replay, Scope, Stop, load_fps

_MODELS = "ONNX files, 'builtin:NAME', or one plan (.yaml)"
Models = Annotated[list[str], typer.Argument(metavar="MODEL...", help=_MODELS, show_default=False)]
Video = Annotated[list[str], typer.Option("--video", help="video file or stream address; again for more cameras")]
Fps = Annotated[float | None, typer.Option("--fps", help="frames a second of each source: the load and the target")]
P99 = Annotated[float | None, typer.Option("--p99-ms", help="frame budget in ms (default: the frame period)")]
Size = Annotated[str | None, typer.Option("--size", help="WIDTHxHEIGHT of the image input")]
Backend = Annotated[str | None, typer.Option("--backend", help="onnxruntime, tensorrt, torch, simulated or null")]
DeviceName = Annotated[
    str | None, typer.Option("--device", help="cpu, cuda or cuda:N; simulated: t4, xavier, a100, h100, h200")
]
Layers = Annotated[bool, typer.Option("--layers", help="measure each layer too, where the library can")]
Shape = Annotated[list[str], typer.Option("--shape", help="NAME=1x3x480x640 of an input that is not fully described")]
Layout = Annotated[str | None, typer.Option("--layout", help="nchw or nhwc, where the model does not say")]
Settings = Annotated[list[str], typer.Option("--set", help="NAME=VALUE of any setting (framepace settings lists them)")]
Seed = Annotated[int, typer.Option("--seed", help="seed of the load and of random inputs")]
Json = Annotated[bool, typer.Option("--json", help="one JSON object on standard output")]
Out = Annotated[Path | None, typer.Option("--out", help="folder for traces and reports", show_default=False)]
_OVERWRITE = "replace what an earlier run of another case left in --out"
Overwrite = Annotated[bool, typer.Option("--overwrite", help=_OVERWRITE)]
Seconds = Annotated[float | None, typer.Option("--seconds", help="measure this long after warm-up")]
Count = Annotated[int | None, typer.Option("--count", help="measure this many frames after warm-up")]
Precision = Annotated[
    float | None, typer.Option("--precision", help="stop when the median is known to +- this share, e.g. 0.01")
]
ScopeName = Annotated[
    Scope, typer.Option("--scope", help="what is exercised: the model, what surrounds it, everything")
]
LoadText = Annotated[
    str | None,
    typer.Option("--load", help="closed[:N], delay:MS, paced:FPS, poisson:FPS, burst:FPS:SIZE or replay:TRACE"),
]
LOADS = ("closed", "delay", "paced", "poisson", "burst", "replay")
DEFAULT_OUT = Path("framepace-out")
USUAL_S = 10.0
LONGEST_S = 60.0  # where a precision is to be reached


def parse_load(text: str) -> Load:
    """A load from 'closed:4', 'delay:20', 'paced:30', 'poisson:30', 'burst:30:8' or 'replay:TRACE'."""
    from framepace.errors import unknown

    kind, _, parameters = text.partition(":")
    if kind not in LOADS:
        raise unknown("load", kind, LOADS)
    if kind == "replay":
        return Replay(trace=parameters)
    numbers = [_number(part, text) for part in parameters.split(":") if parameters]
    if kind == "closed":
        return Closed(concurrency=int(numbers[0]) if numbers else None)
    if not numbers:
        raise UsageError(f"load {kind!r} needs a number", got=text, expected=f"{kind}:NUMBER, e.g. {kind}:30")
    return _open_load(kind, numbers)


def _open_load(kind: str, numbers: list[float]) -> Load:
    """The load of that kind with its one or two numbers."""
    first = numbers[0]
    if kind == "delay":
        return Delay(delay_ms=first)
    if kind == "poisson":
        return Poisson(fps=first)
    if kind == "burst":
        return Burst(fps=first, size=int(numbers[1] if len(numbers) > 1 else 8))
    return Paced(fps=first, jitter=numbers[1] if len(numbers) > 1 else 0.0)


def _number(part: str, text: str) -> float:
    try:
        return float(part)
    except ValueError:
        raise UsageError("a load takes numbers", got=text, expected="e.g. paced:30 or burst:30:8") from None


def parse_pairs(texts: list[str], option: str) -> dict[str, str]:
    """'NAME=VALUE' texts as a dict."""
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise UsageError(f"{option} needs NAME=VALUE", got=text, expected=f"{option} NAME=VALUE")
        pairs[name.strip()] = value.strip()
    return pairs


def parse_shapes(texts: list[str]) -> dict[str, tuple[int, ...]]:
    """'x=1x3x480x640' texts as shapes by input name."""
    shapes = {}
    for name, value in parse_pairs(texts, "--shape").items():
        parts = value.lower().split("x")
        if not all(part.isdigit() and int(part) > 0 for part in parts):
            raise UsageError("not a shape", got=f"{name}={value}", expected="NAME=1x3x480x640")
        shapes[name] = tuple(int(part) for part in parts)
    return shapes


def parse_vary(texts: list[str]) -> dict[str, list[str]]:
    """'batch=1,2,4' and 'workers=1..8' as lists of values by setting. Raises UsageError for anything else."""
    grid: dict[str, list[str]] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        if not (equals and name and values):
            raise UsageError("--vary needs a setting and its values", got=text, expected="NAME=V1,V2,... or NAME=1..8")
        grid[name.strip()] = [value for part in values.split(",") for value in _parse_range(part)]
    return grid


def _parse_range(text: str) -> list[str]:
    """'1..3' as '1', '2', '3'; any other text is one value."""
    first, dots, last = text.strip().partition("..")
    if not dots:
        return [text.strip()]
    if not (first.isdigit() and last.isdigit() and int(first) <= int(last)):
        raise UsageError("not a range", got=text, expected="FIRST..LAST, e.g. 1..8")
    return [str(number) for number in range(int(first), int(last) + 1)]


def build_case(
    models: list[str],
    *,
    video: list[str],
    fps: float | None,
    p99_ms: float | None,
    size: str | None,
    shape: list[str],
    layout: str | None,
    settings: list[str],
    seed: int,
    backend: str | None = None,
    device: str | None = None,
    load: str | None = None,
    scope: Scope = "stream",
    stop: Stop | None = None,
) -> Case:
    """The case that the shared options describe. Raises UsageError or ModelError before anything is loaded."""
    from framepace.api import make_case

    for option, value in (("--fps", fps), ("--p99-ms", p99_ms)):
        if value is not None and value <= 0:
            raise UsageError(f"{option} must be above 0", got=value, expected="e.g. 30")
    arrivals = None
    if load is not None:
        arrivals = parse_load(load)
        fps = load_fps(arrivals) or fps
    return make_case(
        models,
        videos=video,
        fps=fps,
        load=arrivals,
        p99_ms=p99_ms,
        scope=scope,
        stop=stop,
        settings=_changes(settings, size=size, layout=layout, backend=backend, device=device),
        shapes=parse_shapes(shape),
        seed=seed,
    )


def _changes(
    settings: list[str], *, size: str | None, layout: str | None, backend: str | None, device: str | None
) -> dict[str, Any]:
    """The settings that options of their own and --set change; --set wins, except over --size."""
    from framepace.api import device_setting

    typed: dict[str, Any] = parse_pairs(settings, "--set")
    changes: dict[str, Any] = {"layout": layout, "backend": backend}
    if device is not None:
        name = "device"
        if backend is not None:
            name = device_setting(backend, device)
        changes[name] = device
    changes = {name: value for name, value in changes.items() if value is not None} | typed
    if size is not None:
        changes["size"] = parse_size(size)
    return changes


def stop_rule(seconds: float | None, count: int | None, precision: float | None) -> Stop:
    """The stop rule of the options; ten seconds when none is given, a minute's ceiling on precision."""
    for option, value in (("--seconds", seconds), ("--count", count), ("--precision", precision)):
        if value is not None and value <= 0:
            raise UsageError(f"{option} must be above 0", got=value)
    if seconds is None and count is None:
        seconds = LONGEST_S
        if precision is None:
            seconds = USUAL_S
    return Stop(seconds=seconds, count=count, precision=precision)
