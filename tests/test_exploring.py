"""Engines layer by layer, from models and traces, on the simulated device."""

from __future__ import annotations

from pathlib import Path

import pytest

from framepace import UsageError, bench, layers
from framepace.facts.workload import Stop

T4 = {"backend": "simulated", "option.device": "t4"}
SHORT = Stop(count=3)


def test_a_model_is_measured_and_its_layers_have_work_floors_and_a_graph() -> None:
    """All layers of a built-in network: times, bytes, a path from top to bottom. A floor is never above the time; what
    is launched more slowly than it runs has none.
    """
    (engine,) = layers("builtin:classifier", settings=T4, stop=SHORT).engines
    assert (engine.backend, engine.device, engine.simulated) == ("simulated", "t4", True)
    assert all(layer.time and layer.bytes for layer in engine.layers)
    assert all((layer.floor is None) == (layer.limit == "launches") for layer in engine.layers)
    assert all(layer.floor <= layer.time for layer in engine.layers if layer.floor and layer.time)
    assert engine.time is not None
    assert engine.floor is not None
    assert engine.floor < engine.time
    assert len(engine.edges) >= len(engine.layers) - 1
    assert engine.path[0] == 0
    assert engine.notes == ()


def test_two_settings_of_one_model_stand_side_by_side() -> None:
    """With half the precision every convolution matches its own, and the whole takes less."""
    found = layers("builtin:classifier", versus={"precision": "fp16"}, settings=T4, stop=SHORT, floors=False)
    a, b = found.engines
    assert (a.precision, b.precision) == ("fp32", "fp16")
    assert all(match.by == "operators" and match.a == match.b for match in found.matches)
    assert (b.time or 0) < (a.time or 0)
    assert a.floor is None


def test_a_trace_with_layers_is_explored_and_one_without_says_how_to_measure_them(tmp_path: Path) -> None:
    """From its folder, without a run."""
    out = tmp_path / "trace"
    bench("builtin:classifier", out=out, layers=True, fps=None, scope="model", settings=T4, stop=SHORT)
    assert len(layers(str(out), floors=False).engines[0].layers) > 20
    plain = bench("builtin:classifier", fps=None, scope="model", settings=T4, stop=SHORT)
    with pytest.raises(UsageError, match="the run has no layers") as error:
        layers(plain)
    assert "--layers" in str(error.value)


def test_a_page_does_not_replace_a_file_that_is_none_of_ours(tmp_path: Path) -> None:
    """Said before anything is measured; a page of framepace is replaced."""
    page = tmp_path / "page.html"
    page.write_text("mine")
    with pytest.raises(Exception, match="not"):
        layers("builtin:classifier", out=page, settings=T4, stop=SHORT)
    page.unlink()
    for _ in range(2):
        layers("builtin:classifier", out=page, settings=T4, stop=SHORT, floors=False)
    assert b"framepace layers" in page.read_bytes()
