"""Programs as people write them, observed unchanged."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from framepace import api
from framepace.errors import UsageError
from framepace.facts.program import Program
from framepace.facts.trace import Trace
from framepace.facts.workload import Stop
from framepace.store import load_trace
from framepace.video.source import synthetic_video

PROGRAMS = Path(__file__).parent.parent / "programs"
FRAMES = 30


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, str]:
    """A video of 30 pictures and two models."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "video.mkv").write_bytes(synthetic_video((96, 128)))
    for name in ("first", "second"):
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 64, 64])
        scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 3, 1, 1])
        node = helper.make_node("GlobalAveragePool", ["image"], ["scores"])
        graph = helper.make_graph([node], name, [image], [scores])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.save(model, str(folder / f"{name}.onnx"))
    return str(folder / "video.mkv"), str(folder / "first.onnx"), str(folder / "second.onnx")


def observed(name: str, *arguments: str, out: Path | None = None) -> Trace:
    """The trace of a program of the folder."""
    return api.attach([sys.executable, str(PROGRAMS / f"{name}.py"), *arguments], out=out).trace


def test_a_plain_loop_has_a_row_for_each_frame(files: tuple[str, str, str], tmp_path: Path) -> None:
    """Its model and video by name, its pictures in order, each stage after the one before; the trace is on disk too."""
    video, model, _ = files
    trace = observed("serial", video, model, out=tmp_path / "t")
    rows = trace.requests
    assert len(trace) == FRAMES
    assert trace.meta.names == ("first",)
    assert trace.meta.sources == ("video.mkv",)
    stamps = np.stack([rows[name] for name in ("due", "decoded", "batched", "started", "finished", "delivered")])
    assert (np.diff(stamps, axis=0) >= 0).all()
    assert (np.diff(rows["due"]) > 0).all()
    assert isinstance(trace.meta.subject, Program)
    assert trace.meta.subject.libraries["onnxruntime"]
    assert load_trace(tmp_path / "t").requests["started"].tolist() == rows["started"].tolist()


def test_what_a_loop_sleeps_between_two_frames_belongs_to_none_of_them(files: tuple[str, str, str]) -> None:
    """A frame ends where its thread waits: 2 ms of sleep are in no stage."""
    rows = observed("serial", *files[:2]).requests
    gaps = rows["due"][1:] - rows["delivered"][:-1]
    assert np.median(gaps) >= 2e6


def test_a_reader_thread_and_two_models_are_frames_of_two_rows(files: tuple[str, str, str]) -> None:
    """Each frame has a row for each model, with the reader's picture, which waited in the queue."""
    trace = observed("reader", *files)
    rows = trace.requests
    assert trace.meta.names == ("first", "second")
    assert len(trace) == 2 * FRAMES
    assert len(np.unique(rows["frame"])) == FRAMES
    first, second = (trace.where(rows["model"] == number).requests for number in (0, 1))
    assert (second["started"] >= first["finished"]).all()
    assert (first["batched"] >= first["queued"]).all()


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_processes_that_a_program_starts_are_observed_too(files: tuple[str, str, str], method: str) -> None:
    """Two processes, two workers, all frames of both."""
    trace = observed("processes", *files[:2], method)
    assert len(trace) == 2 * FRAMES
    assert set(trace.requests["worker"].tolist()) == {0, 1}


