"""How programs decode pictures, and what those libraries do with them. Standard library only."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any

from _framepace_patching import patch_each
from _framepace_timing import Numbers

if TYPE_CHECKING:
    from _framepace_probe import Patch, Probe

_DECORD = ("VideoReader.next", "VideoReader.__getitem__", "VideoReader.get_batch")
_TORCHCODEC = ("__getitem__", "get_frame_at", "get_frame_played_at", "get_frames_at", "get_frames_in_range")


class Sources(Numbers):  # type: ignore[misc]
    """Numbers for objects whose pictures are one source."""

    def __init__(self, probe: Probe, kind: str) -> None:
        super().__init__()
        self._probe = probe
        self._kind = kind
        self._next = itertools.count()

    def number(self, source: Any, name: str = "") -> int:
        """The number of a source."""
        number: int | None = self.known.get(id(source))
        if number is None:
            text = name or f"{self._kind} {next(self._next)}"
            number = self.known[id(source)] = self._probe.index(self._probe.sources, text)
        return number


def _av_input(probe: Probe, module: ModuleType) -> None:
    """PyAV gives pictures and packets from generators: each step of one is a call."""
    containers = Sources(probe, "container")
    _time_steps(probe, containers, module.InputContainer, "decode", "decode")
    _time_steps(probe, containers, module.InputContainer, "demux", "grab")
    patch_each(probe, module, "av", {"InputContainer.seek": "grab"})


def _time_steps(probe: Probe, containers: Sources, kind: Any, name: str, stage: str) -> None:
    original = getattr(kind, name)
    number = probe.number_of(stage, f"av.InputContainer.{name}")

    def steps(self: Any, *arguments: Any, **options: Any) -> Iterator[Any]:
        source = os.path.basename(str(getattr(self, "name", "")))
        return _timed_steps(probe, number, containers.number(self, source), original(self, *arguments, **options))

    setattr(kind, name, steps)


def _av_packet(probe: Probe, module: ModuleType) -> None:
    """Pictures from packets that the program takes from a stream by itself."""
    probe.patch(module.Packet, "decode", "decode", "av.Packet.decode", _Packets(probe, "container"))


def _av_codec(probe: Probe, module: ModuleType) -> None:
    codecs = Sources(probe, "codec")
    codecs.is_result = _holds_pictures
    probe.patch(module.CodecContext, "decode", "decode", "av.CodecContext.decode", codecs)


class _Packets(Sources):
    """The numbers of containers, by their packets."""

    def __init__(self, probe: Probe, kind: str) -> None:
        super().__init__(probe, kind)
        self.is_result = _holds_pictures

    def number(self, source: Any, name: str = "") -> int:
        """That of the packet's container."""
        container = source.stream.container
        return super().number(container, os.path.basename(str(container.name)))


def _holds_pictures(decoded: Any) -> bool:
    """Whether frames are those of a video; none came, or they are sound, where not."""
    return bool(decoded) and hasattr(decoded[0], "reformat")


def _timed_steps(probe: Probe, number: int, value: int, steps: Iterator[Any]) -> Iterator[Any]:
    clock = time.perf_counter_ns
    try:
        while True:
            begin = clock()
            try:
                step = next(steps)
            except StopIteration:
                return
            probe.add_row(number, begin, clock(), value)
            yield step
    finally:
        getattr(steps, "close", tuple)()


def _decord(probe: Probe, module: ModuleType) -> None:
    patch_each(probe, module, "decord", dict.fromkeys(_DECORD, "decode"))


def _torchcodec(probe: Probe, module: ModuleType) -> None:
    stages = {f"VideoDecoder.{name}": "decode" for name in _TORCHCODEC}
    patch_each(probe, module, "torchcodec", stages)


def _imageio(probe: Probe, module: ModuleType) -> None:
    """imageio's pictures come from a generator of this module."""
    original = module.read_frames
    number = probe.number_of("decode", "imageio_ffmpeg.read_frames")

    def read_frames(path: Any, *arguments: Any, **options: Any) -> Iterator[Any]:
        source = probe.index(probe.sources, os.path.basename(str(path)))
        return _timed_steps(probe, number, source, original(path, *arguments, **options))

    vars(module)["read_frames"] = read_frames


def _av_frame(probe: Probe, module: ModuleType) -> None:
    names = ("to_ndarray", "to_image", "to_rgb", "reformat")
    patch_each(probe, module, "av", {f"VideoFrame.{name}": "prepare" for name in names})


def _av_output(probe: Probe, module: ModuleType) -> None:
    patch_each(probe, module, "av", {"OutputContainer.mux": "sink"})


def _pillow(probe: Probe, module: ModuleType) -> None:
    stages = {"open": "decode", "Image.resize": "prepare", "Image.convert": "prepare"}
    patch_each(probe, module, "PIL.Image", stages)


DECODERS: dict[str, Patch] = {
    "av.container.input": _av_input,
    "av.container.output": _av_output,
    "av.packet": _av_packet,
    "av.codec.context": _av_codec,
    "decord.video_reader": _decord,
    "torchcodec.decoders._video_decoder": _torchcodec,
    "imageio_ffmpeg": _imageio,
    "av.video.frame": _av_frame,
    "PIL.Image": _pillow,
}
