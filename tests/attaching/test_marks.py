"""Frames and stages that a program names: what comes into its trace, and what they cost where nothing is attached."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import framepace
from framepace import api
from framepace.facts.program import Program
from framepace.facts.trace import Trace

HEAD = """
import asyncio, queue, sys, threading, time
import framepace, numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
pixels = numpy.zeros((1, 3, 8, 8), numpy.float32)
def infer():
    session.run(None, {"image": pixels})
"""
SERIAL = """
for _ in range(20):
    with framepace.frame():
        with framepace.stage("looking"):
            time.sleep(0.001)
            with framepace.stage("again"):
                infer()
                infer()
        time.sleep(0.001)
"""
THREADS = """
frames = queue.Queue(2)
def read():
    for _ in range(20):
        with framepace.frame() as frame:
            time.sleep(0.001)
            frames.put(frame)
    frames.put(None)
threading.Thread(target=read).start()
while (frame := frames.get()) is not None:
    with frame:
        infer()
    infer()
"""
TASKS = """
async def one():
    with framepace.frame():
        await asyncio.sleep(0.001)
        with framepace.stage("in another thread"):
            await asyncio.to_thread(infer)
        await asyncio.sleep(0.001)
async def main():
    for _ in range(5):
        await asyncio.gather(*(one() for _ in range(4)))
asyncio.run(main())
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A mean over a picture."""
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 8, 8])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 3, 1, 1])
    graph = helper.make_graph([helper.make_node("GlobalAveragePool", ["image"], ["scores"])], "m", [image], [scores])
    path = tmp_path_factory.mktemp("model") / "mean.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))
    return str(path)


def observed(folder: Path, program: str, model: str) -> Trace:
    """The trace of a program."""
    path = folder / "program.py"
    path.write_text(HEAD + program)
    return api.attach([sys.executable, str(path), model]).trace


def named(trace: Trace) -> dict[str, float]:
    """The stages that it named, calls per frame."""
    assert isinstance(trace.meta.subject, Program)
    return {part.name: part.count for part in trace.meta.subject.parts if part.stage == "named"}


def test_a_block_is_a_frame_and_stages_nest(tmp_path: Path, model: str) -> None:
    """Two inferences and a sleep on each side: all of it is one frame, whatever it would have been taken for."""
    trace = observed(tmp_path, SERIAL, model)
    assert len(trace) == 20
    assert (trace.latency >= 2e6).all()
    assert named(trace).keys() == {"looking", "again"}


def test_a_frame_goes_on_in_another_thread(tmp_path: Path, model: str) -> None:
    """It begins where it was read; what is inferred outside of it is none of it."""
    trace = observed(tmp_path, THREADS, model)
    assert len(trace) == 20
    rows = trace.requests
    assert (rows["started"] - rows["due"] >= 1e6).all()
    assert (np.diff(rows["due"]) >= 1e6).all()


def test_tasks_that_overlap_are_frames_of_their_own(tmp_path: Path, model: str) -> None:
    """Four at a time in one loop, inferred in other threads: each has one inference of its own."""
    trace = observed(tmp_path, TASKS, model)
    assert len(trace) == 20
    assert len(np.unique(trace.requests["frame"])) == 20
    assert (trace.latency >= 2e6).all()
    assert named(trace) == {"in another thread": 1}


@pytest.mark.timing
def test_where_nothing_is_attached_a_block_costs_as_little_as_an_empty_one() -> None:
    """Against the empty block of the standard library, the best of several: at most twice its time."""
    blocks: tuple[Callable[[], object], ...] = (lambda: framepace.stage("x"), framepace.frame)
    empty = min(cost(nullcontext) for _ in range(5))
    for block in blocks:
        assert min(cost(block) for _ in range(5)) <= 2 * empty


def cost(block: Callable[[], object]) -> float:
    """CPU time of many blocks."""
    began = time.thread_time()
    for _ in range(20_000):
        with block():  # type: ignore[attr-defined]
            pass
    return time.thread_time() - began
