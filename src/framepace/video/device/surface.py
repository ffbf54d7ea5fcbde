"""The bytes of a picture, on the host or on a device: where each plane is, and how long its lines are."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.video.device.description import Kind
from framepace.video.device.pixels import conversion, pixels_of
from framepace.video.device.siting import siting

ON_DEVICE = "cuda"  # what FFmpeg calls the format of pictures that are in CUDA's memory
_RGB = "rgb24"
_CUDA = 2  # DLPack's kDLCUDA
_capsule_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_capsule_pointer.restype = ctypes.c_void_p
_capsule_pointer.argtypes = (ctypes.py_object, ctypes.c_char_p)


@dataclass(frozen=True)
class Lines:
    """A plane: the address of its first byte on the device, and the bytes from one line to the next."""

    address: int
    row_bytes: int


def is_on_device(picture: Any) -> bool:
    """Whether a picture is an av.VideoFrame in a device's memory."""
    return not isinstance(picture, np.ndarray) and picture.format.name == ON_DEVICE


def kind_key(picture: Any) -> tuple[Any, ...]:
    """What a picture has in common with others of its kind; cheap, since it is asked for every picture."""
    if isinstance(picture, np.ndarray):
        return (_RGB, *picture.shape)
    name = picture.format.name
    if name == ON_DEVICE:
        name = f"{ON_DEVICE}:{picture.sw_format.name}"
    return name, picture.height, picture.width, int(picture.colorspace), int(picture.color_range)


def kind_of(picture: Any) -> Kind | None:
    """The kind of a picture (av.VideoFrame, or uint8 RGB height x width x 3); None for one that is not read here."""
    if isinstance(picture, np.ndarray):
        return _kind(_RGB, picture.shape[0], picture.shape[1], 0, 0)
    if not is_on_device(picture):
        return _kind(picture.format.name, picture.height, picture.width, *_colours(picture), picture)
    decoded = picture.sw_format.name
    if decoded not in ("nv12", "p010le", "p016le"):  # what PyAV hands on
        return None
    return _kind(decoded, picture.height, picture.width, *_colours(picture), picture, decoded=True)


def _colours(picture: Any) -> tuple[int, int]:
    return int(picture.colorspace), int(picture.color_range)


def _kind(
    name: str, height: int, width: int, space: int, colour_range: int, frame: Any = None, *, decoded: bool = False
) -> Kind | None:
    pixels = pixels_of(name)
    if pixels is None:
        return None
    colours = conversion(pixels, space, colour_range)
    if colours is None:
        return None
    place = (0, 0)
    if any(component.sub_x or component.sub_y for component in pixels.components):
        place = siting(frame)
    return Kind(pixels, height, width, colours, place, decoded)


def device_lines(picture: Any, index: int, planes: int) -> list[Lines] | None:
    """The planes of a picture in the memory of device `index`; None where it is another device's.

    They hold what was decoded once the decoder's stream has come there, and as long as the picture lives.
    """
    lines = []
    for plane in picture.planes[:planes]:
        if tuple(map(int, plane.__dlpack_device__())) != (_CUDA, index):
            return None
        lines.append(Lines(_address(plane), plane.line_size))
    return lines


def _address(plane: Any) -> int:
    """Of the first byte: the first field of the DLPack tensor, which lives as long as its capsule; it has no offset."""
    capsule = plane.__dlpack__(stream=None)
    address = ctypes.c_void_p.from_address(_capsule_pointer(capsule, b"dltensor")).value
    del capsule
    return address or 0


def host_planes(picture: Any, planes: int) -> list[tuple[NDArray[np.uint8], int]]:
    """The bytes of each plane of a picture on the host, whole lines, and the bytes from one line to the next."""
    if isinstance(picture, np.ndarray):
        array = np.ascontiguousarray(picture)
        return [(array.reshape(-1), array.strides[0])]
    return [(np.frombuffer(plane, np.uint8), plane.line_size) for plane in picture.planes[:planes]]
