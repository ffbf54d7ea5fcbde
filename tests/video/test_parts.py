"""Parts of pictures: the pixels of a box, in the format of the picture, and nothing of the rest."""

from __future__ import annotations

from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from framepace.video.history import Moment
from framepace.video.parts import Cutter

SIZE = (48, 70)
PLANAR = ("yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p")


def picture(pixel_format: str = "rgb24") -> Any:
    """A noisy picture in a format; its colours are told."""
    pixels = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    frame = av.VideoFrame.from_ndarray(pixels, "rgb24").reformat(format=pixel_format)
    frame.colorspace = 1
    return frame


def planes(frame: Any) -> list[NDArray[np.uint8]]:
    """The planes without what lies beyond their width."""
    return [
        np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
        for plane in frame.planes
    ]


@pytest.mark.parametrize("pixel_format", PLANAR)
@pytest.mark.parametrize("given", [(8, 6, 30, 20), (9.2, 7.9, 31, 21), (0, 0, 70, 47), (50.5, 30, 200, 200)])
def test_planes_are_cut_where_the_box_is(pixel_format: str, given: tuple[float, ...]) -> None:
    """Every plane has exactly the pixels of the box; the format, and how colours are meant, stay."""
    whole = picture(pixel_format)
    cutter = Cutter(whole)
    box = cutter.box(given)
    assert box is not None
    part = cutter.cut(box)
    left, top, right, bottom = box
    assert (part.width, part.height) == (right - left, bottom - top)
    assert (part.format.name, part.colorspace) == (pixel_format, whole.colorspace)
    for source, cut in zip(planes(whole), planes(part), strict=True):
        down = SIZE[0] // source.shape[0]
        across = SIZE[1] // source.shape[1]
        expected = source[top // down :, left // across :][: cut.shape[0], : cut.shape[1]]
        assert np.array_equal(cut, expected)


@pytest.mark.parametrize("pixel_format", ["nv12", "rgb24", "gray", "yuv420p10le", "gbrp"])
def test_other_formats_are_cut_as_rgb(pixel_format: str) -> None:
    """To the pixel, from the whole picture converted once."""
    whole = picture(pixel_format)
    cutter = Cutter(whole)
    box = cutter.box((9, 7, 31, 20))
    assert box == (9, 7, 31, 20)
    assert np.array_equal(cutter.cut(box), whole.to_ndarray(format="rgb24")[7:20, 9:31])


def test_arrays_and_moments_are_cut() -> None:
    """Of a moment the newest picture."""
    pixels = np.random.default_rng(1).integers(0, 256, (*SIZE, 3), np.uint8)
    cutter = Cutter(Moment(1, (np.zeros_like(pixels), pixels)))
    box = cutter.box((3, 5, 20, 30))
    assert box == (3, 5, 20, 30)
    assert np.array_equal(cutter.cut(box), pixels[5:30, 3:20])
    assert cutter.cut(cutter.whole) is pixels


@pytest.mark.parametrize(
    "given",
    [
        (10, 10, 10.5, 30),
        (-20, 0, -3, 9),
        (70, 0, 90, 9),
        (9, 9, 3, 3),
        (float("nan"), 0, 9, 9),
        (0, 0, float("inf"), 9),
    ],
)
def test_a_box_without_pixels_is_none(given: tuple[float, ...]) -> None:
    """Beside the picture, turned around, thinner than two pixels, or no number."""
    assert Cutter(picture()).box(given) is None


@given(st.tuples(*[st.floats(-200, 300)] * 4), st.sampled_from(["yuv420p", "rgb24"]))
def test_a_box_is_within_the_picture_and_covers_what_was_asked(asked: tuple[float, ...], pixel_format: str) -> None:
    """As far as that is in the picture."""
    box = Cutter(picture(pixel_format)).box(asked)
    if box is None:
        return
    left, top, right, bottom = box
    assert 0 <= left <= right - 2 <= SIZE[1] - 2
    assert 0 <= top <= bottom - 2 <= SIZE[0] - 2
    assert left <= max(0, asked[0])
    assert top <= max(0, asked[1])
    assert right >= min(SIZE[1], asked[2])
    assert bottom >= min(SIZE[0], asked[3])
