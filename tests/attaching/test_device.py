"""What a GPU does after a call has returned belongs to the inference: a driver of CUDA in C that only keeps time."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from framepace import api
from framepace.attaching.program import Observation
from framepace.facts.program import Program

_CALL_MS = 8
_DRIVER = f"""
#include <stdlib.h>
#include <string.h>
#include <time.h>
static double done, began; static int count;
static double now(void) {{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}}
int cuEventCreate(double **event, unsigned flags) {{ *event = calloc(1, sizeof(double)); return 0; }}
int cuEventRecord(double *event, void *stream) {{
    if (getenv("CUDA_FAILS")) return 999;
    if (stream != (void *)0x77) return 400;
    if (count++ % 2 == 0) {{ began = done > now() ? done : now(); *event = began; }}
    else {{ done = began + {_CALL_MS}; *event = done; }}
    return 0;
}}
int cuStreamIsCapturing(void *stream, int *status) {{ *status = getenv("CUDA_CAPTURES") != 0; return 0; }}
int cuThreadExchangeStreamCaptureMode(int *mode) {{ return 0; }}
int cuEventQuery(double *event) {{ return now() < *event ? 600 : 0; }}
int cuEventElapsedTime(float *ms, double *first, double *second) {{ *ms = *second - *first; return 0; }}
"""
_TENSORRT = """
class IExecutionContext:
    def execute_async_v3(self, stream_handle): return True
    def execute_async_v2(self, bindings, stream_handle): return True
"""
_LOOP = """
import time, tensorrt
context = tensorrt.IExecutionContext()
for number in range(20):
    assert context.execute_async_v3(stream_handle=0x77)
    end = time.perf_counter() + 0.02
    while time.perf_counter() < end:
        pass
"""
_OLDER = _LOOP.replace("execute_async_v3(stream_handle=0x77)", "execute_async_v2([1, 2], 0x77)")
_TORCH = """
import time, torch
class Stream:
    cuda_stream = 0x77
torch.cuda.is_initialized = lambda: True
torch.cuda.current_stream = Stream
model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 8))
with torch.inference_mode():
    for number in range(20):
        model(torch.zeros(1, 8))
        end = time.perf_counter() + 0.02
        while time.perf_counter() < end:
            pass
"""


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a library in the place of CUDA's driver, and of a module in that of TensorRT."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("cuda")
    (folder / "cuda.c").write_text(_DRIVER)
    (folder / "tensorrt.py").write_text(_TENSORRT)
    library = str(folder / "libcuda.so.1")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, str(folder / "cuda.c")], check=True)
    return folder


def attached(text: str, driver: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Observation:
    """A program of that text, which finds that driver."""
    monkeypatch.setenv("LD_LIBRARY_PATH", str(driver))
    monkeypatch.setenv("PYTHONPATH", str(driver))
    path = folder / "app.py"
    path.write_text(text)
    return api.attach([sys.executable, str(path)])


@pytest.mark.parametrize("text", [_LOOP, _OLDER, pytest.param(_TORCH, marks=pytest.mark.long)])
def test_an_inference_lasts_until_the_device_has_done_it(
    text: str, driver: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call returns at once, the device takes 8 ms: those are the inference, of all calls but the last."""
    trace = attached(text, driver, tmp_path, monkeypatch).trace
    rows = trace.requests
    took = rows["finished"] - rows["started"]
    called = rows["enqueued"] - rows["started"]
    assert len(took) == 20
    assert np.isclose(np.median(took[:-1]), _CALL_MS * 1e6, rtol=0.1)
    assert np.median(called[:-1] / took[:-1]) < 0.5
    assert took[-1] == called[-1]
    assert isinstance(trace.meta.subject, Program)
    assert "on the device, after the call" in [part.name for part in trace.meta.subject.parts if part.stage == "infer"]


def test_a_driver_that_refuses_is_told_and_the_program_runs(
    driver: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its calls have their own times, and a note says that the device's are not known."""
    monkeypatch.setenv("CUDA_FAILS", "1")
    trace = attached(_LOOP, driver, tmp_path, monkeypatch).trace
    assert (trace.requests["finished"] == trace.requests["enqueued"]).all()
    assert any("cuEventRecord returned 999" in note for note in trace.meta.notes)


def test_a_stream_that_becomes_a_graph_is_left_alone(
    driver: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event would become a part of the graph: none is recorded, and nothing is noted."""
    monkeypatch.setenv("CUDA_CAPTURES", "1")
    monkeypatch.setenv("CUDA_FAILS", "1")
    trace = attached(_LOOP, driver, tmp_path, monkeypatch).trace
    assert (trace.requests["finished"] == trace.requests["enqueued"]).all()
    assert not [note for note in trace.meta.notes if "cuEventRecord" in note]


def test_a_stream_that_is_none_is_told_and_the_program_runs(
    driver: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the probe does not understand of a call is noted, and the call goes through as it was."""
    trace = attached(_LOOP.replace("0x77", "'a stream'"), driver, tmp_path, monkeypatch).trace
    assert len(trace) == 20
    assert any("when the device had done a call is not known" in note for note in trace.meta.notes)
