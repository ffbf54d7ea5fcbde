"""INT8 mended, held against the library, and priced, on a small network with one uneven channel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

import framepace
from framepace.errors import UsageError
from framepace.facts.accuracy import Agreement, Gate
from framepace.facts.plan import ModelPlan
from framepace.video.stills import png
from tests.numerics.networks import SIZE, Network, large_norm_file, output_of
from tests.reporting import samples

FRAMES = 4


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of its own."""
    monkeypatch.setenv("FRAMEPACE_CACHE", str(tmp_path / "cache"))


def _uneven(folder: Path) -> tuple[str, str]:
    """A network one of whose channels is 3,000 times the others, which INT8 then rounds to zero; pictures."""
    network = Network()
    network.conv("first", "x", 3, 4)
    network.add("Abs", "bent", "first")
    network.add("Mul", "uneven", "bent", network.weight("scale", [[[1.0]], [[1.0]], [[1.0]], [[3000.0]]]))
    weights = network.rng.normal(size=(4, 4, 1, 1)) * [[[1.0]], [[1.0]], [[1.0]], [[1 / 3000]]]
    network.add("Conv", "second", "uneven", network.weight("weights", weights))
    network.conv("last", "second", 4, 4)
    (folder / "pictures").mkdir()
    for number in range(FRAMES):
        picture = np.random.default_rng(number).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
        (folder / "pictures" / f"{number}.png").write_bytes(png(picture))
    return network.plan(folder, "last").model, str(folder / "pictures")


def test_int8_is_mended_with_the_ranges_of_the_calibration(tmp_path: Path) -> None:
    """The one convolution whose input INT8 cannot hold stays in FP32; the file has Q/DQ pairs around the others."""
    model, pictures = _uneven(tmp_path)
    mended = framepace.mend(
        model, tmp_path / "mixed.onnx", "int8", frames=FRAMES, price=False, videos=[pictures],
        settings={"calibration": pictures},
    )  # fmt: skip
    assert [node.name for node in mended.kept] == ["second"]
    assert mended.held_out is not None
    assert mended.held_out.passed
    assert mended.as_run is not None  # INT8 is what a CPU runs
    assert mended.holds == mended.as_run.passed
    assert any(f"calibrated on {FRAMES} pictures" in note for note in mended.notes)
    with pytest.raises(UsageError, match="frames to calibrate on"):
        framepace.rank(model, "int8", frames=FRAMES)
    assert mended.as_run.passed
    x = np.random.default_rng(0).random((1, 3, SIZE, SIZE), np.float32)
    mixed, plain = (output_of(path, x) for path in (mended.path, model))
    assert np.abs(mixed - plain).max() < 0.1 * np.abs(plain).max()


@pytest.mark.long
def test_where_the_library_breaks_what_emulation_keeps_the_search_has_less_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three quarters, half, a quarter; where it still breaks the gate the answer is no, though emulation keeps it."""
    limits: list[float | None] = []

    def breaks(candidate: ModelPlan, source: Any, gate: Gate, **ways: Any) -> Agreement:
        limits.append(gate.relative_l2)
        return replace(samples.accuracy().agreement, why=("one frame has another class",))

    monkeypatch.setattr("framepace.mending.agreement", breaks)
    said: list[str] = []
    mended = framepace.mend(
        large_norm_file(tmp_path), frames=FRAMES, price=False, tell=lambda text, _: said.append(text)
    )
    assert limits == [Gate().relative_l2] * 4
    assert sum("again with less room" in text for text in said) == 3
    assert mended.held_out is not None
    assert mended.held_out.passed
    assert not mended.holds


@pytest.mark.long
def test_the_price_of_the_nodes_is_measured_in_turn_with_fp32_and_int8(tmp_path: Path) -> None:
    """All ways are measured in one run, where the device runs the precision."""
    model, pictures = _uneven(tmp_path)
    mended = framepace.mend(model, None, "int8", frames=FRAMES, settings={"calibration": pictures})
    assert [(price.name, price.precision) for price in mended.prices] == [
        ("fp32", "fp32"), ("mixed", "int8"), ("int8", "int8"),
    ]  # fmt: skip
    assert all(price.p50_ms > 0 for price in mended.prices)
