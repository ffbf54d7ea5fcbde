"""What a log suggests: each pattern has its suspicion, and the command that would decide."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from framepace import explain_log
from framepace.explaining.causes import CAUSES
from framepace.facts.log import LogExplanation

FRAMES = 400
AT = np.arange(FRAMES)
NOISE = np.random.default_rng(0).normal(0, 0.05, FRAMES)


def answer(folder: Path, step_ms: float = 40.0, **columns: Any) -> LogExplanation:
    """What is said of 400 frames, one every `step_ms`, with these columns."""
    names = ["time_s", *columns]
    values = [AT * step_ms / 1e3, *(np.broadcast_to(column, FRAMES) for column in columns.values())]
    rows = (",".join(f"{value:.4f}" for value in row) for row in zip(*values, strict=True))
    (folder / "log.csv").write_text("\n".join([",".join(names), *rows]))
    return explain_log(folder / "log.csv")


def steps(before: float, after: float) -> np.ndarray[Any, Any]:
    """A level until frame 100, and another one from there."""
    return np.where(AT < 100, before, after) + NOISE


def late(every: int = 0, more: float = 20.0) -> np.ndarray[Any, Any]:
    """What some frames take more: every nth, or some without a pattern."""
    struck = AT % every == 7 if every else np.isin(AT, [30, 77, 131, 200, 222, 301, 333, 390])
    return np.where(struck, more, 0.0)


@pytest.mark.parametrize(
    ("columns", "step_ms", "code", "words"),
    [
        ({"latency_ms": steps(5, 10)}, 40.0, "FP001", "--load delay:30"),
        ({"latency_ms": steps(5, 10), "clock_mhz": np.where(AT < 100, 1590, 800)}, 40.0, "FP001", "1,590 and then 800"),
        ({"latency_ms": steps(5, 10), "clock_mhz": 1590}, 40.0, "FP002", "--load delay:30"),
        ({"latency_ms": steps(38, 39.9)}, 40.0, "", "nothing stands out"),
        ({"latency_ms": steps(10, 5)}, 40.0, "", "framepace bench"),
        ({"latency_ms": 9 + late(50), "post_ms": 1 + late(50)}, 40.0, "FP017", "--set finish="),
        ({"latency_ms": 9 + late(50), "decode_ms": 1 + late(50)}, 40.0, "FP017", "--video FILE"),
        ({"latency_ms": 9 + late(), "infer_ms": 8 + late()}, 40.0, "FP012", "infer takes"),
        ({"latency_ms": 9 + late(), "queue_ms": 0.5 + late()}, 40.0, "FP018", "framepace capacity"),
        ({"latency_ms": 9 + late(), "gc": late() > 0}, 40.0, "FP015", "coincide with gc"),
        ({"latency_ms": 9 + NOISE, "batch": 1 + AT % 2}, 40.0, "FP019", "framepace sweep"),
        ({"latency_ms": 9 + NOISE, "dropped": AT % 40 == 3}, 40.0, "", "framepace capacity"),
        ({"latency_ms": 9 + late(), "camera": np.where(late() > 0, 1, AT % 2)}, 40.0, "FP021", "camera"),
        ({"latency_ms": 9 + AT * 7 % 5, "objects": AT * 7 % 5}, 40.0, "", "'objects'"),
    ],
)
def test_a_pattern_has_its_suspicion(
    columns: dict[str, Any], step_ms: float, code: str, words: str, tmp_path: Path
) -> None:
    """By the code of a cause that `explain` tries, or none; in its words or its command stands what it rests on."""
    suspected = answer(tmp_path, step_ms, **columns).suspected
    texts = [f"{one.title} {one.because} {one.command}" for one in suspected if one.code == code]
    assert any(words in text for text in texts), suspected


def test_a_level_that_rises_back_to_back_is_power_or_heat(tmp_path: Path) -> None:
    """Without gaps nothing sleeps: the device is held down."""
    (tmp_path / "log.csv").write_text("latency_ms\n" + "\n".join(f"{value:.3f}" for value in steps(20, 26)))
    first = explain_log(tmp_path / "log.csv").suspected[0]
    assert (first.code, first.command) == ("FP004", "framepace explain MODEL.onnx --load closed:1")


def test_codes_are_those_of_causes(tmp_path: Path) -> None:
    """Whatever is suspected can be tried by name."""
    columns = {"latency_ms": steps(5, 10) + late(50), "post_ms": 1 + late(50), "gc": late(50) > 0, "batch": 1 + AT % 2}
    codes = {one.code for one in answer(tmp_path, **columns).suspected} - {""}
    assert codes
    assert codes <= {cause.code for cause in CAUSES}


def test_what_is_alike_is_not_suspected(tmp_path: Path) -> None:
    """Noise alone: nothing stands out, and no number that has nothing to do with the latency is named."""
    rng = np.random.default_rng(1)
    found = answer(tmp_path, latency_ms=9 + rng.normal(0, 0.3, FRAMES), objects=rng.integers(0, 9, FRAMES))
    assert [one.title for one in found.suspected] == ["nothing stands out"]
    assert found.beside == ()
