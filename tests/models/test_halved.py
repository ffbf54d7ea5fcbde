"""Half of a network: half of the operations, the same inputs, and nothing that is left out because nobody reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from framepace.errors import ModelError
from framepace.models.convert.halved import halved
from framepace.models.operations import model_work
from framepace.models.spec import inspect


def operations(location: str, shapes: dict[str, tuple[int, ...]]) -> float:
    """Operations of all nodes."""
    return sum(node.flops for node in model_work(location, shapes, "fp32").nodes)


@pytest.mark.parametrize("name", ["classifier", "detector", "manykernels"])
def test_half_of_a_network_has_about_half_of_the_operations(name: str, tmp_path: Path, monkeypatch: Any) -> None:
    """Within the one node that crosses the middle; the inputs are those of the whole."""
    monkeypatch.setenv("FRAMEPACE_CACHE", str(tmp_path))
    whole = f"builtin:{name}@256x256"
    shapes = {tensor.name: (1, *map(int, tensor.shape[1:])) for tensor in inspect(whole).inputs}
    half = halved(whole, shapes)
    assert 0.4 <= operations(half, shapes) / operations(whole, shapes) <= 0.75
    assert inspect(half).inputs == inspect(whole).inputs


def test_what_the_other_half_would_need_is_computed(tmp_path: Path, monkeypatch: Any) -> None:
    """The half runs, and its outputs are single finite numbers."""
    import onnxruntime

    monkeypatch.setenv("FRAMEPACE_CACHE", str(tmp_path))
    whole = "builtin:classifier@256x256"
    (image,) = inspect(whole).inputs
    half = halved(whole, {image.name: (1, *map(int, image.shape[1:]))})
    session = onnxruntime.InferenceSession(half, providers=["CPUExecutionProvider"])
    shape = (1, *map(int, image.shape[1:]))
    outputs = session.run(None, {image.name: np.ones(shape, np.float32)})
    assert [np.shape(output) for output in outputs] == [()] * len(outputs)
    assert np.isfinite(outputs).all()


def test_what_is_no_onnx_file_is_not_cut() -> None:
    """The null model has no nodes."""
    with pytest.raises(ModelError, match="only an ONNX file"):
        halved("null", {"x": (1, 3, 64, 64)})
