"""Fleets from files: capacities that were measured elsewhere or are simulated now, and what is wrong with files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from framepace.errors import FramepaceError, StoreError, UsageError
from framepace.fleetsizing import fleet_capacity
from framepace.reporting.views.fleetsize import fleet_view
from tests.cli.test_cli import document, framepace

MS = 1_000_000


def capacity_file(path: Path, p99_ms: dict[int, float | None], *, fps: float = 30.0, **changes: Any) -> str:
    """What `framepace capacity --json` prints: the p99 by cameras, None where a count did not hold. Its name."""
    points = [
        {"cameras": count, "holds": ms is not None, "p99_ns": None if ms is None else {"value": ms * MS}, "new": 1}
        for count, ms in p99_ms.items()
    ]
    said = {"schema": "framepace.capacity/1", "target_fps": fps, "budget_ns": 33.3 * MS, "points": points}
    best = max(count for count, ms in p99_ms.items() if ms is not None)
    path.write_text(json.dumps({**said, "cameras": best, "missed": best + 1, **changes}))
    return path.name


def fleet_file(folder: Path, *hosts: str) -> Path:
    """A fleet of these hosts."""
    path = folder / "fleet.yaml"
    path.write_text("hosts:\n" + "".join(f"- {host}\n" for host in hosts))
    return path


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    """Large hosts of four devices with eight cameras each, small ones of one with three."""
    capacity_file(tmp_path / "large.json", {1: 4, 4: 6, 8: 10, 9: None})
    capacity_file(tmp_path / "small.json", {1: 10, 3: 20, 4: None})
    large = "{name: large, devices: 4, cost: 900, capacity: large.json}"
    return fleet_file(tmp_path, large, "{name: small, cost: 100, capacity: small.json}")


def test_cameras_are_carried_before_and_after_the_largest_host_is_lost(fleet: Path) -> None:
    """Each device has what it carries at most, and its p99 is the one that was measured there, or between two."""
    size = fleet_capacity(fleet, 320)
    assert sum(group.devices * group.carries for group in size.groups) - 32 * (size.lost == "large") >= 320
    assert all(group.after <= group.carries for group in size.groups)
    assert all(group.cameras <= group.after for group in size.groups)
    [only] = [group for group in size.groups if group.kind == "large"]
    assert only.p99_after is not None
    assert 6 * MS <= only.p99_after <= 10 * MS
    assert size.cost == sum(group.cost or 0 for group in size.groups)
    assert size.cost_per_camera == pytest.approx((size.cost or 0) / 320)


def test_each_kind_alone_is_told_beside(fleet: Path) -> None:
    """Ten hosts of 32 cameras and a spare; 107 of three and a spare."""
    alone = {said.kind: (said.hosts, said.cost) for said in fleet_capacity(fleet, 320).alone}
    assert alone == {"large": (11, 9900.0), "small": (108, 10800.0)}


def test_without_enough_hosts_it_is_told_how_many_cameras_all_of_them_carry(tmp_path: Path) -> None:
    """Exit code 1; the sentence has the number."""
    name = capacity_file(tmp_path / "a.json", {4: 9, 5: None})
    path = fleet_file(tmp_path, f"{{name: a, most: 3, capacity: {name}}}")
    size = fleet_capacity(path, 100)
    assert not size.fits
    assert size.carried == 8
    done = framepace("capacity", "--fleet", path, "--cameras", 100)
    assert done.returncode == 1
    assert "without the largest of them, 8 cameras" in " ".join(done.stdout.split())


def test_a_device_that_carries_nothing_is_no_host(tmp_path: Path) -> None:
    """However cheap it is."""
    capacity_file(tmp_path / "none.json", {1: 5, 2: None}, cameras=0, missed=1)
    capacity_file(tmp_path / "some.json", {4: 9, 5: None})
    cheap = "{name: cheap, cost: 1, capacity: none.json}"
    size = fleet_capacity(fleet_file(tmp_path, cheap, "{name: dear, cost: 500, capacity: some.json}"), 8)
    assert [(group.kind, group.hosts) for group in size.groups] == [("dear", 3)]
    assert size.alone[0].hosts is None


def test_what_is_not_known_of_a_capacity_is_told(tmp_path: Path) -> None:
    """A search that ended early, and one in which all held."""
    capacity_file(tmp_path / "a.json", {4: 9}, missed=None)
    capacity_file(tmp_path / "b.json", {4: 9}, missed=None, stopped="time limit")
    notes = fleet_capacity(fleet_file(tmp_path, "{name: a, capacity: a.json}", "{name: b, capacity: b.json}"), 4).notes
    assert "none that was tried missed" in notes[0]
    assert "ended early (time limit); --time-limit gives it longer" in notes[1]


@pytest.mark.long
def test_a_plan_is_simulated_now(tmp_path: Path) -> None:
    """The command says so; the answer has the p99 of the simulated search."""
    settings = "{backend: simulated, option.device: t4}"
    path = fleet_file(tmp_path, f"{{name: t4, plan: 'builtin:resnet50', settings: {settings}}}")
    said = document(framepace("capacity", "--fleet", path, "--cameras", 20, "--fps", 30, "--json"))
    [group] = said["groups"]
    assert said["simulated"]
    assert group["carries"] * (group["hosts"] - 1) >= 20
    assert 0 < group["p99_ns"] <= said["budget_ns"]


def test_words_have_no_cost_where_none_is_known(tmp_path: Path) -> None:
    """One kind, no table of alternatives."""
    capacity_file(tmp_path / "a.json", {4: 9, 5: None})
    view = fleet_view(fleet_capacity(fleet_file(tmp_path, "{name: a, capacity: a.json}"), 8))
    assert view.cost == ""
    assert view.alone == ()
    assert "cost" not in view.columns
    assert {len(row) for row in view.rows} == {len(view.columns)}
    assert view.sentence.startswith("8 cameras at 30 fps with p99 within 33.3 ms: 3 a, one a of which may be lost")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("hosts: []", "not valid"),
        ("hosts: [{name: a}]", "what a device of 'a' carries is open"),
        ("hosts: [{name: a, capacity: a.json, plan: b.yaml}]", "is open"),
        ("hosts: [{name: a, capacity: a.json, devices: 0}]", "not valid"),
        ("hosts: [{name: a, capacity: a.json, price: 3}]", "not valid"),
        ("hosts: [{name: a, capacity: a.json, cost: -1}]", "not valid"),
        ("hosts: [{name: a, capacity: a.json}, {name: a, capacity: a.json}]", "one name"),
        ("hosts: [{name: a, capacity: a.json, cost: 1}, {name: b, capacity: a.json}]", "some hosts have a cost"),
        ("[1, 2]", "not a mapping"),
        ("hosts: [", "not YAML"),
        ("hosts: &a [*a]", "not YAML"),
        ("format: framepace.fleet/9\nhosts: [{name: a, capacity: a.json}]", "newer framepace"),
        ("hosts: [{name: a, capacity: missing.json}]", "cannot be read"),
        ("hosts: [{name: a, capacity: damaged.json}]", "damaged"),
        ("hosts: [{name: a, capacity: table.json}]", "no capacity.*\n.*\n.*--json` prints"),
        ("hosts: [{name: a, capacity: other.json}]", "unknown format"),
        ("hosts: [{name: a, capacity: a.json}, {name: b, capacity: slow.json}]", "different targets"),
    ],
)
def test_what_is_wrong_with_a_fleet_is_a_sentence(text: str, says: str, tmp_path: Path) -> None:
    """Never a traceback; the errors are those of users."""
    capacity_file(tmp_path / "a.json", {4: 9, 5: None})
    capacity_file(tmp_path / "slow.json", {4: 9, 5: None}, fps=10.0)
    (tmp_path / "damaged.json").write_text('{"schema": "framepace.capacity/1", "cameras": "many"}')
    (tmp_path / "table.json").write_text("9 cameras at 30 fps\n")
    (tmp_path / "other.json").write_text('{"schema": "x/1", "cameras": 1, "target_fps": 1, "budget_ns": 1}')
    (tmp_path / "fleet.yaml").write_text(text)
    with pytest.raises((UsageError, StoreError), match=says):
        fleet_capacity(tmp_path / "fleet.yaml", 8)


@pytest.mark.parametrize(
    "changes",
    [
        {"cameras": 10**30},
        {"cameras": -1},
        {"missed": 4},
        {"missed": 0},
        {"target_fps": 0},
        {"budget_ns": -5},
        {"points": [{"cameras": -9, "holds": True}]},
        {"points": [{"cameras": 4, "holds": True, "p99_ns": {"value": -1}}]},
    ],
)
def test_a_capacity_that_nothing_can_have_is_damaged(changes: dict[str, Any], tmp_path: Path) -> None:
    """It would be hosts that carry what no host does."""
    capacity_file(tmp_path / "a.json", {4: 9, 5: None}, **changes)
    with pytest.raises(StoreError, match="damaged"):
        fleet_capacity(fleet_file(tmp_path, "{name: a, capacity: a.json}"), 8)


@pytest.mark.parametrize("name", ['""', '"a\\nb"', '"a\\e[31m"'])
def test_the_name_of_a_kind_is_one_line(name: str, tmp_path: Path) -> None:
    """It stands in a table and in sentences."""
    capacity_file(tmp_path / "a.json", {4: 9, 5: None})
    with pytest.raises(UsageError, match="not valid"):
        fleet_capacity(fleet_file(tmp_path, f"{{name: {name}, capacity: a.json}}"), 8)


@pytest.mark.parametrize("cameras", [0, -1, 100_001, 2.5, "many"])
def test_a_number_of_cameras_that_is_none_is_a_sentence(cameras: Any, fleet: Path) -> None:
    """From the library, too."""
    with pytest.raises(FramepaceError, match="cameras"):
        fleet_capacity(fleet, cameras)


@pytest.mark.parametrize(
    ("options", "got"),
    [({"fps": 15.0}, "--fps 15"), ({"p99_ms": 100.0}, "--p99-ms 100"), ({"fps": 30.0, "p99_ms": 33.3}, "")],
)
def test_capacities_of_other_cameras_than_are_asked_for_are_refused(
    options: dict[str, Any], got: str, fleet: Path
) -> None:
    """What a device carries at 30 fps does not say what it carries at 15; the same target is no contradiction."""
    if not got:
        assert fleet_capacity(fleet, 320, **options) == fleet_capacity(fleet, 320)
        return
    with pytest.raises(UsageError, match="is that of other cameras") as refused:
        fleet_capacity(fleet, 320, **options)
    assert refused.value.got == got
    assert "30 fps within 33.3 ms" in str(refused.value.expected)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "capacity is that of a plan or of a fleet"),
        (["--fleet", "a.yaml"], "go together"),
        (["builtin:classifier", "--cameras", "3"], "go together"),
        (["builtin:classifier", "--fleet", "a.yaml", "--cameras", "3"], "one of both"),
    ],
)
def test_a_plan_or_a_fleet_is_asked_for(words: list[str], says: str) -> None:
    """Not both, and not neither."""
    done = framepace("capacity", *words)
    assert done.returncode == 2
    assert says in done.stderr


def test_options_of_a_plan_beside_a_fleet_are_refused(fleet: Path) -> None:
    """They would change nothing, without a word; the options are named as they were typed."""
    done = framepace(
        "capacity", "--fleet", str(fleet), "--cameras", "8", "--device", "cuda", "--max", "3", "--fps", "30"
    )
    assert done.returncode == 2
    assert "got: --max, --device" in done.stderr
    assert framepace("capacity", "--fleet", str(fleet), "--cameras", "8", "--fps", "30").returncode == 0
