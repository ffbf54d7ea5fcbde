"""What the parts of a program's frames suggest."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from framepace.analyze.programcauses import program_causes
from framepace.analyze.summary import summarize
from framepace.facts.plan import Target
from framepace.facts.program import Part, Program, SessionFacts
from framepace.testing import make_trace

MS = 1e6
RUN = Part(stage="infer", name="onnxruntime.InferenceSession.run", ns=8 * MS, count=1)
DECODE = Part(stage="decode", name="cv2.VideoCapture.read", ns=MS, count=1)


def named(*parts: Part, lock_wait: float = 0.0, fps: float | None = None, frames: int = 200) -> list[str]:
    """Codes and titles for a program of these parts, 40 ms per frame, one every 50 ms."""
    program = Program(
        command=("app.py",),
        names=("model",),
        sessions={"model": SessionFacts(providers=("CPUExecutionProvider",))},
        parts=tuple(sorted((RUN, DECODE, *parts), key=lambda part: -part.ns)),
        lock_wait=lock_wait,
        period=50 * MS,
        target=Target(fps=fps),
    )
    due = [int(n * 50 * MS) for n in range(frames)]
    summary = summarize(make_trace([40 * MS] * frames, due=due, program=program))
    return [f"{one.code} {one.title}".strip() for one in program_causes(program, summary)]


def test_where_the_model_takes_the_time_nothing_is_suspected() -> None:
    """A millisecond of each stage beside eight of the model."""
    stages = ("prepare", "finish", "queue")
    assert named(*(Part(stage=stage, name="app.py:1", ns=MS) for stage in stages)) == []


@pytest.mark.parametrize(
    ("stage", "title"),
    [("decode", "decoding takes"), ("prepare", "preparation takes"), ("finish", "what follows the model takes")],
)
def test_a_stage_of_half_a_frame_is_suspected_with_its_line(stage: str, title: str) -> None:
    """Nine milliseconds in one line."""
    (one,) = named(Part(stage=stage, name="app.py:12 boxes", ns=9 * MS))
    assert one.startswith(f"FP011 {title}")


def test_a_quarter_of_a_frame_is_much_where_the_model_does_not_take_most() -> None:
    """Five of 18 ms beside eight of the model; a quarter of 12 ms leaves it two thirds."""
    five = Part(stage="finish", name="app.py:9", ns=5 * MS)
    reading = Part(stage="prepare", name="app.py:5", ns=4 * MS)
    assert named(five, reading) == ["FP011 what follows the model takes a large part of a frame"]
    assert named(replace(five, ns=3 * MS)) == []


def test_where_stages_share_the_time_the_largest_is_suspected() -> None:
    """Beside eight milliseconds of the model: none of the three takes a quarter, together they take more."""
    shared = [Part(stage=stage, name="app.py:5", ns=2 * MS) for stage in ("prepare", "finish")]
    larger = replace(shared[0], ns=2.5 * MS)
    assert named(larger, shared[1]) == ["FP011 preparation takes a large part of a frame"]
    assert named(shared[0], replace(shared[1], ns=MS)) == []


def test_waiting_for_a_lock_is_told_however_little_it_is_beside_the_model() -> None:
    """A seventh of a frame; a twentieth is nothing."""
    line = Part(stage="finish", name="app.py:40 <module>, which waits for a lock", ns=1.5 * MS)
    assert named(line) == ["FP024 frames wait for a lock that another thread holds"]
    assert named(replace(line, ns=0.4 * MS)) == []


def test_pictures_that_are_sought_are_told_where_each_is() -> None:
    """A seek per frame that takes two of eleven milliseconds; one in a hundred frames is none."""
    seek = Part(stage="decode", name="cv2.VideoCapture.set", ns=2 * MS, count=1)
    assert named(seek) == ["FP011 pictures are sought one by one instead of read on"]
    assert named(replace(seek, count=0.01)) == []


def test_sleeping_within_a_frame_is_no_preparation() -> None:
    """Between the picture and the model."""
    assert named(Part(stage="prepare", name="time.sleep", ns=15 * MS, count=1)) == [
        "FP024 frames wait in the program's own sleep"
    ]


def test_a_session_per_frame_is_named_however_small() -> None:
    """Half a millisecond."""
    parts = (Part(stage="prepare", name="onnxruntime.InferenceSession", ns=MS / 2, count=1),)
    assert named(*parts) == ["the model is loaded again for every frame"]
    assert named(Part(stage="prepare", name="onnxruntime.InferenceSession", ns=MS / 2, count=0.01)) == []


def test_a_model_that_the_first_of_two_frames_loads_is_not_loaded_again() -> None:
    """One load in two frames, of one model."""
    assert named(Part(stage="prepare", name="onnxruntime.InferenceSession", ns=MS, count=0.5), frames=2) == []


def test_a_sleep_between_frames_is_a_cause_only_where_the_rate_is_missed() -> None:
    """20 frames per second: enough for 20, too few for 30."""
    sleep = Part(stage="between", name="time.sleep", ns=30 * MS, count=1)
    assert named(sleep) == []
    assert named(sleep, fps=20) == []
    assert named(sleep, fps=30) == ["the loop sleeps although it is behind"]
    assert named(sleep, fps=60) == []  # 20 ms of work are too many with or without it


def test_the_lock_needs_a_thread_that_computes_and_others_that_wait() -> None:
    """One of the two is none."""
    busy = Part(stage="beside", name="app.py:3 watch", ns=5e8)
    assert named(busy) == []
    assert named(lock_wait=5 * MS) == []
    assert named(busy, lock_wait=5 * MS) == ["FP014 a thread beside the frames holds Python's interpreter lock"]


def test_a_queue_longer_than_the_frame_itself_is_suspected() -> None:
    """A hundred milliseconds of waiting; one frame's worth is how a queue of one works."""
    assert named(Part(stage="queue", name=RUN.name, ns=8 * MS)) == []
    assert named(Part(stage="queue", name=RUN.name, ns=100 * MS)) == ["FP018 frames wait for those before them"]
