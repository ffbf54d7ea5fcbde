"""Preparation: a picture becomes a model input, in one swscale pass and one pass of arithmetic a channel.

swscale (through PyAV) resizes and converts colour straight from the decoder's format to planar RGB, and both passes
release the interpreter lock. 1280x720 to 640x384 float32: 0.5 ms (0.38 + 0.11), against 1.0 ms over packed RGB.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.errors import ModelError, PlanError
from framepace.exec.hooks import load_hook
from framepace.facts.plan import Prepare

# Planes of swscale's 'gbrp' in the order that a model wants its channels.
_PLANES = {"rgb": (2, 0, 1), "bgr": (1, 0, 2)}


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
        from av.video.reformatter import Interpolation, VideoReformatter

        if channels not in (1, 3):
            raise ModelError("preparation makes 1 or 3 channels", got=channels, expected="a grey or RGB input")
        if dtype != "uint8" and not dtype.startswith("float"):
            raise ModelError("preparation cannot make this dtype", got=dtype, expected="uint8 or a float")
        self._prepare, self._size, self._last = prepare, size, layout == "nhwc"
        grey = channels == 1 or prepare.colour == "gray"
        self._format = "gray8" if grey else "gbrp"
        self._planes = (0,) * channels if grey else _PLANES[prepare.colour]
        self._affine = [(1.0, 0.0)] * channels if dtype == "uint8" else _affine(prepare, channels)
        self._pad = [prepare.pad_value * a + b for a, b in self._affine]
        self._hook = load_hook(prepare.hook) if prepare.hook else None
        self._scaler, self._interpolation = VideoReformatter(), Interpolation.BILINEAR

    def __call__(self, picture: Any, out: NDArray[Any]) -> None:
        """Write `picture` (av.VideoFrame, or uint8 RGB height x width x 3) into `out`, (c, h, w) or (h, w, c)."""
        if self._hook is not None:
            picture = self._hook(self._rgb(picture))
        frame = as_frame(picture)
        top, left, height, width = self._place(frame)
        scaled = self._scaler.reformat(
            frame, width=width, height=height, format=self._format, interpolation=self._interpolation
        )
        channels_first = out.transpose(2, 0, 1) if self._last else out
        for channel, plane in enumerate(self._planes):
            a, b = self._affine[channel]
            whole = channels_first[channel]
            if (height, width) != self._size:
                _pad(whole, top, left, height, width, self._pad[channel])
            _apply(_pixels(scaled.planes[plane]), whole[top : top + height, left : left + width], a, b)

    def _rgb(self, picture: Any) -> NDArray[np.uint8]:
        # Through a scaler of our own: a frame's own one is no thread's, and workers may hold the same frame.
        return picture if isinstance(picture, np.ndarray) else as_rgb(self._scaler.reformat(picture, format="rgb24"))

    def _place(self, frame: Any) -> tuple[int, int, int, int]:
        if self._prepare.resize == "stretch":
            return 0, 0, *self._size
        return letterbox((frame.height, frame.width), self._size)


def as_rgb(picture: Any) -> NDArray[np.uint8]:
    """The picture as a uint8 RGB array, height x width x 3."""
    if isinstance(picture, np.ndarray):
        return picture
    rgb: NDArray[np.uint8] = picture.to_ndarray(format="rgb24")
    return rgb


def as_frame(picture: Any) -> Any:
    """The picture as an av.VideoFrame; an array is wrapped, not copied, when its rows allow it."""
    from av import VideoFrame

    if isinstance(picture, VideoFrame):
        return picture
    if not (isinstance(picture, np.ndarray) and picture.dtype == np.uint8 and picture.ndim == 3):
        got = f"{type(picture).__name__} {getattr(picture, 'dtype', '')} {getattr(picture, 'shape', '')}"
        raise PlanError("a picture is a uint8 array, height x width x 3", got=got, fix="check the preparation hook")
    return VideoFrame.from_numpy_buffer(np.ascontiguousarray(picture), format="rgb24")


def _affine(prepare: Prepare, channels: int) -> list[tuple[float, float]]:
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


def _apply(pixels: NDArray[np.uint8], out: NDArray[Any], a: float, b: float) -> None:
    if (a, b) == (1.0, 0.0):
        out[...] = pixels
        return
    np.multiply(pixels, np.float32(a), out=out, casting="same_kind")
    if b:
        np.add(out, out.dtype.type(b), out=out)


def _pad(whole: NDArray[Any], top: int, left: int, height: int, width: int, value: float) -> None:
    whole[:top] = whole[top + height :] = value
    whole[:, :left] = whole[:, left + width :] = value
