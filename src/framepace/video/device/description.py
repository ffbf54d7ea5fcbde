"""The kernel's description of a picture and of its place in an input, as paint.c has it. Pure."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.facts.plan import Prepare
from framepace.video.device.pixels import Component, Conversion, Pixels
from framepace.video.prepare import factors, letterbox, level_values, writes_all_columns

PICTURES = 8  # of one launch, as in paint.c
KERNEL = "paint"
_SMALLEST = 16  # side of a picture; swscale's filters take all of a smaller one's samples
_SHRUNK = 32  # times: beyond it swscale's filters differ from a triangle by more than a level
_FIXED = 1 << 16  # swscale counts positions in parts of a sample
_CENTRE = 128  # of a sample, in parts of 256
_SOURCES = {"rgb": (0, 1, 2), "bgr": (2, 1, 0), "gray": (0, 1, 2)}


@lru_cache(maxsize=1)
def source() -> str:
    """The text of the kernel, for NVRTC or a C compiler."""
    return files("framepace.video.device").joinpath("paint.c").read_text(encoding="utf-8")


class CPlane(ctypes.Structure):
    """See paint.c."""

    _fields_ = [
        ("samples", ctypes.c_uint64),
        ("row_bytes", ctypes.c_int),
        ("step_bytes", ctypes.c_int),
        ("width", ctypes.c_int),
        ("height", ctypes.c_int),
        ("taps_x", ctypes.c_int),
        ("taps_y", ctypes.c_int),
        ("first_x", ctypes.c_float),
        ("first_y", ctypes.c_float),
        ("scale_x", ctypes.c_float),
        ("scale_y", ctypes.c_float),
    ]


class CPicture(ctypes.Structure):
    """See paint.c."""

    _fields_ = [
        ("planes", CPlane * 3),
        ("out", ctypes.c_uint64),
        ("table", ctypes.c_uint64),
        ("channel_bytes", ctypes.c_longlong),
        ("row_bytes", ctypes.c_longlong),
        ("column_bytes", ctypes.c_longlong),
        ("plane_count", ctypes.c_int),
        ("bytes", ctypes.c_int),
        ("level", ctypes.c_float),
        ("offset", ctypes.c_float * 3),
        ("matrix", ctypes.c_float * 9),
        ("is_quick", ctypes.c_int),
        ("top", ctypes.c_int),
        ("start", ctypes.c_int),
        ("height", ctypes.c_int),
        ("width", ctypes.c_int),
        ("input_height", ctypes.c_int),
        ("input_width", ctypes.c_int),
        ("channels", ctypes.c_int),
        ("item_bytes", ctypes.c_int),
        ("source_of", ctypes.c_int * 3),
        ("is_grey", ctypes.c_int),
        ("pad", ctypes.c_int),
    ]


class CPictures(ctypes.Structure):
    """See paint.c: the one argument of the kernel."""

    _fields_ = [("pictures", CPicture * PICTURES)]


@dataclass(frozen=True)
class Kind:
    """What pictures of a source have in common: pixel format, size, colours, and where chroma lies.

    Attributes:
        siting: of chroma, (x, y) from the upper left luma sample, in parts of 256 of the way to the next chroma sample.
        decoded: by the device's decoder, which gives NV12 for what the host's decoder gives as separate planes.
    """

    pixels: Pixels
    height: int
    width: int
    conversion: Conversion
    siting: tuple[int, int] = (0, _CENTRE)
    decoded: bool = False


@dataclass(frozen=True)
class Canvas:
    """How pictures are painted into items of one input: (height, width), layout, channels, dtype, preparation."""

    prepare: Prepare
    size: tuple[int, int]
    layout: str
    channels: int
    dtype: np.dtype[Any]

    def table(self) -> NDArray[Any]:
        """The value of every level in every channel, (channels, 256), as the preparation on the host computes it."""
        pairs = factors(self.prepare, self.channels, self.dtype.name)
        return np.stack([level_values(a, b, self.dtype) for a, b in pairs])

    def template(self, kind: Kind) -> CPicture | None:
        """The description of a picture of that kind, but for where it is and where it goes.

        None where the host's preparation does what the kernel does not: pictures that are tiny or shrunk very much, and
        grey ones that are not resized, have more than 8 bits, or are not of BT.601.
        """
        picture = CPicture()
        self._describe_place(picture, kind)
        if self._is_for_host(picture, kind):
            return None
        self._describe_colours(picture, kind)
        for plane, component in zip(picture.planes, kind.pixels.components, strict=False):
            _describe(plane, component, kind, picture)
        return picture

    def _is_for_host(self, picture: CPicture, kind: Kind) -> bool:
        if min(kind.width, kind.height) < _SMALLEST:
            return True
        if kind.width > _SHRUNK * picture.width or kind.height > _SHRUNK * picture.height:
            return True
        is_whole = (picture.height, picture.width) == (kind.height, kind.width)
        return self._is_grey and (is_whole or kind.pixels.bytes > 1 or not kind.conversion.keeps_luma)

    @property
    def _is_grey(self) -> bool:
        return self.channels == 1 or self.prepare.colour == "gray"

    def _describe_place(self, picture: CPicture, kind: Kind) -> None:
        place = (0, 0, *self.size)
        if self.prepare.resize == "letterbox":
            place = letterbox((kind.height, kind.width), self.size)
        picture.top, picture.start, picture.height, picture.width = place
        picture.input_height, picture.input_width = self.size
        picture.channels = self.channels
        picture.item_bytes = self.dtype.itemsize
        picture.pad = self.prepare.pad_value

    def _describe_colours(self, picture: CPicture, kind: Kind) -> None:
        is_whole = (picture.height, picture.width) == (kind.height, kind.width)
        picture.plane_count = len(kind.pixels.components)
        picture.bytes = kind.pixels.bytes
        picture.level = kind.pixels.level
        picture.offset = kind.conversion.offset
        picture.matrix = kind.conversion.matrix
        picture.is_grey = int(self._is_grey)
        picture.is_quick = int(is_whole and not picture.is_grey and _is_quick(kind))
        picture.source_of = _SOURCES[self.prepare.colour]


def _is_quick(kind: Kind) -> bool:
    """Whether swscale converts such a picture to RGB by its quick way where nothing is resized."""
    is_quick = kind.pixels.quick or (kind.decoded and kind.pixels.bytes == 1)
    return is_quick and kind.height % 2 == 0 and writes_all_columns(kind.width)


def _describe(plane: CPlane, component: Component, kind: Kind, picture: CPicture) -> None:
    """Size and steps of a component, and where output pixels lie among its samples."""
    plane.step_bytes = component.step
    quick = bool(picture.is_quick)
    across = _axis(kind.width, picture.width, component.sub_x, kind.siting[0], quick)
    down = _axis(kind.height, picture.height, component.sub_y, kind.siting[1], quick)
    plane.width, plane.taps_x, plane.first_x, plane.scale_x = across
    plane.height, plane.taps_y, plane.first_y, plane.scale_y = down


def _axis(size: int, out: int, sub: int, siting: int, quick: bool) -> tuple[int, int, float, float]:
    """(samples, taps, place of the first output pixel's centre, samples per output pixel) along one axis."""
    samples = -(-size >> sub)
    if quick:
        return samples, 1, 0.0, 1.0 / (1 << sub)
    scale = (samples * _FIXED + out // 2) // out / _FIXED
    centre = _CENTRE
    if sub:
        centre = (siting * ((1 << sub) - 1) + _CENTRE) >> sub
    return samples, _taps(samples, out), 0.5 * scale - centre / 256, scale


def _taps(samples: int, out: int) -> int:
    """How many samples an output pixel takes: those under a triangle of twice its width, and what swscale adds."""
    taps = 1 + max(2, -(-2 * samples // out))
    return max(1, min(taps, samples - 2))


def describe_lines(picture: CPicture, kind: Kind, lines: Sequence[tuple[int, int]]) -> None:
    """Put in where the planes of a picture are: the address of the first byte, and the bytes of a line, of each."""
    for plane, component in zip(picture.planes, kind.pixels.components, strict=False):
        address, plane.row_bytes = lines[component.plane]
        plane.samples = address + component.first


def launches(pictures: Sequence[CPicture]) -> list[tuple[CPictures, int]]:
    """The pictures by launches of the kernel, each with how many it has."""
    parts = []
    for first in range(0, len(pictures), PICTURES):
        part = pictures[first : first + PICTURES]
        argument = CPictures()
        for place, picture in enumerate(part):
            argument.pictures[place] = picture
        parts.append((argument, len(part)))
    return parts
