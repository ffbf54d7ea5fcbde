"""The hunt and the ranking, on small networks with a known fault."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import framepace
from framepace.errors import StoreError, UsageError
from framepace.facts.accuracy import Gate
from framepace.facts.plan import ModelPlan
from framepace.numerics.ranking import Rank
from framepace.numerics.rounding import FP16
from framepace.numerics.switched import Network as SwitchedNetwork
from framepace.numerics.trials import Trials
from framepace.progress import silent
from framepace.reporting.views.mending import hunt_view
from tests.numerics.networks import SIZE, Network, exponential_file, large_norm_file

FRAMES = 4


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of its own."""
    monkeypatch.setenv("FRAMEPACE_CACHE", str(tmp_path / "cache"))


def _sum(folder: Path) -> str:
    network = Network()
    network.add("Mul", "scaled", "x", network.weight("scale", 900.0))
    network.add("ReduceMean", "mean", "scaled", axes=[2, 3], keepdims=1)
    network.add("Div", "share", "scaled", "mean")
    return network.plan(folder, "share", shape=(1, 3, SIZE, SIZE)).model


def _added_up(folder: Path) -> str:
    """A sum that is itself more than FP16 holds."""
    network = Network()
    network.add("Mul", "scaled", "x", network.weight("scale", 900.0))
    network.add("ReduceSum", "sum", "scaled", keepdims=1)
    network.add("Div", "share", "scaled", "sum")
    return network.plan(folder, "share", shape=(1, 3, SIZE, SIZE)).model


def _floats(name: str, shape: tuple[int, ...]) -> Any:
    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)


def _vanishing(folder: Path) -> str:
    return large_norm_file(folder, scale=2e-5, epsilon=1e-14)


@pytest.mark.parametrize(
    ("make", "node", "shows", "fault"),
    [
        (large_norm_file, "square", "square", "overflow"),
        (exponential_file, "power", "power", "exp"),
        (_sum, "mean", "mean", "accumulation"),
        (_added_up, "sum", "sum", "accumulation"),
        (_vanishing, "square", "normalised", "underflow"),
    ],
)
def test_the_hunt_names_the_node_and_the_reason(
    tmp_path: Path, make: Callable[[Path], str], node: str, shows: str, fault: str
) -> None:
    """Where values become zero is to blame for the node that divides by them."""
    first = framepace.hunt(make(tmp_path), frames=FRAMES).faults[0]
    assert (first.node.name, first.shows.name, first.fault) == (node, shows, fault)
    assert first.read
    assert first.at_output == (fault not in ("overflow", "accumulation"))  # what is divided by infinity is zero


def test_a_sum_is_told_from_the_mean_that_comes_of_it(tmp_path: Path) -> None:
    """A library that adds up in FP32 helps where the mean is small, not where the sum itself is stored."""
    mean, total = (hunt_view(framepace.hunt(make(tmp_path), frames=1)) for make in (_sum, _added_up))
    assert any("though what comes of it is not" in line for line in mean.lines)
    assert not any("FP32" in line or "comes of it" in line for line in total.lines)


def test_what_a_branch_makes_too_large_is_an_overflow(tmp_path: Path) -> None:
    """It stays in FP32; the mean that reads it is no sum that went too far."""
    network = Network()
    network.add("Mul", "many", "x", network.weight("scale", 1e6))
    network.add("GlobalAveragePool", "mean", "many")
    proto = network.proto("mean", shape=(1, 3, 1, 1))
    branch = onnx.helper.make_graph([proto.graph.node[0]], "branch", [], [_floats("many", (1, 3, SIZE, SIZE))])
    condition = onnx.helper.make_node("If", ["yes"], ["many"], name="if", then_branch=branch, else_branch=branch)
    proto.graph.node[0].CopyFrom(condition)
    proto.graph.input.append(onnx.helper.make_tensor_value_info("yes", onnx.TensorProto.BOOL, []))
    onnx.save(proto, tmp_path / "branch.onnx")
    found = framepace.hunt(str(tmp_path / "branch.onnx"), frames=1, inputs={"yes": 1})
    assert (found.faults[0].node.name, found.faults[0].fault) == ("mean", "overflow")
    assert found.notes == ("1 node with branches (If, Loop) stays as it is, with all that is inside",)


def test_the_hunt_leaves_out_what_the_plan_keeps_in_fp32(tmp_path: Path) -> None:
    """So that it names the next node; a ranking tries every node, and says so."""
    model = exponential_file(tmp_path)
    kept = {"fp32-nodes": ["power", "back"]}
    assert framepace.hunt(model, frames=2, settings=kept).faults == ()
    assert any("every node is tried" in note for note in framepace.rank(model, frames=2, settings=kept).notes)


