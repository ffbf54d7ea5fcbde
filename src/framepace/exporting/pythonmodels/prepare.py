"""Preparation for Triton's python backend: a picture becomes the input of a network. Written by framepace export.

It needs numpy (below 2 for Triton up to 2.51) and av (PyAV) in the environment of the python backend.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import triton_python_backend_utils as pb
from av import VideoFrame
from av.video.reformatter import VideoReformatter

_BILINEAR = 0x2
_EXACT = _BILINEAR | 0x2000 | 0x4000 | 0x40000  # with full chroma and accurate rounding: flags of libswscale
_PLANES = {"rgb": (2, 0, 1), "bgr": (1, 0, 2), "gray": (0, 0, 0)}
_COLOURS = 3
_OPAQUE = 255


class TritonPythonModel:
    """Pictures are uint8 RGB, (height, width, 3), or several of one size with the batch first."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read how pictures are prepared: the parameter 'prepare' of the configuration."""
        config = json.loads(args["model_config"])
        self._how = json.loads(config["parameters"]["prepare"]["string_value"])
        [tensor] = config["output"]
        self._name = tensor["name"]
        self._dtype = pb.triton_string_to_numpy(tensor["data_type"])
        self._scalers: dict[tuple[int, ...], Any] = {}

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """One answer per request."""
        return [pb.InferenceResponse([pb.Tensor(self._name, self._prepared(request))]) for request in requests]

    def _prepared(self, request: Any) -> Any:
        pictures = pb.get_input_tensor_by_name(request, "picture").as_numpy()
        if pictures.ndim == _COLOURS:
            pictures = pictures[None]
        size = self._how["size"] or pictures.shape[1:3]  # without one every picture keeps its own
        out = np.empty((len(pictures), self._how["channels"], *size), self._dtype)
        for picture, into in zip(pictures, out, strict=True):
            self._write(picture, into)
        if self._how["layout"] == "nhwc":
            out = np.ascontiguousarray(out.transpose(0, 2, 3, 1))
        return out

    def _write(self, picture: Any, into: Any) -> None:
        """Resize the picture, then value = pixel * a + b per channel; the rest is grey, a fourth channel 255."""
        how = self._how
        free = [how["pad_value"]] * _COLOURS + [_OPAQUE]
        for channel, value, (a, b) in zip(into, free, how["factors"], strict=False):
            channel[...] = value * a + b
        top, left, height, width = self._place(*picture.shape[:2])
        scaled = self._scaled(picture, height, width)
        for channel, plane, (a, b) in zip(into[:_COLOURS], _PLANES[how["colour"]], how["factors"], strict=False):
            pixels = _pixels(scaled.planes[plane])
            part = channel[top : top + height, left : left + width]
            part[...] = pixels if (a, b) == (1, 0) else pixels * np.float32(a) + np.float32(b)

    def _scaled(self, picture: Any, height: int, width: int) -> Any:
        """The picture in that size, one plane per colour."""
        is_grey = self._how["channels"] == 1 or self._how["colour"] == "gray"
        flags = _BILINEAR if (height, width) == picture.shape[:2] else _EXACT
        scaler = self._scalers.setdefault(picture.shape, VideoReformatter())
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24")
        return scaler.reformat(frame, width, height, "gray8" if is_grey else "gbrp", interpolation=flags)

    def _place(self, height: int, width: int) -> tuple[int, int, int, int]:
        """(top, left, height, width) of the picture in the input."""
        whole = self._how["size"] or (height, width)
        if self._how["resize"] == "stretch":
            return 0, 0, *whole
        scale = min(whole[0] / height, whole[1] / width)
        fitted = [max(1, min(side, round(size * scale))) for side, size in zip(whole, (height, width), strict=True)]
        return (whole[0] - fitted[0]) // 2, (whole[1] - fitted[1]) // 2, *fitted


def _pixels(plane: Any) -> Any:
    """A plane as an array; its lines may be longer than its width."""
    return np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
