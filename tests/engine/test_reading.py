"""Outputs of measured frames are read as those of a run are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from framepace import api
from framepace.backends.base import get_backend
from framepace.clock.system import SystemClock
from framepace.engine.reading import measured_finish
from framepace.errors import PlanError
from framepace.facts.plan import ModelPlan
from framepace.facts.postprocess import Post
from framepace.facts.workload import Stop
from framepace.video.frame import Frame

MODEL = "builtin:classifier@64x64"
READ: list[tuple[int, int]] = []


def reader(outputs: Mapping[str, Any], picture: tuple[int, int]) -> str:
    """A reader as users write it."""
    READ.append(picture)
    return "seen"


def broken(outputs: Mapping[str, Any], picture: tuple[int, int]) -> str:
    """A reader that fails."""
    raise ValueError("too few boxes")


@pytest.fixture(autouse=True)
def _empty() -> Iterator[None]:
    READ.clear()
    yield
    READ.clear()


@pytest.mark.parametrize(
    ("scope", "post", "read"), [("pipeline", "reader", True), ("model", "reader", False), ("pipeline", None, False)]
)
def test_outputs_are_read_where_pictures_are_run(scope: Any, post: str | None, read: bool) -> None:
    """For every picture, in its size; neither where the model alone is measured nor with post=none."""
    chosen = "none" if post is None else f"{__name__}:{post}"
    settings = {"post": chosen, "threads": 1}
    trace = api.bench(MODEL, scope=scope, stop=Stop(count=8), settings=settings)
    assert (len(READ) >= len(trace.requests)) == read
    assert len(set(READ)) == int(read)


def test_a_reader_of_the_users_that_fails_is_told() -> None:
    """In its own words, as a run tells it."""
    settings = {"post": f"{__name__}:broken", "threads": 1}
    with pytest.raises(PlanError, match="too few boxes"):
        api.bench(MODEL, scope="pipeline", stop=Stop(count=3), settings=settings)


def test_outputs_that_cannot_be_read_end_no_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are read once, it is said, and the hook still gets every frame."""

    def fail(*_: Any) -> None:
        raise ValueError("no such axis")

    monkeypatch.setattr("framepace.postprocess.reader.Reader.__call__", fail)
    model = ModelPlan(name="m", model=MODEL, threads=1, post=Post())
    session = get_backend("onnxruntime").load(model, SystemClock())
    told: list[str] = []
    hooked: list[int] = []
    finish = measured_finish([(model, session)], lambda name, outputs, frame: hooked.append(frame.number), told.append)
    assert finish is not None
    for number in range(3):
        frame = Frame(number, 0, 0, 0, 0, 0, 0, np.zeros((64, 64, 3), np.uint8))
        assert finish("m", {"y0": np.zeros((1, 1000), np.float32)}, frame) is None
    assert told == ["outputs of m cannot be read, and are not measured: no such axis"]
    assert hooked == [0, 1, 2]


def test_what_is_computed_elsewhere_is_not_read() -> None:
    """Nothing is done with zeros of the null backend, nor where nobody asks."""
    model = ModelPlan(name="m", model="null", backend="null")
    session = get_backend("null").load(model, SystemClock())
    assert measured_finish([(model, session)], None, print) is None