def test_a_healthy_network_has_no_fault_and_needs_no_node_in_fp32(tmp_path: Path) -> None:
    """Nothing is blamed, and the mended model is plain FP16."""
    model = large_norm_file(tmp_path, scale=1.0)
    assert framepace.hunt(model, frames=FRAMES).faults == ()
    mended = framepace.mend(model, tmp_path / "mixed.onnx", frames=FRAMES)
    assert (mended.kept, mended.holds, mended.minimal) == ((), True, True)
    assert not [weight for weight in _weights(mended.path) if weight == onnx.TensorProto.FLOAT]


def _weights(path: str | None) -> list[int]:
    assert path is not None
    return [weight.data_type for weight in onnx.load(path).graph.initializer]


def test_the_ranking_puts_the_nodes_of_the_fault_first(tmp_path: Path) -> None:
    """Those that hold a number beyond FP16's largest, in the order of the graph; the others cost next to nothing."""
    ranking = framepace.rank(large_norm_file(tmp_path), frames=FRAMES, out=tmp_path / "page")
    assert ranking.page is not None
    assert "square" in Path(ranking.page).read_text()
    names = [row.node.name for row in ranking.nodes]
    assert names[:2] == ["square", "mean"]
    tried = [row for row in ranking.nodes if row.error is not None]
    assert all(row.error < 0.01 for row in tried if row.node.name in {"first", "last", "large"})  # type: ignore[operator]
    assert ranking.complete
    assert ranking.blocks[-1].cumulative == ranking.error
    assert ranking.nodes[0].reach is not None
    assert ranking.nodes[0].reach > 65504


def test_of_nodes_that_each_lose_the_answer_the_first_comes_first(tmp_path: Path) -> None:
    """By how much an answer is missed that is gone says nothing: the square overflows, and the root behind it too."""
    network = SwitchedNetwork(ModelPlan(name="net", model=large_norm_file(tmp_path)), FP16)
    ranking = Rank(Trials(network, [{"x": np.ones((1, 3, SIZE, SIZE), np.float32)}], Gate()), silent, [0])
    ranking.errors.update({"root": 1.08, "square": 0.85, "last": 0.4})
    assert ranking.by_cost()[:3] == ["square", "root", "last"]


def test_a_ranking_that_was_stopped_goes_on_where_it_was(tmp_path: Path) -> None:
    """Ctrl-C returns what there is; the same call tries only what was not tried."""
    model = large_norm_file(tmp_path)
    steps: list[str] = []

    def stop(text: str, share: float | None) -> None:
        steps.append(text)
        if "block 3" in text:
            raise KeyboardInterrupt

    stopped = framepace.rank(model, frames=FRAMES, tell=stop)
    assert not stopped.complete
    assert 0 < stopped.tries < 8
    resumed = framepace.rank(model, frames=FRAMES)
    assert resumed.complete
    assert framepace.rank(model, frames=FRAMES).tries == 0
    whole = {row.node.name for row in resumed.nodes if row.error is not None or not row.finite}
    assert whole > {row.node.name for row in stopped.nodes if row.error is not None or not row.finite}


def test_wrong_input_is_refused_with_the_reason(tmp_path: Path) -> None:
    """A precision that is none, no frames, a file of somebody else's, and NaN in FP32."""
    model = large_norm_file(tmp_path)
    with pytest.raises(UsageError, match="unknown precision"):
        framepace.hunt(model, "fp8", frames=FRAMES)
    with pytest.raises(UsageError):
        framepace.hunt(model, frames=0)
    with pytest.raises(UsageError, match="one size"):
        framepace.hunt(model, frames=FRAMES, settings={"size": "native"})
    with pytest.raises(StoreError, match="already there"):
        framepace.mend(model, model, frames=FRAMES)
    with pytest.raises(UsageError, match="an ONNX file"):
        framepace.mend(model, tmp_path / "mixed.txt", frames=FRAMES)
    network = Network()
    network.add("Sqrt", "root", "x")
    network.add("Neg", "minus", "root")
    network.add("Sqrt", "none", "minus")
    with pytest.raises(framepace.ModelError, match="NaN in FP32"):
        framepace.hunt(network.plan(tmp_path, "none", shape=(1, 3, SIZE, SIZE)).model, frames=FRAMES)


def test_the_fewest_nodes_in_bf16_are_none(tmp_path: Path) -> None:
    """BF16 holds numbers as large as FP32's: what overflows in FP16 does not there."""
    assert framepace.hunt(exponential_file(tmp_path), "bf16", frames=FRAMES).faults == ()
