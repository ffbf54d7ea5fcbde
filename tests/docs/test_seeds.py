"""What the documents of docs/cases/seeds.md measured, from the simulated device in virtual time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from framepace import compare, explain_log
from framepace.analyze.batches import batch_scaling, batch_sentence
from framepace.analyze.settling import gap_sentence, settling
from framepace.analyze.stages import frames
from framepace.analyze.summary import summarize
from framepace.analyze.tiers import find_tiers
from framepace.clock.virtual import VirtualClock
from framepace.facts.plan import Batching, EnginePlan, ModelPlan, Plan, Strategy
from framepace.facts.summary import Tier
from framepace.facts.sweep import Settling
from framepace.facts.workload import Closed, Delay, Stop, Warmup, Workload
from framepace.measure.session import measure
from tests.doubles.simulation import MS, alone, run

# One set of parameters of the device, the preset 't4', and two networks: operations and thread blocks of ResNet-18 and
# ResNet-50, 0.4 of them in int8 where the plan says so.
LARGE: dict[str, dict[str, Any]] = {
    "1024x576": {"kernels": 72, "gflops": 96.09, "mbytes": 1854, "weights_mb": 102, "blocks": 546.6},
    "768x448": {"kernels": 72, "gflops": 56.06, "mbytes": 1082, "weights_mb": 102, "blocks": 318.9},
}
SMALL: dict[str, dict[str, Any]] = {
    "1024x576": {"kernels": 31, "gflops": 42.64, "mbytes": 374, "weights_mb": 47, "blocks": 411.0},
    "768x448": {"kernels": 31, "gflops": 24.87, "mbytes": 218, "weights_mb": 47, "blocks": 239.8},
}
COMMON: dict[str, Any] = {"device": "t4", "efficiency": 0.082, "int8_share": 0.4}
# The author's tables, ms and requests: back to back, settled with 20 ms between inferences, jump (None: no tiers).
SEED = {
    ("small", "1024x576", "fp16"): (8.2, 12.2, 50),
    ("small", "1024x576", "int8"): (7.2, 12.1, 60),
    ("large", "1024x576", "fp16"): (19.8, 16.8, None),
    ("large", "1024x576", "int8"): (15.2, 13.2, None),
    ("small", "768x448", "fp16"): (5.4, 11.4, 60),
    ("small", "768x448", "int8"): (4.7, 10.1, 60),
    ("large", "768x448", "fp16"): (12.6, 12.4, 50),
    ("large", "768x448", "int8"): (9.9, 12.4, 60),
}


def gaps(network: str, size: str, precision: str, delay_ms: float = 20, **device: Any) -> Settling:
    """One cell: back to back, and then with a gap after each inference."""
    options = {**COMMON, **{"small": SMALL, "large": LARGE}[network][size], **device}
    fields = {"graph": True, "precision": precision, "spinning": False}
    latencies = [
        frames(run(options, load, count, fields=fields))["latency"]
        for load, count in ((Delay(delay_ms=delay_ms), 280), (Closed(), 80))
    ]
    with_gaps, closed = map(find_tiers, latencies)
    cell = settling(with_gaps, closed)
    assert cell is not None
    return cell


@pytest.fixture(scope="module")
def table() -> dict[tuple[str, str, str], Settling]:
    """All eight cells."""
    return {cell: gaps(*cell) for cell in SEED}


@pytest.mark.long
def test_a_gap_makes_the_small_network_slower_and_the_large_one_faster(table: dict[Any, Settling]) -> None:
    """The sign of the effect is the author's in 8 of 8 cells: the clock falls, or a power limit is not reached."""
    for cell, (closed, settled, _) in SEED.items():
        assert (table[cell].cost > 0) == (settled > closed), cell
    assert gap_sentence(list(table.values())).startswith("with gaps, slower than back to back in 5, faster in 3")


def test_the_settled_levels_are_the_authors_within_a_quarter(table: dict[Any, Settling]) -> None:
    """So are the times back to back."""
    for cell, (closed, settled, _) in SEED.items():
        assert table[cell].settled / MS == pytest.approx(settled, rel=0.25)
        assert table[cell].back_to_back / MS == pytest.approx(closed, rel=0.25)


