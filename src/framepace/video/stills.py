"""Single pictures written as files."""

from __future__ import annotations

from typing import Any

import numpy as np


def png(picture: Any) -> bytes:
    """A decoded picture, or an array (height, width, 3) of uint8 RGB, as a PNG file."""
    from fractions import Fraction

    import av

    if isinstance(picture, np.ndarray):
        picture = av.VideoFrame.from_ndarray(picture, format="rgb24")
    plain = picture.reformat(format="rgb24")
    plain.pts = 0
    encoder: Any = av.CodecContext.create("png", "w")
    encoder.width = plain.width
    encoder.height = plain.height
    encoder.pix_fmt = "rgb24"
    encoder.time_base = Fraction(1, 1)
    return b"".join(bytes(packet) for packet in [*encoder.encode(plain), *encoder.encode(None)])


def seconds_of(picture: Any) -> float | None:
    """When a decoded picture is shown, in seconds from the start of its video; None where nobody says."""
    if isinstance(picture, np.ndarray) or picture.time is None:
        return None
    return float(picture.time)
