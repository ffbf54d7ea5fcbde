"""Preparation: geometry and numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framepace.errors import ModelError, PlanError
from framepace.exec.prepare import Preparer, letterbox
from framepace.facts.plan import Prepare

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
        (Prepare(), 4, ModelError),
    ],
)
def test_what_cannot_be_prepared_is_a_sentence(prepare: Prepare, channels: int, error: type[Exception]) -> None:
    """Missing hooks, hooks that return no picture, and impossible numbers are our errors."""
    with pytest.raises(error):
        prepared(prepare, picture(48, 64), (48, 64), c=channels)
