"""Tuning end to end: on simulated devices in virtual time, where the best plan is known by trying all, and on a CPU."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from framepace import api
from framepace.cli.app import app
from framepace.clock.virtual import VirtualClock
from framepace.errors import FramepaceError, NothingSucceeded, StoreError
from framepace.facts.accuracy import Agreement, Gate, OutputAgreement
from framepace.facts.device import SIMULATED
from framepace.facts.settings import Case, apply
from framepace.facts.tuning import Goal, Trial, Tuning, carried, tried
from framepace.lab.lab import Lab
from framepace.reporting.views.tuning import tuning_view
from framepace.store import load_plan
from framepace.tuning.journal import load_tuning
from framepace.tuning.levels import next_level
from framepace.tuning.machineoptions import machine_options
from framepace.tuning.objective import case_at, figures, met
from framepace.tuning.search import came_out
from framepace.tuning.space import combinations, grid_axes
from framepace.tuning.tune import tune

GRID = {"batch": (1, 4, 8), "workers": (1, 2)}
GOAL = Goal(fps=30, p99_ms=100)


def simulated(device: str) -> Case:
    """A network of 16 GFLOP on a simulated device, frames in memory."""
    settings = {"backend": "simulated", "option.device": device, "option.gflops": 16.0}
    return api.make_case("null", fps=30, p99_ms=100, scope="pipeline", settings=settings)


def most(case: Case, goal: Goal) -> int:
    """The most cameras of any combination of the grid, each tried as far as needed."""
    found = 0
    for settings in combinations(case, grid_axes(GRID), machine_options(case.plan)):
        trials: list[Trial] = []
        with Lab(1e9, clock=VirtualClock()) as lab:
            while (level := next_level(tried(trials), came_out(goal, trials) or 4, found)) is not None:
                told = figures(lab.run(case_at(apply(case, settings), goal, level), 1.5))
                trials.append(Trial(level=level, figures=told, met=met(goal, told, level)))
        found = max(found, carried(trials))
    return found


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tuning, Path]:
    """A tuning in virtual time to its end, and its folder."""
    folder = tmp_path_factory.mktemp("tuned")
    return tune(simulated("t4"), GOAL, grid=GRID, folder=folder), folder


def test_the_best_plan_of_a_small_space_is_found(tuned: tuple[Tuning, Path]) -> None:
    """At least 98 % of the cameras (or all but one) of the best of all combinations are reached."""
    case, goal, (found, _) = simulated("t4"), GOAL, tuned
    assert found.best is not None
    assert found.met
    truth = most(case, goal)
    assert carried(found.candidates[found.best].measured) >= min(truth - 1, 0.98 * truth)
    assert found.plan is not None
    assert found.plan.target.fps == goal.fps
    assert SIMULATED in found.notes


def test_the_same_again_gives_the_same(tuned: tuple[Tuning, Path]) -> None:
    """A tuning that is complete is not measured again from its folder."""
    first, folder = tuned
    again = tune(simulated("t4"), GOAL, grid=GRID, folder=folder)
    assert [c.measured for c in again.candidates] == [c.measured for c in first.candidates]
    assert sum(again.seconds.values()) == 0
    assert load_tuning(folder).best == first.best == again.best


@pytest.mark.long
def test_a_tuning_in_virtual_time_repeats_itself(tmp_path: Path) -> None:
    """The same again elsewhere has the same trials; another goal does not go into the same folder unless told to."""
    grid = {"batch": (1, 4)}
    goal = Goal(objective="p99", fps=30, p99_ms=100, cameras=2)
    first, again = (tune(simulated("t4"), goal, grid=grid, folder=tmp_path / name) for name in "ab")
    assert [[t.figures for t in c.measured] for c in again.candidates] == [
        [t.figures for t in c.measured] for c in first.candidates
    ]
    goal = replace(goal, fps=25)
    with pytest.raises(StoreError, match=r"goal.fps: 30 there, 25 now"):
        tune(simulated("t4"), goal, grid={"batch": (1,)}, folder=tmp_path / "a")
    other = tune(simulated("t4"), goal, grid={"batch": (1,)}, folder=tmp_path / "a", overwrite=True)
    assert len(other.candidates) == 1, "another goal starts from nothing"


@pytest.mark.long
def test_a_goal_out_of_reach_says_by_how_much() -> None:
    """The closest plan comes with what is missing and what limits it."""
    found = tune(simulated("t4"), Goal(objective="p99", fps=30, p99_ms=20, cameras=400), grid={"batch": (1, 8)})
    assert found.met is False
    assert found.plan is not None
    assert "late" in found.shortfalls[0]
    assert "frames/s come out, the cameras send 12000" in found.limit


@pytest.mark.long
def test_a_candidate_that_fails_fails_alone() -> None:
    """One that cannot be loaded is told with its error; the others are tuned."""
    found = tune(simulated("t4"), GOAL, grid={"batch": (1, 4), "option.device": ("t4", "nonsense")})
    failed = [c for c in found.candidates if c.error is not None]
    assert failed
    assert all(c.settings["option.device"] == "nonsense" for c in failed)
    assert found.met
    assert "nonsense" in tuning_view(found).failed[0][0]


def test_nothing_to_measure_is_an_error() -> None:
    """Where every plan fails, the first error is told."""
    case = apply(simulated("t4"), {"option.device": "nonsense"})
    with pytest.raises(NothingSucceeded, match="nonsense"):
        tune(case, GOAL, grid={"batch": (1, 4)})


@pytest.mark.long
def test_ctrl_c_gives_the_best_so_far(tmp_path: Path) -> None:
    """What was measured before is kept and told, and gone on with."""
    told: list[str] = []

    def tell(text: str, share: float | None) -> None:
        told.append(text)
        if sum(t.startswith("measuring") and " at " in t for t in told) == 4:
            raise KeyboardInterrupt

    grid = {"batch": (1, 4)}
    found = tune(simulated("t4"), GOAL, grid=grid, tell=tell, folder=tmp_path)
    assert found.interrupted
    assert sum(len(c.measured) for c in found.candidates) >= 2
    assert found.plan is not None
    assert any("best so far" in text for text in told)
    after = tune(simulated("t4"), GOAL, grid=grid, folder=tmp_path)
    assert not after.interrupted
    assert sum(len(c.measured) for c in after.candidates) > sum(len(c.measured) for c in found.candidates)


def test_precision_passes_the_gate_or_is_left_out() -> None:
    """Lower precision is measured only where the gate finds the answers to agree; elsewhere it says why."""
    case = api.make_case("builtin:classifier", fps=5, p99_ms=1000, scope="model")
    asked: list[str] = []

    def gate(model: Any, input: Any) -> Agreement:
        asked.append(model.precision)
        return Agreement(frames=1, gate=Gate(), outputs=(), why=("cosine 0.2, 0.999 wanted",))

    found = tune(case, Goal(objective="cpu", fps=5, p99_ms=1000, cameras=1), time_limit=9, gate=gate,
                 grid={"precision": ("fp32", "int8"), "threads": (1,)})  # fmt: skip
    assert asked == ["int8"]
    refused = [c for c in found.candidates if c.settings.get("precision") == "int8"]
    assert refused
    assert all(c.error and c.error.startswith("accuracy: cosine 0.2, 0.999 wanted; ") for c in refused)
    assert all("framepace accuracy builtin:classifier --precision int8 " in str(c.error) for c in refused)
    end = " --mend classifier-int8-mixed.onnx' finds the nodes to keep in FP32"
    assert all(str(c.error).endswith(end) for c in refused)
    assert not any(c.measured for c in refused)
    assert found.best is not None


@pytest.mark.long
def test_a_refused_precision_is_told_with_the_frame_that_agrees_least() -> None:
    """The one with the largest error, counted from 0; a node is named only where one is found."""
    case = api.make_case("builtin:classifier", fps=5, p99_ms=1000, scope="model")
    number = OutputAgreement(name="y0", compared=8, relative_l2=0.5, frames_l2=(0.1, 0.7, 0.2))

    def gate(model: Any, input: Any) -> Agreement:
        return Agreement(frames=3, gate=Gate(), outputs=(number,), why=("too far off",))

    found = tune(case, Goal(objective="cpu", fps=5, p99_ms=1000, cameras=1), time_limit=9, gate=gate,
                 grid={"precision": ("fp32", "int8"), "threads": (1,)})  # fmt: skip
    refused = [c for c in found.candidates if c.settings.get("precision") == "int8"]
    assert refused
    assert all("accuracy: too far off; worst is frame 1 (error 0.7)" in str(c.error) for c in refused)


@pytest.mark.long
@pytest.mark.parametrize(("tops", "best"), [(2.0, "fp32"), (130.0, "int8")])
def test_a_lower_precision_that_is_slower_is_not_offered(tops: float, best: str) -> None:
    """INT8 that passes the gate is the answer where the device gains from it, and only there."""
    case = apply(simulated("t4"), {"option.int8_tops": tops})
    found = tune(
        case, Goal(objective="p99", fps=30, p99_ms=100, cameras=1), grid={"precision": ("fp32", "int8")},
        gate=lambda model, input: Agreement(frames=1, gate=Gate(), outputs=()),
    )  # fmt: skip
    assert found.plan is not None
    assert found.plan.models[0].precision == best


@pytest.mark.long
def test_what_could_not_be_held_against_the_original_plan_is_not_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where time was left for INT8 only, the original is measured all the same, and is the answer if it is faster."""
    tried_first = iter([(1, 1)])
    monkeypatch.setattr("framepace.tuning.tune.next_trial", lambda *given, **more: next(tried_first, None))
    case = apply(simulated("t4"), {"option.int8_tops": 2.0})
    found = tune(
        case, Goal(objective="p99", fps=30, p99_ms=100, cameras=1), grid={"precision": ("fp32", "int8")},
        gate=lambda model, input: Agreement(frames=1, gate=Gate(), outputs=()),
    )  # fmt: skip
    assert [bool(candidate.measured) for candidate in found.candidates[:2]] == [True, True]
    assert found.plan is not None
    assert found.plan.models[0].precision == "fp32"


