"""Encoded pictures from anyone."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from framepace.errors import SourceError
from framepace.video.encoded import decoded
from framepace.video.stills import png

RAMP = np.repeat(np.arange(0, 256, 4, dtype=np.uint8)[None, :, None], 48, axis=0).repeat(3, axis=2)


def encoded(codec: str, picture: NDArray[np.uint8] = RAMP) -> bytes:
    """The picture as a file."""
    formats = {"mjpeg": "yuvj444p", "bmp": "bgr24"}
    if codec == "png":
        return png(picture)
    encoder: Any = av.CodecContext.create(codec, "w")
    encoder.height, encoder.width = picture.shape[:2]
    encoder.pix_fmt = formats[codec]
    encoder.time_base = Fraction(1, 1)
    frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format=formats[codec])
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])


@pytest.mark.parametrize(("codec", "error"), [("png", 0.0), ("bmp", 0.0), ("mjpeg", 3.0)])
def test_pictures_of_each_kind_come_out_as_they_went_in(codec: str, error: float) -> None:
    """Again and again, whatever was decoded before."""
    for picture in (RAMP, RAMP[::-1, ::-1], RAMP):
        frame = decoded(encoded(codec, np.ascontiguousarray(picture)))
        got = frame.to_ndarray(format="rgb24").astype(int)
        assert np.abs(got - picture).mean() <= error


@pytest.mark.parametrize(
    "data", [b"", b"no picture", b"#EXTM3U\nhttp://127.0.0.1/a", b"\xff\xd8\xff", b"BM" + b"\0" * 60]
)
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    """Playlists too, which name other files."""
    with pytest.raises(SourceError):
        decoded(data)


@pytest.mark.parametrize("codec", ["png", "mjpeg", "bmp"])
def test_a_torn_picture_is_refused(codec: str) -> None:
    """Half of a file is no picture."""
    data = encoded(codec)
    with pytest.raises(SourceError):
        decoded(data[: len(data) // 2])


def test_a_picture_that_claims_to_be_huge_is_refused_before_it_takes_memory() -> None:
    """A PNG of 60 bytes that says 60000 x 60000."""
    data = bytearray(encoded("png"))
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    with pytest.raises(SourceError):
        decoded(bytes(data))


@given(st.sampled_from(["png", "mjpeg", "bmp"]), st.data())
def test_damage_is_refused_or_decoded(codec: str, data: st.DataObject) -> None:
    """Nothing but SourceError comes out."""
    damaged = bytearray(encoded(codec))
    for place in data.draw(st.lists(st.integers(0, len(damaged) - 1), max_size=5)):
        damaged[place] ^= data.draw(st.integers(1, 255))
    try:
        decoded(bytes(damaged))
    except SourceError:
        return
