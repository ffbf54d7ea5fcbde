"""Command lines of every verb with every option, most of them wrong in one place or two; run in this process."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO

from attack import mutations
from attack.readers import Place
from framepace.errors import FramepaceError

# A setting of each kind, right and wrong ones.
_SETTINGS = (
    "workers=2", "batch=2", "delay-ms=1", "strategy=serial", "gc=off", "threads=1", "batch-policy=window",
    "window-ms=nan", "threads=²", "workers=", "=1", "nope=1", "option.latency_us=5", "detector.batch=2", "mean=1,x",
    "prepare=os:system", "finish=nope:x", "strategy=", "workers=-1", "cameras=0", "batch-sizes=4+x", "x.y.z=1",
)  # fmt: skip
_LOADS = ("closed:2", "paced:9", "poisson:9", "burst:9:8", "replay:bench", "closed:nan", "paced:0", "burst:1:2:3", "")
OPTIONS: Mapping[str, Sequence[str]] = {
    "--video": ("video.mp4", "video.ts", "nothing.mp4", "plan.yaml", ".", "/dev/zero", "rtsp://"),
    "--fps": ("30", "10"),
    "--load": _LOADS,
    "--scope": ("model", "pipeline", "stream", "Stream", "all"),
    "--p99-ms": ("33", "5"),
    "--size": ("64x64", "32x48", "0x0", "64", "²x²"),
    "--shape": ("x=1x3x8x8", "nope=1x3x8x8", "x=", "x=99999999x99999999"),
    "--layout": ("nchw", "nhwc", "abc"),
    "--set": _SETTINGS,
    "--seconds": ("0.02", "0.01"),
    "--count": ("1", "3"),
    "--precision": ("0.5", "2"),
    "--seed": ("0", "7"),
    "--backend": ("null", "simulated", "nope", "torch", "tensorrt"),
    "--device": ("t4", "cpu", "cuda:99", "cuda:x", "nope"),
    "--layers": (),
    "--json": (),
    "--overwrite": (),
    "--out": ("out", "bench", "plan.yaml", "plan.yaml/x", "/proc/x", "a" * 300, ""),
    "--time-limit": ("1", "1.5"),
    "--expect": ("5ms", "5", "nan ms", "-1ms"),
    "--from": ("trtexec-10", "loop", "nope", "loop:x"),
    "--vary": ("workers=1,2", "workers=1..2", "workers=1..1000000000", "batch=", "nope=1", "threads=3..1"),
    "--cameras": ("1", "2"),
    "--objective": ("p99", "cameras", "nope"),
    "--allow-precision": ("fp16", "int8,fp16", "fp3"),
    "--fixed": ("workers",),
    "--memory-mb": ("100", "1"),
    "--max": ("1", "2"),
    "--predict": (),
    "--threshold": ("0.03", "1"),
    "--column": ("latency=latency_ms", "latency=infer_ms:us", "nope=infer_ms", "latency=nope", "latency", "=", ":"),
    "--versus": ("precision=fp16", "backend=null", "=1"),
    "--frames": ("1", "0"),
    "--source": ("a=video.mp4", "synthetic", "-s", "=", "a=", "rtsp://127.0.0.1:9/x", "a=nothing.mp4", "a=."),
    "--sources": ("plan.yaml", "bench", "nothing.yaml"),
    "--sink": ("stdout", "jsonl:out.jsonl", "nope:x", "python:nope", "jsonl:/proc/x"),
    "--every": ("2", "adaptive", "0", "often"),
    "--max-age-ms": ("300", "0"),
    "--overload": ("skip", "fewer", "smaller=plan.yaml", "smaller=", "nope"),
    "--control": ("control", "plan.yaml", "/proc/x", "a" * 300),
    "--trace-share": ("0.5", "0", "2"),
    "--log": ("off", "json", "nope"),
    "--nope": ("1",),
    "-h": (),
}
_CASE = ("null", "--backend", "null", "--size", "16x16", "--count", "2", "--seconds", "0.02")
_SIMULATED = ("builtin:classifier", "--backend", "simulated", "--device", "t4", "--fps", "30", "--time-limit", "1")
# Each verb with its arguments and, where it takes long when all is right, True: then something is always wrong.
_VERBS: tuple[tuple[tuple[str, ...], bool], ...] = (
    (("bench", *_CASE), False),
    (("bench", "plan.yaml", "--count", "2"), True),
    (("bench", "model.onnx", "--count", "2"), True),
    (("bench", "model.pt2", "--count", "2"), True),
    (("sweep", *_CASE, "--vary", "workers=1"), False),
    (("explain", *_SIMULATED), True),
    (("tune", *_SIMULATED), True),
    (("capacity", *_SIMULATED, "--max", "1"), True),
    (("compare", "bench", "killed"), False),
    (("compare", "log.csv", "log.jsonl"), False),
    (("explain", "log.csv"), False),
    (("report", "bench", "killed"), False),
    (("layers", "bench"), False),
    (("accuracy", "model.onnx", "--frames", "2"), False),
    (("accuracy", "model.onnx", "--frames", "2", "--precision", "fp16", "--hunt"), False),
    (("accuracy", "model.onnx", "--frames", "2", "--precision", "fp16", "--mend", "mixed.onnx"), False),
    (("layers", "model.onnx", "--no-floors"), True),
    (("plan", "show", "plan.yaml"), False),
    (("run", "null", "--backend", "null", "--source", "a=video.mp4", "--seconds", "0.02", "--log", "off"), True),
    (("control", "status", "control"), False),
    (("control", "add", "control", "a=video.mp4", "--field", "every=2"), False),
    (("settings",), False),
    (("doctor",), False),
    ((), False),
)
LOGS = ("log.csv", "log.jsonl")
_WRONG_MODELS = ("nothing.onnx", "builtin:nope", "builtin:classifier@99999x99999", "video.mp4", "/dev/zero", "", ".",
                 "x" * 5000, "plan.yaml", "bench", *mutations.ADDRESSES)  # fmt: skip


def arguments(rng: random.Random) -> list[str]:
    """A command line."""
    verb, slow = rng.choice(_VERBS)
    line = list(verb)
    for _ in range(rng.choice((1, 1, 2, 3))):
        name = rng.choice(list(OPTIONS))
        line += [name, *_value(name, rng)]
    if slow or rng.random() < 0.85:
        line += ["--fps", rng.choice(mutations.NUMBERS[:20])] if rng.random() < 0.5 else ["--nope"]
        _spoil(line, rng)
    return [word for word in line if "\x00" not in word]  # which no system lets through


def _value(name: str, rng: random.Random) -> list[str]:
    if not OPTIONS[name]:
        return []
    if name == "--video" and rng.random() < 0.5:
        return [rng.choice(mutations.ADDRESSES), "--nope"]  # which no camera has to answer
    if rng.random() < 0.4:
        return [rng.choice(mutations.NUMBERS)]
    return [rng.choice(OPTIONS[name])]


def _spoil(line: list[str], rng: random.Random) -> None:
    """Exchange, remove or repeat a word."""
    if len(line) < 2:
        return
    place = rng.randrange(1, len(line))
    action = rng.random()
    if action < 0.4:
        line[place] = rng.choice((*mutations.NUMBERS, *_WRONG_MODELS))
    elif action < 0.6:
        del line[place]
    elif action < 0.7:
        line.insert(place, line[place])


def attempt(place: Place) -> str:
    """Run a command line beside the corpus; its output. Raises what the program itself would call a bug."""
    line = arguments(place.rng)
    (place.folder / "line").write_text(repr(line))
    for name in ("bench", "killed", "model.onnx", "model.pt2", "video.mp4", "video.ts", "plan.yaml", *LOGS):
        (place.folder / name).symlink_to(place.corpus / name)
    out = StringIO()
    os.chdir(place.folder)
    with redirect_stdout(out), redirect_stderr(out):
        code = run(line)
    if code not in (0, 1, 2):
        raise AssertionError(f"exit code {code}")
    if "Traceback" in out.getvalue():
        raise AssertionError(out.getvalue())
    return out.getvalue()


def run(line: Sequence[str]) -> int:
    """The exit code of the command; errors of users and systems are printed as `framepace` prints them."""
    import sys

    from framepace.cli.app import app

    try:
        app(args=list(line))
    except SystemExit as end:
        return int(end.code or 0)
    except FramepaceError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except (OSError, MemoryError) as error:  # which `framepace` makes sentences of
        print(error, file=sys.stderr)
        return 2
    return 0
