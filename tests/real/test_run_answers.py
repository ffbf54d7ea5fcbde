"""A real recogniser, run on pictures of numbers: the text that comes out is the one that was drawn."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

import framepace
from framepace.facts.answers import Text
from framepace.facts.running import Result
from framepace.sinks.letters import letters

pytestmark = pytest.mark.real
NUMBERS = ("7204", "2026", "1974", "38", "560129")


def draw(number: str, path: Path) -> None:
    """Dark digits on white, 48 x 320, as PNG."""
    dots = letters(number, 5)
    picture = np.full((48, 320, 3), 255, np.uint8)
    picture[6 : 6 + len(dots), 8 : 8 + dots.shape[1]][dots] = 0
    with av.open(str(path), "w", format="image2") as container:
        stream = container.add_stream("png", rate=1)
        stream.width = 320
        stream.height = 48
        stream.pix_fmt = "rgb24"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode(None))


def test_numbers_in_pictures_are_read_in_their_order(tmp_path: Path, recogniser_model: Path) -> None:
    """PP-OCR's recogniser says its characters in its file; the results of a folder come in its order."""
    for place, number in enumerate(NUMBERS):
        draw(number, tmp_path / f"{place}.png")
    results: list[Result] = []
    status = framepace.run(
        str(recogniser_model),
        [f"numbers={tmp_path}"],
        sinks=[results.append],
        settings={"size": "320x48", "mean": "0.5", "std": "0.5"},
        settings_of_sources={"pace": "free"},
    )
    answers = [result.answers["recogniser"] for result in results]
    assert [answer.text for answer in answers if isinstance(answer, Text)] == list(NUMBERS)
    assert min(answer.score for answer in answers if isinstance(answer, Text)) > 0.5
    assert any("are read as ctc" in note for note in status.notes)
    assert (status.sinks[0].written, status.sinks[0].dropped) == (len(NUMBERS), 0)
