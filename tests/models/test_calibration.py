"""Frames that INT8 is calibrated on: which of a video or a folder, prepared as the plan says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from framepace.errors import SourceError
from framepace.facts.plan import Batching, ModelPlan, Prepare
from framepace.models.convert.calibration import FRAMES, PreparedInputs, calibration_key, prepared_inputs
from framepace.models.spec import inspect, resolve
from framepace.video.prepare import Preparer
from framepace.video.source import SYNTHETIC, decode_all

OCR = Prepare(colour="bgr", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


def plan(model: str = "builtin:classifier", **fields: Any) -> ModelPlan:
    """A plan of the model, calibrated on the synthetic video."""
    return ModelPlan(**{"name": "m", "model": model, "calibration": SYNTHETIC, **fields})


def frames_of(model: ModelPlan) -> PreparedInputs:
    """Its inputs for calibration."""
    return prepared_inputs(model, resolve(inspect(model.model), model))


def video(path: Path, count: int) -> str:
    """A lossless video of `count` frames, each of one grey: its number."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("ffv1", rate=30)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "gray"
        for number in range(count):
            image = np.full((32, 32), number % 256, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="gray")))
        container.mux(stream.encode())
    return str(path)


def greys(frames: PreparedInputs) -> list[int]:
    """Which frames of `video` these are."""
    return [round(float(frame["images"].mean()) * 255) for frame in frames]


def test_frames_are_spread_over_the_video(tmp_path: Path) -> None:
    """Of 250 frames: 64, from the first to the last two per cent, evenly; the first few come from all over it."""
    frames = frames_of(plan(calibration=video(tmp_path / "v.mkv", 250)))
    numbers = greys(frames)
    assert len(frames) == len(set(numbers)) == FRAMES
    assert min(numbers) == 0
    assert max(numbers) >= 245
    assert np.diff(sorted(numbers)).max() <= 6
    assert max(numbers[:4]) - min(numbers[:4]) > 150


def test_a_large_video_holds_fewer_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for twenty pictures, ten to twenty are taken, still from all of the video."""
    one = 32 * 32
    monkeypatch.setattr("framepace.models.convert.calibration._HELD_BYTES", 20 * one)
    numbers = greys(frames_of(plan(calibration=video(tmp_path / "v.mkv", 250))))
    assert 5 <= len(numbers) <= 20
    assert max(numbers) >= 200


def test_a_short_video_gives_each_frame_once(tmp_path: Path) -> None:
    """Five frames are five inputs; in batches of two, three, the last filled up with the first."""
    where = video(tmp_path / "v.mkv", 5)
    assert sorted(greys(frames_of(plan(calibration=where)))) == [0, 1, 2, 3, 4]
    frames = frames_of(plan(calibration=where, batch=Batching(max=2)))
    assert len(frames) == 3
    items = [round(float(item.mean()) * 255) for frame in frames for item in frame["images"]]
    assert items == [0, 1, 2, 3, 4, 0]


def test_inputs_are_those_that_the_plan_prepares(bikes: Path) -> None:
    """The first input is the first picture through the plan's own preparation, bit by bit."""
    model = plan(prepare=OCR, calibration=str(bikes))
    expected = np.empty((3, 224, 224), np.float32)
    Preparer(OCR, (224, 224), "nchw", 3, "float32")(decode_all(str(bikes), 1)[0], expected)
    np.testing.assert_array_equal(frames_of(model)[0]["images"][0], expected)


def test_a_folder_of_pictures_calibrates_too(tmp_path: Path) -> None:
    """Pictures are taken by name, other files are not; another picture is another key; none is an error."""
    for number in range(3):
        image = av.VideoFrame.from_ndarray(np.full((16, 16, 3), 40 * number, np.uint8), format="rgb24")
        with av.open(str(tmp_path / f"{number}.png"), "w", format="image2") as container:
            stream: Any = container.add_stream("png", rate=1)
            stream.width = stream.height = 16
            stream.pix_fmt = "rgb24"
            container.mux(stream.encode(image))
            container.mux(stream.encode())
    model = plan(calibration=str(tmp_path))
    before = calibration_key(model)
    (tmp_path / "notes.txt").write_text("none")
    assert calibration_key(model) == before
    assert greys(frames_of(model)) == [0, 40, 80]
    (tmp_path / "2.png").unlink()
    assert calibration_key(model) != before
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="no pictures"):
        frames_of(plan(calibration=str(tmp_path / "empty")))


@pytest.mark.parametrize("where", ["nowhere.mp4", "rtsp://camera/1"])
def test_calibration_data_that_cannot_be_read_is_told_at_once(where: str) -> None:
    """No such file, or a live stream: a SourceError before anything is converted."""
    with pytest.raises(SourceError):
        frames_of(plan(calibration=where))
