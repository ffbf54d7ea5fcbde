"""What bench/injected.py injects: the hooks, video and neighbour that make a case slow, and the cases on a GPU."""

from __future__ import annotations

import dataclasses
import mmap
import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from gpu_tables import Bench
from msgspec.structs import replace

from framepace import api
from framepace.engine.corekeeper import usable_cores
from framepace.explaining.metrics import CPU as CPU_TIME
from framepace.explaining.metrics import LATENCY
from framepace.explaining.trial import Blocks
from framepace.facts.finding import Explanation, Finding
from framepace.facts.plan import Plan, Target
from framepace.facts.settings import Case, apply
from framepace.facts.trace import Trace
from framepace.facts.workload import Closed, Input, Load, Warmup
from framepace.lab.lab import Lab
from framepace.measure.session import clock_for

_SPIN = """
import os, sys
parent = os.getppid()
os.sched_setaffinity(0, {int(sys.argv[1])})
os.write(1, b'.')
while os.getppid() == parent:
    for _ in range(100000):
        pass
"""
_FRESH_BYTES = 3 << 20


def python_heavy(picture: Any) -> Any:
    """Preparation as people write it first: a loop in Python over some 150,000 pixels."""
    total = 0
    for value in picture[:240, :640, 0].ravel().tolist():
        total += value if value > 16 else 0
    return picture if total >= 0 else None


@lru_cache(maxsize=1)
def _held() -> tuple[list[list[int]], deque[list[list[int]]]]:
    """Many live objects that every full collection walks, and the recent garbage."""
    return [[i] for i in range(400_000)], deque(maxlen=60)


def garbage(model: str, outputs: Any, frame: int) -> None:
    """Keeps objects for two seconds, so that full collections come often, walk all that lives and stall a frame."""
    _held()[1].append([[i] for i in range(4000)])


def fresh_memory(model: str, outputs: Any, frame: int) -> None:
    """Maps fresh memory, touches each page and gives it back: a page fault every 4 KiB, in every frame."""
    with mmap.mmap(-1, _FRESH_BYTES) as memory:
        memory.madvise(mmap.MADV_NOHUGEPAGE)
        np.frombuffer(memory, np.uint8)[:: mmap.PAGESIZE] = 1


@contextmanager
def busy_neighbour() -> Iterator[None]:
    """A process that spins on each core which the workers may use."""
    with ExitStack() as stack:
        for core in usable_cores():
            command = [sys.executable, "-S", "-E", "-c", _SPIN, str(core)]
            process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL))
            stack.callback(process.kill)  # called before Popen's own exit, which waits
            if process.stdout is None or process.stdout.read(1) != b".":
                raise OSError(f"the neighbour on core {core} did not start")
        yield


def heavy_video(folder: Path, size: tuple[int, int] = (864, 1536), frames: int = 30) -> str:
    """A second of noise of `size` (height, width) in folder/heavy.mp4, made once: H.264 with B-frames."""
    import av

    path = folder / "heavy.mp4"
    unfinished = folder / f"part-{os.getpid()}.mp4"  # others may be making it, too
    rng = np.random.default_rng(0)
    if path.exists():
        return os.fspath(path)
    # libx264 is not in every build of FFmpeg; MPEG-4 always is. A constant quality makes pictures equally dear.
    h264 = "libx264" in av.codecs_available
    options = {"bf": "3", **({"preset": "veryfast", "crf": "30"} if h264 else {"qscale": "8"})}
    with av.open(os.fspath(unfinished), "w") as container:
        stream: Any = container.add_stream("libx264" if h264 else "mpeg4", rate=30, options=options)
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        for index in range(frames):
            noise = rng.integers(0, 128, (*size, 3), np.uint8)
            frame = av.VideoFrame.from_ndarray(noise, "rgb24")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    unfinished.replace(path)
    return os.fspath(path)


