"""Functions as sinks."""

from __future__ import annotations

import pickle
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from framepace.clock.system import SystemClock
from framepace.errors import SinkError
from framepace.facts.running import Result
from framepace.sinks.callback import Function
from framepace.sinks.named import queued_sink
from framepace.sinks.pictures import Pictures
from tests.doubles.sinks import result

PICTURE = np.zeros((2, 2, 3), np.uint8)
MODULE = """
import sys
seen = []
def keep(result):
    seen.append((result.number, result.picture))
def fail(result):
    if result.number == 1:
        raise KeyError("plate")
    if result.number == 2:
        sys.exit(3)
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of the user's."""
    (tmp_path / "own_sink_module.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("options", "picture"), [("", PICTURE), ("#pictures=no", None)])
def test_a_function_gets_every_result(options: str, picture: Any) -> None:
    """In order, with its picture unless that is not wanted."""
    queued = queued_sink(f"call:own_sink_module:keep{options}", SystemClock(), {})
    queued.start()
    for number in range(3):
        queued.put(result(number, picture=PICTURE))
    assert queued.close(limit_s=20).written == 3
    import own_sink_module  # type: ignore[import-not-found]

    assert [(number, one is picture) for number, one in own_sink_module.seen[-3:]] == [(0, True), (1, True), (2, True)]


def test_a_picture_is_made_an_array_when_it_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, however often; of a result that is kept, changed or sent elsewhere too; otherwise never."""
    made: list[Any] = []
    convert = Pictures.__call__

    def noted(self: Pictures, picture: Any) -> Any:
        made.append(picture)
        return convert(self, picture)

    monkeypatch.setattr(Pictures, "__call__", noted)
    kept: list[Result] = []
    sink = Function(kept.append)
    frame = av.VideoFrame(16, 8, "yuv420p")
    sink.write([result(0, picture=frame), result(1, picture=frame)])
    assert not made
    assert kept[0].picture.shape == (8, 16, 3)
    assert kept[0].picture is kept[0].picture
    assert len(made) == 1
    assert replace(kept[0], late=True).picture is kept[0].picture
    assert pickle.loads(pickle.dumps(kept[1])).picture.shape == (8, 16, 3)


def test_a_function_sees_a_result() -> None:
    """Whatever makes its picture; and to print one makes none."""
    shown: list[str] = []
    sink = Function(lambda result: shown.append(repr(result)))
    sink.write([result(0, picture="no frame at all"), result(0)])
    assert shown[0] == shown[1]
    assert shown[0].startswith("Result(source=")


def test_a_picture_that_was_looked_at_holds_no_frame() -> None:
    """Which may be in the memory of a GPU: a program that keeps results keeps arrays."""
    kept: list[Result] = []
    frame = av.VideoFrame(16, 8, "yuv420p")
    Function(kept.append).write([result(0, picture=frame)])
    held = sys.getrefcount(frame)
    assert kept[0].picture.shape == (8, 16, 3)
    assert sys.getrefcount(frame) < held


def test_what_a_function_raises_costs_one_result() -> None:
    """It is counted as failed; `sys.exit` too, which ends nothing."""
    queued = queued_sink("call:own_sink_module:fail", SystemClock(), {})
    queued.start()
    for number in range(5):
        queued.put(result(number))
    status = queued.close(limit_s=20)
    assert (status.written, status.failed) == (3, 2)
    assert status.note == "it called sys.exit(3); 1 not written"


@pytest.mark.parametrize("name", ["own_sink_module:no_such", "no_such_module:f", "own_sink_module"])
def test_a_function_that_is_not_there_is_refused_at_the_start(name: str) -> None:
    """With what is there instead."""
    with pytest.raises(SinkError) as error:
        queued_sink(f"call:{name}", SystemClock(), {}).start()
    assert error.value.expected or error.value.fix
