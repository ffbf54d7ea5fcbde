"""Kinds of programs that people write, whose calls, waits and ends attach understands."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from framepace import api
from framepace.attaching.program import Observation
from framepace.errors import UsageError
from framepace.facts.program import Program
from framepace.video.source import synthetic_video

_PACKETS = """
import sys, av, numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[2], providers=["CPUExecutionProvider"])
with av.open(sys.argv[1]) as container:
    for packet in container.demux(video=0):
        for frame in packet.decode():
            pixels = frame.to_ndarray(width=64, height=64, format="rgb24").transpose(2, 0, 1)[None]
            session.run(None, {"image": pixels.astype(numpy.float32)})
"""
_CODEC = _PACKETS.replace("packet.decode()", "container.streams.video[0].codec_context.decode(packet)")
_POOL = """
import multiprocessing, sys, time, numpy
def classify(number):
    import onnxruntime
    global session
    if "session" not in globals():
        session = onnxruntime.InferenceSession(sys.argv[2], providers=["CPUExecutionProvider"])
    return session.run(None, {"image": numpy.zeros((1, 3, 64, 64), numpy.float32)})[0].sum()
if __name__ == "__main__":
    with multiprocessing.Pool(1) as pool:
        for number in range(20):
            pool.apply(classify, (number,))
            time.sleep(0.02)
        pool.close()
        pool.join()
"""
_CALLED_BACK = """
import sys, threading, numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[2], providers=["CPUExecutionProvider"])
done = threading.Semaphore(0)
for number in range(8):
    feeds = {"image": numpy.zeros((1, 3, 64, 64), numpy.float32)}
    session.run_async(None, feeds, lambda results, data, error: done.release(), None)
    done.acquire()
"""
_OPENCV = """
class VideoCapture:
    def read(self): return True, "picture"
class _Model:
    def predict(self, picture): return picture
class DetectionModel(_Model):
    def detect(self, picture): return []
class dnn:
    DetectionModel = DetectionModel
    Model = _Model
def imread(path): return "picture"
"""
_DETECTS = """
import cv2
model = cv2.dnn.DetectionModel()
for number in range(6):
    model.detect(cv2.imread("picture.png"))
"""


def _model() -> onnx.ModelProto:
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 64, 64])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 3, 1, 1])
    node = helper.make_node("GlobalAveragePool", ["image"], ["scores"])
    graph = helper.make_graph([node], "pool", [image], [scores])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A video of 30 pictures and a model."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "video.mkv").write_bytes(synthetic_video((96, 128)))
    onnx.save(_model(), str(folder / "m.onnx"))
    return str(folder / "video.mkv"), str(folder / "m.onnx")


def attached(text: str, folder: Path, *arguments: str) -> Observation:
    """A program of that text, to its end."""
    path = folder / "app.py"
    path.write_text(text)
    return api.attach([sys.executable, str(path), *arguments])


@pytest.mark.parametrize("text", [_PACKETS, _CODEC], ids=["packet", "codec"])
def test_pictures_from_packets_that_the_program_takes_itself_are_its_frames(
    text: str, files: tuple[str, str], tmp_path: Path
) -> None:
    """A row for each picture, whose decoding took some time; empty answers of the decoder are no pictures."""
    rows = attached(text, tmp_path, *files).trace.requests
    assert len(rows["due"]) == 30
    assert (rows["decoded"] > rows["captured"]).all()


def test_a_worker_that_waits_for_its_pool_is_between_two_frames(files: tuple[str, str], tmp_path: Path) -> None:
    """What it waits for a task is no part of the frame before: 20 ms each, of frames far shorter."""
    trace = attached(_POOL, tmp_path, *files).trace
    rows = trace.requests
    gaps = rows["due"][1:] - rows["delivered"][:-1]
    assert np.median(gaps) >= 15e6
    assert isinstance(trace.meta.subject, Program)
    waits = [part.name for part in trace.meta.subject.parts if part.stage == "between"]
    assert "multiprocessing.SimpleQueue.get" in waits


def test_an_inference_that_calls_back_is_a_frame(files: tuple[str, str], tmp_path: Path) -> None:
    """From the call to the answer."""
    observation = attached(_CALLED_BACK, tmp_path, *files)
    assert observation.calls["onnxruntime.InferenceSession.run_async"] == 8
    assert len(observation.trace) == 8


def test_networks_behind_opencv_s_own_classes_and_pictures_of_files_are_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`DetectionModel.detect` is an inference, `imread` decodes."""
    (tmp_path / "cv2.py").write_text(_OPENCV)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    observation = attached(_DETECTS, tmp_path)
    assert observation.trace.meta.names == ("DetectionModel",)
    assert observation.calls["cv2.imread"] == len(observation.trace) == 6


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ([sys.executable, "-Es", "-c", "1"], "leave out -Es"),
        ([sys.executable, "-S", "-c", "1"], "leave out -S"),
        (["sh", "-c", "true"], "no frozen executable"),
    ],
)
def test_a_program_that_the_probe_is_not_in_is_told_so(command: list[str], says: str) -> None:
    """With what to do about it."""
    with pytest.raises(UsageError, match="no inference") as error:
        api.attach(command)
    assert says in str(error.value)


def test_a_library_whose_calls_are_not_timed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that infers with it has no frames, and is told why."""
    (tmp_path / "mediapipe.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(UsageError, match="it infers with mediapipe"):
        attached("import mediapipe", tmp_path)
    with pytest.raises(UsageError, match=r"it infers with onnx\.reference"):
        attached("import onnx.reference", tmp_path)


def test_tasks_of_a_pool_of_threads_are_seen_and_what_they_raise_reaches_the_program(
    files: tuple[str, str], tmp_path: Path
) -> None:
    """Twenty of them infer, the last one fails: its error comes out of its future as it did."""
    program = tmp_path / "pool.py"
    program.write_text("""
import sys, numpy, onnxruntime
from concurrent.futures import ThreadPoolExecutor
session = onnxruntime.InferenceSession(sys.argv[2], providers=["CPUExecutionProvider"])
def infer(number):
    if number == 20:
        raise ZeroDivisionError("the last one")
    return session.run(None, {"image": numpy.zeros((1, 3, 64, 64), numpy.float32)})
with ThreadPoolExecutor(2) as pool:
    futures = [pool.submit(infer, number) for number in range(21)]
assert str(futures[-1].exception()) == "the last one"
assert len(futures[0].result()) == 1
""")
    observation = api.attach([sys.executable, str(program), *files])
    assert observation.exit_code == 0
    assert observation.calls["concurrent.futures.ThreadPoolExecutor"] == 21
