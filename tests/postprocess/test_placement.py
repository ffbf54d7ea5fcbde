"""From the network's input back to the picture."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framepace.facts.plan import Prepare
from framepace.postprocess.placement import placed
from framepace.video.prepare import Preparer

SIDES = st.integers(16, 400)


@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
@pytest.mark.parametrize("size", [(96, 160), (160, 96), (128, 128)])
def test_a_box_found_in_the_input_is_where_it_was_in_the_picture(resize: str, size: tuple[int, int]) -> None:
    """A white rectangle, prepared as for a model, found by its pixels and taken back: off by a pixel of the input."""
    picture = np.zeros((180, 320, 3), np.uint8)
    box = np.array([[80.0, 40.0, 240.0, 130.0]], np.float32)
    picture[40:130, 80:240] = 255
    plane = np.empty((3, *size), np.float32)
    Preparer(Prepare(resize=resize, pad_value=0), size, "nchw", 3, "float32")(picture, plane)  # type: ignore[arg-type]
    rows, columns = np.nonzero(plane[0] > 0.5)
    found = np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], np.float32)
    placement = placed(size, (180, 320), resize)
    step = max(320 / placement.width, 180 / placement.height)
    assert np.abs(placement.boxes(found) - box).max() <= step


@settings(deadline=None)
@given(size=st.tuples(SIDES, SIDES), picture=st.tuples(SIDES, SIDES), resize=st.sampled_from(["stretch", "letterbox"]))
def test_the_picture_lies_within_the_input(size: tuple[int, int], picture: tuple[int, int], resize: str) -> None:
    """Its edges are the picture's edges; what is beside it is moved to them."""
    placement = placed(size, picture, resize)
    edges = np.array(
        [[placement.left, placement.top, placement.left + placement.width, placement.top + placement.height]],
        np.float32,
    )
    whole = np.array([[0, 0, picture[1], picture[0]]], np.float32)
    np.testing.assert_allclose(placement.boxes(edges), whole, atol=1e-3)
    beyond = np.array([[-99, -99, size[1] + 99, size[0] + 99]], np.float32)
    np.testing.assert_allclose(placement.boxes(beyond), whole, atol=1e-3)


@settings(deadline=None)
@given(size=st.tuples(SIDES, SIDES), picture=st.tuples(SIDES, SIDES), resize=st.sampled_from(["stretch", "letterbox"]))
def test_a_map_is_taken_back_pixel_by_pixel(size: tuple[int, int], picture: tuple[int, int], resize: str) -> None:
    """A map of columns gives columns that rise from the first to the last, inside and bilinear alike."""
    placement = placed(size, picture, resize)
    columns = np.tile(np.arange(size[1], dtype=np.float32), (size[0], 1))
    nearest = placement.nearest(columns)
    assert nearest.shape == picture
    assert (np.diff(nearest, axis=1) >= 0).all()
    assert nearest.min() >= placement.left - 1
    assert nearest.max() <= placement.left + placement.width
    box = np.array((0, 0, picture[1], picture[0]), np.float32)
    rows, across, values = placement.part(columns, box)
    assert (rows, across) == (slice(0, picture[0]), slice(0, picture[1]))
    assert np.abs(values - nearest).max() <= max(1.0, 0.51 * size[1] / picture[1] + 0.51)