def test_what_passed_the_gate_is_told_with_its_numbers() -> None:
    """A tuning that allowed a lower precision says how well its outputs agree, once for equal models."""
    case = api.make_case(["builtin:classifier"] * 2, fps=1, p99_ms=1000, scope="model")
    number = OutputAgreement(name="y0", compared=8, relative_l2=0.0012, cosine=0.9999991, top1=1.0)

    def gate(model: Any, input: Any) -> Agreement:
        return Agreement(frames=32, gate=Gate(), outputs=(number,))

    found = tune(case, Goal(objective="cpu", fps=1, p99_ms=1000, cameras=1), time_limit=7, gate=gate,
                 grid={"precision": ("int8",)})  # fmt: skip
    told = "relative L2 error 0.0012, cosine 0.999999, 100% the same over 32 frames"
    assert [note for note in found.notes if told in note] == [
        f"classifier in int8 by onnxruntime passes the accuracy gate: {told}"
    ]


def test_a_short_real_tuning(tmp_path: Path) -> None:
    """On this machine's CPU: a plan that was measured, written with its target, machine, traces and numbers."""
    found = api.tune("builtin:classifier", fps=2.0, p99_ms=900, cameras=1, objective="cpu", scope="pipeline",
                     vary={"threads": (1, 2)}, time_limit=8, out=tmp_path)  # fmt: skip
    plan = load_plan(tmp_path / "plan.yaml")
    assert plan == found.plan
    assert plan.target.p99_ms == 900
    assert plan.machine == found.machine
    assert plan.traces
    assert (tmp_path / "plan.yaml").read_text().startswith("# measured: ")
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")


@pytest.mark.long
def test_the_command(tmp_path: Path) -> None:
    """One JSON object with a row a candidate; exit code 1 when the goal is missed, 2 for what cannot be asked."""
    common = ["tune", "builtin:resnet50", "--backend", "simulated", "--device", "t4", "--scope", "pipeline",
              "--fps", "120", "--vary", "batch=1,4", "--json", "--out", str(tmp_path)]  # fmt: skip
    done = CliRunner().invoke(app, common)
    assert done.exit_code == 0
    told = json.loads(done.stdout)
    assert told["schema"] == "framepace.tune/1"
    assert told["rows"][0]["settings"] == {}, "the original plan comes first"
    assert sum(row["best"] for row in told["rows"]) == 1
    assert told["rows"][0]["measured"][0]["p99_ns"] > 0
    missed = CliRunner().invoke(app, [*common, "--cameras", "100", "--overwrite"])
    assert missed.exit_code == 1
    assert json.loads(missed.stdout)["shortfalls"]
    wrong = CliRunner().invoke(app, [*common, "--cameras", "0"])
    assert isinstance(wrong.exception, FramepaceError)
