"""Programs of other people by their packages' own entry points: what `attach --explain` says, and what launch brings.

Each program is explained within a time limit; then it runs as it is and with its remedy by `launch`, in pairs of whole
runs in turn, with nothing observed. The remedy is the first setting that the trials proved, else the one that is
expected to help, and the row says which. `python` needs nudenet, ddddocr, rapidocr, torchvision, ultralytics and onnx.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np

from framepace import api
from framepace.analyze.stats import paired_ratio
from framepace.attaching.program import run_program
from framepace.errors import FramepaceError
from framepace.facts.programtrial import ProgramExplanation
from framepace.facts.summary import Estimate
from framepace.units import format_ms

Row = dict[str, Any]
Settings = dict[str, str]
Used = tuple[float, float]  # CPU time and wall time of a run (s), its start included
_PROGRAMS = Path(__file__).resolve().parent.parent / "tests" / "programs"
_FEWEST_PAIRS = 4
_MOST_PAIRS = 16
_SHOWN = {"latency": "latency", "CPU time a frame": "CPU time"}
_EXPLAIN_SHARE = 0.6  # of a program's time; the pairs have the others
_EXPORT = "from ultralytics import YOLO; YOLO('yolo11n.yaml').export(format='onnx', imgsz=320, simplify=False)"
_SIZES = {"detector": "320x192", "classifier": "192x48", "recogniser": "320x48"}


@dataclass(frozen=True)
class Real:
    """A program: its command, whose names in braces are filled in, what may help it, and pictures of the video."""

    command: str
    remedy: tuple[str, str] = ("spinning", "off")
    frames: int = 100


_FOUR = " ".join(f"{{data}}/{name}.onnx@{size}" for name, size in _SIZES.items()) + " {folder}/yolo11n.onnx@320x320"
REAL = {
    "nudenet": Real("{bin}/python {programs}/packages/nudenet_loop.py {video}"),
    "ddddocr": Real("{bin}/python {programs}/packages/ddddocr_loop.py {video}"),
    "rapidocr": Real("{bin}/python {programs}/packages/rapidocr_loop.py {video}", frames=10),
    "ultralytics": Real("{bin}/yolo predict model={folder}/yolo11n.onnx source={video} imgsz=320 device=cpu"),
    "torchvision": Real("{bin}/python {programs}/packages/torchvision_loop.py {video}", ("threads", "1")),
    "four serial": Real("{bin}/python {programs}/four_models.py {video} serial " + _FOUR),
    "four threads": Real("{bin}/python {programs}/four_models.py {video} threads " + _FOUR, ("threads", "1")),
    "four processes": Real("{bin}/python {programs}/four_models.py {video} processes " + _FOUR, ("threads", "1")),
    "four coroutines": Real("{bin}/python {programs}/four_models.py {video} coroutines " + _FOUR, ("threads", "1")),
}


def real_rows(python: str, data: Path, folder: Path, names: Sequence[str], seconds: float) -> Iterator[Row]:
    """Two rows for each program: what is said of it, and what launch brings.

    Args:
        python: the Python that runs them.
        data: the folder of `bikes.mp4` and three networks (`make data`).
        folder: where a part of the video and a network are written.
        seconds: for each program.
    """
    _export(python, folder)
    places = {"bin": Path(python).parent, "data": data, "folder": folder, "programs": _PROGRAMS}
    for name in names:
        video = _cut(data / "bikes.mp4", folder / "bikes.mp4", REAL[name].frames)
        command = REAL[name].command.format(**places, video=video).split()
        yield from _rows_of(name, command, seconds)


def _export(python: str, folder: Path) -> None:
    """A network as ultralytics exports it, whose weights are drawn at random."""
    os.environ["YOLO_CONFIG_DIR"] = str(folder)
    subprocess.run([python, "-c", _EXPORT], cwd=folder, check=True, capture_output=True)


def _cut(video: Path, out: Path, frames: int) -> Path:
    """The first pictures of a video, as they are."""
    with av.open(str(video)) as whole, av.open(str(out), "w") as part:
        stream = part.add_stream_from_template(whole.streams.video[0])
        for number, packet in enumerate(whole.demux(video=0)):
            if number == frames or packet.dts is None:
                break
            packet.stream = stream
            part.mux(packet)
    return out


def _rows_of(name: str, command: Sequence[str], seconds: float) -> Iterator[Row]:
    load = os.getloadavg()[0]
    until = time.monotonic() + seconds
    try:
        answer = api.explain_program(command, time_limit=_EXPLAIN_SHARE * seconds)
    except FramepaceError as error:
        yield {"what": f"{name}: attach", "got": str(error), "met": False}
        return
    yield {"what": f"{name}: attach", "got": _words(answer), "load": load, "runs": answer.runs}
    yield _gain(name, command, _remedy(name, answer), until)


def _remedy(name: str, answer: ProgramExplanation) -> Settings:
    """What the trials proved, else what may help."""
    proven = (trial.settings for trial in answer.trials if trial.verdict == "confirmed")
    return next(proven, dict([REAL[name].remedy]))


def _words(answer: ProgramExplanation) -> str:
    """The verdicts on what was tried, and the first suspicion."""
    latency = format_ms(answer.summary.frames.mean)
    tried = [_trial(trial.settings, trial.verdict, dict(_ratios(trial.interventions))) for trial in answer.trials]
    suspected = [f"{one.code} {one.title}".strip() for one in answer.suspected[:1]]
    return "; ".join([f"{latency} per frame", *tried, *suspected])


def _trial(settings: Settings, verdict: str, ratios: dict[str, Estimate]) -> str:
    texts = [f"{name} {_interval(ratio)}" for name, ratio in ratios.items()]
    return f"{_written(settings)} {verdict} ({', '.join(texts)})"


def _ratios(interventions: Sequence[Any]) -> Iterator[tuple[str, Estimate]]:
    for one in interventions:
        if one.metric in _SHOWN:
            yield _SHOWN[one.metric], one.ratio


def _written(settings: Settings) -> str:
    return " ".join(f"{name}={value}" for name, value in settings.items())


def _interval(ratio: Estimate) -> str:
    low, high = ratio.interval
    if low == high:  # of one pair
        return f"{ratio.value:.2f}"
    return f"{ratio.value:.2f} [{low:.2f}, {high:.2f}]"


def _gain(name: str, command: Sequence[str], remedy: Settings, until: float) -> Row:
    """CPU and wall time of a whole run with the remedy over those as it is."""
    sides = _pairs(command, remedy, until)
    cpu, wall = (_ratio(sides, place) for place in (0, 1))
    first = np.median(np.array(sides[0]), axis=0)
    pairs = len(sides[0])
    got = f"CPU time {_interval(cpu)} of {first[0]:.1f} s, wall {_interval(wall)} of {first[1]:.1f} s; {pairs} pairs"
    label = f"{name}: launch {_written(remedy)}"
    return {
        "what": label,
        "got": got,
        "goal": "CPU < 1, surely",
        "met": cpu.interval[1] < 1,
        "load": os.getloadavg()[0],
    }


def _pairs(command: Sequence[str], remedy: Settings, until: float) -> tuple[list[Used], list[Used]]:
    """Runs as it is and with the remedy; every second pair the other way round."""
    sides: tuple[list[Used], list[Used]] = ([], [])
    for pair in range(_MOST_PAIRS):
        if pair >= _FEWEST_PAIRS and time.monotonic() > until:
            break
        for side in (0, 1) if pair % 2 == 0 else (1, 0):
            sides[side].append(_used(command, remedy if side else None))
    return sides


def _used(command: Sequence[str], remedy: Settings | None) -> Used:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    if remedy is None:
        code = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode
    else:
        code = run_program(command, None, remedy, quiet=True).code
    if code:
        sys.exit(f"{' '.join(command)} ended with exit code {code}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return used, time.monotonic() - began


def _ratio(sides: tuple[list[Used], list[Used]], place: int) -> Estimate:
    before, after = ([np.array([used[place]]) for used in side] for side in sides)
    return paired_ratio(before, after, "mean")
