"""Preparation: a picture becomes a model input, in one swscale pass and one pass of arithmetic per channel.

swscale (through PyAV) resizes and converts colour straight from the decoder's format to planar RGB, and both passes
release the interpreter lock. 1280x720 H.264 to 640x384 float32 on one core: 0.53 ms + 0.14 ms, on average within 0.4
grey levels of a float64 reference (bias 0.01). Packed RGB and then OpenCV's INTER_LINEAR take 0.60 ms for the first
part and darken the picture by 1.2 levels, because the conversion to packed RGB truncates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.errors import ModelError, PlanError
from framepace.facts.plan import Prepare
from framepace.hooks import load_hook

# Flags of libswscale (swscale.h): how to resize, how to be exact. Not every PyAV has names for all of them.
_BILINEAR = 0x2
_FULL_CHROMA = 0x2000 | 0x4000
_ACCURATE_ROUNDING = 0x40000
_RESIZE = _BILINEAR | _FULL_CHROMA | _ACCURATE_ROUNDING
_Normalise = Callable[[NDArray[np.uint8], NDArray[Any], float, float], None]
_CONTEXTS = 64  # sizes and formats kept; those that were used longest ago go, since every crop has its own size
# Planes of swscale's 'gbrp' in the order that a model wants its channels.
_PLANES = {"rgb": (2, 0, 1), "bgr": (1, 0, 2)}
_COLOURS = 3  # channels that come from the picture; one more is alpha
_OPAQUE = 255
_WIDE_ENOUGH = frozenset({"uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"})
_PIXELS_AS_THEY_ARE = {"int8": (1.0, -128.0)}  # as value = pixel * a + b; other integers are the pixels
# swscale reads in vectors, up to 31 pixels beyond the end of the last row of RGB whose width is no multiple of these.
_VECTOR_PIXELS = 32
_QUICK_PIXELS = 16  # that its quick converters write together


def letterbox(size: tuple[int, int], into: tuple[int, int]) -> tuple[int, int, int, int]:
    """(top, left, height, width) of a picture of `size` (height, width) fitted into `into`: aspect kept, centred."""
    scale = min(into[0] / size[0], into[1] / size[1])
    height = max(1, min(into[0], round(size[0] * scale)))
    width = max(1, min(into[1], round(size[1] * scale)))
    return (into[0] - height) // 2, (into[1] - width) // 2, height, width


class Preparer:
    """Writes one picture into one item of a model's input.

    value = (pixel * scale - mean) / std in the model's channel order; an integer input takes the pixels as they are,
    an int8 one takes them less 128. A fourth channel is opaque (alpha 255). Not thread-safe: one preparer per worker.

    Args:
        prepare: the plan's description.
        size: (height, width) of the input.
        channels: 1 (grey), 3, or 4 (with alpha).
        dtype: of numbers, as NumPy or ml_dtypes calls them.
    """

    def __init__(self, prepare: Prepare, size: tuple[int, int], layout: str, channels: int, dtype: str) -> None:
        _check_input(channels, dtype)
        self._prepare = prepare
        self._size = size
        self._channels_last = layout == "nhwc"
        self._hook = _hook(prepare)
        self._planes, self._scaler = _planes(prepare, channels)
        self._affine = factors(prepare, channels, dtype)
        self._pad = _values(prepare.pad_value, self._affine)
        self._opaque = _values(_OPAQUE, self._affine[_COLOURS:])
        self._normalise = _normaliser(dtype, size, contiguous=not self._channels_last or channels == 1)

    def __call__(self, picture: Any, out: NDArray[Any]) -> None:
        """Write `picture` (av.VideoFrame, or uint8 RGB height x width x 3) into `out`, (c, h, w) or (h, w, c)."""
        if self._hook is not None:
            picture = self._call_hook(self._hook, picture)
        frame = as_frame(picture)
        place = self._place(frame)
        scaled = self._scaler(frame, place[2], place[3])
        parts = self._surround(out, place)
        for part, plane, factors in zip(parts, self._planes, self._affine, strict=False):
            self._normalise(_pixels(scaled.planes[plane]), part, *factors)

    def _surround(self, out: NDArray[Any], place: tuple[int, int, int, int]) -> NDArray[Any]:
        """Write what is not of the picture, alpha and padding; the part that takes the picture, (c, h, w)."""
        top, start, height, width = place
        if self._channels_last:
            out = out.transpose(2, 0, 1)
        for channel, value in zip(out[_COLOURS:], self._opaque, strict=True):
            channel[...] = value
        out = out[:_COLOURS]
        if (height, width) != self._size:
            for channel, value in zip(out, self._pad, strict=False):
                _pad(channel, *place, value)
        return out[:, top : top + height, start : start + width]

    def _call_hook(self, hook: Callable[..., Any], picture: Any) -> Any:
        """What the hook makes of the picture, which it gets as uint8 RGB."""
        if not isinstance(picture, np.ndarray):
            # Through this scaler: the frame's own belongs to no thread, and several workers may hold the same frame.
            picture = as_rgb(self._scaler.to_rgb(picture))
        return hook(picture)

    def _place(self, frame: Any) -> tuple[int, int, int, int]:
        if self._prepare.resize == "stretch":
            return 0, 0, *self._size
        return letterbox((frame.height, frame.width), self._size)


def _check_input(channels: int, dtype: str) -> None:
    if channels not in (1, _COLOURS, _COLOURS + 1):
        raise ModelError("preparation makes 1, 3 or 4 channels", got=channels, expected="a grey, RGB or RGBA input")
    if dtype in ("object", "bool") or dtype.startswith("complex"):
        fix = "leave it out of --image, and give it what it takes: --input NAME=VALUE"
        raise ModelError("preparation cannot make this dtype", got=dtype, expected="an integer or a float", fix=fix)


def _hook(prepare: Prepare) -> Callable[..., Any] | None:
    if not prepare.hook:
        return None
    return load_hook(prepare.hook)


def factors(prepare: Prepare, channels: int, dtype: str) -> list[tuple[float, float]]:
    """(a, b) of each channel, so that value = pixel * a + b; only floats are normalised."""
    if "float" in dtype:
        return affine(prepare, channels)
    return [_PIXELS_AS_THEY_ARE.get(dtype, (1.0, 0.0))] * channels


def _values(pixel: float, factors: Sequence[tuple[float, float]]) -> list[float]:
    """What a pixel becomes in each channel."""
    return [pixel * a + b for a, b in factors]


def _planes(prepare: Prepare, channels: int) -> tuple[tuple[int, ...], Scaler]:
    """The plane of each channel, and the scaler that makes the planes."""
    if channels == 1 or prepare.colour == "gray":
        return (0,) * min(channels, _COLOURS), Scaler("gray8")
    return _PLANES[prepare.colour], Scaler("gbrp")


def writes_all_columns(width: int) -> bool:
    """Whether swscale's quick converters write whole lines of that width.

    To planar RGB they write 16 pixels at a time and leave out the last 1 to 8 (FFmpeg 8.0, x86): what was in memory
    before stays there.
    """
    return not 0 < width % _QUICK_PIXELS <= _QUICK_PIXELS // 2


class Scaler:
    """swscale for one thread: one context per size and format of the pictures, made once.

    A new context whenever another camera's picture comes would cost 2 ms; swscale's own threads would compete with the
    model.
    """

    def __init__(self, format: str) -> None:
        from av.video.reformatter import VideoReformatter

        self._format = format
        self._make = VideoReformatter
        self._contexts: dict[tuple[int, int, str, str], Any] = {}

    def __call__(self, frame: Any, height: int, width: int) -> Any:
        """The frame at (height, width) in the scaler's format.

        Full chroma makes the resize of RGB 1.6 times faster. Without a resize the quick converters run, which truncate
        (1.1 levels darker, as decoders to packed RGB do) and take a third of the time.
        """
        flags = _RESIZE
        if (frame.height, frame.width) == (height, width) and writes_all_columns(width):
            flags = _BILINEAR
        return self._run(frame, self._format, flags, height, width)

    def to_rgb(self, frame: Any) -> Any:
        """The frame as packed RGB, in its own size."""
        return self._run(frame, "rgb24", _BILINEAR, frame.height, frame.width)

    def _run(self, frame: Any, format: str, flags: int, height: int, width: int) -> Any:
        key = (frame.height, frame.width, frame.format.name, format)
        context = self._contexts.pop(key, None) or self._make()
        self._contexts[key] = context
        if len(self._contexts) > _CONTEXTS:
            del self._contexts[next(iter(self._contexts))]
        return context.reformat(frame, width, height, format, interpolation=flags, threads=1)


def accurate(frame: Any, format: str) -> Any:
    """The frame in another format and its own size, as pictures are converted that are also resized."""
    return frame.reformat(format=format, interpolation=_RESIZE, threads=1)


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
    if not _is_picture(picture):
        got = f"{type(picture).__name__} {getattr(picture, 'dtype', '')} {getattr(picture, 'shape', '')}"
        raise PlanError("a picture is a uint8 array, height x width x 3", got=got, fix="check the preparation hook")
    picture = np.ascontiguousarray(picture)
    if picture.shape[1] % _VECTOR_PIXELS == 0:
        return VideoFrame.from_numpy_buffer(picture, "rgb24")
    return VideoFrame.from_ndarray(picture, "rgb24")


def _is_picture(picture: Any) -> bool:
    """Whether it is a uint8 RGB array, height x width x 3."""
    if not isinstance(picture, np.ndarray) or picture.dtype != np.uint8 or picture.ndim != 3:
        return False
    return picture.shape[2] == 3 and picture.size > 0


def affine(prepare: Prepare, channels: int) -> list[tuple[float, float]]:
    """(a, b) of each channel, so that value = pixel * a + b."""
    means = _per_channel(prepare.mean or (0.0,), channels, alpha=0.0)
    stds = _per_channel(prepare.std or (1.0,), channels, alpha=1.0)
    if 0 in stds:
        raise PlanError("std cannot be 0", got=prepare.std)
    return [(prepare.scale / std, -mean / std) for mean, std in zip(means, stds, strict=True)]


def _per_channel(values: tuple[float, ...], channels: int, alpha: float) -> tuple[float, ...]:
    """The values as they are, or the only one for each channel; `alpha` where there are three for four."""
    if len(values) == _COLOURS and channels == _COLOURS + 1:
        return (*values, alpha)
    if len(values) == _COLOURS and channels == 2 * _COLOURS:  # two pictures
        return values * 2
    if len(values) not in (1, channels):
        message = "mean and std take one number, or one per channel"
        raise PlanError(message, got=values, expected=f"{channels} numbers")
    if len(values) == 1:
        return values * channels
    return values


def _pixels(plane: Any) -> NDArray[np.uint8]:
    """A plane as an array over the frame's own memory; its lines may be longer than its width."""
    return np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]