def test_the_program_keeps_its_streams_and_its_exit_code(
    files: tuple[str, str, str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """What it prints goes where it went; 3 stays 3, and is in the notes."""
    program = tmp_path / "ends.py"
    program.write_text((PROGRAMS / "serial.py").read_text() + "sys.exit(3)\n")
    observation = api.attach([sys.executable, str(program), *files[:2]])
    assert "the program's own words" in capfd.readouterr().out
    assert observation.exit_code == 3
    assert "the program ended with exit code 3" in observation.trace.meta.notes


def test_a_program_that_infers_nothing_is_told_so_with_its_own_exit_code(tmp_path: Path) -> None:
    """A sentence, and what was seen of it."""
    program = tmp_path / "nothing.py"
    program.write_text("import time, sys\ntime.sleep(0.001)\nsys.exit(5)\n")
    with pytest.raises(UsageError, match="no inference") as error:
        api.attach([str(program)])
    assert error.value.exit_code == 5
    assert "time.sleep 1x" in str(error.value)
    assert "run it without attach first" in str(error.value)


def test_the_seconds_of_a_program_count_from_its_first_inference(files: tuple[str, str, str]) -> None:
    """It starts for two seconds, then has half a second of frames, and is told when these began."""
    took: list[float] = []
    command = [sys.executable, str(PROGRAMS / "slow_start.py"), files[1]]
    seen = api.attach(command, seconds=0.5, begun=took.append)
    assert len(seen.trace)
    assert seen.by_time
    assert took == [seen.starting]
    assert seen.starting > 2


def test_a_program_that_ends_before_its_seconds_are_over_has_its_start_told(files: tuple[str, str, str]) -> None:
    """And one without seconds at all, which is not waited for otherwise."""
    command = [sys.executable, str(PROGRAMS / "serial.py"), *files[:2]]
    for seconds in (600.0, None):
        seen = api.attach(command, seconds=seconds)
        assert not seen.by_time
        assert seen.starting > 0


def test_a_start_that_takes_longer_than_it_may_is_told_with_the_limit(tmp_path: Path) -> None:
    """It is not sought what ended it: framepace did."""
    program = tmp_path / "slow.py"
    program.write_text("import time\ntime.sleep(600)\n")
    with pytest.raises(UsageError, match="no inference") as error:
        api.attach([str(program)], seconds=600, start_limit=0.5)
    assert "none in the 0.5 s that it may take to its first one" in str(error.value)
    assert "--start-limit 1" in str(error.value)


def test_ctrl_c_ends_the_program_and_keeps_the_trace(files: tuple[str, str, str], tmp_path: Path) -> None:
    """It comes to both, as from a terminal: the trace says so, and the exit code is that of the program."""
    program = tmp_path / "endless.py"
    loop = (
        (PROGRAMS / "serial.py")
        .read_text()
        .replace("with av.open", "while True:\n  print('again', flush=True)\n  with av.open")
    )
    program.write_text(
        loop.replace("\n    for", "\n      for").replace("\n        ", "\n          ").split('print("the')[0]
    )
    command = [
        sys.executable,
        "-m",
        "framepace",
        "attach",
        "--out",
        str(tmp_path / "t"),
        "--",
        str(program),
        *files[:2],
    ]
    attached = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    assert attached.stdout is not None
    assert [attached.stdout.readline() for _ in range(3)] == ["again\n"] * 3
    os.killpg(attached.pid, signal.SIGINT)
    said = attached.communicate(timeout=60)[0]
    assert attached.returncode == 128 + signal.SIGINT, said
    trace = load_trace(tmp_path / "t")
    assert trace.meta.stopped == "interrupted"
    assert len(trace) >= 2 * FRAMES


@pytest.mark.long
def test_the_line_that_takes_the_time_after_the_model_is_named(files: tuple[str, str, str], tmp_path: Path) -> None:
    """Counting in Python between two frames; and `explain` suspects it from the trace."""
    program = tmp_path / "slow.py"
    counting = "sum(number % 7 for number in range(900_000))"  # samples enough where others take the cores
    program.write_text((PROGRAMS / "serial.py").read_text().replace("time.sleep(0.002)", counting))
    trace = api.attach([sys.executable, str(program), *files[:2]], out=tmp_path / "t").trace
    assert isinstance(trace.meta.subject, Program)
    largest = trace.meta.subject.parts[0]
    assert largest.stage == "finish"
    assert largest.name.startswith("slow.py:")
    first = api.explain_log(tmp_path / "t").suspected[0]
    assert first.code == "FP011"
    assert largest.name in first.because


def test_the_line_in_which_a_frame_waits_for_a_lock_is_told_as_such(
    files: tuple[str, str, str], tmp_path: Path
) -> None:
    """Another thread holds it for a tenth of a second after each inference."""
    program = tmp_path / "locked.py"
    holding = """
import queue, threading, time
lock = threading.Lock()
asked = queue.SimpleQueue()
def hold():
    while True:
        asked.get()
        with lock:
            time.sleep(0.1)
threading.Thread(target=hold, daemon=True).start()
"""
    waiting = """asked.put(None)
        while not lock.locked():
            pass
        with lock:
            pass
"""
    program.write_text(holding + (PROGRAMS / "serial.py").read_text().replace("time.sleep(0.002)", waiting))
    trace = api.attach([sys.executable, str(program), *files[:2]]).trace
    assert isinstance(trace.meta.subject, Program)
    waits = [part.stage for part in trace.meta.subject.parts if part.name.endswith("<module>, which waits for a lock")]
    assert "finish" in waits


def test_a_program_that_replaces_itself_is_observed_before_and_after(
    files: tuple[str, str, str], tmp_path: Path
) -> None:
    """Both under one process number: the calls of the one are not taken for those of the other."""
    program = tmp_path / "replaces.py"
    again = (
        f"\nimport os\nos.execv(sys.executable, [sys.executable, {str(PROGRAMS / 'reader.py')!r}, *{list(files)!r}])\n"
    )
    program.write_text((PROGRAMS / "serial.py").read_text() + again)
    trace = api.attach([sys.executable, str(program), *files[:2]]).trace
    counts = [int((trace.requests["model"] == number).sum()) for number in (0, 1)]
    assert trace.meta.names == ("first", "second")
    assert counts == [2 * FRAMES, FRAMES]


def test_a_program_is_observed_from_any_thread(files: tuple[str, str, str]) -> None:
    """Signals are the main thread's alone, and stay with it."""
    with ThreadPoolExecutor(1) as pool:
        assert len(pool.submit(observed, "serial", *files[:2]).result()) == FRAMES


@pytest.mark.long
def test_settings_are_tried_in_one_run_of_a_program_that_never_ends(files: tuple[str, str, str]) -> None:
    """A run as it is, and one in blocks: collections off is proven there, with the program in its own words."""
    command = [sys.executable, str(PROGRAMS / "endless.py"), *files[:2], "ill"]
    found = api.explain_program(command, tries=[{"collections": "off"}], time_limit=40)
    (trial,) = found.trials
    assert (trial.verdict, trial.within_runs) == ("confirmed", True)
    assert trial.interventions[0].rounds >= 4
    assert found.runs == 2


@pytest.mark.long
def test_processes_of_a_program_end_with_it_when_its_time_is_over(files: tuple[str, str, str], tmp_path: Path) -> None:
    """Two children that wait for ever, and a parent that waits for them: none is left, and the frames are told."""
    program = tmp_path / "waits.py"
    child = "import pathlib, os, sys, time\npathlib.Path(sys.argv[1], str(os.getpid())).touch()\ntime.sleep(600)\n"
    ending = f"""
import subprocess
children = [subprocess.Popen([sys.executable, "-c", {child!r}, {str(tmp_path)!r}]) for _ in range(2)]
children[0].wait()
"""
    program.write_text((PROGRAMS / "serial.py").read_text() + ending)
    observation = api.attach([sys.executable, str(program), *files[:2]], seconds=4)
    assert observation.by_time
    assert len(observation.trace) == FRAMES
    children = [int(path.name) for path in tmp_path.iterdir() if path.name.isdecimal()]
    assert len(children) == 2
    assert not any(Path(f"/proc/{child}").exists() for child in children)


@pytest.mark.long
def test_modules_of_torch_that_prepare_pictures_are_no_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package in the place of torchvision; the model alone has rows, and the transform is a part of them."""
    pytest.importorskip("torch")
    package = tmp_path / "torchvision" / "transforms"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").write_text("")
    (package / "__init__.py").write_text("")
    (package / "resize.py").write_text(
        "import torch\nclass Resize(torch.nn.Module):\n    def forward(self, x): return x\n"
    )
    program = tmp_path / "torchloop.py"
    program.write_text("""
import torch
from torchvision.transforms.resize import Resize
resize, model = Resize(), torch.nn.Linear(8, 8)
with torch.inference_mode():
    for _ in range(20):
        model(resize(torch.zeros(1, 8)))
""")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    observation = api.attach([sys.executable, str(program)])
    assert observation.trace.meta.names == ("Linear",)
    assert len(observation.trace) == 20
    assert observation.calls["torchvision.transforms.resize.Resize"] == 20


def test_what_a_handler_of_a_signal_raises_in_a_collection_reaches_the_program(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Twenty alarms that come while garbage is collected, for which Python calls the probe as they are told."""
    program = tmp_path / "alarms.py"
    program.write_text("""
import gc, signal
class Alarm(Exception): pass
def handle(*_): raise Alarm
signal.signal(signal.SIGALRM, handle)
objects = [{"number": [n]} for n in range(200_000)]
caught = 0
for _ in range(20):
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.003)
        while True:
            gc.collect()
    except Alarm:
        caught += 1
print("caught", caught)
""")
    with pytest.raises(UsageError, match="no inference"):
        api.attach([sys.executable, str(program)])
    said = capfd.readouterr()
    assert said.out == "caught 20\n"
    assert "ignored" not in said.err


def test_what_cannot_be_started_is_a_usage_error() -> None:
    """No such program, or none at all."""
    with pytest.raises(UsageError, match="cannot be started"):
        api.attach(["/no/such/program"])
    with pytest.raises(UsageError, match="no program was named"):
        api.attach([])


def test_a_sitecustomize_of_the_user_still_runs(
    files: tuple[str, str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The one that the probe's hides."""
    (tmp_path / "sitecustomize.py").write_text("print('own site')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    observed("serial", *files[:2])
    assert "own site" in capfd.readouterr().out


def test_explain_takes_the_trace_of_a_program_with_a_budget(files: tuple[str, str, str], tmp_path: Path) -> None:
    """Evidence only: nothing is run, its frames are held against the budget, and that of a plan is refused."""
    observed("serial", *files[:2], out=tmp_path / "t")
    found = api.explain_log(tmp_path / "t", p99_ms=0.001)
    assert found.reading.kind == "the trace of a program"
    assert found.reading.rows == FRAMES
    assert found.summary.budget == 1_000
    api.bench("null", settings={"backend": "null"}, stop=Stop(count=5), fps=1000, out=tmp_path / "plan")
    with pytest.raises(UsageError, match="trace of a program"):
        api.explain_log(tmp_path / "plan")
