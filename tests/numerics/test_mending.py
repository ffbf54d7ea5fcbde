"""The hunt, the ranking and the mended model, on small networks with a known fault."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from msgspec.structs import replace

import framepace
from framepace.errors import StoreError, UsageError
from framepace.facts.accuracy import Agreement, Gate, MetricScores, OutputAgreement, narrowed
from framepace.facts.plan import ModelPlan
from framepace.models.convert.int8cpu import saturates_int8
from framepace.numerics.mender import joining
from framepace.numerics.ranking import Rank
from framepace.numerics.rounding import FP16
from framepace.numerics.switched import Network as SwitchedNetwork
from framepace.numerics.trials import Trials
from framepace.progress import silent
from framepace.reporting.views.mending import hunt_view, mended_view
from framepace.video.stills import png
from tests.numerics.networks import SIZE, Network, large_norm
from tests.reporting import samples

FRAMES = 4


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of its own."""
    monkeypatch.setenv("FRAMEPACE_CACHE", str(tmp_path / "cache"))


def _large_norm(folder: Path, scale: float = 3000.0, epsilon: float = 1e-3) -> str:
    """A normalisation taken apart, whose squares FP16 does not hold; then a convolution."""
    return large_norm(scale, epsilon).plan(folder, "last").model


def _exponential(folder: Path) -> str:
    network = Network()
    network.add("Mul", "scaled", "x", network.weight("scale", 30.0))
    network.add("Exp", "power", "scaled")
    network.add("Log", "back", "power")
    return network.plan(folder, "back", shape=(1, 3, SIZE, SIZE)).model


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
    return _large_norm(folder, scale=2e-5, epsilon=1e-14)