def _normaliser(dtype: str, size: tuple[int, int], contiguous: bool) -> _Normalise:
    """The function that writes `pixels * a + b` into a part of one channel.

    Only float32 has fast arithmetic in NumPy (0.05 ms per channel of 640x384): a float16 is looked up among its 256
    values (0.2 ms, against 1.6 ms). Interleaved channels are worked out in a plane of their own, then copied.
    """
    if dtype in _WIDE_ENOUGH:
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


def level_values(a: float, b: float, dtype: np.dtype[Any]) -> NDArray[Any]:
    """What each of the 256 levels becomes in a channel, rounded as preparation rounds it."""
    values = np.empty(256, dtype)
    if dtype == np.float32:
        _multiply_add(np.arange(256, dtype=np.uint8), values, a, b)
    else:
        values[:] = (np.arange(256) * a + b).astype(dtype)
    return values


def _look_up(pixels: NDArray[np.uint8], out: NDArray[Any], a: float, b: float) -> None:
    # 'clip' lets `take` write into `out` directly; no pixel is out of range.
    np.take(level_values(a, b, out.dtype), pixels, out=out, mode="clip")


def _multiply_add(pixels: NDArray[np.uint8], out: NDArray[Any], a: float, b: float) -> None:
    np.multiply(pixels, np.float32(a), out=out)
    if b:
        np.add(out, np.float32(b), out=out)


def _pad(channel: NDArray[Any], top: int, start: int, height: int, width: int, value: float) -> None:
    """Fill what a picture at row `top`, column `start` leaves free."""
    channel[:top] = value
    channel[top + height :] = value
    channel[:, :start] = value
    channel[:, start + width :] = value
