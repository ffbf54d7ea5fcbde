"""Pictures in shared memory: what is read is what was put."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framepace.errors import BackendError
from framepace.video.sharedframes import Reader, Writer
from framepace.video.sharedmemory import attach

FORMATS = ("yuv420p", "yuvj420p", "yuv422p", "yuv444p", "nv12", "gray", "rgb24", "bgr24", "yuv420p10le")


def frame(format: str, height: int, width: int, seed: int = 0) -> Any:
    """A frame of noise."""
    from av import VideoFrame

    rng = np.random.default_rng(seed)
    made: Any = VideoFrame(width, height, format)
    for plane in made.planes:
        np.frombuffer(plane, np.uint8)[:] = rng.integers(0, 256, plane.buffer_size)
    made.colorspace, made.color_range = 1, 2
    return made


def pixels(made: Any) -> list[bytes]:
    """What is in each plane, without the padding of its rows."""
    rows = [np.frombuffer(p, np.uint8).reshape(p.height, p.line_size) for p in made.planes]
    bits = [sum(c.bits for c in made.format.components if c.plane == i) for i in range(len(rows))]
    used = [p.width * max(8, b) // 8 for p, b in zip(made.planes, bits, strict=True)]
    return [np.ascontiguousarray(r[:, :n]).tobytes() for r, n in zip(rows, used, strict=True)]


def through(*pictures: Any) -> list[Any]:
    """What a reader gets of what a writer put; arrays are copied out of the memory."""
    writer, reader = Writer(), Reader()
    try:
        got = reader.get(writer.put(pictures))
        return [picture.copy() if isinstance(picture, np.ndarray) else picture for picture in got]
    finally:
        del got
        reader.close()
        writer.close()


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(FORMATS), st.integers(1, 40), st.integers(1, 80))
def test_a_frame_of_any_format_and_size_comes_through(format: str, height: int, width: int) -> None:
    """Its size, format, colours and every pixel."""
    put = frame(format, 2 * height, 2 * width)
    (got,) = through(put)
    assert (got.height, got.width, got.format.name) == (put.height, put.width, put.format.name)
    assert (got.colorspace, got.color_range) == (put.colorspace, put.color_range)
    assert pixels(got) == pixels(put)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), min_size=1, max_size=4), st.booleans())
def test_arrays_of_a_batch_come_through_beside_frames(sizes: list[tuple[int, int]], mixed: bool) -> None:
    """Each picture is its own, whatever stands before it."""
    arrays = [np.random.default_rng(i).integers(0, 256, (h, w, 3), np.uint8) for i, (h, w) in enumerate(sizes)]
    put = [*arrays, frame("yuv420p", 16, 34, 9)] if mixed else arrays
    got = through(*put)
    assert all(np.array_equal(a, b) for a, b in zip(arrays, got, strict=False))
    if mixed:
        assert pixels(got[-1]) == pixels(put[-1])


def test_a_flipped_frame_comes_through_upright() -> None:
    """A frame whose rows lie backwards in memory is what its pixels say."""
    import av.filter

    graph: Any = av.filter.Graph()
    source = graph.add_buffer(width=64, height=32, format="rgb24", time_base=Fraction(1, 30))
    flip, sink = graph.add("vflip"), graph.add("buffersink")
    source.link_to(flip)
    flip.link_to(sink)
    graph.configure()
    put = frame("rgb24", 32, 64)
    wanted = put.to_ndarray(format="rgb24")[::-1]
    graph.push(put)
    flipped: Any = graph.pull()
    if flipped.planes[0].line_size > 0:
        pytest.skip("this FFmpeg flips by copying")
    (got,) = through(flipped)
    assert np.array_equal(got, wanted)


def test_memory_grows_with_the_batch_and_is_given_back() -> None:
    """A larger batch gets a larger block; the smaller one is gone, and the last one after closing."""
    writer, reader = Writer(), Reader()
    small = writer.put([np.zeros((4, 4, 3), np.uint8)])[0]
    assert reader.get([small])[0].sum() == 0
    large = writer.put([np.full((400, 400, 3), 7, np.uint8)] * 2)
    assert reader.get(large)[1].min() == 7
    reader.close()
    writer.close()
    writer.close()
    for name in {small.memory, large[0].memory}:
        with pytest.raises(BackendError):
            attach(name)
