"""Pictures prepared by the kernel, which is compiled for the host here: the same as those of the host's preparation."""

from __future__ import annotations

import ctypes
import io
from typing import Any, Literal

import av
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from framepace.facts.plan import Prepare
from framepace.video.device.description import Canvas, CPictures, describe_lines, launches, source
from framepace.video.device.pixels import pixels_of
from framepace.video.device.siting import siting
from framepace.video.device.surface import host_planes, kind_of
from framepace.video.prepare import Preparer
from tests.doubles.painter import paint

Layout = Literal["nchw", "nhwc"]
FORMATS = (
    "yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuv440p", "yuv411p", "yuv410p", "yuva420p", "nv12",
    "nv21", "p010le", "p016le", "yuv420p10le", "yuv422p10le", "yuv444p12le", "rgb24", "bgr24", "rgba", "bgra", "argb",
    "abgr", "rgb0", "bgr0", "gbrp", "gbrp10le", "gray", "yuyv422", "uyvy422",
)  # fmt: skip
SPACES = (1, 2, 4, 5, 6, 7, 9)  # those that swscale takes
_LEVELS = 1.0
_MEAN = 0.25


def scene(height: int, width: int, seed: int = 0, noise: float = 12) -> NDArray[np.uint8]:
    """Waves of colour, a block with hard edges, and noise: uint8 RGB."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    waves = (np.sin(x / 17 + seed) * np.cos(y / 23), np.cos(x / 31) * np.sin(y / 11 + 1), np.sin((x + y) / 29))
    image = np.stack([127 + 105 * wave for wave in waves], axis=-1)
    image[height // 4 : height // 2, width // 3 : width // 2] = rng.integers(0, 256, 3)
    return np.clip(image + rng.normal(0, noise, image.shape), 0, 255).astype(np.uint8)


def frame(name: str, size: tuple[int, int], space: int = 2, colour_range: int = 0, seed: int = 0) -> av.VideoFrame:
    """A scene in a pixel format, that says these colours of itself."""
    made = av.VideoFrame.from_ndarray(scene(*size, seed), "rgb24").reformat(format=name)
    made.colorspace = space
    made.color_range = colour_range
    return made


def on_host(picture: Any, prepare: Prepare, size: tuple[int, int], layout: Layout, channels: int, dtype: str) -> Any:
    """The input made by the host."""
    out = np.full((channels, *size) if layout == "nchw" else (*size, channels), 99, dtype)
    Preparer(prepare, size, layout, channels, dtype)(picture, out)
    return out


def by_kernel(picture: Any, prepare: Prepare, size: tuple[int, int], layout: Layout, channels: int, dtype: str) -> Any:
    """The input made by the kernel; None for what is left to the host."""
    kind = kind_of(picture)
    canvas = Canvas(prepare, size, layout, channels, np.dtype(dtype))
    described = canvas.template(kind) if kind is not None else None
    if kind is None or described is None:
        return None
    out = np.full((channels, *size) if layout == "nchw" else (*size, channels), 99, dtype)
    strides = out.strides if layout == "nchw" else (out.strides[2], *out.strides[:2])
    table = canvas.table()
    described.channel_bytes, described.row_bytes, described.column_bytes = strides
    described.out, described.table = out.ctypes.data, table.ctypes.data
    planes = host_planes(picture, kind.pixels.planes)
    describe_lines(described, kind, [(samples.ctypes.data, row_bytes) for samples, row_bytes in planes])
    for argument, count in launches([described]):
        paint(source(), argument, count)
    return out


def levels_apart(picture: Any, prepare: Prepare, size: tuple[int, int], layout: Layout, channels: int) -> Any:
    """How far the two inputs are apart, in levels of 255; None where the kernel leaves the picture to the host."""
    painted = by_kernel(picture, prepare, size, layout, channels, "uint8")
    if painted is None:
        return None
    host = on_host(picture, prepare, size, layout, channels, "uint8")
    return np.abs(painted.astype(int) - host.astype(int))


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("size", [(48, 64), (96, 128), (64, 200)], ids=["smaller", "as it is", "wider"])
def test_every_pixel_format_gives_the_pictures_of_the_host(name: str, size: tuple[int, int]) -> None:
    """Shrunk, of its own size and enlarged: within one level, 0.25 on average."""
    apart = levels_apart(frame(name, (96, 128)), Prepare(), size, "nchw", 3)
    assert apart is not None
    assert apart.max() <= _LEVELS
    assert apart.mean() <= _MEAN


sides = st.integers(2, 180)


@given(
    st.sampled_from(FORMATS),
    st.tuples(sides, sides),
    st.tuples(st.integers(2, 120), st.integers(2, 120)) | st.none(),
    st.sampled_from(SPACES),
    st.sampled_from([0, 1, 2]),
    st.sampled_from(["rgb", "bgr", "gray"]),
    st.sampled_from(["stretch", "letterbox"]),
    st.sampled_from(["nchw", "nhwc"]),
    st.sampled_from([1, 3, 4]),
)
@settings(max_examples=150, deadline=None)
@example("yuv420p", (64, 40), None, 2, 0, "rgb", "stretch", "nchw", 3)  # swscale's quick way left 8 columns unwritten
@example("yuv444p", (55, 64), (41, 93), 2, 0, "rgb", "stretch", "nchw", 3)  # at the first edge it takes a sample less
@example("gray", (16, 173), (84, 8), 9, 0, "rgb", "stretch", "nchw", 3)
def test_pictures_are_those_of_the_host(
    name: str,
    of: tuple[int, int],
    into: tuple[int, int] | None,
    space: int,
    colour_range: int,
    colour: Any,
    resize: Any,
    layout: Layout,
    channels: int,
) -> None:
    """Any size, matrix, range, order, fit, layout: within one level, 0.25 on average."""
    picture = frame(name, of, space, colour_range)
    apart = levels_apart(picture, Prepare(colour=colour, resize=resize), into or of, layout, channels)
    if apart is not None:
        assert apart.max() <= _LEVELS
        assert apart.mean() <= _MEAN


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8", "int8", "int64"])
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_values_are_to_the_bit_those_of_the_host(dtype: str, layout: Layout) -> None:
    """A picture without a resize: mean, std and dtype give the very numbers, alpha included."""
    prepare = Prepare(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    picture = scene(64, 96)
    host = on_host(picture, prepare, (64, 96), layout, 4, dtype)
    assert np.array_equal(by_kernel(picture, prepare, (64, 96), layout, 4, dtype), host)


def encoded(codec: str, name: str) -> Any:
    """The first picture of a short video, as it is decoded."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        stream: Any = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 128, 96, name
        container.mux(stream.encode(av.VideoFrame.from_ndarray(scene(96, 128), "rgb24")))
        container.mux(stream.encode())
    file.seek(0)
    with av.open(file, "r") as container:
        return next(container.decode(video=0))


@pytest.mark.parametrize(
    ("codec", "name", "place"),
    [("mpeg4", "yuv420p", (0, 128)), ("mjpeg", "yuvj420p", (128, 128)), ("mpeg2video", "yuv420p", (0, 128))],
)
def test_chroma_lies_where_the_decoder_says(codec: str, name: str, place: tuple[int, int]) -> None:
    """Left for MPEG-2 and MPEG-4, between the samples for JPEG; and pictures are the host's."""
    picture = encoded(codec, name)
    assert siting(picture) == place
    apart = levels_apart(picture, Prepare(), (48, 64), "nchw", 3)
    assert apart.max() <= _LEVELS


@pytest.mark.parametrize("name", ["pal8", "monow", "yuv420p10be", "rgb565le", "xyz12le"])
def test_formats_that_the_kernel_does_not_read_are_left_to_the_host(name: str) -> None:
    """No wrong picture is made of them."""
    assert pixels_of(name) is None


def test_the_argument_of_the_kernel_fits_the_oldest_devices() -> None:
    """4 KiB is all that kernels take before CUDA 12.1."""
    assert ctypes.sizeof(CPictures) <= 4096
