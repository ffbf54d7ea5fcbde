"""Pictures painted into the inputs of a worker on the device, on a double whose kernel is compiled for the host."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from framepace.backends.deviceworker import DeviceWorker, Produced, Slot
from framepace.facts.inputs import Window
from framepace.facts.model import TensorSpec
from framepace.facts.plan import Batching, ModelPlan, Prepare
from framepace.models.filling import input_filler
from framepace.models.resolved import PAIR, Image
from framepace.models.spec import Resolved
from framepace.testing import FakeClock
from framepace.video.device import surface
from framepace.video.frame import Frame
from framepace.video.history import Moment
from tests.doubles.device import ScriptedDevice

SIZE = (24, 32)


def scene(seed: int, size: tuple[int, int] = (48, 64)) -> NDArray[np.uint8]:
    """A picture that differs from those of other seeds."""
    y, x = np.mgrid[0 : size[0], 0 : size[1]]
    return np.stack([x * 3 + seed * 20, y * 4, (x + y) * 2 + seed * 10], axis=-1).astype(np.uint8)


def darker(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A preparation hook."""
    return picture // 2


def decoded(seed: int, name: str = "yuv420p") -> av.VideoFrame:
    """A picture as a decoder of the host gives it."""
    return av.VideoFrame.from_ndarray(scene(seed), "rgb24").reformat(format=name)


def taken(picture: Any, source: int = 0) -> Frame:
    """A frame of that picture."""
    return Frame(0, source, 0, 0, 0, 0, 0, picture)


class Copying:
    """A worker whose network returns its picture input, on a device double."""

    def __init__(self, shape: tuple[int, ...], image: Image, *, window: Window | None = None, **plan: Any) -> None:
        prepare = plan.pop("prepare", Prepare(place="device"))
        self.device = ScriptedDevice(FakeClock(start=1000), upload_ns=2000, download_ns=1000)
        self.plan = ModelPlan(name="m", model="m.onnx", prepare=prepare, batch=Batching(max=shape[0]), **plan)
        tensor = TensorSpec(name="x", dtype=image.dtype, shape=shape)
        self.resolved = Resolved((tensor,), image, frozenset({"x"}), window=window)
        outputs = (TensorSpec(name="y", dtype=image.dtype, shape=shape),)
        self.notes: list[str] = []
        self.worker = DeviceWorker(
            self.device,
            self.plan,
            self.resolved,
            outputs,
            self._launch,
            capture=self.device.capture if self.plan.graph else None,
            tell=self.notes.append,
        )
        self.write: Any = self.worker.preparer(self.plan)
        self.worker.prime()

    def _launch(self, index: int, slot: Slot, count: int, stream: Any) -> Mapping[str, Produced] | None:
        source = self.device.addresses[slot.pointers["x"]]
        to = self.device.addresses[slot.pointers["y"]]
        stream.run(1000, lambda: np.copyto(to, source))
        return None

    def outputs(self, *pictures: Any, slot: int = 0) -> NDArray[Any]:
        """What the network makes of so many pictures."""
        for place, picture in enumerate(pictures):
            self.write(taken(picture), self.worker.staging(slot), place)
        self.worker.enqueue(slot, len(pictures))
        return np.array(self.worker.wait(slot)["y"])[: len(pictures)]

    def expected(self, *pictures: Any) -> NDArray[Any]:
        """The input as the host prepares it."""
        write = input_filler(self.plan, self.resolved)
        array = np.zeros([int(d) for d in self.resolved.inputs[0].shape], self.resolved.inputs[0].dtype)
        for place, picture in enumerate(pictures):
            write(taken(picture), {"x": array}, place)
        return array[: len(pictures)]


def image(layout: Any = "nchw", channels: int = 3, dtype: str = "uint8", time_axis: int | None = None) -> Image:
    """An image input."""
    return Image("x", layout, channels, *SIZE, dtype, time_axis)


class OnDevice:
    """A picture as PyAV leaves it on a device, in memory that the double can read: NV12, with DLPack planes."""

    format = SimpleNamespace(name="cuda")

    def __init__(self, frame: av.VideoFrame) -> None:
        self._frame = frame.reformat(format="nv12")
        self.sw_format = self._frame.format
        self.planes, self.height, self.width = self._frame.planes, self._frame.height, self._frame.width
        self.colorspace, self.color_range = frame.colorspace, frame.color_range
        self.downloads = 0

    def reformat(self, *args: Any, **options: Any) -> Any:
        """What PyAV does: it brings the picture to the host first."""
        self.downloads += 1
        return self._frame.reformat(*args, **options)


@pytest.fixture
def in_host_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planes of the host's memory (DLPack's kDLCPU) stand for those of the device."""
    monkeypatch.setattr(surface, "_CUDA", 1)


@pytest.mark.usefixtures("in_host_memory")
@pytest.mark.parametrize("graph", [False, True], ids=["plain", "graph"])
def test_pictures_on_the_device_are_painted_from_where_they_are(graph: bool) -> None:
    """Behind the decoder's stream; nothing is copied to the device, and none but the first of a kind to the host."""
    net = Copying((4, 3, *SIZE), image(), graph=graph)
    frames = [decoded(seed) for seed in range(4)]
    pictures = [OnDevice(frame) for frame in frames]
    net.device.uploads.clear()
    net.device.calls.clear()
    assert apart(net.outputs(*pictures), net.expected(*frames)) <= 1
    assert not net.device.uploads
    assert "await decoder" in net.device.calls
    assert [picture.downloads for picture in pictures] == [1, 0, 0, 0]  # where chroma lies
    assert not net.notes