def part(finding: Finding) -> str | None:
    """The stage, event or setting that a finding is about, where its code stands for several."""
    if finding.code == "FP012" and finding.intervention is not None:
        return next(iter(finding.intervention.changed), None)
    return finding.evidence.get("stage") or finding.evidence.get("coincides_with")


class Unavailable(Exception):
    """This machine has not what an injection needs."""


@dataclasses.dataclass(frozen=True)
class Setup:
    """Where a cause is injected: a folder for what is made, the backend of the GPU cases and its options, exports.

    `model` is the network of the CPU cases: built in, or an exported file.
    """

    folder: Path
    backend: str
    options: Mapping[str, Any]
    networks: Path = Path()
    model: str = ""

    def network(self, name: str) -> str:
        """The file of an exported network of torchvision; simulated, a built-in one stands for it."""
        if self.backend == "simulated":
            return "builtin:resnet18"
        return os.fspath(self.networks / f"torchvision-{name}.onnx")


def _nothing(case: Case, found: Explanation) -> dict[str, Any]:
    return {}


@dataclasses.dataclass(frozen=True)
class Injection:
    """A cause: how to make its case, what runs beside it, and which finding at the top is right.

    A code that stands for several stages or events must name one of `about`. `after` measures what else the row holds.
    `variants` are what the trials will load, for libraries that build an engine of each. `models` are the networks of
    the CPU cases, which take turns.
    """

    expected: tuple[str, ...]
    make: Callable[[Setup], Case]
    about: tuple[str, ...] = ()
    beside: Callable[[], AbstractContextManager[None]] = nullcontext
    limit: float = 40.0
    after: Callable[[Case, Explanation], dict[str, Any]] = _nothing
    variants: tuple[Mapping[str, Any], ...] = ()
    models: tuple[str, ...] = ()

    def build(self, case: Case) -> None:
        """Load the case and its variants, so that building engines does not eat the time of the explanation."""
        for change in ({}, *self.variants):
            with Lab(1.0) as lab:
                lab.run(apply(case, {"scope": "model", **change}), 0.1, warmup=Warmup(seconds_max=0))

    def fits(self, finding: Finding) -> bool:
        """Whether the finding names this cause."""
        what = part(finding)
        return finding.code in self.expected and (what is None or what in self.about)


@dataclasses.dataclass(frozen=True)
class Healthy(Injection):
    """A case in which nothing is slow: what is found must be small."""

    def fits(self, finding: Finding) -> bool:
        """See Injection."""
        return finding.severity in ("info", "low")


def _cuda(setup: Setup, model: str, *, fps: float | None = None, load: Load | None = None, **settings: Any) -> Case:
    """The model on the GPU, back to back unless paced; inputs are made once, so that the host has little to do."""
    plan = Bench([setup.backend], 1.0).plan(setup.backend, model, options=dict(setup.options))
    changes = {name.replace("_", "-"): value for name, value in settings.items()}
    case = api.make_case(Plan(models=(plan,)), fps=fps, load=load, settings={"prepare-constant": True, **changes})
    return replace(case, workload=replace(case.workload, input=Input(size=(96, 96), frames=4)))


def _within(case: Case, p99_ms: float) -> Case:
    """The case with a budget: in a closed loop there is none."""
    return replace(case, plan=replace(case.plan, target=Target(p99_ms=p99_ms)))


def remedied(case: Case, found: Explanation) -> dict[str, Any]:
    """Inference without gaps, with them, and with the remedy of the top finding; held: within 1.15 of the first.

    Against a budget of a whole frame period such a cause is small, so `explain` may leave the remedy to the user: here
    it is applied whatever it is worth.
    """
    remedy = found.confirmed[0].remedy if found.confirmed else None
    if remedy is None or not remedy.plan:
        return {}
    gap = apply(case, {"scope": "model"})
    gapless, fixed = apply(gap, {"concurrency": 1}), apply(gap, remedy.plan)
    cases, traces = {"gapless": gapless, "gap": gap, "remedied": fixed}, dict[str, list[Trace]]()
    with Lab(60.0, clock=clock_for(case.plan)) as lab:
        for name in (*cases, *reversed(cases)):
            traces.setdefault(name, []).append(lab.run(cases[name], 1.5, warmup=Warmup(seconds_max=0.5)))
    runs = {name: _costs(pair) for name, pair in traces.items()}
    ratio = runs["remedied"]["ms"] / runs["gapless"]["ms"]
    told = {"remedy": remedy.plan, "cost": remedy.cost, "of gapless": round(ratio, 3), "held": ratio <= HELD}
    return told | {"runs": runs}