def test_the_jumps_come_where_the_author_saw_them(table: dict[Any, Settling]) -> None:
    """Two cells have no tiers; in the others the first level ends within a quarter of the request the author counted,
    and on average sooner where he counted fewer.
    """
    jumps: dict[int, list[int]] = {50: [], 60: []}
    for cell, (_, _, jump) in SEED.items():
        found = table[cell].jump
        assert (found is None) == (jump is None), cell
        if found is not None and jump is not None:
            assert found == pytest.approx(jump, rel=0.25)
            jumps[jump].append(found)
    assert sum(jumps[50]) / len(jumps[50]) < sum(jumps[60]) / len(jumps[60])


def test_a_longer_delay_brings_the_jump_sooner_and_a_higher_level_and_a_short_one_none() -> None:
    """5 ms: no tiers; 20 ms; 40 ms: fewer requests on the first level; the large network then has tiers as well."""
    short, middle, long = (gaps("small", "1024x576", "int8", delay_ms) for delay_ms in (5, 20, 40))
    assert short.jump is None
    assert middle.jump is not None
    assert long.jump is not None
    assert long.jump < middle.jump
    assert long.settled > middle.settled
    assert gaps("large", "1024x576", "int8", 60).jump is not None


def levels(cell: tuple[str, str, str], delay_ms: float, count: int, **device: Any) -> tuple[Tier, ...]:
    """The tiers of one cell with a gap after each inference."""
    network, size, precision = cell
    options = {**COMMON, **{"small": SMALL, "large": LARGE}[network][size], **device}
    fields = {"graph": True, "precision": precision, "spinning": False}
    return find_tiers(frames(run(options, Delay(delay_ms=delay_ms), count, fields=fields))["latency"])


@pytest.mark.long
def test_in_every_cell_a_longer_delay_brings_the_jump_sooner(table: dict[Any, Settling]) -> None:
    """At 20, 40 and 60 ms, from one set of parameters; two cells have no jump at 20 ms and do at 40."""
    for cell in SEED:
        middle, late = (levels(cell, delay_ms, 100) for delay_ms in (40, 60))
        jumps = [table[cell].jump, middle[1].first, late[1].first]
        counted = [jump for jump in jumps if jump is not None]
        assert counted == sorted(set(counted), reverse=True), cell
        assert len(counted) == (2 if SEED[cell][2] is None else 3), cell


@pytest.mark.parametrize(("fall_s", "kinds"), [(20, ["level", "ramp", "level"]), (160, ["level", "ramp"])])
def test_a_slow_ramp_is_a_ramp_and_one_that_goes_on_has_not_settled(fall_s: float, kinds: list[str]) -> None:
    """The author's ramps took 100 to 250 requests; one that the end of the run cuts off has no last level."""
    tiers = levels(("small", "1024x576", "fp16"), 20, 300, load_fall_ms=1000 * fall_s)
    assert [tier.kind for tier in tiers] == kinds
    assert tiers[0].last == pytest.approx(50, rel=0.1)
    assert tiers[1].last - tiers[1].first >= 40


def test_a_jump_is_a_jump_and_a_ramp_a_ramp() -> None:
    """A clock that falls at once ends the first level in a step, one that takes seconds in a ramp."""
    at_once = gaps("small", "768x448", "int8", load_fall_ms=0, fall_ms=0)
    slowly = gaps("small", "768x448", "int8")
    assert (at_once.change, slowly.change) == ("level", "ramp")


def log_of(path: Path, precision: str) -> Path:
    """The author's own log of the small network: when each inference began, and how long it took."""
    options = {**COMMON, **SMALL["768x448"]}
    fields = {"graph": True, "precision": precision, "spinning": False}
    rows = run(options, Delay(delay_ms=20), 400, fields=fields).requests
    lines = (
        f"{begin / 1e9},{(end - begin) / 1e6}" for begin, end in zip(rows["started"], rows["finished"], strict=True)
    )
    path.write_text("\n".join(["time_s,infer_ms", *lines]))
    return path


