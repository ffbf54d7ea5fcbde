"""What the probe costs: per timed call, beside the program, and per frame of a paced one. Paired and interleaved."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from framepace.analyze.stats import paired_ratio
from framepace.attaching.program import FOLDER_VARIABLE, HOOK
from framepace.facts.summary import Estimate

Row = dict[str, Any]
_LOAD = Path(__file__).parent / "attach_load.py"
_CALLS = 20_000
_CALL_PAIRS = 30
_FRAMES = 110
_RUN_PAIRS = 16
_BESIDE_S = 5.0
_GOAL_US = 1.0
_GOAL = 0.01


class Model:
    """Something whose method costs nothing."""

    def run(self, names: object, feeds: object) -> None:
        """Nothing."""


class Observed(Model):
    """The same, with the probe in its method."""


def cost_rows(python: str, folder: Path) -> Iterator[Row]:
    """The rows of the table."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as probed:  # the probe goes on to write
        yield from _rows_in_process(Path(probed))
    plain, observed = _runs(python, folder)
    for name, what in (("frame", "frame time"), ("cpu", "CPU time per frame")):
        before = [np.array([run[name]]) for run in plain]
        after = [np.array([run[name]]) for run in observed]
        ratio = paired_ratio(before, after, "mean")
        yield _row(f"{what} with the probe, 30 fps, six calls", ratio, float(np.mean(before)))


def _row(what: str, ratio: Estimate, before_s: float) -> Row:
    low, high = ratio.interval
    met = None if low <= 1 + _GOAL < high else ratio.value <= 1 + _GOAL
    got = f"{ratio.value:.4f} [{low:.4f}, {high:.4f}]"
    return {"what": f"{what} ({before_s * 1e3:.1f} ms)", "got": got, "goal": "<= 1.01", "met": met}


def _rows_in_process(folder: Path) -> Iterator[Row]:
    """A call with and without the probe in turn; and the CPU time of its own thread beside a program that sleeps."""
    sys.path.insert(0, str(HOOK))
    from _framepace_libraries import _Models
    from _framepace_probe import Probe

    probe = Probe(str(folder))
    probe.patch(Observed, "run", "infer", "Model.run", _Models(probe))
    costs = list(_costs_us(probe.flush))
    median = float(np.median(costs))
    low, high = np.percentile(costs, (5, 95))
    got = f"{median:.2f} us [{low:.2f}, {high:.2f}]"
    yield {"what": "a timed call, CPU time", "got": got, "goal": f"<= {_GOAL_US:g} us", "met": median <= _GOAL_US}
    began = time.process_time()
    time.sleep(_BESIDE_S)
    share = (time.process_time() - began) / _BESIDE_S
    yield {"what": "sampling and writing, of a core", "got": f"{share:.2%}", "goal": "<= 1%", "met": share <= _GOAL}


def _costs_us(flush: Callable[[], None]) -> Iterator[float]:
    plain, observed = Model(), Observed()
    for _ in range(_CALL_PAIRS):
        before = _call_ns(plain)
        yield (_call_ns(observed) - before) / 1000
        flush()


def _call_ns(model: Model) -> float:
    begin = time.thread_time_ns()
    for _ in range(_CALLS):
        model.run(None, None)
    return (time.thread_time_ns() - begin) / _CALLS


def _runs(python: str, folder: Path) -> tuple[list[dict[str, float]], list[dict[str, float]]]:
    """Runs of the paced program without and with the probe, in turn; every second pair the other way round."""
    sides: tuple[list[dict[str, float]], list[dict[str, float]]] = ([], [])
    for pair in range(_RUN_PAIRS):
        for side in (0, 1) if pair % 2 == 0 else (1, 0):
            sides[side].append(_run(python, folder, observed=bool(side)))
    return sides


def _run(python: str, folder: Path, observed: bool) -> dict[str, float]:
    out = folder / "cost.json"
    environment = dict(os.environ)
    with tempfile.TemporaryDirectory() as probed:
        if observed:
            environment |= {"PYTHONPATH": str(HOOK), FOLDER_VARIABLE: probed}
        files = [str(folder / "small.mp4"), str(folder / "detector_320x192.onnx"), str(out), str(_FRAMES)]
        subprocess.run([python, str(_LOAD), *files], env=environment, check=True)
    numbers: dict[str, float] = json.loads(out.read_text())
    return numbers
