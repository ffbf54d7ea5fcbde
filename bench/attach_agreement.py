"""Does attach tell what `framepace bench` tells? One run, seen from outside by the one and from inside by the other.

The program that is attached is `framepace bench` itself: the same settings, model, video and frames, so that what
others take of the machine is the same for both. Each frame is found in both traces by when its inference began.

The one has the library's calls, the other stamps of its own around them: how far apart the two are, per border, is the
first table. What bench does between its stamps 'decoded' and 'batched' (hand-over, queue) is preparation for attach, as
it is in any program that has no queue: 'from the picture to the model' is that for both.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.analyze.stages import stages
from framepace.attaching.program import observe
from framepace.facts.plan import Target
from framepace.facts.trace import Trace
from framepace.store import load_trace
from framepace.units import NS_PER_US, format_ms

Row = dict[str, Any]
_LOAD = ("--fps", "10", "--seconds", "25", "--set", "threads=1")
_VIDEOS = ("small", "medium")  # 640x384 and 1920x1080
_GOAL = 0.03
_PREPARING = ("hand-over", "queue", "prepare")
_TO_THE_MODEL = ("decode", *_PREPARING)
_WHOLE = (*_TO_THE_MODEL, "infer", "finish")  # when a frame was due, nobody sees from outside
_BORDERS = ("captured", "decoded", "batched", "started", "finished", "delivered")
_STATISTICS = (("median", 50), ("p90", 90), ("p99", 99))


def agreement_rows(folder: Path) -> Iterator[Row]:
    """The rows of the table."""
    for video in _VIDEOS:
        attached, measured = _both(folder, video)
        yield from (_border(video, name, attached, measured) for name in _BORDERS)
        for name, before, after in _samples(measured, attached):
            for statistic, share in _STATISTICS:
                numbers = (float(np.percentile(values, share)) for values in (before, after))
                yield _row(f"{video}: {name}, {statistic}", *numbers)


def _both(folder: Path, video: str) -> tuple[Trace, Trace]:
    """The frames that bench counts, as attach and as bench tell them."""
    with tempfile.TemporaryDirectory() as name:
        out = Path(name) / "bench"
        files = [str(folder / "detector_320x192.onnx"), "--video", str(folder / f"{video}.mp4"), "--out", str(out)]
        command = [sys.executable, "-m", "framepace", "bench", *files, *_LOAD]
        outside = observe(command, None, Target(), quiet=True).trace
        inside = load_trace(out).measured()
    return outside.where(_nearest(outside, inside)), inside


def _border(video: str, name: str, outside: Trace, inside: Trace) -> Row:
    """How much later attach sees a border than bench stamps it."""
    apart = (outside.requests[name] - inside.requests[name]) / NS_PER_US
    low, middle, high = np.percentile(apart, (10, 50, 90))
    return {"what": f"{video}: '{name}' by attach less by bench", "got": f"{middle:.0f} us [{low:.0f}, {high:.0f}]"}


def _nearest(outside: Trace, inside: Trace) -> NDArray[np.bool_]:
    """The rows of one trace that began when those of the other did."""
    keep = np.zeros(len(outside), bool)
    for begin in inside.requests["started"]:
        keep[np.argmin(np.abs(outside.requests["started"] - begin))] = True
    return keep


def _samples(inside: Trace, outside: Trace) -> Iterator[tuple[str, NDArray[Any], NDArray[Any]]]:
    """What is compared, of bench and of attach (ns)."""
    bench, attach = stages(inside), stages(outside)
    yield "from decoding to the end", _sum(bench, _WHOLE), _sum(attach, _WHOLE)
    yield "until the model runs", _sum(bench, _TO_THE_MODEL), _sum(attach, _TO_THE_MODEL)
    yield "from the picture to the model", _sum(bench, _PREPARING), _sum(attach, _PREPARING)
    for name in ("infer", "decode"):
        yield name, bench[name], attach[name]


def _sum(columns: Mapping[str, NDArray[Any]], names: Sequence[str]) -> NDArray[Any]:
    total: NDArray[Any] = np.sum([columns[name] for name in names], axis=0)
    return total


def _row(what: str, before: float, after: float) -> Row:
    """Attach over bench."""
    ratio = after / before
    got = f"{ratio:.3f} ({format_ms(before)}, {format_ms(after)})"
    return {"what": what, "got": got, "goal": "0.97 to 1.03", "met": abs(ratio - 1) <= _GOAL}