def test_his_log_alone_shows_the_levels_and_what_would_decide(tmp_path: Path) -> None:
    """Two levels, the gap of 20 ms, and the clocks as the first suspicion with the command that tries them."""
    answer = explain_log(log_of(tmp_path / "int8.csv", "int8"))
    tiers = answer.summary.frames.tiers
    assert tiers[0].level / MS == pytest.approx(4.7, rel=0.25)
    assert tiers[-1].level_end / MS == pytest.approx(10.1, rel=0.25)
    assert tiers[0].last == pytest.approx(60, rel=0.25)
    first = answer.suspected[0]
    assert first.code == "FP001"
    assert first.command == "framepace explain MODEL.onnx --load delay:20"


def test_two_logs_are_held_settled_level_against_settled_level(tmp_path: Path) -> None:
    """INT8 against FP16: faster, by the difference of their last levels, though both begin on another one."""
    logs = [log_of(tmp_path / f"{precision}.csv", precision) for precision in ("fp16", "int8")]
    answer = compare(*logs)
    assert answer.verdict == "faster"
    assert answer.difference is not None
    levels = [tiers[-1].level for tiers in (answer.tiers_a, answer.tiers_b)]
    assert answer.difference.value == pytest.approx(levels[1] - levels[0], rel=0.05)


# Four models that leave room on the device, each 0.2 ms of it, on a host that takes 40 us to launch them.
FOUR = [
    ModelPlan(
        name=name,
        model="null",
        backend="simulated",
        transfer="device",
        options={
            "device": "h200", "jitter": 0, "kernels": 16, "gflops": 1.67, "mbytes": 1, "weights_mb": 1, "blocks": 33,
            "efficiency": 0.5, "wake_us": 0, "asleep_factor": 0,
        },
    )
    for name in "abcd"
]  # fmt: skip


def frames_per_second(strategy: Strategy) -> tuple[float, float]:
    """Four models on every frame, back to back: frames per second, and the device memory in use (bytes)."""
    plan = Plan(models=tuple(FOUR), engine=EnginePlan(strategy=strategy))
    workload = Workload(load=Closed(), scope="model", stop=Stop(count=60), warmup=Warmup(seconds_max=0.0))
    summary = summarize(measure(plan, workload, clock=VirtualClock()))
    assert summary.cost is not None
    return summary.throughput, summary.cost.device_memory or 0.0


def test_four_models_four_ways_come_out_as_the_author_saw_them() -> None:
    """Threads are the fastest; processes no faster than serial, with more device memory; asyncio is serial."""
    ways: tuple[Strategy, ...] = ("serial", "threads", "processes", "asyncio")
    serial, threads, processes, coroutines = map(frames_per_second, ways)
    assert threads[0] > 1.5 * serial[0]
    assert processes[0] < 1.05 * serial[0]
    assert processes[1] > serial[1] + 1e9
    assert coroutines[0] == pytest.approx(serial[0], rel=0.02)


# The Xavier's table: 8.9 ms that every image adds, and 2.3 ms of layers that no batch makes longer.
XAVIER: dict[str, Any] = {
    "device": "xavier", "jitter": 0, "kernels": 60, "gflops": 6.28, "efficiency": 0.5, "mbytes": 30, "weights_mb": 5,
    "blocks": 160, "fixed_us": 2320, "power_limit_w": 0,
}  # fmt: skip
XAVIER_MS = {1: 11.23, 2: 20.39, 4: 38.73, 8: 74.11, 32: 287.30}


def test_the_batches_of_the_xavier_are_there_within_five_per_cent_and_the_sentence_says_why() -> None:
    """11.23 to 287.3 ms; a batch of 32 brings 1.25x, and most of the time of one image is what each image adds."""
    times = {batch: alone(XAVIER, batch, batch=Batching(max=32), graph=True) for batch in XAVIER_MS}
    for batch, ms in XAVIER_MS.items():
        assert times[batch] / MS == pytest.approx(ms, rel=0.05)
    scaling = batch_scaling({batch: ns / batch for batch, ns in times.items()})
    assert scaling is not None
    assert scaling.gain == pytest.approx(1.25, abs=0.01)
    assert scaling.knee == 8
    assert "work that every further image adds; a batch of 32 brings 1.25x" in batch_sentence(scaling)
    assert batch_sentence(scaling, 0.98).startswith("one image fills 98% of the device; a batch of 32 brings 1.25x")
