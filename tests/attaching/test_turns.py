"""Settings that take turns while a program runs: which block a frame belongs to, and that programs switch."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from framepace import api
from framepace.attaching.program import run_program
from framepace.attaching.turns import Turns, of_frames
from framepace.errors import UsageError
from framepace.facts.trace import Trace
from framepace.testing import make_trace
from framepace.units import NS_PER_MS, NS_PER_S
from framepace.video.source import synthetic_video

BLOCK = NS_PER_S // 20
ARMS: tuple[dict[str, str], ...] = ({}, {"collections": "off"}, {"sleep": "spin"})
SWITCHES = """
import gc, os, sys, time
seen = set()
ends = time.monotonic() + 20
while len(seen) < 2 and time.monotonic() < ends:
    seen.add(gc.isenabled())
    time.sleep(0.005)
"""


def paced(period_ms: float, seconds: float) -> Trace:
    """Frames of 1 ms, one per period, from time 0 on."""
    count = int(seconds * 1000 / period_ms)
    due = (np.arange(count) * period_ms * NS_PER_MS).astype(np.int64)
    return make_trace(np.full(count, float(NS_PER_MS)), due=due)


def program(tmp_path: Path, text: str) -> list[str]:
    """A program of so many lines."""
    path = tmp_path / "program.py"
    path.write_text(text)
    return [sys.executable, str(path)]


def printed(command: list[str], capfd: pytest.CaptureFixture[str], settings: Mapping[str, str]) -> list[str]:
    """What a program prints with settings."""
    assert run_program(command, None, settings).code == 0
    return capfd.readouterr().out.split()


def test_every_second_round_goes_backwards() -> None:
    """The blocks of three arms: 0 1 2 2 1 0."""
    assert Turns(ARMS, BLOCK).order == (0, 1, 2, 2, 1, 0)
    assert Turns(ARMS, BLOCK).with_setting("sleep") == (False, False, True, True, False, False)


def test_a_frame_counts_for_the_arm_whose_block_it_lies_in_and_none_at_a_border() -> None:
    """Blocks of 1 s and 100 frames: the first 15 and the last 5 of each belong to none."""
    turns = Turns(ARMS, NS_PER_S)
    rounds = list(turns.rounds(paced(10, 6)))
    assert len(rounds) == 2
    due = [[block.requests["due"] / NS_PER_S for block in blocks if block is not None] for blocks in rounds]
    places = [[int(times.mean()) for times in arms] for arms in due]
    assert places == [[0, 1, 2], [5, 4, 3]]
    assert {len(times) for arms in due for times in arms} <= {79, 80, 81}
    assert due[1][0].min() >= 5.15
    assert due[1][0].max() < 5.95


def test_a_block_with_few_frames_is_left_out() -> None:
    """Two frames per second."""
    assert all(block is None for blocks in Turns(ARMS, NS_PER_S).rounds(paced(500, 6)) for block in blocks)


def test_what_a_program_takes_to_start_is_none_of_its_frames() -> None:
    """Samples every 20 ms: those of the first second, in which nothing is measured yet, are left out."""
    times = np.arange(200) * 20 * NS_PER_MS
    run = make_trace(
        np.full(50, float(NS_PER_MS)),
        due=NS_PER_S + np.arange(50) * 20 * NS_PER_MS,
        telemetry={"time": times, "device": -1, "process_cpu": times},
    )
    kept = of_frames(run).telemetry["time"]
    assert kept.min() >= NS_PER_S
    assert kept.max() <= run.requests["delivered"].max()
    assert len(kept) == 50


def test_frames_that_last_less_than_a_tenth_of_a_second_have_no_cpu_time_that_can_be_told() -> None:
    """Ten frames in ten milliseconds, of which a sample is at best a rumour."""
    times = np.arange(100) * 5 * NS_PER_MS
    due = 100 * NS_PER_MS + np.arange(10) * NS_PER_MS
    run = make_trace(np.full(10, 5e5), due=due, telemetry={"time": times, "device": -1, "process_cpu": times})
    assert not len(of_frames(run).telemetry["time"])


def test_a_program_s_settings_change_while_it_runs(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """With collections and without, in one process, and in the child that it forks."""
    text = SWITCHES.replace("seen = set()", "child = os.fork()\nseen = set()")
    text += "os.write(1, f'{len(seen)}\\n'.encode())\n"  # at once, or the lines of both run together
    text += "if child:\n    sys.exit(os.waitpid(child, 0)[1])\n"
    turns = Turns(ARMS[:2], BLOCK, time.perf_counter_ns())
    assert run_program(program(tmp_path, text), None, {}, turns=turns).code == 0
    assert capfd.readouterr().out.split() == ["2", "2"]


def test_what_a_program_wants_of_collections_holds_once_its_turn_is_over(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """It switches them off itself while they are switched off, and they stay so."""
    text = "import gc\nwhile gc.isenabled():\n    pass\ngc.disable()\nbefore = gc.collect\n"
    text += "import time\ntime.sleep(0.2)\nprint(gc.isenabled())\n"
    turns = Turns(ARMS[:2], BLOCK, time.perf_counter_ns())
    assert run_program(program(tmp_path, text), None, {}, turns=turns).code == 0
    assert capfd.readouterr().out.split() == ["False"]


def test_a_session_runs_in_the_gaps_and_not_where_it_is_not_told_to(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A library in the place of ONNX Runtime counts its runs: more than the program made."""
    package = tmp_path / "onnxruntime" / "capi"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").write_text("")
    (package / "__init__.py").write_text("")
    library = "class InferenceSession:\n    runs = 0\n    def __init__(self, path): pass\n"
    library += "    def run(self, names, feeds, options=None):\n        InferenceSession.runs += 1\n        return []\n"
    (package / "onnxruntime_inference_collection.py").write_text(library)
    loop = """
import sys, time
from onnxruntime.capi.onnxruntime_inference_collection import InferenceSession
session = InferenceSession("x")
for number in range(20):
    session.run(None, {})
    time.sleep(0.03)
print(InferenceSession.runs > 20)
"""
    command = program(tmp_path, loop)
    assert printed(command, capfd, {}) == ["False"]
    assert printed(command, capfd, {"heartbeat": "on"}) == ["True"]


