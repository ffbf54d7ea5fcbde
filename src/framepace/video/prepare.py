"""Preparation: a picture becomes a model input, in one swscale pass and one pass of arithmetic a channel.

swscale (through PyAV) resizes and converts colour straight from the decoder's format to planar RGB, and both passes
release the interpreter lock. 1280x720 H.264 to 640x384 float32 on one core: 0.53 ms + 0.14 ms, on average within 0.4
grey levels of a float64 reference (bias 0.01). Packed RGB and then OpenCV's INTER_LINEAR take 0.60 ms for the first
part and darken the picture by 1.2 levels, because the conversion to packed RGB truncates.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.errors import ModelError, PlanError
from framepace.facts.plan import Prepare
from framepace.hooks import load_hook

# Flags of libswscale (swscale.h): how to resize, how to be exact. Not every PyAV has names for all of them.
_BILINEAR, _FULL_CHROMA, _ACCURATE_ROUNDING = 0x2, 0x2000 | 0x4000, 0x40000
_Normalise = Callable[[NDArray[np.uint8], NDArray[Any], float, float], None]
# Planes of swscale's 'gbrp' in the order that a model wants its channels.
_PLANES = {"rgb": (2, 0, 1), "bgr": (1, 0, 2)}
# swscale reads in vectors, up to 31 pixels beyond the end of the last row of RGB whose width is no multiple of these.
_VECTOR_PIXELS = 32


def letterbox(size: tuple[int, int], into: tuple[int, int]) -> tuple[int, int, int, int]:
    """(top, left, height, width) of a picture of `size` (height, width) fitted into `into`: aspect kept, centred."""
    scale = min(into[0] / size[0], into[1] / size[1])
    height, width = (max(1, min(side, round(own * scale))) for side, own in zip(into, size, strict=True))
    return (into[0] - height) // 2, (into[1] - width) // 2, height, width


class Preparer:
    """Writes one picture into one item of a model's input.

    value = (pixel * scale - mean) / std in the model's channel order; an integer input takes the pixels as they are.
    Not thread-safe: one preparer a worker.

    Args:
        prepare: the plan's description.
        size: (height, width) of the input.
        channels: 1 (grey) or 3.
        dtype: 'float32', 'float16', 'float64' or 'uint8'.
    """

    def __init__(self, prepare: Prepare, size: tuple[int, int], layout: str, channels: int, dtype: str) -> None:
        if channels not in (1, 3):
            raise ModelError("preparation makes 1 or 3 channels", got=channels, expected="a grey or RGB input")
        if dtype != "uint8" and not dtype.startswith("float"):
            raise ModelError("preparation cannot make this dtype", got=dtype, expected="uint8 or a float")
        self._prepare, self._size, self._last = prepare, size, layout == "nhwc"
        grey = channels == 1 or prepare.colour == "gray"
        self._planes = (0,) * channels if grey else _PLANES[prepare.colour]
        self._affine = [(1.0, 0.0)] * channels if dtype == "uint8" else affine(prepare, channels)
        self._pad = [prepare.pad_value * a + b for a, b in self._affine]
        self._hook = load_hook(prepare.hook) if prepare.hook else None
        self._scaler = Scaler("gray8" if grey else "gbrp")
        self._normalise = _normaliser(dtype, size, contiguous=not self._last or channels == 1)

    def __call__(self, picture: Any, out: NDArray[Any]) -> None:
        """Write `picture` (av.VideoFrame, or uint8 RGB height x width x 3) into `out`, (c, h, w) or (h, w, c)."""
        frame = as_frame(picture if self._hook is None else self._hooked(picture))
        top, left, height, width = self._place(frame)
        scaled = self._scaler(frame, height, width)
        channels_first = out.transpose(2, 0, 1) if self._last else out
        for channel, plane in enumerate(self._planes):
            whole = channels_first[channel]
            if (height, width) != self._size:
                _pad(whole, top, left, height, width, self._pad[channel])
            part = whole[top : top + height, left : left + width]
            self._normalise(_pixels(scaled.planes[plane]), part, *self._affine[channel])

    def _hooked(self, picture: Any) -> Any:
        # Through a scaler of our own: a frame's own one is no thread's, and workers may hold the same frame.
        rgb = picture if isinstance(picture, np.ndarray) else as_rgb(self._scaler.to_rgb(picture))
        try:
            return self._hook(rgb) if self._hook else rgb
        except Exception as error:  # whatever the user's function raises
            raise PlanError(f"the hook {self._prepare.hook!r} failed on a frame", got=repr(error)) from error

    def _place(self, frame: Any) -> tuple[int, int, int, int]:
        if self._prepare.resize == "stretch":
            return 0, 0, *self._size
        return letterbox((frame.height, frame.width), self._size)


class Scaler:
    """swscale for one thread: one context for each size and format that comes in, made once.

    A context for every picture of another camera would cost 2 ms; swscale's own threads would run beside the model.
    """

    def __init__(self, format: str) -> None:
        from av.video.reformatter import VideoReformatter

        self._format, self._make = format, VideoReformatter
        self._contexts: dict[tuple[int, int, str, str], Any] = {}

    def __call__(self, frame: Any, height: int, width: int) -> Any:
        """The frame at (height, width) in the scaler's format.

        Full chroma makes the resize of RGB 1.6 times faster. Without a resize the quick converters run, which truncate
        (1.1 levels darker, as decoders to packed RGB do) and take a third of the time.
        """
        resized = (frame.height, frame.width) != (height, width)
        flags = _BILINEAR | _FULL_CHROMA | _ACCURATE_ROUNDING if resized else _BILINEAR
        return self._run(frame, self._format, flags, height, width)

    def to_rgb(self, frame: Any) -> Any:
        """The frame as packed RGB, in its own size."""
        return self._run(frame, "rgb24", _BILINEAR, frame.height, frame.width)

    def _run(self, frame: Any, format: str, flags: int, height: int, width: int) -> Any:
        key = (frame.height, frame.width, frame.format.name, format)
        context = self._contexts.get(key)
        if context is None:
            context = self._contexts[key] = self._make()
        return context.reformat(frame, width, height, format, interpolation=flags, threads=1)


def as_rgb(picture: Any) -> NDArray[np.uint8]:
    """The picture as a uint8 RGB array, height x width x 3."""
    if isinstance(picture, np.ndarray):
        return picture
    rgb: NDArray[np.uint8] = picture.to_ndarray(format="rgb24")
    return rgb


def as_frame(picture: Any) -> Any:
    """The picture as an av.VideoFrame; an array is wrapped where swscale cannot read beyond its end, else copied."""
    from av import VideoFrame

    if isinstance(picture, VideoFrame):
        return picture
    if not (isinstance(picture, np.ndarray) and picture.dtype == np.uint8 and picture.ndim == 3 and _drawn(picture)):
        got = f"{type(picture).__name__} {getattr(picture, 'dtype', '')} {getattr(picture, 'shape', '')}"
        raise PlanError("a picture is a uint8 array, height x width x 3", got=got, fix="check the preparation hook")
    wrap = picture.shape[1] % _VECTOR_PIXELS == 0
    return (VideoFrame.from_numpy_buffer if wrap else VideoFrame.from_ndarray)(np.ascontiguousarray(picture), "rgb24")


def _drawn(picture: NDArray[Any]) -> bool:
    return picture.shape[2] == 3 and picture.size > 0


def affine(prepare: Prepare, channels: int) -> list[tuple[float, float]]:
    """(a, b) of each channel, so that value = pixel * a + b."""
    means, stds = (_each(values, channels) for values in (prepare.mean or (0.0,), prepare.std or (1.0,)))
    if 0 in stds:
        raise PlanError("std cannot be 0", got=prepare.std)
    return [(prepare.scale / std, -mean / std) for mean, std in zip(means, stds, strict=True)]


def _each(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    if len(values) not in (1, channels):
        raise PlanError("mean and std take one number, or one a channel", got=values, expected=f"{channels} numbers")
    return values * channels if len(values) == 1 else values


def _pixels(plane: Any) -> NDArray[np.uint8]:
    """A plane as an array over the frame's own memory; its lines may be longer than its width."""
    return np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]


