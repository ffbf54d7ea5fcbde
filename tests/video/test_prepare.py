"""Preparation: geometry and numbers."""

from __future__ import annotations

from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framepace.errors import ModelError, PlanError
from framepace.facts.plan import Prepare
from framepace.video.prepare import Preparer, as_frame, letterbox

sides = st.integers(1, 4000)


def picture(height: int, width: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A smooth RGB picture: interpolation of any kind agrees on it."""
    y, x = np.mgrid[0:height, 0:width]
    red, green = x * 200 // max(1, width - 1), y * 200 // max(1, height - 1)
    return np.stack([red, green, np.full_like(red, 40 + seed)], axis=-1).astype(np.uint8)


def prepared(
    prepare: Prepare, image: Any, size: tuple[int, int], layout: str = "nchw", dtype: str = "float32", c: int = 3
) -> Any:
    """The input made of one picture."""
    out = np.full((c, *size) if layout == "nchw" else (*size, c), 99, dtype)
    Preparer(prepare, size, layout, c, dtype)(image, out)
    return out


@given(sides, sides, sides, sides)
def test_a_letterbox_keeps_the_aspect_and_centres(h: int, w: int, into_h: int, into_w: int) -> None:
    """It fits, touches two opposite borders, is within a pixel of the exact scale, and its padding is symmetric."""
    top, left, height, width = letterbox((h, w), (into_h, into_w))
    scale = min(into_h / h, into_w / w)
    assert abs(height - h * scale) <= 1
    assert abs(width - w * scale) <= 1
    assert height == into_h or width == into_w
    assert abs((into_h - height - top) - top) <= 1
    assert abs((into_w - width - left) - left) <= 1


@given(st.integers(2, 90), st.integers(2, 90), st.sampled_from(["stretch", "letterbox"]))
@settings(max_examples=40, deadline=None)
def test_every_element_is_written_for_any_picture_size(h: int, w: int, resize: Any) -> None:
    """Odd sizes included: no element keeps its old value, and all are within range."""
    out = prepared(Prepare(resize=resize), picture(h, w), (48, 64))
    assert out.min() >= 0
    assert out.max() <= 1.01


def test_values_are_the_formula_within_a_grey_level() -> None:
    """value = (pixel * scale - mean) / std per channel, for a picture that needs no resize."""
    image = picture(64, 96)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    out = prepared(Prepare(mean=mean, std=std), image, (64, 96))
    for channel in range(3):
        exact = (image[..., channel].astype(np.float64) / 255 - mean[channel]) / std[channel]
        assert np.abs(out[channel] - exact).max() <= 1.01 / 255 / std[channel]


def test_a_resize_agrees_with_a_float64_reference() -> None:
    """Halving a smooth picture gives the means of its 2x2 blocks, within two grey levels."""
    image = picture(128, 192)
    blocks = image.reshape(64, 2, 96, 2, 3).mean(axis=(1, 3)) / 255
    out = prepared(Prepare(), image, (64, 96))
    assert np.abs(out.transpose(1, 2, 0) - blocks).max() <= 2.01 / 255


def test_colour_order_and_layout_are_transpositions() -> None:
    """BGR is RGB reversed, NHWC is NCHW transposed."""
    image = picture(50, 70)
    rgb = prepared(Prepare(), image, (48, 64))
    assert np.array_equal(prepared(Prepare(colour="bgr"), image, (48, 64)), rgb[::-1])
    assert np.array_equal(prepared(Prepare(), image, (48, 64), layout="nhwc"), rgb.transpose(1, 2, 0))


def test_an_integer_input_takes_the_pixels_as_they_are() -> None:
    """uint8 in, uint8 out: a quarter of the bytes, the graph does the arithmetic."""
    image = picture(48, 64)
    out = prepared(Prepare(mean=(0.5,)), image, (48, 64), dtype="uint8")
    assert np.abs(out.transpose(1, 2, 0).astype(int) - image).max() <= 1


def test_half_precision_is_the_rounded_value() -> None:
    """float16 differs from float32 by rounding alone."""
    image = picture(48, 64)
    wide, half = (prepared(Prepare(), image, (48, 64), dtype=d) for d in ("float32", "float16"))
    assert np.abs(wide - half).max() < 1e-3


def test_grey_is_the_luma() -> None:
    """One channel is the Rec. 601 luma of the picture within two levels."""
    image = picture(48, 64)
    luma = image.astype(float) @ [0.299, 0.587, 0.114] / 255
    out = prepared(Prepare(colour="gray"), image, (48, 64), c=1)
    assert np.abs(out[0] - luma).max() <= 2.01 / 255


def test_padding_has_its_value_in_the_units_of_the_input() -> None:
    """Rows above a letterboxed wide picture hold pad_value * scale."""
    out = prepared(Prepare(resize="letterbox", pad_value=128), picture(20, 100), (100, 100))
    assert np.allclose(out[:, :39], 128 / 255)


def double(image: Any) -> Any:
    """A hook for the test below."""
    return np.minimum(image.astype(int) * 2, 255).astype(np.uint8)


def wrong(image: Any) -> Any:
    """A hook that returns no picture."""
    return 3


def test_a_hook_changes_the_picture_before_the_resize() -> None:
    """A hook that doubles brightness doubles the values."""
    image = picture(48, 64)
    plain = prepared(Prepare(), image, (48, 64))
    bright = prepared(Prepare(hook=f"{__name__}:double"), image, (48, 64))
    assert np.abs(bright - np.minimum(plain * 2, 1)).max() <= 2.01 / 255


@pytest.mark.parametrize(
    ("prepare", "channels", "error"),
    [
        (Prepare(hook="nowhere:f"), 3, PlanError),
        (Prepare(hook=f"{__name__}:absent"), 3, PlanError),
        (Prepare(hook="no-colon"), 3, PlanError),
        (Prepare(hook=f"{__name__}:wrong"), 3, PlanError),
        (Prepare(mean=(1.0, 2.0)), 3, PlanError),
        (Prepare(std=(0.0,)), 3, PlanError),
        (Prepare(), 5, ModelError),
    ],
)
def test_what_cannot_be_prepared_is_a_sentence(prepare: Prepare, channels: int, error: type[Exception]) -> None:
    """Missing hooks, hooks that return no picture, and impossible numbers are our errors."""
    with pytest.raises(error):
        prepared(prepare, picture(48, 64), (48, 64), c=channels)


def failing(image: Any) -> Any:
    """A hook that raises."""
    raise KeyError("no such thing")


def test_a_hook_that_raises_is_a_sentence() -> None:
    """The user's exception is named and chained, with the hook's name."""
    with pytest.raises(PlanError, match="failing") as error:
        prepared(Prepare(hook=f"{__name__}:failing"), picture(48, 64), (48, 64))
    assert isinstance(error.value.__cause__, KeyError)


def exact_resize(plane: Any, size: tuple[int, int]) -> Any:
    """Bilinear resize in float64: a triangle filter as wide as the reduction, pixel centres at halves."""

    def weights(n: int, m: int) -> Any:
        step = n / m
        centres = (np.arange(m) + 0.5) * step - 0.5
        w = np.maximum(0, 1 - np.abs(np.arange(n)[None] - centres[:, None]) / max(1.0, step))
        return w / w.sum(1, keepdims=True)

    return weights(plane.shape[0], size[0]) @ plane.astype(float) @ weights(plane.shape[1], size[1]).T


@given(st.integers(40, 160), st.integers(40, 160), st.integers(24, 120), st.integers(24, 120), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_a_resize_is_the_float64_one_within_grey_levels(h: int, w: int, to_h: int, to_w: int, seed: int) -> None:
    """Any size to any size: off by half a level on average, without bias, on a picture with detail."""
    rough = np.random.default_rng(seed).integers(0, 256, (8, 8, 3))
    image = np.stack([exact_resize(rough[..., c], (h, w)) for c in range(3)], axis=-1).astype(np.uint8)
    out = prepared(Prepare(scale=1.0), image, (to_h, to_w))
    error = out - np.stack([exact_resize(image[..., c], (to_h, to_w)) for c in range(3)])
    assert np.abs(error).mean() < 0.6
    assert abs(error.mean()) < 0.25


def test_cameras_of_unlike_sizes_share_a_preparer() -> None:
    """Pictures of two sizes in turn give what each gives alone: no context is mixed up."""
    small, large = picture(48, 64, 1), picture(90, 160, 2)
    shared = Preparer(Prepare(), (48, 64), "nchw", 3, "float32")
    for image in (small, large, small, large):
        out = np.empty((3, 48, 64), np.float32)
        shared(image, out)
        assert np.array_equal(out, prepared(Prepare(), image, (48, 64)))


@pytest.mark.parametrize("dtype", ["float16", "float64", "uint8"])
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_every_dtype_and_layout_agree(dtype: str, layout: str) -> None:
    """Letterboxed with mean and std, each is the float32 NCHW tensor, rounded to its own precision."""
    numbers: dict[str, Any] = {} if dtype == "uint8" else {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.4)}
    prepare = Prepare(resize="letterbox", scale=1.0 if dtype == "uint8" else 1 / 255, **numbers)
    wide = prepared(prepare, picture(30, 70), (48, 64))
    out = prepared(prepare, picture(30, 70), (48, 64), layout=layout, dtype=dtype)
    first = out.transpose(2, 0, 1) if layout == "nhwc" else out
    assert np.allclose(first.astype(np.float64), wide, rtol=1e-3, atol=1e-3)


def test_an_array_is_copied_where_swscale_would_read_beyond_it() -> None:
    """Rows of whole vectors are wrapped, others copied: a read beyond the end of shared memory kills the process."""
    for width, shared in ((64, True), (65, False), (30, False)):
        image = np.zeros((4, width, 3), np.uint8)
        frame = as_frame(image)
        image[:] = 255
        assert (frame.to_ndarray().max() == 255) == shared


@pytest.mark.parametrize("shape", [(48, 64), (48, 64, 4), (0, 64, 3), (48, 64, 1)])
def test_an_array_of_another_shape_is_a_sentence(shape: tuple[int, ...]) -> None:
    """Only height x width x 3 is a picture."""
    with pytest.raises(PlanError, match="height x width x 3"):
        as_frame(np.zeros(shape, np.uint8))


def test_grey_fills_three_channels_alike() -> None:
    """A colour model that is asked for grey gets the luma three times."""
    out = prepared(Prepare(colour="gray"), picture(48, 64), (48, 64))
    assert np.array_equal(out[0], out[1])
    assert np.array_equal(out[0], out[2])


@pytest.mark.parametrize("width", [24, 33, 40, 136])
def test_every_column_is_written_where_nothing_is_resized(width: int) -> None:
    """swscale's quick way to planar RGB leaves the last 1 to 8 columns of such widths as they were."""
    frame = av.VideoFrame(width, 64, "yuv420p")
    for plane, value in zip(frame.planes, (200, 100, 150), strict=True):
        plane.update(bytes([value]) * plane.buffer_size)
    out = prepared(Prepare(), frame, (64, width))
    assert out.std(axis=(1, 2)).max() < 1e-6
