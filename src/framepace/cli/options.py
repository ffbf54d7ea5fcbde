"""Options that several commands share, and how they become a case."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from framepace import values
from framepace.errors import UsageError
from framepace.facts.inputs import MOST_PICTURES
from framepace.facts.settings import Case
from framepace.facts.workload import (
    Burst,
    Closed,
    Delay,
    FileTimes,
    Load,
    Paced,
    Poisson,
    Replay,
    Scope,
    Stop,
    load_fps,
)

if TYPE_CHECKING:
    from framepace.naming import NamedInputs

_LOAD_FIX = "e.g. paced:30, burst:30:8 or closed:4"
_MOST_NUMBERS = {"file": 0, "closed": 1, "delay": 1, "paced": 2, "poisson": 1, "burst": 2}
LOADS = ("closed", "delay", "paced", "poisson", "burst", "replay", "file")
DEFAULT_OUT = Path("framepace-out")
SHORTEST_S = 0.001
MOST_FRAMES = 1_000_000_000
MOST_IN_FLIGHT = 65_536
USUAL_S = 10.0
LONGEST_S = 60.0  # where a precision is to be reached


def number_option(
    name: str, *, least: float | None = None, most: float | None = None, whole: bool = False, help: str
) -> Any:
    """An option that takes a number within bounds; the error for any other number names them."""
    read = values.option(name, least=least, most=most, whole=whole)
    return typer.Option(name, parser=read, metavar="N" if whole else "NUMBER", help=help)


def path_option(name: str, *, help: str) -> Any:
    """An option that takes a path."""
    return typer.Option(name, parser=values.path_option(name), metavar="PATH", help=help, show_default=False)


def path_argument(metavar: str, *, help: str) -> Any:
    """An argument that takes a path."""
    return typer.Argument(parser=values.path_option(metavar), metavar=metavar, help=help, show_default=False)


def time_limit_option(help: str) -> Any:
    """The option --time-limit."""
    return number_option("--time-limit", least=1.0, most=values.LONGEST_TIME_S, help=help)


_MODELS = "model files (.onnx, .pt2, .pt, .engine), 'builtin:NAME' for one of its own, or one plan (.yaml)"
Models = Annotated[list[str], typer.Argument(metavar="MODEL...", help=_MODELS, show_default=False)]
_MODELS_OR_LOG = f"{_MODELS}; or a log of another program (.csv, .jsonl, .parquet, ...)"
ModelsOrLog = Annotated[list[str], typer.Argument(metavar="MODEL...", help=_MODELS_OR_LOG, show_default=False)]
_VIDEO = "video file or stream address; repeat for more cameras (default: a moving pattern)"
Video = Annotated[list[str], typer.Option("--video", metavar="VIDEO", help=_VIDEO)]
_FPS = "frames per second of each camera: how fast frames come, and what has to be kept up with"
Fps = Annotated[
    float | None,
    number_option("--fps", least=values.LOWEST_RATE, most=values.HIGHEST_RATE, help=_FPS),
]
_P99 = "frame budget: 99 of 100 frames must be done within so many ms (default: the time between two frames)"
P99 = Annotated[
    float | None,
    number_option("--p99-ms", least=values.SHORTEST_MS, most=values.LONGEST_MS, help=_P99),
]
_SIZE = (
    "picture that the model takes, width first: 640x384 (default: as the model says), or native: each at its own size"
)
Size = Annotated[str | None, typer.Option("--size", metavar="WxH", help=_SIZE)]
_SERVER = "KServe v2 server that runs the models, which are named as there: http://127.0.0.1:8000, or grpc://..."
Server = Annotated[str | None, typer.Option("--server", metavar="URL", help=_SERVER)]
_BACKENDS = "library that runs the models: onnxruntime (the default), tensorrt, torch, server, simulated or null"
Backend = Annotated[str | None, typer.Option("--backend", metavar="NAME", help=_BACKENDS)]
_DEVICE = "cpu (the default), cuda or cuda:N; with --backend simulated: t4, xavier, a100, h100 or h200"
DeviceName = Annotated[str | None, typer.Option("--device", metavar="DEVICE", help=_DEVICE)]
Layers = Annotated[bool, typer.Option("--layers", help="also time each layer, if the library can")]
_RAY = "Ray cluster that does it: local (this machine), local:N (in N places), auto, HOST:PORT or ray://HOST:PORT"
Ray = Annotated[str | None, typer.Option("--ray", metavar="ADDRESS", help=_RAY)]
_SHAPE = "shape of an input that the model leaves open, e.g. images=1x3x480x640; repeat for several"
Shape = Annotated[list[str], typer.Option("--shape", metavar="NAME=SHAPE", help=_SHAPE)]
_INPUT = "what an input is given: a number, or a file (NAME=FILE.npy), whose rows are taken in turn; repeat for several"
Input = Annotated[list[str], typer.Option("--input", metavar="NAME=VALUE", help=_INPUT)]
_IMAGE = "input that takes the picture (default: the one that looks like it); repeat for several"
Image = Annotated[list[str], typer.Option("--image", metavar="NAME", help=_IMAGE)]
_PREVIOUS = "input that takes the picture before, of the same source; repeat for several"
Previous = Annotated[list[str], typer.Option("--previous", metavar="NAME", help=_PREVIOUS)]
_STATE = (
    "output that comes back as this input with the next picture of the same source; zero at first; repeat for several"
)
State = Annotated[list[str], typer.Option("--state", metavar="IN=OUT", help=_STATE)]
_WINDOW = "clips of the last N pictures, STRIDE pictures apart"
Window = Annotated[str | None, typer.Option("--window", metavar="N[:STRIDE]", help=_WINDOW)]
Layout = Annotated[
    str | None,
    typer.Option(
        "--layout",
        metavar="LAYOUT",
        help="nchw or nhwc: whether colours come before the pixels or after (default: as the model says)",
    ),
]
_SETTING = "a setting, e.g. threads=1; 'framepace settings' lists them; repeat for several"
Settings = Annotated[list[str], typer.Option("--set", metavar="NAME=VALUE", help=_SETTING)]
Seed = Annotated[
    int,
    number_option("--seed", least=0, most=values.LARGEST_SEED, whole=True, help="seed for the load and random inputs"),
]
Json = Annotated[bool, typer.Option("--json", help="print one JSON object instead of text")]
Out = Annotated[
    Path | None, path_option("--out", help="folder for traces and reports (default: a new one in framepace-out)")
]
_OVERWRITE = "replace what is in --out, even what something else wrote there"
Overwrite = Annotated[bool, typer.Option("--overwrite", help=_OVERWRITE)]
Seconds = Annotated[
    float | None,
    number_option("--seconds", least=SHORTEST_S, most=values.LONGEST_TIME_S, help="seconds to measure after warm-up"),
]
Count = Annotated[
    int | None,
    number_option("--count", least=1, most=MOST_FRAMES, whole=True, help="frames to measure after warm-up"),
]
_PRECISION = "stop when the median is known this well: 0.01 is to 1 %"
Precision = Annotated[float | None, number_option("--precision", least=1e-6, most=1.0, help=_PRECISION)]
ScopeName = Annotated[
    Scope,
    typer.Option(
        "--scope", help="what is run: the model alone, with preparation (pipeline), or all from the video on (stream)"
    ),
]
_LOAD = (
    "how frames come: closed[:N] (N at a time, back to back), delay:MS (so long after the last), paced:FPS (evenly), "
    "poisson:FPS (at random), burst:FPS:SIZE, replay:TRACE (as recorded), file (as the video says)"
)
LoadText = Annotated[
    str | None,
    typer.Option("--load", metavar="LOAD", help=_LOAD),
]


def parse_load(text: str) -> Load:
    """A load from 'closed:4', 'delay:20', 'paced:30', 'poisson:30', 'burst:30:8', 'replay:TRACE' or 'file'."""
    from framepace.errors import unknown

    kind, _, parameters = text.partition(":")
    if kind not in LOADS:
        raise unknown("load", values.shown(kind), LOADS)
    if kind == "file" and not parameters:
        return FileTimes()
    if kind == "replay":
        return Replay(trace=values.location(parameters, "replay:TRACE"))
    numbers = _numbers(kind, parameters, text)
    if kind == "closed":
        return Closed(concurrency=_count(numbers[0], "closed:N") if numbers else None)
    if not numbers:
        expected = f"{kind}:NUMBER, e.g. {kind}:30"
        raise UsageError(f"load {kind!r} needs a number", got=values.shown(text), expected=expected, fix=_LOAD_FIX)
    return _open_load(kind, numbers)


def _numbers(kind: str, parameters: str, text: str) -> list[str]:
    """The numbers after the kind of a load. Raises UsageError where there are too many."""
    if not parameters:
        return []
    numbers = parameters.split(":")
    if len(numbers) > _MOST_NUMBERS[kind]:
        expected = f"{kind} with at most {_MOST_NUMBERS[kind]} numbers"
        fix = _LOAD_FIX
        if not _MOST_NUMBERS[kind]:
            fix = f"--load {kind}"
        raise UsageError(f"load {kind!r} has too many numbers", got=values.shown(text), expected=expected, fix=fix)
    return numbers


def _open_load(kind: str, numbers: list[str]) -> Load:
    """The load of that kind with its one or two numbers."""
    if kind == "delay":
        return Delay(delay_ms=values.number(numbers[0], "delay:MS", least=0.0, most=values.LONGEST_MS))
    fps = values.number(numbers[0], f"{kind}:FPS", least=values.LOWEST_RATE, most=values.HIGHEST_RATE)
    if kind == "poisson":
        return Poisson(fps=fps)
    if kind == "burst":
        return Burst(fps=fps, size=_count(numbers[1], "burst:FPS:SIZE") if len(numbers) > 1 else 8)
    return Paced(fps=fps, jitter=_jitter(numbers))


def _jitter(numbers: list[str]) -> float:
    """The second number of 'paced'; 0 where there is none."""
    if len(numbers) == 1:
        return 0.0
    return values.number(numbers[1], "paced:FPS:JITTER", least=0.0, most=0.5)


def _count(text: str, name: str) -> int:
    return values.whole_number(text, name, least=1, most=MOST_IN_FLIGHT)


def parse_pairs(texts: list[str], option: str) -> dict[str, str]:
    """'NAME=VALUE' texts as a dict."""
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals):
            fix = f"write the name, '=' and the value after {option}"
            raise UsageError(
                f"{option} needs NAME=VALUE", got=values.shown(text), expected=f"{option} NAME=VALUE", fix=fix
            )
        pairs[name.strip()] = value.strip()
    return pairs


def parse_shapes(texts: list[str]) -> dict[str, tuple[int, ...]]:
    """'x=1x3x480x640' texts as shapes by input name."""
    return {name: values.shape(value) for name, value in parse_pairs(texts, "--shape").items()}


def named_inputs(
    inputs: list[str], images: list[str], previous: list[str], states: list[str], window: str | None
) -> NamedInputs:
    """The five options that say what goes into which input. Raises UsageError."""
    return {
        "inputs": parse_pairs(inputs, "--input"),
        "images": images,
        "previous": previous,
        "states": parse_pairs(states, "--state"),
        "window": parse_window(window),
    }


def parse_window(text: str | None) -> list[int] | None:
    """'16' and '16:4' as numbers. Raises UsageError."""
    if text is None:
        return None
    parts = text.split(":")
    if len(parts) > 2:
        fix = "e.g. --window 16, or --window 16:4"
        raise UsageError("--window takes one or two numbers", got=values.shown(text), expected="N[:STRIDE]", fix=fix)
    return [values.whole_number(part, "--window", least=1, most=MOST_PICTURES) for part in parts]


def parse_vary(texts: list[str]) -> dict[str, list[str]]:
    """'batch=1,2,4' and 'workers=1..8' as lists of values by setting. Raises UsageError for anything else."""
    grid: dict[str, list[str]] = {}
    for text in texts:
        name, equals, listed = text.partition("=")
        if not (equals and name.strip() and listed):
            expected = "NAME=V1,V2,... or NAME=1..8"
            fix = "framepace settings lists the names"
            raise UsageError(
                "--vary needs a setting and its values", got=values.shown(text), expected=expected, fix=fix
            )
        grid[name.strip()] = [value for part in listed.split(",") for value in values.span(part, "--vary")]
    if grid:
        values.check_cells(grid)
    return grid


def at_server(models: list[str], server: str | None) -> list[str]:
    """The locations of models: as they are, or those of a server's models of these names. Raises UsageError."""
    from framepace.openinference.client.address import location_at

    if server is None:
        return models
    return [location_at(server, name) for name in models]


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
    named: NamedInputs | None = None,
) -> Case:
    """The case that the shared options describe. Raises UsageError or ModelError before anything is loaded."""
    from framepace.api import make_case

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
        settings=changes(settings, size=size, layout=layout, backend=backend, device=device),
        shapes=parse_shapes(shape),
        seed=seed,
        **(named or {}),
    )


def changes(
    settings: list[str], *, size: str | None, layout: str | None, backend: str | None, device: str | None
) -> dict[str, Any]:
    """The settings changed by --set and by dedicated options; --set wins, except over --size."""
    typed: dict[str, Any] = parse_pairs(settings, "--set")
    changes: dict[str, Any] = {"layout": layout, "backend": backend}
    if device is not None:
        changes[_device_setting(backend, device)] = device
    changes = {name: value for name, value in changes.items() if value is not None} | typed
    if size is not None:
        changes["size"] = size
    return changes


def _device_setting(backend: str | None, device: str) -> str:
    from framepace.api import device_setting

    if backend is None:
        return "device"
    return device_setting(backend, device)


def stop_rule(seconds: float | None, count: int | None, precision: float | None) -> Stop:
    """The stop rule of the options: ten seconds by default; --precision stops after a minute at the latest."""
    if seconds is None and count is None:
        seconds = LONGEST_S
        if precision is None:
            seconds = USUAL_S
    return Stop(seconds=seconds, count=count, precision=precision)