def _normaliser(dtype: str, size: tuple[int, int], contiguous: bool) -> _Normalise:
    """What writes `pixels * a + b` into a part of one channel.

    Only float32 has fast arithmetic in NumPy (0.05 ms a channel of 640x384): a float16 is looked up among its 256
    values (0.2 ms, against 1.6 ms). Interleaved channels are worked out in a plane of their own, then copied.
    """
    if dtype == "uint8":
        return _copy
    if dtype != "float32":
        return _look_up
    if contiguous:
        return _multiply_add
    plane = np.empty(size, np.float32)

    def interleaved(pixels: NDArray[np.uint8], out: NDArray[Any], a: float, b: float) -> None:
        part = plane[: out.shape[0], : out.shape[1]]
        _multiply_add(pixels, part, a, b)
        out[...] = part

    return interleaved


def _copy(pixels: NDArray[np.uint8], out: NDArray[Any], a: float, b: float) -> None:
    out[...] = pixels


def _look_up(pixels: NDArray[np.uint8], out: NDArray[Any], a: float, b: float) -> None:
    # 'clip' lets `take` write into `out` directly; no pixel is out of range.
    np.take((np.arange(256) * a + b).astype(out.dtype), pixels, out=out, mode="clip")


def _multiply_add(pixels: NDArray[np.uint8], out: NDArray[Any], a: float, b: float) -> None:
    np.multiply(pixels, np.float32(a), out=out)
    if b:
        np.add(out, np.float32(b), out=out)


def _pad(whole: NDArray[Any], top: int, left: int, height: int, width: int, value: float) -> None:
    whole[:top] = whole[top + height :] = value
    whole[:, :left] = whole[:, left + width :] = value
