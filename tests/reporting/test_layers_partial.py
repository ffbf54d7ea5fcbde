"""Layers of which some have no time, and tables of layers whose names are long."""

from __future__ import annotations

import io

import pytest
from msgspec.structs import replace

from framepace.analyze.layers import engine_layers
from framepace.facts.layers import EngineLayer, EngineView, Exploration, LayerMatch
from framepace.facts.model import Layer
from framepace.reporting.terminal.layers import show_exploration
from framepace.reporting.terminal.layout import console
from framepace.reporting.views.layers import layers_view

MS = 1e6


def profile(timed: int, untimed: int, flops: float | None = None) -> tuple[Layer, ...]:
    """Layers of 1 ms, and others that the library has no time for."""
    with_time = [Layer(name=f"host{i}", kind="Shape", time=MS, bytes=64) for i in range(timed)]
    without = [Layer(name=f"kernel{i}", kind="Conv", flops=flops, bytes=1 << 20) for i in range(untimed)]
    return (*with_time, *without)


def view_of(layers: tuple[Layer, ...]) -> EngineView:
    """An engine of these layers, with floors of 0.1 ms where there is a time."""
    described = engine_layers(layers, None, None)
    floors = tuple(replace(layer, floor=0.1 * MS) if layer.time else layer for layer in described)
    return EngineView(
        model="m", backend="onnxruntime", device="cuda", precision="fp32", batch=1, layers=floors, inference=41 * MS
    )


def test_where_most_layers_have_no_time_nothing_rests_on_those_that_have() -> None:
    """427 of 965 nodes, as ONNX Runtime on a GPU tells them: no share, no half, no floor of the whole."""
    engine = view_of(profile(427, 538))
    view = layers_view(Exploration(engines=(engine,)))
    expected = "only 427 of 965 layers have a time of their own, 427 ms; a whole inference takes 41.0 ms"
    assert view.heading == expected
    assert not any(layer.share for layer in engine.layers)
    assert "sum of floors" not in dict(view.numbers[0])


def test_one_layer_that_computes_without_a_time_is_enough() -> None:
    """A convolution without a time may be the longest of all; what moves nothing may well take none."""
    assert not view_of(profile(9, 1, flops=1e9)).is_whole
    assert view_of(profile(9, 1)).is_whole
    assert layers_view(Exploration(engines=(view_of(profile(9, 1)),))).heading.startswith("10 layers in 9.00 ms")


def test_two_engines_are_not_compared_by_a_part_of_their_layers() -> None:
    """The sentence says of how many layers there are times, instead of a ratio."""
    both = Exploration(engines=(view_of(profile(4, 0)), view_of(profile(1, 3))))
    assert layers_view(both).heading == "A has 4 layers, B 4 layers (1 with a time of their own)"


def named(*names: str) -> EngineView:
    """An engine whose layers take from 1,359 ms down."""
    layers = tuple(
        EngineLayer(
            name=name, kind="FusedConvolutionOfFour", precision="fp32", place="cpu", shape=(1, 1024, 80, 80),
            time=(1359 - i) * MS, share=0.11, flops=2e9, bytes=1023 << 10, floor=0.1 * MS, limit="launches",
        )
        for i, name in enumerate(names)
    )  # fmt: skip
    return EngineView(model="m", backend="onnxruntime", device="cpu", precision="fp32", batch=1, layers=layers)


LONG = tuple(f"/stages/stages.1/blocks/blocks.{i}/token_mixer/mixer/reparam_conv/Conv_output_0_nchwc" for i in range(3))
TWO = Exploration(
    engines=(named(*LONG), replace(named(*LONG), changes=("precision=fp32", "threads=1"))),
    matches=tuple(LayerMatch(a=(i,), b=(i,), by="kind and shape") for i in range(3)),
)


def shown(exploration: Exploration, width: int) -> list[str]:
    """The lines that a terminal of this width shows."""
    file = io.StringIO()
    out = console(file)
    out.width = width
    show_exploration(out, exploration)
    return file.getvalue().splitlines()


@pytest.mark.parametrize("exploration", [Exploration(engines=(named(*LONG),)), TWO], ids=["one", "two"])
@pytest.mark.parametrize("width", [80, 120, 200])
def test_no_number_is_cut_and_long_names_are_told_apart(exploration: Exploration, width: int) -> None:
    """Names give way, by what exporters add and in their middle; columns without room are named."""
    lines = shown(exploration, width)
    rows = [line for line in lines if line.startswith("/stages")]
    assert all(f"{1359 - i:,} ms" in row for i, row in enumerate(rows))
    assert all(row.startswith("/stages") and "conv/Conv" in row for row in rows)
    assert width < 200 or all(f"/stages.1/blocks.{i}/token_mixer/mixer/reparam" in row for i, row in enumerate(rows))
    assert max(len(line.rstrip()) for line in lines) <= width
    assert any(line.startswith("no room for:") for line in lines) == (width < 200)


@pytest.mark.parametrize("length", range(26, 46, 3))
def test_names_that_fit_by_themselves_give_way_to_numbers(length: int) -> None:
    """A name shorter than its column may be is cut where the numbers beside it need the room."""
    lines = shown(Exploration(engines=(named(f"/{'n' * (length - 1)}"),)), 80)
    (row,) = (line for line in lines if line.startswith("/n"))
    assert "1,359 ms" in row
    assert "11.0 %" in row
    assert row.split()[-1] == "launches"


def test_the_second_engine_is_told_by_the_setting_that_made_it() -> None:
    """And its layers are 'same' where they have the names of the first."""
    lines = shown(TWO, 80)
    assert "B: m: onnxruntime, cpu, fp32, batch 1, threads=1" in lines
    rows = [line for line in lines if line.startswith("/stages")]
    assert len(rows) == 3
    assert all(" same " in row for row in rows)
    assert lines[0] == "B takes the same time as A: 4,074 ms"
