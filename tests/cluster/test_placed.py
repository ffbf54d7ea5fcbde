"""Sweeps, tunings and comparisons on a cluster: the same results as without one, and what is lost is done elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from framepace.analyze.cells import answers
from framepace.cases import make_case
from framepace.cluster import Cluster
from framepace.facts.plan import EnginePlan, ModelPlan, Plan
from framepace.facts.settings import Case
from framepace.facts.sweep import Sweep
from framepace.facts.tuning import Goal
from framepace.facts.workload import Closed, Stop, Warmup, Workload
from framepace.lab.placedlab import on_place
from framepace.numerics.gate import agreement
from framepace.store import load_trace
from framepace.sweeping import sweep
from framepace.tuning.tune import tune
from tests.cluster import hooks
from tests.doubles.places import make_place

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("ray")]

NULL = Plan(models=(ModelPlan(name="a", model="null", backend="null", options={"latency_us": 300}),))
WORK = Workload(load=Closed(), scope="pipeline", stop=Stop(count=50), warmup=Warmup(seconds_max=0.05))
GRID: dict[str, list[Any]] = {"option.latency_us": [100, 200, 300, 400]}


def simulated() -> Case:
    """A simulated device, back to back."""
    settings = {"backend": "simulated", "option.device": "t4"}
    return make_case("builtin:classifier", settings=settings, scope="model", load=Closed(), stop=Stop(count=60))


def losing(hook: str) -> Case:
    """A case whose finish hook is one of those that end a place."""
    return Case(plan=replace(NULL, engine=EnginePlan(finish=f"tests.cluster.hooks:{hook}")), workload=WORK)


def measured(done: Sweep) -> list[bool]:
    """Which cells have a summary."""
    return [cell.summary is not None for cell in done.cells]


def test_a_sweep_on_places_has_the_cells_of_one_without(cluster: Cluster) -> None:
    """In virtual time every number is the same, in the order of the grid; each cell says where it was measured."""
    grid = {"batch": [1, 2, 4, 8]}
    here, there = sweep(simulated(), grid), sweep(simulated(), grid, cluster=cluster)
    assert [cell.settings for cell in there.cells] == [cell.settings for cell in here.cells]
    assert [cell.summary and cell.summary.frames for cell in there.cells] == [
        cell.summary and cell.summary.frames for cell in here.cells
    ]
    assert there.answers == here.answers
    names = {place.name for place in cluster.places}
    assert {cell.site.name for cell in there.cells if cell.site} == names, there.notes


def test_cells_that_are_there_are_not_measured_again(cluster: Cluster, tmp_path: Path) -> None:
    """Neither on the cluster nor without it; the traces are as if measured here."""
    case = Case(plan=NULL, workload=WORK)
    first = sweep(case, GRID, folder=tmp_path / "s", cluster=cluster)
    ids = [load_trace(str(cell.trace)).meta.id for cell in first.cells]
    for again in (sweep(case, GRID, folder=tmp_path / "s", cluster=cluster), sweep(case, GRID, folder=tmp_path / "s")):
        assert [load_trace(str(cell.trace)).meta.id for cell in again.cells] == ids
        assert [cell.site for cell in again.cells] == [cell.site for cell in first.cells]


def test_a_cell_whose_place_is_lost_is_measured_elsewhere(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The actor is killed in the middle of a cell: all cells are there at the end."""
    monkeypatch.chdir(tmp_path)
    assert measured(sweep(losing("lose_once"), GRID, cluster=cluster)) == [True] * 4
    assert hooks.MARK.exists()


def test_a_cell_that_ends_every_place_is_a_row_with_its_error(cluster: Cluster) -> None:
    """The other is measured."""
    done = sweep(losing("lose"), {"finish": ["tests.cluster.hooks:lose", "none"]}, cluster=cluster)
    assert measured(done) == [False, True]
    assert "was lost" in str(done.cells[0].error)


def test_a_tuning_on_places_finds_a_plan(cluster: Cluster, tmp_path: Path) -> None:
    """The same command continues it: nothing is measured a second time."""
    goal = Goal(objective="p99", fps=30.0, cameras=2)
    asked: dict[str, Any] = {"time_limit": 40.0, "grid": {"workers": [1, 2]}, "folder": tmp_path, "cluster": cluster}
    first = tune(simulated(), goal, **asked)
    assert first.met
    again = tune(simulated(), goal, **asked)
    assert [c.measured for c in again.candidates] == [c.measured for c in first.candidates]


def test_a_comparison_on_a_place_says_what_it_says_here(cluster: Cluster) -> None:
    """Of a real network, in every number."""
    case = make_case("builtin:classifier", scope="model")
    model = replace(case.plan.models[0], threads=1)
    here = agreement(model, case.workload.input)
    assert on_place(cluster, case, [model], agreement, model, case.workload.input) == here


def test_unlike_machines_are_not_ranked_together() -> None:
    """The best of each, by its name; with one kind there is one best."""
    grid = {"batch": [1, 2, 4, 8]}
    done = sweep(simulated(), grid).cells
    sites = [make_place(0, gpu="one GPU").site, make_place(1, gpu="another GPU").site]
    mixed = [replace(cell, site=sites[number % 2]) for number, cell in enumerate(done)]
    texts = list(answers(mixed, {"batch": ["1", "2", "4", "8"]}))
    assert {text.partition(":")[0] for text in texts} == {"one GPU", "another GPU"}
    assert [text for text in texts if "batch=8" in text and text.startswith("one GPU")] == []
