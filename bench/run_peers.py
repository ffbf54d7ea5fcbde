"""How many cameras others' loops carry on the same cores, and what their lag does when there are too many.

    python bench/run_peers.py [--fps 10] [--seconds 8] [--limit 480] [--most 32]

Beside `framepace run`: ultralytics' loop over several streams (`YOLO.predict` on a .streams file) and roboflow's
InferencePipeline, each from its package, in an environment of its own (made once, minutes, which do not count). All get
the same ONNX file (yolo11n with random weights, 192 x 192) and the same cameras over RTSP from this machine. Programs
take turns at every count. A count is carried when the p99 of the age of pictures at their results is at most 200 ms and
nine of ten pictures have one. At overload, of twice as many as the best carried, the lag is the median age in the first
and in the last third.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np
from common import options, show
from numpy.typing import NDArray
from peers_programs import BITS, SIDE, SQUARE

HERE = Path(__file__).parent
ROOT = HERE.parent
ENVIRONMENTS = Path(tempfile.gettempdir()) / "framepace-run-peers"
PACKAGES = {
    "ultralytics": ("ultralytics", "onnx", "onnxruntime", "opencv-python-headless", "lap"),
    "inference": ("inference", "onnxruntime"),
}
SETTINGS = "threads=1 workers=2 spinning=off resize=letterbox scale=0.00392156862745098 pad-value=114"
P99_S = 0.2
SHARE = 0.9
SIZE = (360, 640)
GOAL = 2.0
_EXPORT = """
import sys, torch
from ultralytics import YOLO
torch.manual_seed(0)
print(YOLO('yolo11n.yaml').export(format='onnx', imgsz=int(sys.argv[1]), dynamic=True, simplify=False))
"""
Row = dict[str, Any]


@dataclass
class Program:
    """One of the loops: the Python that runs it, or why there is none; which counts it carried."""

    name: str
    python: str = ""
    why: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    carried: int = 0
    failed_at: int = 0
    looks: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Seen:
    """What a program did on so many cameras."""

    p99_s: float
    share: float  # of the pictures that were sent, with a result
    lag_s: tuple[float, float]  # median age in the first and in the last third

    @property
    def holds(self) -> bool:
        """Whether the cameras were carried."""
        return self.p99_s <= P99_S and self.share >= SHARE


def units(path: Path, fps: int) -> None:
    """2 ** BITS numbered pictures as H.264 access units (see peers_cameras.py).

    They compress well: of a key frame in more than a hundred packets GStreamer's server drops some over TCP.
    """
    codec = encoder(fps)
    rows, columns = np.indices(SIZE) // 40
    scene = np.repeat(((rows + columns) % 2 * 90 + 60).astype(np.uint8)[:, :, None], 3, axis=2)
    with path.open("wb") as file:
        for number in range(1 << BITS):
            picture = np.roll(scene, number, 1)
            for bit in range(BITS):
                picture[:SQUARE, SQUARE * bit : SQUARE * (bit + 1)] = 255 * (number >> bit & 1)
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts = number
            for packet in codec.encode(frame):
                file.write(struct.pack("<I", packet.size) + bytes(packet))


def encoder(fps: int) -> Any:
    """Of H.264 with a key frame per second."""
    codec: Any = av.CodecContext.create("libx264", "w")
    codec.height, codec.width = SIZE
    codec.pix_fmt = "yuv420p"
    codec.framerate = fps
    codec.gop_size = fps
    codec.thread_count = 1  # or a picture has several slices, which GStreamer sends as two
    codec.options = {"preset": "ultrafast", "tune": "zerolatency", "sc_threshold": "0"}
    return codec


@contextmanager
def cameras(path: Path, fps: int, epoch: float) -> Iterator[int]:
    """Inside, a server of cameras; its port."""
    python = subprocess.run(
        ["sh", str(ROOT / "tools" / "services.sh"), "rtsp"], capture_output=True, text=True, check=True
    ).stdout.split()[-1]
    command = [python, str(HERE / "peers_cameras.py"), str(path), str(fps), str(epoch)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.kill()


def environment(name: str) -> Program:
    """A peer in an environment of its own, made where it is not there yet."""
    folder = ENVIRONMENTS / name
    python = str(folder / "bin" / "python")
    done = folder / "done"
    if not done.exists():
        print(f"installing {name} into {folder}", file=sys.stderr)
        for command in (
            [sys.executable, "-m", "venv", str(folder)],
            [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES[name]],
        ):
            told = subprocess.run(command, capture_output=True, text=True, check=False)
            if told.returncode:
                last = (told.stderr.strip().splitlines() or ["no reason was given"])[-1]
                return Program(name, why=f"could not be installed: {last[:150]}")
        done.touch()
    return Program(name, python)


def exported(folder: Path, program: Program) -> Path:
    """The network, written by ultralytics without a download."""
    quiet = {**os.environ, "YOLO_AUTOINSTALL": "false"}
    subprocess.run([program.python, "-c", _EXPORT, str(SIDE)], cwd=folder, env=quiet, check=True, capture_output=True)
    return folder / "yolo11n.onnx"


class Comparison:
    """Programs in turn on the same cameras."""

    def __init__(self, folder: Path, model: Path, port: int, epoch: float, fps: int, seconds: int) -> None:
        self._folder = folder
        self._model = model
        self._port = port
        self._epoch = epoch
        self._fps = fps
        self._seconds = seconds

    def look(self, program: Program, count: int, seconds: int | None = None) -> Seen:
        """Run one program on so many cameras."""
        seconds = seconds or self._seconds
        addresses = [f"rtsp://127.0.0.1:{self._port}/camera-{camera}" for camera in range(count)]
        given = [str(self._model), str(seconds), str(self._epoch), str(self._fps)]
        command = [program.python, str(HERE / "peers_programs.py"), program.name, *given, *addresses]
        variables = {**os.environ, "FRAMEPACE_SETTINGS": SETTINGS, "YOLO_AUTOINSTALL": "false"}
        try:
            told = subprocess.run(
                command, cwd=self._folder, env=variables, capture_output=True, text=True, timeout=seconds + 90
            )
            found = json.loads(told.stdout.splitlines()[-1])
        except (subprocess.TimeoutExpired, IndexError, ValueError):
            return Seen(float("inf"), 0.0, (float("nan"), float("nan")))
        program.versions = found["versions"]
        return self._seen(found["rows"], count, seconds)

    def _seen(self, rows: Sequence[tuple[float, int, float]], count: int, seconds: int) -> Seen:
        if not rows:
            return Seen(float("inf"), 0.0, (float("nan"), float("nan")))
        table = np.array([row for row in rows if row[0] < seconds])
        first = table[table[:, 0] < seconds / 3, 2]
        last = table[table[:, 0] > seconds * 2 / 3, 2]
        lag = (_median(first), _median(last))
        share = min(1.0, len(table) / (count * self._fps * seconds))
        return Seen(float(np.quantile(table[:, 2], 0.99)), share, lag)


def _median(ages: NDArray[np.float64]) -> float:
    return float(np.median(ages)) if len(ages) else float("nan")


def search(programs: Sequence[Program], comparison: Comparison, ends: float, most: int) -> None:
    """Double the cameras, then halve the gap, the programs taking turns; until `ends` (monotonic s)."""
    while time.monotonic() < ends:
        asked = [(program, count) for program in programs if (count := _next(program, most))]
        if not asked:
            return
        for program, count in asked:
            seen = comparison.look(program, count)
            program.looks.append(f"{count}: {seen.p99_s * 1e3:.0f} ms, {seen.share:.0%}")
            if seen.holds:
                program.carried = count
            else:
                program.failed_at = count


def _next(program: Program, most: int) -> int:
    """The count to try next; 0 where the answer is known as well as a tenth."""
    if not program.failed_at:
        return min(most, max(1, 2 * program.carried)) if program.carried < most else 0
    gap = program.failed_at - program.carried
    if gap <= max(1, program.failed_at // 10):
        return 0
    return program.carried + gap // 2


def capacity_rows(programs: Sequence[Program], most: int) -> list[Row]:
    """A row per program, and ours over each of the others."""
    ours, *others = programs
    rows: list[Row] = []
    for program in programs:
        versions = ", ".join(f"{name} {number}" for name, number in program.versions.items())
        got = program.why or f"{program.carried} cameras"
        if program.carried == most:
            got = f"{most} cameras or more"
        rows.append({"what": f"{program.name} ({versions})" if versions else program.name, "got": got})
        rows += [{"what": f"    {look}", "got": ""} for look in program.looks]
    for other in others:
        if other.carried:
            ratio = ours.carried / other.carried
            rows.append({"what": f"framepace over {other.name}", "got": f"{ratio:.2f}", "goal": f"{GOAL:.2f}",
                         "met": ratio >= GOAL})  # fmt: skip
    return rows


def overload_rows(programs: Sequence[Program], comparison: Comparison, count: int, seconds: int) -> list[Row]:
    """The lag of each program when there are too many cameras."""
    rows = []
    for program in programs:
        seen = comparison.look(program, count, seconds)
        first, last = seen.lag_s
        got = f"{first * 1e3:.0f} -> {last * 1e3:.0f} ms, {seen.share:.0%}"
        met = last <= 1.5 * first + 0.05 if program.name == "framepace" else None
        rows.append({"what": f"lag of {program.name} at {count} cameras, {seconds} s; share", "got": got, "met": met})
    return rows


def main() -> None:
    """Capacity, then overload."""
    args = options(str(__doc__), fps=10, seconds=8, limit=480, most=32)
    peers = [environment(name) for name in PACKAGES]
    programs = [Program("framepace", sys.executable), *peers]
    able = [program for program in programs if program.python]
    if not peers[0].python:
        sys.exit(f"the network is exported by ultralytics, which {peers[0].why}")
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = exported(folder, peers[0])
        units(folder / "units", args.fps)
        epoch = time.monotonic()
        with cameras(folder / "units", args.fps, epoch) as port:
            comparison = Comparison(folder, model, port, epoch, args.fps, args.seconds)
            search(able, comparison, began + 0.7 * args.limit, args.most)
            rows = capacity_rows(programs, args.most)
            count = min(args.most, 2 * max(1, *(program.carried for program in able)))
            rows += overload_rows(able, comparison, count, 2 * args.seconds)
    rows.append({"what": f"settings of framepace: {SETTINGS}", "got": ""})
    rows.append({"what": "time without installing", "got": f"{time.monotonic() - began:.0f} s"})
    show("run_peers", args, rows)


if __name__ == "__main__":
    main()
