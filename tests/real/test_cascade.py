"""PP-OCR's detector and recogniser, one after the other: numbers in a picture are found, and read each in its box."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

import framepace
from framepace.facts.answers import Classes, Crops, Detections, Text
from framepace.facts.running import Result
from framepace.sinks.letters import letters

pytestmark = pytest.mark.real
PLACES = {"7204": (60, 40), "560129": (300, 160), "1974": (120, 280)}
"""Left and top of each number."""
SETTINGS = {
    "detector.size": "640x384",
    "detector.post": "dbnet",
    "detector.mean": "0.485,0.456,0.406",
    "detector.std": "0.229,0.224,0.225",
    "recogniser.size": "320x48",
    "recogniser.mean": "0.5",
    "recogniser.std": "0.5",
    "recogniser.resize": "letterbox",
    "recogniser.pad-value": 127,
    "recogniser.after": "detector",
    "recogniser.batch": 4,
}
ARITHMETIC = ("recogniser.mean", "recogniser.std", "recogniser.resize", "recogniser.pad-value")


def draw(path: Path) -> None:
    """Dark numbers on white, 384 x 640, as H.264 of four pictures."""
    picture = np.full((384, 640, 3), 255, np.uint8)
    for number, (left, top) in PLACES.items():
        dots = letters(number, 5)
        picture[top : top + len(dots), left : left + dots.shape[1]][dots] = 0
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 640, 384, "yuv420p"
        for _ in range(4):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode(None))


def test_numbers_in_pictures_are_found_and_read(
    tmp_path: Path, detector_model: Path, recogniser_model: Path, classifier_model: Path
) -> None:
    """Each with its box around it; which way up a line is says the third model, on the same boxes."""
    draw(tmp_path / "numbers.mp4")
    results: list[Result] = []
    of_classifier = {
        "classifier.size": "192x48",
        "classifier.post": "classes",
        "classifier.after": "detector",
        **{name.replace("recogniser", "classifier"): SETTINGS[name] for name in ARITHMETIC},
    }
    status = framepace.run(
        [str(detector_model), str(recogniser_model), str(classifier_model)],
        [f"numbers={tmp_path / 'numbers.mp4'}"],
        sinks=[results.append],
        settings={**SETTINGS, **of_classifier},
        settings_of_sources={"pace": "free"},
    )
    assert len(results) == 4
    for result in results:
        found, read, upright = (result.answers[name] for name in ("detector", "recogniser", "classifier"))
        assert isinstance(found, Detections)
        assert isinstance(read, Crops)
        assert isinstance(upright, Crops)
        parts = zip(read.places.tolist(), read.answers, strict=True)
        texts = {part.text: found.boxes[place] for place, part in parts if isinstance(part, Text)}
        assert texts.keys() == PLACES.keys()
        for number, (left, top) in PLACES.items():
            assert np.abs(texts[number][:2] - (left, top)).max() < 30
        assert [int(part.labels[0]) for part in upright.answers if isinstance(part, Classes)] == [0, 0, 0]
    assert status.sources[0].boxes["recogniser"].answered == 12