@pytest.mark.parametrize(
    ("make", "node", "shows", "fault"),
    [
        (_large_norm, "square", "square", "overflow"),
        (_exponential, "power", "power", "exp"),
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
    model = _exponential(tmp_path)
    kept = {"fp32-nodes": ["power", "back"]}
    assert framepace.hunt(model, frames=2, settings=kept).faults == ()
    assert any("every node is tried" in note for note in framepace.rank(model, frames=2, settings=kept).notes)


def test_a_mending_without_anything_to_compare_is_no_success(tmp_path: Path) -> None:
    """The output is empty on these frames: no node is blamed, and nothing is said to hold."""
    network = Network()
    network.add("Mul", "scaled", "x", network.weight("scale", 2.0))
    network.add("Greater", "large", "scaled", network.weight("limit", 9.0))
    network.add("Compress", "found", "scaled", "flat")
    network.nodes.insert(2, onnx.helper.make_node("Reshape", ["large", "all"], ["flat"], name="flat"))
    network.weights.append(onnx.numpy_helper.from_array(np.array([-1]), "all"))
    mended = framepace.mend(network.plan(tmp_path, "found", shape=("n",)).model, frames=2)
    assert (mended.kept, mended.holds, mended.before.says_nothing) == ((), False, True)
    assert mended_view(mended).sentence.endswith("cannot be judged on these frames")


def test_a_healthy_network_has_no_fault_and_needs_no_node_in_fp32(tmp_path: Path) -> None:
    """Nothing is blamed, and the mended model is plain FP16."""
    model = _large_norm(tmp_path, scale=1.0)
    assert framepace.hunt(model, frames=FRAMES).faults == ()
    mended = framepace.mend(model, tmp_path / "mixed.onnx", frames=FRAMES)
    assert (mended.kept, mended.holds, mended.minimal) == ((), True, True)
    assert not [weight for weight in _weights(mended.path) if weight == onnx.TensorProto.FLOAT]


def _weights(path: str | None) -> list[int]:
    assert path is not None
    return [weight.data_type for weight in onnx.load(path).graph.initializer]


def test_the_ranking_puts_the_nodes_of_the_fault_first(tmp_path: Path) -> None:
    """Those that hold a number beyond FP16's largest, in the order of the graph; the others cost next to nothing."""
    ranking = framepace.rank(_large_norm(tmp_path), frames=FRAMES, out=tmp_path / "page")
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
    network = SwitchedNetwork(ModelPlan(name="net", model=_large_norm(tmp_path)), FP16)
    ranking = Rank(Trials(network, [{"x": np.ones((1, 3, SIZE, SIZE), np.float32)}], Gate()), silent, [0])
    ranking.errors.update({"root": 1.08, "square": 0.85, "last": 0.4})
    assert ranking.by_cost()[:3] == ["square", "root", "last"]


def test_a_ranking_that_was_stopped_goes_on_where_it_was(tmp_path: Path) -> None:
    """Ctrl-C returns what there is; the same call tries only what was not tried."""
    model = _large_norm(tmp_path)
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


def test_a_mended_model_holds_the_gate_on_other_frames_with_the_fewest_nodes(tmp_path: Path) -> None:
    """Written with casts at the borders alone; it loads, and its answers are those of FP32."""
    model = _large_norm(tmp_path)
    mended = framepace.mend(model, tmp_path / "mixed.onnx", frames=FRAMES)
    assert {node.name for node in mended.kept} == {"square", "mean", "shifted", "root"}
    assert mended.islands == (("square", "mean", "shifted", "root"),)
    assert not mended.before.passed
    assert mended.held_out is not None
    assert mended.held_out.passed
    assert mended.minimal
    assert any("bf16 passes the gate without any node" in note for note in mended.notes)
    assert mended.model.fp32_nodes == tuple(node.name for node in mended.kept)
    x = np.random.default_rng(0).random((1, 3, SIZE, SIZE), np.float32)
    mixed, plain = (_run(path, x) for path in (mended.path, model))
    assert np.abs(mixed - plain).max() < 0.01


def test_a_metric_decides_in_place_of_the_gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the gate refuses passes a metric that allows more, and the other way round."""
    model = _large_norm(tmp_path)
    (tmp_path / "own_metrics.py").write_text(
        "import numpy as np\n"
        "def finite(reference, candidate):\n    return float(np.isfinite(candidate['last']).all())\n"
        "def close(reference, candidate):\n"
        "    return float(np.abs(reference['last'] - candidate['last']).max() < 0.01)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    loose = framepace.mend(model, frames=FRAMES, metric="own_metrics:finite")
    assert (loose.kept, loose.holds, loose.before.passed) == ((), True, True)
    strict = framepace.mend(model, frames=FRAMES, metric="own_metrics:close")
    assert {node.name for node in strict.kept} >= {"square", "mean", "shifted", "root"}
    assert (strict.holds, strict.before.passed) == (True, False)
    assert strict.held_out is not None
    assert strict.held_out.metric is not None


def test_the_frame_that_breaks_the_gate_joins_the_search() -> None:
    """Not the one with the largest error, nor one that says nothing by a metric; and half of them stay unseen."""
    outputs = [OutputAgreement(name="y", compared=10, relative_l2=error, max_abs=1.0) for error in (0.02, 0.01, 0.015)]
    passed, broken, silent_frame = (Agreement(frames=1, gate=Gate(), outputs=(output,)) for output in outputs)
    broken = replace(broken, why=("another class",))
    nothing = MetricScores(name="text", least=0.99, scores=(None,))
    silent_frame = replace(silent_frame, why=("nothing to compare",), metric=nothing)
    assert joining({3: passed, 5: broken, 7: silent_frame}) == [5]
    assert joining(dict.fromkeys(range(6), broken)) == [0, 1, 2]
    assert joining({3: passed, 5: passed}) == [3]


def _run(path: str | None, x: np.ndarray[Any, Any]) -> Any:
    import onnxruntime

    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]


def test_a_mending_that_was_stopped_has_a_set_that_holds(tmp_path: Path) -> None:
    """Ctrl-C at the first try returns all nodes in FP32, which holds; it says that it is not the smallest set."""

    def stop(text: str, share: float | None) -> None:
        if "kept in FP32" in text:
            raise KeyboardInterrupt

    mended = framepace.mend(_large_norm(tmp_path), tmp_path / "mixed.onnx", frames=FRAMES, tell=stop)
    assert mended.holds
    assert not mended.complete
    assert len(mended.kept) == mended.nodes
    assert mended.found_nothing
    assert mended.path is None
    assert not (tmp_path / "mixed.onnx").exists()
    view = mended_view(mended)
    assert not view.passed
    assert "stopped before a set of nodes was found" in view.sentence
    assert not mended_view(replace(mended, kept=())).passed


def test_a_mending_that_was_stopped_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No set of nodes is tried twice on a frame, and the answer is that of a search that nobody stopped."""
    model = _large_norm(tmp_path)
    tried: list[Any] = []
    run = SwitchedNetwork.run

    def noted(network: SwitchedNetwork, inputs: Any, low: Any = ()) -> Any:
        if low:
            tried.append((network.rounding.precision, frozenset(low), inputs["x"].tobytes()))
        return run(network, inputs, low)

    def stop(text: str, share: float | None) -> None:
        if "kept in FP32" in text and not text.startswith("0 "):
            raise KeyboardInterrupt

    monkeypatch.setattr(SwitchedNetwork, "run", noted)
    assert not framepace.mend(model, frames=FRAMES, tell=stop).complete
    assert tried
    mended = framepace.mend(model, frames=FRAMES)
    assert mended.complete
    assert {node.name for node in mended.kept} == {"square", "mean", "shifted", "root"}
    assert len(tried) == len(set(tried))


@pytest.mark.parametrize("step", ["all nodes in bf16", "what the nodes cost"])
def test_ctrl_c_after_the_search_keeps_what_it_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """The file is there, and a note says what was left out."""

    def interrupted(*given: Any) -> Any:
        raise KeyboardInterrupt

    def stop(text: str, share: float | None) -> None:
        if text == step:
            raise KeyboardInterrupt

    monkeypatch.setattr("framepace.mending.prices", interrupted)
    mended = framepace.mend(_large_norm(tmp_path), tmp_path / "mixed.onnx", frames=FRAMES, tell=stop)
    assert mended.path is not None
    assert {node.name for node in mended.kept} == {"square", "mean", "shifted", "root"}
    assert [note for note in mended.notes if note.startswith("stopped: ")]


def test_a_trial_that_fails_ends_where_it_does(tmp_path: Path) -> None:
    """One frame of many says that the gate breaks; that it holds is known after the last."""
    network = SwitchedNetwork(ModelPlan(name="net", model=_large_norm(tmp_path)), FP16)
    inputs = [{"x": np.full((1, 3, SIZE, SIZE), 1 + number, np.float32)} for number in range(6)]
    trials = Trials(network, inputs, Gate())
    assert trials.fails(network.names, range(6))
    assert trials.runs == 1
    kept = {"square", "mean", "shifted", "root"}
    low = [name for name in network.names if name not in kept]
    assert not trials.fails(low, range(6))
    assert trials.runs == 7
    assert not trials.fails(low, range(6))
    assert trials.runs == 7


def test_wrong_input_is_refused_with_the_reason(tmp_path: Path) -> None:
    """A precision that is none, no frames, a file of somebody else's, and NaN in FP32."""
    model = _large_norm(tmp_path)
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
    if saturates_int8():
        pytest.skip("a CPU without VNNI adds INT8 products in 16 bits, which are too few for this network")
    assert mended.as_run.passed
    x = np.random.default_rng(0).random((1, 3, SIZE, SIZE), np.float32)
    mixed, plain = (_run(path, x) for path in (mended.path, model))
    assert np.abs(mixed - plain).max() < 0.1 * np.abs(plain).max()


@pytest.mark.long
def test_where_the_library_breaks_what_emulation_keeps_the_search_has_less_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half, then a quarter; where it still breaks the gate the answer is no, though emulation keeps it."""
    limits: list[float | None] = []

    def breaks(candidate: ModelPlan, source: Any, gate: Gate, **ways: Any) -> Agreement:
        limits.append(gate.relative_l2)
        return replace(samples.accuracy().agreement, why=("one frame has another class",))

    monkeypatch.setattr("framepace.mending.agreement", breaks)
    said: list[str] = []
    mended = framepace.mend(_large_norm(tmp_path), frames=FRAMES, price=False, tell=lambda text, _: said.append(text))
    assert limits == [Gate().relative_l2] * 3
    assert sum("again with less room" in text for text in said) == 2
    assert mended.held_out is not None
    assert mended.held_out.passed
    assert not mended.holds


def test_a_gate_is_narrowed_in_what_it_allows_of_errors_of_floats() -> None:
    """Half the error, half of what the cosine lacks; the share of equal classes stays."""
    gate = narrowed(Gate(cosine=0.99, relative_l2=0.15), 0.5)
    assert gate.cosine == pytest.approx(0.995)
    assert gate.relative_l2 == pytest.approx(0.075)
    assert gate.top1 == 0.99
    assert narrowed(Gate(cosine=None, relative_l2=None), 0.5) == Gate(cosine=None, relative_l2=None)


def test_the_price_of_the_nodes_is_measured_in_turn_with_fp32_and_int8(tmp_path: Path) -> None:
    """All ways are measured in one run, where the device runs the precision."""
    model, pictures = _uneven(tmp_path)
    mended = framepace.mend(model, None, "int8", frames=FRAMES, settings={"calibration": pictures})
    assert [(price.name, price.precision) for price in mended.prices] == [
        ("fp32", "fp32"), ("mixed", "int8"), ("int8", "int8"),
    ]  # fmt: skip
    assert all(price.p50_ms > 0 for price in mended.prices)


def test_where_the_device_gains_nothing_the_price_is_not_measured(tmp_path: Path) -> None:
    """FP16 on a CPU: the reason stands in the notes."""
    mended = framepace.mend(_exponential(tmp_path), frames=FRAMES)
    assert mended.prices == ()
    assert any("gains nothing from that precision" in note for note in mended.notes)


def test_the_fewest_nodes_in_bf16_are_none(tmp_path: Path) -> None:
    """BF16 holds numbers as large as FP32's: what overflows in FP16 does not there."""
    assert framepace.hunt(_exponential(tmp_path), "bf16", frames=FRAMES).faults == ()
