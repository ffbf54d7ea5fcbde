"""Runs that are killed at random moments: what they wrote can be read, but for the last second."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from framepace.facts.trace import Trace
from framepace.store import load_trace, segments
from framepace.units import NS_PER_S
from tests.doubles.commands import Command
from tests.running.test_command import RUN
from tests.running.videos import video

KILLS = 200
TOGETHER = 8
FIRST_S = 0.2
LEAST_S = 5.0
PATIENCE_S = 120.0
SEED = 21


@contextmanager
def commands_in(folders: list[Path], path: str) -> Iterator[list[Command]]:
    """A run that goes on in each of the folders, which are made."""
    with ExitStack() as stack:
        commands = []
        for folder in folders:
            folder.mkdir()
            out = ("--out", folder / "out", "--sink", f"jsonl:{folder / 'results.jsonl'}")
            commands.append(stack.enter_context(Command(folder, *RUN, "-s", f"a={path}", "--loop", *out)))
        yield commands


def begun_after(folders: list[Path], path: str) -> float:
    """How long it takes (s) until the last of so many runs has written its first result, on this machine now."""
    with commands_in(folders[:1], path) as (command,):  # which loads what the others are forked from
        command.signal(signal.SIGKILL)
    began = time.monotonic()
    with commands_in(folders[1:], path):
        while not all(results_of(folder) for folder in folders[1:]):
            assert time.monotonic() < began + PATIENCE_S
            time.sleep(0.02)
    return time.monotonic() - began


def killed(folders: list[Path], path: str, draw: random.Random, longest_s: float) -> list[float]:
    """Run one command per folder and kill each at a moment of its own (monotonic s); the moments, in their order."""
    moments = [draw.uniform(FIRST_S, longest_s) for _ in folders]
    ended = [0.0] * len(folders)
    began = time.monotonic()
    with commands_in(folders, path) as commands:
        for place in sorted(range(len(folders)), key=lambda place: moments[place]):
            time.sleep(max(0.0, began + moments[place] - time.monotonic()))
            ended[place] = time.monotonic()
            commands[place].signal(signal.SIGKILL)
            commands[place].wait()
    return ended


def trace_of(folder: Path) -> Trace | None:
    """The trace that a run left, every segment of which can be read; None where it had not begun."""
    traces = [load_trace(segment) for segment in segments(folder / "out" / "trace")]
    return traces[-1] if traces else None


def results_of(folder: Path) -> list[int]:
    """The numbers of the results that a run wrote: every line but the last is whole."""
    path = folder / "results.jsonl"
    if not path.exists():
        return []
    *lines, rest = path.read_text().split("\n")
    assert rest == "" or len(rest) < 1 << 16
    return [json.loads(line)["number"] for line in lines]


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_what_a_run_wrote_can_be_read_whenever_it_is_killed(tmp_path: Path) -> None:
    """Of 200, all traces can be read, with rows up to the last second; every line of results is whole.

    The moments reach to twice as long as a run needs to begin here and now.
    """
    os.nice(5)
    path = video(tmp_path / "video.mp4")
    draw = random.Random(SEED)
    longest_s = max(LEAST_S, 2 * begun_after([tmp_path / f"first-{number}" for number in range(1 + TOGETHER)], path))
    lost_s = []
    begun = 0
    for first in range(0, KILLS, TOGETHER):
        folders = [tmp_path / str(number) for number in range(first, min(first + TOGETHER, KILLS))]
        moments = killed(folders, path, draw, longest_s)
        for folder, moment in zip(folders, moments, strict=True):
            trace = trace_of(folder)
            numbers = results_of(folder)
            assert numbers == sorted(set(numbers))  # pictures that were dropped leave gaps
            if trace is None or not len(trace):
                continue
            begun += 1
            assert trace.meta.stopped == "killed"
            lost_s.append(moment - trace.requests["delivered"].max() / NS_PER_S)
    lost_s.sort()
    print(f"{begun} of {KILLS} had begun; rows lost: median {lost_s[len(lost_s) // 2]:.2f} s, most {lost_s[-1]:.2f} s")
    assert begun > KILLS / 4
    assert lost_s[int(0.95 * len(lost_s))] < 1.0
