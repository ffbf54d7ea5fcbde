"""Stop rules and warm-up: objects fed with numbers."""

from __future__ import annotations

import numpy as np

from framepace.facts.workload import Stop, Warmup
from framepace.measure.stoprules import Enough, Steady

MS = 1_000_000


def fed(rule: Enough | Steady, latencies: list[int], gap: int = 10 * MS) -> int | None:
    """The number of the delivery at which `rule` ends, feeding one every `gap` ns."""
    for number, latency in enumerate(latencies):
        if rule.add(latency, number * gap + latency):
            return number
    return None


def test_count_and_duration_end_where_they_say() -> None:
    """A hundred frames are the frames 0 to 99; one second at 10 ms per frame is frame 100."""
    assert fed(Enough(Stop(count=100)), [MS] * 300) == 99
    assert fed(Enough(Stop(seconds=1.0)), [MS] * 300) == 100


def test_the_limit_met_first_ends_the_run() -> None:
    """Count and duration together end at the nearer."""
    assert fed(Enough(Stop(seconds=1.0, count=20)), [MS] * 300) == 19


def test_precision_needs_more_frames_when_the_noise_is_larger() -> None:
    """A median known to 1 % takes few frames of a quiet series and many of a noisy one."""
    rng = np.random.default_rng(0)
    ends = []
    for noise in (0.01, 0.15):
        series = [int(MS * (1 + noise * x)) for x in rng.standard_normal(20_000)]
        ends.append(fed(Enough(Stop(precision=0.01)), series))
    quiet, noisy = ends
    assert quiet is not None
    assert noisy is not None
    assert 100 <= quiet + 1 < noisy


def test_warm_up_ends_when_the_level_is_steady() -> None:
    """A level that falls for 60 frames is not warm before it has settled."""
    falling = [10 * MS - i * MS // 10 for i in range(60)] + [4 * MS] * 200
    rule = Steady(Warmup(window=10, seconds_max=100))
    end = fed(rule, falling)
    assert end is not None
    assert end >= 60
    assert rule.stable


def test_warm_up_that_never_settles_ends_by_time_and_says_so() -> None:
    """Ever-growing latency ends warm-up at its time limit, marked unstable."""
    rule = Steady(Warmup(window=10, tolerance=0.01, seconds_max=1.0))
    end = fed(rule, [MS * (1 + i) for i in range(500)])
    assert end is not None
    assert not rule.stable
