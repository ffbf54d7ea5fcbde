"""Maps of text as lines: what touches is a line, which is larger than its middle."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from framepace.facts.answers import Answer, Detections, Tensors
from framepace.facts.postprocess import Post
from framepace.postprocess.network import Network
from framepace.postprocess.reader import Reader

SIZE = (96, 160)


def text_map() -> NDArray[np.float32]:
    """Two lines, a speck and noise, as a network gives them."""
    grid = np.full((1, 1, *SIZE), 0.1, np.float32)
    grid[0, 0, 20:30, 40:120] = 0.9
    grid[0, 0, 60:68, 10:50] = 0.6
    grid[0, 0, 80:82, 100:140] = 0.9
    return grid


def read(outputs: NDArray[np.float32], score: float = 0.25) -> Answer:
    """Read as lines in a picture twice as large."""
    network = Network("d", SIZE)
    return Reader(Post(read="dbnet", score=score), network)({"y": outputs}, (2 * SIZE[0], 2 * SIZE[1]))


def test_lines_are_grown_by_their_area_over_their_outline() -> None:
    """1.5 x 10 x 80 / 180 = 6.67 cells on every side, in pixels of the picture; the surest first, the speck is none."""
    answer = read(text_map())
    assert isinstance(answer, Detections)
    more = 1.5 * 10 * 80 / 180
    sides = [40 - more, 20 - more, 120 + more, 30 + more]
    assert answer.boxes[0].tolist() == pytest.approx([2 * side for side in sides])
    assert answer.scores.tolist() == pytest.approx([0.9, 0.6])
    assert answer.names == ("text",)


@pytest.mark.parametrize(("score", "lines"), [(0.25, 2), (0.7, 1), (0.95, 0)])
def test_the_score_is_that_of_the_whole_line(score: float, lines: int) -> None:
    """Less sure ones are left out."""
    answer = read(text_map(), score)
    assert isinstance(answer, Detections)
    assert len(answer) == lines


def test_an_empty_map_has_no_lines() -> None:
    """Zeros, as the null backend gives them, and maps that are wholly text."""
    empty = read(np.zeros((1, 1, *SIZE), np.float32))
    full = read(np.ones((1, 1, *SIZE), np.float32))
    assert isinstance(empty, Detections)
    assert isinstance(full, Detections)
    assert (len(empty), full.boxes.tolist()) == (0, [[0, 0, 2 * SIZE[1], 2 * SIZE[0]]])


def test_a_map_is_read_as_text_only_where_that_is_said() -> None:
    """It may be depth: 'auto' keeps the tensors, and the note names the family to set."""
    said: list[str] = []
    answer = Reader(Post(), Network("d", SIZE), said.append)({"y": text_map()}, SIZE)
    assert isinstance(answer, Tensors)
    assert "they may be dbnet" in said[0]


def test_what_is_no_map_stays_tensors() -> None:
    """Of two channels, or of another size."""
    assert isinstance(read(np.zeros((1, 2, *SIZE), np.float32)), Tensors)
    assert isinstance(read(np.zeros((1, 1, 10, 10), np.float32)), Tensors)
