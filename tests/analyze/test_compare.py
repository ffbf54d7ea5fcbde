"""Comparison: never a verdict that the samples do not carry."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from framepace.analyze.compare import compare
from framepace.errors import NotEnoughSamples, UsageError
from framepace.facts.trace import Trace
from framepace.facts.workload import Paced, Workload
from framepace.testing import make_machine, make_trace

MS = 1_000_000


def run(seed: int, level: float = 5.0, n: int = 1000, **meta: Any) -> Trace:
    """A trace of n frames of 10 % noise around `level` ms, 2 ms of it decoding."""
    latency = np.random.default_rng(seed).lognormal(0, 0.1, n) * level * MS
    return make_trace(latency, stages={"decode": 2 * MS}, **meta)


@pytest.mark.parametrize(("level", "verdict"), [(4.0, "faster"), (6.0, "slower"), (5.0, "same"), (5.15, "undecided")])
def test_verdicts(level: float, verdict: str) -> None:
    """20 % less is faster, 20 % more slower, nothing the same; 3 % at a threshold of 3 % is undecided."""
    found = compare(run(0), run(1, level))
    assert found.verdict == verdict
    assert found.ratio.value == pytest.approx(level / 5, rel=0.02)
    assert found.p99_ratio is not None


def test_equal_traces_are_never_told_apart() -> None:
    """Of 100 pairs of equal traces none is faster or slower."""
    verdicts = {compare(run(2 * seed, n=300), run(2 * seed + 1, n=300)).verdict for seed in range(100)}
    assert verdicts <= {"same", "undecided"}


def test_few_frames_are_undecided() -> None:
    """Five frames have no interval, however far apart they seem."""
    found = compare(run(0, n=5), run(1, 9.0, n=5))
    assert found.verdict == "undecided"
    assert "too few" in found.reason
    assert found.ratio.low is None


def test_of_levels_that_changed_the_last_one_counts() -> None:
    """A trace of two tiers is judged by the one it settled on, and the reason says so."""
    tiers = make_trace(np.repeat([4.0, 6.0], 500) * np.random.default_rng(0).lognormal(0, 0.02, 1000) * MS)
    found = compare(run(0), tiers)
    assert found.verdict == "slower"
    assert found.ratio.value == pytest.approx(1.2, rel=0.02)
    assert "of the second trace the last level counts, from frame 500 of 1,000" in found.reason


def test_stages_tell_where_the_difference_is() -> None:
    """1 ms more in the inference is 1 ms in that stage, and none in the others."""
    found = compare(run(0), run(0, 6.0)).stages
    assert found["infer"] == pytest.approx(MS, rel=0.05)
    assert found["decode"] == 0


def test_unlike_machines_are_refused() -> None:
    """Traces from different machines are refused with both fingerprints, unless the caller allows them."""
    other = run(1, machine=make_machine(cpu="Other CPU"))
    with pytest.raises(UsageError) as error:
        compare(run(0), other)
    assert make_machine().fingerprint in str(error.value)
    assert other.meta.machine.fingerprint in str(error.value)
    assert "machines differ" in compare(run(0), other, allow_unlike=True).reason


def test_what_else_differs_is_said() -> None:
    """Another model, scope or load is said in the reason, for it changes what the verdict means."""
    other = run(1, workload=Workload(load=Paced(fps=60), scope="model"))
    assert "scopes differ" in compare(run(0), other).reason
    assert "loads differ" in compare(run(0), other).reason
    assert "models differ" in compare(run(0), run(1, models=("other",))).reason


def test_nothing_measured_is_an_error() -> None:
    """A trace whose requests all failed cannot be compared."""
    with pytest.raises(NotEnoughSamples, match="made-up"):
        compare(run(0), make_trace([MS], columns={"outcome": 3}))


@pytest.mark.parametrize("threshold", [0.0, -0.1, 1.0])
def test_threshold_out_of_range_is_refused(threshold: float) -> None:
    """A threshold that is no share between 0 and 1 is refused."""
    with pytest.raises(UsageError, match="threshold"):
        compare(run(0), run(1), threshold)