def _costs(traces: list[Trace]) -> dict[str, float]:
    """Median latency (ms), CPU time per frame (ms), cores busy on the whole machine, and power (W) if it is reported.

    A keeper is a process of its own: its cost shows in the cores only.
    """
    blocks = Blocks(before=traces)
    found = {"ms": blocks.value(traces, LATENCY).value / 1e6, "CPU ms": blocks.value(traces, CPU_TIME).value / 1e6}
    powers = [d.medians["power_mw"] / 1e3 for t in traces for d in api.summary(t).devices if "power_mw" in d.medians]
    told = {"cores": [busy for t in traces if (busy := _cores_busy(t)) is not None], "W": powers}
    return found | {name: sum(values) / len(values) for name, values in told.items() if values}


def _cores_busy(trace: Trace) -> float | None:
    """Cores that were busy on average over a run, with whatever; None where it was not measured."""
    t = trace.telemetry
    host = (t["device"] < 0) & (t["system_busy"] >= 0)
    times, busy = t["time"][host], t["system_busy"][host]
    return float((busy[-1] - busy[0]) / (times[-1] - times[0])) if len(times) > 1 else None


def _gap(fps: float) -> Injection:
    """A small network whose device and host idle between frames. Which of them is to blame depends on the machine:
    the remedy of the one that is named must bring back the latency without gaps.
    """
    expected = ("FP001", "FP002", "FP003")
    return Injection(expected, lambda s: _cuda(s, _CNN, fps=fps, **_FREE), after=remedied)


_CNN = "builtin:classifier@768x448"
# Neither copies nor launches nor arithmetic: what is left is what was injected.
_FREE: dict[str, Any] = {"precision": "fp16", "graph": True, "transfer": "device"}
HELD = 1.15  # times the latency without gaps
CUDA: dict[str, Injection] = {
    "small kernels": Injection(("FP005",), lambda s: _cuda(s, "builtin:manykernels")),
    "pageable inputs": Injection(
        ("FP006",), lambda s: _cuda(s, "builtin:classifier@1920x1088", transfer="pageable", graph=True)
    ),
    # 134 MB a tensor: more than any cache holds. Nothing is copied, so that only the kernels' own bytes count.
    "large elementwise": Injection(
        ("FP007",),
        lambda s: _cuda(s, "builtin:membound@1920x1088", transfer="device"),
        variants=({"precision": "fp16"},),
    ),
    # Back to back such a network can reach the power limit; then holding the clock down is as true as the arithmetic.
    "large convolutions": Injection(
        ("FP008", "FP004"),
        lambda s: _within(_cuda(s, "builtin:resnet50@1536x864", transfer="device", graph=True), 4.0),
        variants=({"model": "builtin:resnet50@1088x608"},),
    ),
    "gap of 20 ms": _gap(1000 / 20),
    "gap of 50 ms": _gap(1000 / 50),
    # One picture of 224 x 224 fills a part of a large GPU; kernels long enough that Python has time for two workers.
    "shared stream": Injection(
        ("FP010",),
        lambda s: _cuda(
            s, "builtin:resnet50", load=Closed(concurrency=4), workers=2, stream="shared", graph=True, transfer="device"
        ),
    ),
}
_CUDA_LIMIT_S = 25.0  # a GPU's time is dear
GPU: dict[str, Injection] = {
    name: dataclasses.replace(injection, limit=_CUDA_LIMIT_S) for name, injection in CUDA.items()
}