def test_pictures_come_again_and_nothing_is_printed_where_the_user_allowed_it(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Fifty pictures of a video of thirty."""
    video = tmp_path / "video.mkv"
    video.write_bytes(synthetic_video((96, 128)))
    loop = f"""
import itertools, av
with av.open({str(video)!r}) as container:
    print(sum(1 for _ in itertools.islice(container.decode(video=0), 50)))
"""
    command = program(tmp_path, loop)
    assert printed(command, capfd, {}) == ["30"]
    assert printed(command, capfd, {"decode": "cached"}) == ["50"]
    assert printed(command, capfd, {"sinks": "off"}) == []


def test_what_is_only_tried_is_not_launched(tmp_path: Path) -> None:
    """The error says how to try it."""
    with pytest.raises(UsageError, match="only tried") as error:
        api.launch(program(tmp_path, ""), {"decode": "cached"})
    assert "attach --try decode=cached" in str(error.value)


@pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="Linux")
def test_cores_are_kept_awake_beside_a_program(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """As many processes of idle priority as it may use cores, and none once it has ended."""
    text = """
import os, psutil
def idle(process):
    try:
        return os.sched_getscheduler(process.pid) == os.SCHED_IDLE
    except OSError:
        return False
own = psutil.Process(os.getppid()).children()
print(len(list(filter(idle, own))), len(os.sched_getaffinity(0)))
"""
    kept, cores = printed(program(tmp_path, text), capfd, {"awake": "on"})
    assert kept == cores
    kept, cores = printed(program(tmp_path, text), capfd, {})
    assert kept == "0"


def test_a_setting_that_is_not_allowed_is_told_and_the_program_runs(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Where the system refuses a higher priority."""
    text = """
import os, time
def refuse(*arguments):
    raise PermissionError("not yours")
os.setpriority = refuse
time.sleep(0.3)
print("runs")
"""
    turns = Turns(({}, {"priority": "high"}), BLOCK, time.perf_counter_ns())
    assert run_program(program(tmp_path, text), None, {}, turns=turns).code == 0
    said = capfd.readouterr()
    assert said.out == "runs\n"
    assert "priority was not switched: PermissionError: not yours" in said.err
