"""Which bytes of a picture are its red, green and blue, or its luma and chroma, and how they become colours. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

_RGB_RANGE = 255.0
_LUMA_RANGE = 219.0  # of pictures in the limited range (ITU-R BT.601, BT.709: 16 to 235, and 16 to 240)
_CHROMA_RANGE = 224.0
_FULL = 2  # AVCOL_RANGE_JPEG
# (Kr, Kb) of the matrices by AVColorSpace (ITU-T H.273, table 4); what is not named is that of BT.601, as in swscale.
_BT601 = (0.299, 0.114)
_WEIGHTS = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}
_REFUSED = frozenset({3, 8, 10, 11, 12, 13, 14})  # by swscale too
_PLANAR = re.compile(r"yuv(?P<full>j)?(?P<alpha>a)?(?P<sub>420|422|440|444|410|411)p((?P<bits>9|10|12|14|16)le)?")
_SUBSAMPLING = {"420": (1, 1), "422": (1, 0), "440": (0, 1), "444": (0, 0), "410": (2, 2), "411": (2, 0)}
_PLANAR_RGB = re.compile(r"gbr(?P<alpha>a)?p((?P<bits>9|10|12|14|16)le)?")


@dataclass(frozen=True)
class Component:
    """Where the samples of a component are: plane, first byte, bytes from one to the next, subsampling (log2)."""

    plane: int
    first: int = 0
    step: int = 1
    sub_x: int = 0
    sub_y: int = 0


@dataclass(frozen=True)
class Pixels:
    """A pixel format: Y, U and V, or R, G and B, or grey alone.

    Attributes:
        bytes: of a sample.
        level: of a sample that is one level of 255.
        full: the format is of the full range whatever a picture says.
        quick: swscale converts it to RGB by a quick way where nothing is resized.
    """

    components: tuple[Component, ...]
    rgb: bool = False
    bytes: int = 1
    level: float = 1.0
    full: bool = False
    quick: bool = False

    @property
    def planes(self) -> int:
        """How many planes of a picture it reads."""
        return 1 + max(component.plane for component in self.components)


def _packed(order: str, size: int, rgb: bool = True) -> Pixels:
    places = [order.index(letter) for letter in ("rgb" if rgb else "yuv")]
    return Pixels(tuple(Component(0, place, size) for place in places), rgb=rgb)


def _two_planes(first: int, sample: int, level: float) -> Pixels:
    """Luma, and chroma in pairs at half the resolution, U in place `first` of a pair."""
    chroma = [Component(1, place * sample, 2 * sample, 1, 1) for place in (first, 1 - first)]
    return Pixels((Component(0, 0, sample), *chroma), bytes=sample, level=level)


_NAMED = {
    "rgb24": _packed("rgb", 3),
    "bgr24": _packed("bgr", 3),
    **{name: _packed(name[:3], 4) for name in ("rgba", "bgra", "rgb0", "bgr0")},
    **{name: _packed(name, 4) for name in ("argb", "abgr", "0rgb", "0bgr")},
    "nv12": _two_planes(0, 1, 1.0),
    "nv21": _two_planes(1, 1, 1.0),
    "p010le": _two_planes(0, 2, 256.0),
    "p016le": _two_planes(0, 2, 256.0),
    "yuyv422": Pixels((Component(0, 0, 2), Component(0, 1, 4, 1), Component(0, 3, 4, 1))),
    "uyvy422": Pixels((Component(0, 1, 2), Component(0, 0, 4, 1), Component(0, 2, 4, 1))),
    "gray": Pixels((Component(0),), full=True),
}


def pixels_of(name: str) -> Pixels | None:
    """The pixel format of that name (FFmpeg's); None for one that is not read here."""
    return _NAMED.get(name) or _planar(name) or _planar_rgb(name)


def _planar(name: str) -> Pixels | None:
    match = _PLANAR.fullmatch(name)
    if match is None:
        return None
    bits = int(match["bits"] or 8)
    sample = 1 + (bits > 8)
    chroma = [Component(plane, 0, sample, *_SUBSAMPLING[match["sub"]]) for plane in (1, 2)]
    return Pixels(
        (Component(0, 0, sample), *chroma),
        bytes=sample,
        level=float(1 << (bits - 8)),
        full=match["full"] is not None,
        quick=bits == 8 and match["sub"] in ("420", "422"),
    )


def _planar_rgb(name: str) -> Pixels | None:
    match = _PLANAR_RGB.fullmatch(name)
    if match is None:
        return None
    bits = int(match["bits"] or 8)
    sample = 1 + (bits > 8)
    components = tuple(Component(plane, 0, sample) for plane in (2, 0, 1))
    return Pixels(components, rgb=True, bytes=sample, level=float(1 << (bits - 8)))


@dataclass(frozen=True)
class Conversion:
    """colour = matrix x (component - offset), in levels of 255; `matrix` row by row.

    `keeps_luma`: grey is the luma itself, or is made of RGB; otherwise swscale goes to RGB and back (to BT.601).
    """

    offset: tuple[float, ...]
    matrix: tuple[float, ...]
    keeps_luma: bool = True


def conversion(pixels: Pixels, space: int, colour_range: int) -> Conversion | None:
    """From the components of a picture to red, green and blue; None for a colour space that swscale refuses.

    Args:
        space: AVColorSpace.
        colour_range: AVColorRange.
    """
    if pixels.rgb:
        return Conversion((0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))
    if space in _REFUSED:
        return None
    weights = _WEIGHTS.get(space, _BT601)
    if pixels.full or colour_range == _FULL:
        return Conversion((0.0, 128.0, 128.0), _matrix(weights, 1.0, 1.0), weights == _BT601)
    matrix = _matrix(weights, _RGB_RANGE / _LUMA_RANGE, _RGB_RANGE / _CHROMA_RANGE)
    return Conversion((16.0, 128.0, 128.0), matrix, weights == _BT601)


def _matrix(weights: tuple[float, float], luma: float, chroma: float) -> tuple[float, ...]:
    """From Y, U and V, each stretched by its factor, to red, green and blue (ITU-R BT.601, 2.5)."""
    red, blue = weights
    green = 1.0 - red - blue
    of_v = 2.0 * (1.0 - red) * chroma
    of_u = 2.0 * (1.0 - blue) * chroma
    return (luma, 0.0, of_v, luma, -blue / green * of_u, -red / green * of_v, luma, of_u, 0.0)
