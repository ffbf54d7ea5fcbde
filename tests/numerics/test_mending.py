"""The mended model, on small networks with a known fault."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from msgspec.structs import replace

import framepace
from framepace.clock.virtual import VirtualClock
from framepace.facts.accuracy import Agreement, Gate, MetricScores, OutputAgreement, narrowed
from framepace.facts.plan import ModelPlan
from framepace.numerics.mender import joining
from framepace.numerics.rounding import FP16
from framepace.numerics.suspects import Suspects
from framepace.numerics.switched import Network as SwitchedNetwork
from framepace.numerics.trials import Trials
from framepace.progress import silent
from framepace.reporting.views.mending import mended_view
from framepace.units import NS_PER_S
from tests.numerics.networks import SIZE, Network, exponential_file, large_norm_file, output_of

FRAMES = 4


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of its own."""
    monkeypatch.setenv("FRAMEPACE_CACHE", str(tmp_path / "cache"))


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
    assert mended.found_nothing


def test_a_mended_model_holds_the_gate_on_other_frames_with_the_fewest_nodes(tmp_path: Path) -> None:
    """Written with casts at the borders alone; it loads, and its answers are those of FP32."""
    model = large_norm_file(tmp_path)
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
    mixed, plain = (output_of(path, x) for path in (mended.path, model))
    assert np.abs(mixed - plain).max() < 0.01


def test_a_metric_decides_in_place_of_the_gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the gate refuses passes a metric that allows more, and the other way round."""
    model = large_norm_file(tmp_path)
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


def test_a_mending_that_was_stopped_has_a_set_that_holds(tmp_path: Path) -> None:
    """Ctrl-C at the first try returns all nodes in FP32, which holds; it says that it is not the smallest set."""

    def stop(text: str, share: float | None) -> None:
        if "kept in FP32" in text:
            raise KeyboardInterrupt

    mended = framepace.mend(large_norm_file(tmp_path), tmp_path / "mixed.onnx", frames=FRAMES, tell=stop)
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
    model = large_norm_file(tmp_path)
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


def test_the_time_limit_keeps_the_smallest_set_so_far(tmp_path: Path) -> None:
    """It is written and checked as a set that was searched to the end; that fewer nodes may do is said."""
    clock = VirtualClock()

    def tell(text: str, share: float | None) -> None:
        if "enough with" in text:
            clock.sleep_until(NS_PER_S * 1000)

    mended = framepace.mend(
        large_norm_file(tmp_path), tmp_path / "mixed.onnx", frames=FRAMES, tell=tell, time_limit=999, clock=clock
    )
    assert (mended.out_of_time, mended.complete, mended.refused, mended.holds) == (True, False, False, True)
    assert {node.name for node in mended.kept} >= {"square", "mean", "shifted", "root"}
    assert mended.held_out is not None
    assert mended.path is not None
    assert any("the time limit came before the end" in line for line in mended_view(mended).lines)


def test_a_time_limit_before_any_set_was_found_is_a_refusal_with_the_numbers(tmp_path: Path) -> None:
    """No file; what is said is how far the precision is off, and that the same command goes on."""
    clock = VirtualClock()

    def tell(text: str, share: float | None) -> None:
        if text.endswith("more in lower precision"):
            clock.sleep_until(NS_PER_S * 1000)

    mended = framepace.mend(
        large_norm_file(tmp_path), tmp_path / "mixed.onnx", frames=FRAMES, tell=tell, time_limit=999, clock=clock
    )
    assert (mended.out_of_time, mended.refused, mended.holds, mended.path) == (True, True, False, None)
    view = mended_view(mended)
    assert "was not mended within the time limit" in view.sentence
    assert any("goes on where this one was stopped" in line for line in view.lines)
    assert framepace.mend(large_norm_file(tmp_path), frames=FRAMES).holds


def test_what_needs_more_than_half_of_its_nodes_is_refused_with_the_error_that_they_reach(tmp_path: Path) -> None:
    """30 of 31 nodes hold what FP16 cannot: with the 24 that cost most in FP32 the output is still infinite."""
    network = Network()
    network.add("Mul", "last", "x", network.weight("scale", 30.0))
    for number in range(15):
        network.add("Exp", f"power{number}", "last" if not number else f"back{number - 1}")
        network.add("Log", f"back{number}", f"power{number}")
    model = network.plan(tmp_path, "back14", shape=(1, 3, SIZE, SIZE)).model
    mended = framepace.mend(model, tmp_path / "mixed.onnx", frames=FRAMES)
    assert (mended.refused, mended.complete, mended.holds, mended.found_nothing) == (True, True, False, True)
    assert (len(mended.kept), mended.nodes, mended.path) == (24, 31, None)
    assert mended.searched.outputs[0].nonfinite
    assert mended.runs < 2 * mended.nodes + 4 * FRAMES
    view = mended_view(mended)
    assert "cannot be mended: it does not pass the gate with 24 of 31 nodes in FP32" in view.sentence
    assert any("NaN or infinite" in line for line in view.lines)
    assert not view.rows
    int8 = replace(mended, model=replace(mended.model, precision="int8"))
    assert any("training with quantisation" in line for line in mended_view(int8).lines)


def test_few_runs_find_one_node_among_many(tmp_path: Path) -> None:
    """Of 42 nodes each is one of four parts of a part of a quarter; a part that costs nothing is not divided."""
    network = Network()
    tensor = "x"
    for number in range(40):
        if number == 20:
            tensor = network.add("Mul", "large", tensor, network.weight("up", 1e6))
            tensor = network.add("Mul", "small", tensor, network.weight("down", 1e-6))
        tensor = network.add("Tanh", f"bent{number}", tensor)
    plan = network.plan(tmp_path, tensor, shape=(1, 3, SIZE, SIZE))
    trials = Trials(SwitchedNetwork(plan, FP16), [{"x": np.ones((1, 3, SIZE, SIZE), np.float32)}], Gate())
    suspects = Suspects(trials, silent)
    suspects.sift(0)
    order = suspects.by_cost()
    assert set(order[: suspects.likely(order)]) == {"large", "small"}
    assert trials.runs <= 20


_STOPPED = """
import os, signal, sys
import framepace
from framepace import interrupts

