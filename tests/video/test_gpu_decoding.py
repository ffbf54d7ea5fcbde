"""decode=gpu: what is decoded on the host all the same is told; what cannot be asked for is refused in a sentence."""

from __future__ import annotations

from io import BytesIO
from types import SimpleNamespace
from typing import Any

import av
import pytest

from framepace.clock.system import SystemClock
from framepace.devices.nvml import started
from framepace.errors import UsageError
from framepace.facts.contradiction import contradiction
from framepace.facts.plan import EnginePlan, ModelPlan, Plan
from framepace.measure.frames import decoding_gpu
from framepace.video.device import decoder
from framepace.video.file import VideoFile
from framepace.video.source import open_source, synthetic_video


def _model(device: str | None) -> ModelPlan:
    return ModelPlan(name=f"on {device}", model="builtin:classifier", device=device)


def test_the_gpu_that_decodes_is_that_of_the_first_model_on_one() -> None:
    """None where the host decodes; the first GPU where no model names one."""
    engine = EnginePlan(decode="gpu")
    assert decoding_gpu(Plan(models=(_model("cpu"), _model("cuda:2")), engine=engine)) == 2
    assert decoding_gpu(Plan(models=(_model(None),), engine=engine)) == 0
    assert decoding_gpu(Plan(models=(_model("cuda:2"),))) is None


def test_a_machine_without_a_gpu_says_so() -> None:
    """Before any video is opened: nothing about the video's permissions."""
    with started() as driver:
        if driver is not None:
            pytest.skip("there is a GPU here")
    with pytest.raises(UsageError, match="NVIDIA GPU") as raised:
        open_source("synthetic", size=(96, 128), gpu=0)
    assert "decode=thread" in str(raised.value.fix)


def test_what_the_gpu_does_not_decode_is_decoded_on_the_host_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here it decodes nothing: PyAV falls back by itself, without a word."""
    monkeypatch.setattr(decoder, "accelerator", lambda gpu: None)
    source = VideoFile("synthetic", True, synthetic_video((96, 128)), gpu=0)
    picture = source.read()
    source.close()
    assert picture.format.name == "yuv420p"
    assert source.notes == ["decoded on the host: the GPU does not decode mpeg4 of yuv420p, 128x96"]


def test_a_kind_that_the_gpu_decodes_in_another_stream_finds_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """96 streams of 1080p H.264 were too many for a GPU of which 64 had a decoder: not the format's fault."""
    monkeypatch.setattr(decoder, "_DECODED", set())
    stream = SimpleNamespace(codec_context=SimpleNamespace(name="h264"))
    there = SimpleNamespace(format=SimpleNamespace(name="cuda"), sw_format=SimpleNamespace(name="nv12"))
    here = SimpleNamespace(format=SimpleNamespace(name="yuv420p"), width=1920, height=1080)
    other = SimpleNamespace(format=SimpleNamespace(name="yuv422p"), width=1920, height=1080)
    assert decoder.fallen_back(stream, there) == ""
    assert "no room for one more decoder of h264 of yuv420p, 1920x1080" in decoder.fallen_back(stream, here)
    assert "the GPU does not decode h264 of yuv422p" in decoder.fallen_back(stream, other)


def test_a_stream_tells_it_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Of live sources as of files."""
    monkeypatch.setattr(decoder, "accelerator", lambda gpu: None)
    from framepace.video.live import LiveStream

    data = synthetic_video((96, 128))
    stream = LiveStream("test://camera", SystemClock(), opens=lambda: av.open(BytesIO(data)), gpu=0)
    stream.read()
    assert "decoded on the host" in " ".join(stream.notes)
    stream.close()


@pytest.mark.parametrize("strategy", ["processes", "worker-processes"])
def test_processes_and_decoding_on_the_gpu_contradict_each_other(strategy: Any) -> None:
    """A picture in this process's GPU memory is not in another's."""
    plan = Plan(models=(_model("cuda"),), engine=EnginePlan(decode="gpu", strategy=strategy))
    assert "decode=gpu" in contradiction(plan)


class _Driver:
    """A CUDA driver that notes how its context is to wait."""

    def __init__(self) -> None:
        self.flags: list[tuple[int, int]] = []

    def cuInit(self, flags: int) -> int:
        """See the driver API."""
        return 0

    def cuDeviceGet(self, device: Any, ordinal: int) -> int:
        """See the driver API."""
        device._obj.value = 10 + ordinal
        return 0

    def cuDevicePrimaryCtxSetFlags_v2(self, device: Any, flags: Any) -> int:
        """See the driver API."""
        self.flags.append((device.value, flags.value))
        return 0


def test_a_context_that_others_made_is_given_the_flags_that_ffmpeg_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before every decoder: it refuses a primary context that is active with other flags (CU_CTX_SCHED_*)."""
    driver = _Driver()
    monkeypatch.setattr("framepace.video.device.decoder.ctypes.CDLL", lambda name: driver)
    monkeypatch.setattr(decoder, "accelerator", lambda gpu: None)
    decoder.options(2)
    assert driver.flags == [(12, 4)]
    decoder.options(None)
    assert len(driver.flags) == 1