@pytest.mark.usefixtures("in_host_memory")
def test_a_picture_that_is_not_resized_is_the_hosts_too() -> None:
    """The host decodes to separate planes, whose quick conversion rounds down: so does the painting of NV12."""
    net = Copying((1, 3, 48, 64), Image("x", "nchw", 3, 48, 64, "uint8"))
    assert apart(net.outputs(OnDevice(decoded(3))), net.expected(decoded(3))) == 0


@pytest.mark.usefixtures("in_host_memory")
def test_pictures_of_another_device_are_prepared_on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their addresses mean nothing here."""
    net = Copying((1, 3, *SIZE), image())
    net.device.index = 1
    picture = OnDevice(decoded(1))
    monkeypatch.setattr("framepace.backends.painting.Preparer.__call__", lambda self, picture, out: out.fill(7))
    assert (net.outputs(picture) == 7).all()


def apart(got: NDArray[Any], expected: NDArray[Any]) -> int:
    """The largest difference in levels."""
    return int(np.abs(got.astype(int) - expected.astype(int)).max())


@pytest.mark.parametrize("graph", [False, True], ids=["plain", "graph"])
@pytest.mark.parametrize("slots", [1, 2])
def test_pictures_reach_the_network_as_the_host_prepares_them(graph: bool, slots: int) -> None:
    """A batch of a decoded picture, another format and an array, twice, in each slot; nothing is copied but they."""
    net = Copying((4, 3, *SIZE), image(), graph=graph, slots=slots)
    pictures = [decoded(1), decoded(2, "nv12"), scene(3)]
    for slot in range(slots):
        for turn in (pictures, pictures[::-1]):
            net.device.uploads.clear()
            assert apart(net.outputs(*turn, slot=slot), net.expected(*turn)) <= 1
            assert len(net.device.uploads) == 3
            assert max(net.device.uploads) <= 48 * 64 * 3 + 256
    assert not net.notes


def test_a_picture_that_the_kernel_does_not_read_is_prepared_on_the_host_and_told() -> None:
    """Beside others in one batch: each comes as it would alone."""
    net = Copying((2, 3, *SIZE), image())
    pictures = [decoded(1), decoded(2, "rgb565le")]
    assert apart(net.outputs(*pictures), net.expected(*pictures)) <= 1
    assert net.notes == ["prepared on the host, not on the device: pictures of rgb565le, 64x48"]


def test_a_hook_gets_its_pictures_on_the_host() -> None:
    """The preparation hook is the user's code: what it returns is prepared on the host."""
    net = Copying((1, 3, *SIZE), image(), prepare=Prepare(place="device", hook="tests.backends.test_painting:darker"))
    assert apart(net.outputs(scene(1)), net.expected(scene(1))) == 0


def test_a_clip_and_a_pair_are_painted_picture_by_picture() -> None:
    """The pictures before the newest lie along their axis, or in the channels."""
    pictures = tuple(decoded(seed) for seed in range(3))
    moment = Moment(2, pictures)
    clip = Copying((2, 3, 3, *SIZE), image(time_axis=2), window=Window(pictures=3))
    assert apart(clip.outputs(moment), clip.expected(moment)) <= 1
    pair = Copying((2, PAIR, *SIZE), image(channels=PAIR))
    assert apart(pair.outputs(moment), pair.expected(moment)) <= 1


def test_more_pictures_than_one_launch_takes() -> None:
    """Twenty pictures are three launches."""
    net = Copying((20, *SIZE, 3), image("nhwc"))
    pictures = [decoded(seed) for seed in range(20)]
    assert apart(net.outputs(*pictures), net.expected(*pictures)) <= 1
    assert net.device.kernels[0].launches[-3:] == [8, 8, 4]


def test_an_input_that_is_filled_once_stays_on_the_device() -> None:
    """Later inferences copy and paint nothing, and find the same picture."""
    net = Copying((1, 3, *SIZE), image())
    first = net.outputs(decoded(1))
    uploads = len(net.device.uploads)
    net.worker.enqueue(0, 1)
    assert np.array_equal(net.worker.wait(0)["y"], first)
    assert len(net.device.uploads) == uploads
    assert net.worker.times(0).paint == -1


def test_the_time_of_the_painting_is_its_own() -> None:
    """It begins before the kernels of the network, and is none of the copies."""
    net = Copying((1, 3, *SIZE), image())
    net.outputs(decoded(1))
    times = net.worker.times(0)
    assert times.paint >= 0
    assert times.paint_at <= times.compute_at


def test_pictures_are_let_go_when_their_inference_has_ended() -> None:
    """A decoder has few surfaces: until then they are held, whoever dropped them."""
    net = Copying((1, 3, *SIZE), image())
    held = net.worker._painting._slots[0].owners  # type: ignore[union-attr]
    net.write(taken(decoded(1)), net.worker.staging(0), 0)
    net.worker.enqueue(0, 1)
    assert len(held) == 1
    net.worker.wait(0)
    assert not held