def tell(text, share):
    if "enough with" in text:
        os.kill(os.getpid(), signal.SIGTERM)

interrupts.listen()
mended = framepace.mend(sys.argv[1], sys.argv[2], frames=4, tell=tell)
print(mended.complete, mended.holds, sorted(node.name for node in mended.kept))
"""


def test_sigterm_keeps_the_smallest_set_so_far(tmp_path: Path) -> None:
    """As Ctrl-C does: a program that is told to end writes the model with the set that it has by then."""
    target = tmp_path / "mixed.onnx"
    command = [sys.executable, "-c", _STOPPED, large_norm_file(tmp_path), str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("False True ["), done.stderr
    assert "'square'" in done.stdout
    assert "keeping the smallest set of nodes so far" in done.stderr
    assert target.is_file()


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
    mended = framepace.mend(large_norm_file(tmp_path), tmp_path / "mixed.onnx", frames=FRAMES, tell=stop)
    assert mended.path is not None
    assert {node.name for node in mended.kept} == {"square", "mean", "shifted", "root"}
    assert [note for note in mended.notes if note.startswith("stopped: ")]


def test_a_trial_that_fails_ends_where_it_does(tmp_path: Path) -> None:
    """One frame of many says that the gate breaks; that it holds is known after the last."""
    network = SwitchedNetwork(ModelPlan(name="net", model=large_norm_file(tmp_path)), FP16)
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


def test_a_gate_is_narrowed_in_what_it_allows_of_errors_of_floats() -> None:
    """Half the error, half of what the cosine lacks; the share of equal classes stays."""
    gate = narrowed(Gate(cosine=0.99, relative_l2=0.15), 0.5)
    assert gate.cosine == pytest.approx(0.995)
    assert gate.relative_l2 == pytest.approx(0.075)
    assert gate.top1 == 0.99
    assert narrowed(Gate(cosine=None, relative_l2=None), 0.5) == Gate(cosine=None, relative_l2=None)


def test_where_the_device_gains_nothing_the_price_is_not_measured(tmp_path: Path) -> None:
    """FP16 on a CPU: the reason stands in the notes."""
    mended = framepace.mend(exponential_file(tmp_path), frames=FRAMES)
    assert mended.prices == ()
    assert any("gains nothing from that precision" in note for note in mended.notes)
