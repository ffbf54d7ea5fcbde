"""Where two ways to run a model part: the first node whose output differs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from msgspec.structs import replace
from onnx import TensorProto, helper, numpy_helper

from framepace import accuracy
from framepace.facts.parting import PartedNode, Parting
from framepace.facts.plan import ModelPlan
from framepace.numerics.parting import parting
from framepace.reporting.views.accuracy import accuracy_view
from tests.reporting import samples

LAYERS = 6
value = helper.make_tensor_value_info


def network(path: Path, wrong: int | None = None, renamed: str = "") -> str:
    """Products of a vector, one after the other; the weights of one are wrong, and tensors may have other names."""
    rng = np.random.default_rng(0)
    weights = []
    nodes = []
    for layer in range(LAYERS):
        weight = rng.normal(size=(8, 8)).astype(np.float32)
        if layer == wrong:
            weight[0, 0] += 3.0
        weights.append(numpy_helper.from_array(weight, f"w{layer}"))
        source = "x" if layer == 0 else f"{renamed}t{layer - 1}"
        target = "y" if layer == LAYERS - 1 else f"{renamed}t{layer}"
        nodes.append(helper.make_node("MatMul", [source, f"w{layer}"], [target], name=f"product{layer}"))
    ends = ([value("x", TensorProto.FLOAT, [1, 8])], [value("y", TensorProto.FLOAT, [1, 8])])
    graph = helper.make_graph(nodes, "g", *ends, weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return str(path)


@pytest.fixture
def plan(tmp_path: Path) -> Callable[..., ModelPlan]:
    """A plan of such a network."""

    def made(name: str = "a", **faults: object) -> ModelPlan:
        return ModelPlan(name=name, model=network(tmp_path / f"{name}.onnx", **faults), threads=1)  # type: ignore[arg-type]

    return made


@pytest.mark.parametrize("wrong", range(LAYERS))
def test_the_first_node_that_differs_is_named(plan: Callable[..., ModelPlan], wrong: int) -> None:
    """With its operator and tensor; what it reads agrees to the last bit. Later nodes differ too, and are not named."""
    found = parting((plan(), plan("b", wrong=wrong)), range(2), 0.01)
    assert found.first is not None
    assert (found.first.node, found.first.operator) == (f"product{wrong}", "MatMul")
    assert found.first.error > 0.01
    assert found.first.before == (0.0 if wrong else None)
    assert found.tensors == LAYERS


def test_without_a_difference_no_node_is_named(plan: Callable[..., ModelPlan]) -> None:
    """What that means is said: the outputs differ only where nodes are fused."""
    found = parting((plan(), replace(plan(), threads=2)), range(2), 0.01)
    assert (found.first, found.compared) == (None, LAYERS)
    assert "fusion" in found.notes[0]


def test_files_without_common_names_have_outputs_alone(plan: Callable[..., ModelPlan]) -> None:
    """Only the output is called the same."""
    found = parting((plan(), plan("b", wrong=1, renamed="other_")), range(2), 0.01)
    assert found.compared == 1
    assert found.first is not None
    assert found.first.tensor == "y"


def test_a_library_that_shows_no_tensors_in_between_is_named(plan: Callable[..., ModelPlan]) -> None:
    """Nothing is run."""
    found = parting((plan(), replace(plan(), backend="tensorrt")), range(2), 0.01)
    assert (found.first, found.compared) == (None, 0)
    assert "tensorrt shows no tensors" in found.notes[0]


def test_the_question_is_asked_of_accuracy(tmp_path: Path) -> None:
    """Only where the outputs differ."""
    good, bad = network(tmp_path / "good.onnx"), network(tmp_path / "bad.onnx", wrong=3)
    check = accuracy(good, bad, frames=3, first=True)
    assert check.parting is not None
    assert check.parting.first is not None
    assert check.parting.first.node == "product3"
    assert accuracy(good, good, versus={"threads": 1}, frames=3, first=True).parting is None


@pytest.mark.parametrize(
    ("before", "ending"),
    [
        (None, "its output is off by 0.4"),
        (1e-6, "what it reads by 1e-06 (relative L2)"),
        (0.2, "none of them alone"),
    ],
)
def test_a_gradual_error_is_told_from_one_of_a_node(before: float | None, ending: str) -> None:
    """By the error of what the node reads."""
    first = PartedNode(node="n", operator="Conv", tensor="t", error=0.4, before=before)
    check = replace(samples.accuracy(), parting=Parting(frames=2, limit=0.03, first=first))
    note = accuracy_view(check).notes[0]
    assert note.startswith("they part at n (Conv)")
    assert note.endswith(ending)
