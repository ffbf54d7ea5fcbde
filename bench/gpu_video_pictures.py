"""Are the pictures that a GPU decodes and paints those that the host decodes and prepares?"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gpu_video_streams import scenes, write
from numpy.typing import NDArray

from framepace.backends.deviceworker import DeviceWorker, Produced, Slot
from framepace.devices.protocol import Device
from framepace.facts.model import TensorSpec
from framepace.facts.plan import Batching, ModelPlan, Prepare
from framepace.models.resolved import Image
from framepace.models.spec import Resolved
from framepace.video.frame import Frame
from framepace.video.prepare import Preparer
from framepace.video.source import open_source

Row = dict[str, Any]
LEVELS, MEAN = 1.0, 0.25
ROUNDING = {"uint8": 0.0, "float16": 0.15}  # of both numbers, in levels
BATCH = 8
SIZE, SMALL_SIZE = (720, 1280), (96, 160)
# Container, encoder, pixel format, options: what cameras and files have.
VIDEOS: tuple[tuple[str, str, str, dict[str, str]], ...] = (
    ("h264.mp4", "libx264", "yuv420p", {"bf": "2"}),
    ("h264-full.mp4", "libx264", "yuvj420p", {}),
    ("h264-444.mp4", "libx264", "yuv444p", {}),
    ("hevc.mp4", "libx265", "yuv420p", {"x265-params": "log-level=none"}),
    ("hevc-10.mp4", "libx265", "yuv420p10le", {"x265-params": "log-level=none"}),
    ("vp9.mkv", "libvpx-vp9", "yuv420p", {"deadline": "realtime", "cpu-used": "8"}),
    ("av1.mkv", "libsvtav1", "yuv420p", {"preset": "12"}),
    ("mpeg4.mp4", "mpeg4", "yuv420p", {}),
    ("mjpeg.avi", "mjpeg", "yuvj420p", {}),
    ("mpeg2.mkv", "mpeg2video", "yuv420p", {}),
)
FORMATS = (
    "yuv420p", "yuvj420p", "yuv422p", "yuv444p", "yuv440p", "yuv411p", "nv12", "nv21", "p010le", "yuv420p10le", "rgb24",
    "bgr24", "rgba", "bgra", "argb", "gbrp", "gray", "yuyv422", "uyvy422", "rgb565le",
)  # fmt: skip
FRAMES = 6


@dataclass(frozen=True)
class Target:
    """An input that pictures are painted into."""

    name: str
    prepare: Prepare
    size: tuple[int, int] | None
    layout: str = "nchw"
    dtype: str = "uint8"


TARGETS = (
    Target("stretched", Prepare(place="device"), (640, 640)),
    Target("letterboxed", Prepare(place="device", resize="letterbox", colour="bgr"), (384, 640), "nhwc"),
    Target("as it is", Prepare(place="device"), None),
    Target("float16", Prepare(place="device", mean=(0.5,), std=(0.25,)), (320, 320), dtype="float16"),
)


class Painter:
    """A worker whose network returns its input."""

    def __init__(self, device: Device, target: Target, size: tuple[int, int]) -> None:
        shape = (BATCH, 3, *size) if target.layout == "nchw" else (BATCH, *size, 3)
        plan = ModelPlan(name="m", model="m.onnx", prepare=target.prepare, batch=Batching(max=BATCH))
        image = Image("x", "nchw" if target.layout == "nchw" else "nhwc", 3, *size, target.dtype)
        resolved = Resolved((TensorSpec(name="x", dtype=target.dtype, shape=shape),), image, frozenset({"x"}))
        self.notes: list[str] = []
        self._shape, self._dtype = shape, target.dtype
        self._worker = DeviceWorker(device, plan, resolved, (), self._launch, tell=self.notes.append)
        self._write = self._worker.preparer(plan)
        self._worker.prime()

    def paint(self, pictures: Sequence[Any]) -> NDArray[Any]:
        """The input with these pictures in it, at most a batch."""
        assert self._write is not None
        for place, picture in enumerate(pictures):
            self._write(Frame(0, 0, 0, 0, 0, 0, 0, picture), self._worker.staging(0), place)
        self._worker.enqueue(0, len(pictures))
        return np.array(self._worker.wait(0)["x"])[: len(pictures)]

    @property
    def kernel_us(self) -> float:
        """Device time of the last painting."""
        return self._worker.times(0).paint / 1e3

    def close(self) -> None:
        """Free the worker."""
        self._worker.close()

    def _launch(self, index: int, slot: Slot, count: int, stream: Any) -> Mapping[str, Produced]:
        return {"x": Produced(slot.pointers["x"], self._shape, self._dtype)}


def pictures(folder: Path, small: bool) -> Iterator[Row]:
    """A row for each video and target, and for each pixel format."""
    size = SMALL_SIZE if small else SIZE
    for video, target in itertools.product(VIDEOS, TARGETS):
        yield _guarded(
            {"video": video[0], "target": target.name}, lambda v=video, t=target: _video(folder, small, v, t)
        )
    for name, target in itertools.product(FORMATS, (TARGETS[0], TARGETS[2])):
        yield _guarded({"format": name, "target": target.name}, lambda n=name, t=target: _format(n, t, size, small))


def _guarded(head: Row, run: Any) -> Row:
    try:
        return {**head, **run()}
    except Exception as error:  # one format that fails must not take the others with it
        return {**head, "error": f"{type(error).__name__}: {error}".replace("\n", " / ")[:300]}


def _video(folder: Path, small: bool, video: tuple[str, str, str, dict[str, str]], target: Target) -> Row:
    name, codec, pixels, options = video
    path = folder / f"{'small-' if small else ''}{name}"
    if not path.is_file():
        write(path, scenes(SMALL_SIZE if small else SIZE, FRAMES), codec, pixels, options)
    host = open_source(str(path), loop=False)
    device = open_source(str(path), loop=False, gpu=None if small else 0)
    row = _compared(list(iter(device.read, None)), list(iter(host.read, None)), target, small)
    row["notes"] = [*device.notes, *row["notes"]]
    host.close()
    device.close()
    return row


def _format(name: str, target: Target, size: tuple[int, int], small: bool) -> Row:
    import av

    frames = [av.VideoFrame.from_ndarray(next(scenes(size, 1)), "rgb24").reformat(format=name)]
    return _compared(frames, frames, target, small)


def _compared(painted: Sequence[Any], prepared: Sequence[Any], target: Target, small: bool) -> Row:
    """How far what is painted is from what is prepared, in levels; both of the same pictures."""
    size = target.size or (prepared[0].height, prepared[0].width)
    painter = Painter(_device(small), target, size)
    assert len(painted) == len(prepared)
    got = painter.paint(painted[:BATCH])
    expected = np.empty_like(got)
    preparer = Preparer(target.prepare, size, target.layout, 3, target.dtype)
    for picture, out in zip(prepared, expected, strict=False):
        preparer(picture, out)
    level = 1.0 if target.dtype == "uint8" else float(target.prepare.scale / target.prepare.std[0])
    apart = np.abs(got.astype(np.float64) - expected.astype(np.float64)) / level
    row = {
        "frames": len(got),
        "source": _source(painted[0]),
        "max": round(float(apart.max()), 2),
        "mean": round(float(apart.mean()), 4),
        "met": bool(apart.max() <= LEVELS + ROUNDING[target.dtype] and apart.mean() <= MEAN),
        "kernel_us": round(painter.kernel_us, 1),
        "notes": painter.notes,
    }
    painter.close()
    return row


def _source(picture: Any) -> str:
    """Where a picture is, and in which format."""
    on_device = picture.format.name == "cuda"
    return f"device, {picture.sw_format.name}" if on_device else f"host, {picture.format.name}"


def _device(small: bool) -> Device:
    if not small:
        from framepace.devices.cuda import open_device

        return open_device("cuda")
    import sys

    sys.path.insert(0, str(Path(__file__).parent.parent))
    from framepace.testing import FakeClock
    from tests.doubles.device import ScriptedDevice

    return ScriptedDevice(FakeClock(start=1000))
